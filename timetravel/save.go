package timetravel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/annalsdb/annals"
)

// ErrForeignBranch says that a branch was saved over another store than the one that it is to be opened over.
var ErrForeignBranch = errors.New("timetravel: the branch is of another store")

// savedBranch is a branch in a file. It says where its store stood, what the edits are, and what was appended; the past stays in
// the store.
type savedBranch struct {
	Format   int              `json:"annalsBranch"`
	Head     *annals.Position `json:"head"`           // none: where the store stands when it is opened
	Last     *annals.ID       `json:"last,omitempty"` // of the event at head, if it could be read
	Edits    []savedEdit      `json:"edits"`
	Appended []savedEvent     `json:"appended,omitempty"`
}

const branchFormat = 1

type savedEdit struct {
	Insert  *annals.Position  `json:"insertAfter,omitempty"`
	Drop    []annals.Position `json:"drop,omitempty"`
	Replace *annals.Position  `json:"replace,omitempty"`
	Move    []annals.Position `json:"move,omitempty"`
	To      *annals.Position  `json:"after,omitempty"` // of Move
	Until   *annals.Position  `json:"until,omitempty"`
	At      *time.Time        `json:"at,omitempty"`
	Events  []savedEvent      `json:"events,omitempty"`
}

type savedEvent struct {
	ID          annals.ID       `json:"id,omitzero"`
	Type        string          `json:"type"`
	Version     uint16          `json:"version,omitempty"`
	Stream      string          `json:"stream,omitempty"`
	Tags        []string        `json:"tags,omitempty"`
	ContentType string          `json:"contentType,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
	Bytes       []byte          `json:"bytes,omitempty"` // instead of Data, if that is not JSON
	Metadata    json.RawMessage `json:"metadata,omitempty"`
	RawMetadata []byte          `json:"metadataBytes,omitempty"`
}

// asJSON is b as JSON, if it comes back from a document as it is.
func asJSON(b []byte) (doc json.RawMessage, rest []byte) {
	var compact bytes.Buffer
	if len(b) == 0 || depth(b) > depthMax || json.Compact(&compact, b) != nil || !bytes.Equal(compact.Bytes(), b) {
		return nil, b
	}
	// The encoder escapes some characters: what it would change is kept as bytes.
	if back, err := json.Marshal(json.RawMessage(b)); err != nil || !bytes.Equal(back, b) {
		return nil, b
	}
	return b, nil
}

// depthMax is how deep JSON may be to be kept as JSON: a decoder bounds the depth of the whole document.
const depthMax = 1000

// depth is how deep the brackets of a text are, more or less: those in strings count too.
func depth(b []byte) (most int) {
	n := 0
	for _, c := range b {
		switch c {
		case '{', '[':
			n++
			most = max(most, n)
		case '}', ']':
			n--
		}
	}
	return most
}

func save(events []annals.Event) (saved []savedEvent) {
	for _, e := range events {
		s := savedEvent{ID: e.ID, Type: e.Type, Version: e.Version, Stream: e.Stream, Tags: e.Tags, ContentType: e.ContentType}
		s.Data, s.Bytes = asJSON(e.Data)
		s.Metadata, s.RawMetadata = asJSON(e.Metadata)
		saved = append(saved, s)
	}
	return saved
}

func restore(saved []savedEvent) (events []annals.Event) {
	for _, s := range saved {
		e := annals.Event{ID: s.ID, Type: s.Type, Version: s.Version, Stream: s.Stream, Tags: s.Tags, ContentType: s.ContentType, Data: s.Bytes, Metadata: s.RawMetadata}
		if s.Data != nil {
			e.Data = compact(s.Data)
		}
		if s.Metadata != nil {
			e.Metadata = compact(s.Metadata)
		}
		events = append(events, e)
	}
	return events
}

// compact undoes the indentation of a file.
func compact(doc json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Compact(&b, doc) != nil {
		return doc
	}
	return b.Bytes()
}

func (e Edit) save() savedEdit {
	s := savedEdit{Events: save(e.events)}
	if !e.at.IsZero() {
		s.At = &e.at
	}
	switch e.kind {
	case editInsert:
		s.Insert = &e.after
	case editDrop:
		s.Drop = e.positions
	case editReplace:
		s.Replace = &e.after
	case editMove:
		s.Move, s.To = e.positions, &e.after
	case editUntil:
		s.Until = &e.after
	}
	return s
}

func (s savedEdit) restore() (Edit, error) {
	var found []Edit
	if s.Insert != nil {
		found = append(found, Insert(*s.Insert, restore(s.Events)...))
	}
	if s.Drop != nil {
		found = append(found, Drop(s.Drop...))
	}
	if s.Replace != nil {
		found = append(found, Replace(*s.Replace, restore(s.Events)...))
	}
	if s.Move != nil && s.To != nil {
		found = append(found, Move(*s.To, s.Move...))
	}
	if s.Until != nil {
		found = append(found, Until(*s.Until))
	}
	if len(found) != 1 || (s.To != nil) != (s.Move != nil) {
		return Edit{}, errors.New("want one of insertAfter, drop, replace, move with after, and until")
	}
	if s.Events != nil && s.Insert == nil && s.Replace == nil {
		return Edit{}, errors.New("has events, but brings none in")
	}
	for i, e := range s.Events {
		if e.Data != nil && e.Bytes != nil || e.Metadata != nil && e.RawMetadata != nil {
			return Edit{}, fmt.Errorf("event %d has its data, or its metadata, twice", i)
		}
	}
	if s.At != nil {
		found[0] = found[0].At(*s.At)
	}
	return found[0], nil
}

// Save writes the branch as a JSON document, for [OpenBranch]: where the store stood, the edits, and what was appended. It holds the
// events that the edits bring in, and none of the store's own. Personal data would lie in it in plain, so that is refused with
// annals.ErrUnprotected.
func (b *Branch) Save(ctx context.Context, w io.Writer) error {
	saved := savedBranch{Format: branchFormat, Head: &b.made, Edits: []savedEdit{}}
	last, err := idAt(ctx, b.base, b.made)
	if err != nil {
		return fmt.Errorf("timetravel: save branch: %w", err)
	}
	saved.Last = last
	for _, e := range b.edits {
		saved.Edits = append(saved.Edits, e.save())
	}
	b.mu.Lock()
	tail := b.tail
	b.mu.Unlock()
	for _, e := range tail {
		saved.Appended = append(saved.Appended, save([]annals.Event{e.Event})...)
	}
	for _, e := range tail {
		if bytes.Contains(e.Data, personalMark) {
			return fmt.Errorf("timetravel: save branch: %s at position %d: %w", e.Type, e.Position, annals.ErrUnprotected)
		}
	}
	for i, e := range b.edits {
		for _, added := range e.events {
			if bytes.Contains(added.Data, personalMark) {
				return fmt.Errorf("timetravel: save branch: edit %d: %s: %w", i, added.Type, annals.ErrUnprotected)
			}
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(saved); err != nil {
		return fmt.Errorf("timetravel: save branch: %w", err)
	}
	return nil
}

// personalMark begins a personal value in JSON, as package privacy writes it.
var personalMark = []byte(`{"$personal":`)

// idAt is the id of the event at a position; nil if none can be read there.
func idAt(ctx context.Context, s annals.Store, p annals.Position) (*annals.ID, error) {
	if p == 0 {
		return nil, nil
	}
	for e, err := range s.Read(ctx, annals.All().WithSystem(), annals.After(p-1), annals.AsOf(p)) {
		return &e.ID, err
	}
	return nil, nil
}

// OpenBranch makes the branch that [Branch.Save] has written, over the store that it was of. What has happened in the store since is
// no part of it. It fails with [ErrForeignBranch] if that is another store, or one that was put back to a backup, as far as
// the event at the saved head can tell; if what an edit names is hidden since, it is an [EditError]. A document without a head is a branch of the store as it is now. What was appended happens again, now.
func OpenBranch(ctx context.Context, s annals.Store, r io.Reader) (*Branch, error) {
	var saved savedBranch
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&saved); err != nil {
		return nil, fmt.Errorf("timetravel: open branch: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("timetravel: open branch: something follows the document")
	}
	if saved.Format != branchFormat {
		return nil, fmt.Errorf("timetravel: open branch: format %d is not known, want %d", saved.Format, branchFormat)
	}
	head, err := s.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("timetravel: open branch: %w", err)
	}
	if saved.Head == nil {
		saved.Head = &head
	}
	made := *saved.Head
	if made > head {
		return nil, fmt.Errorf("%w: it begins at position %d, the store ends at %d", ErrForeignBranch, made, head)
	}
	last, err := idAt(ctx, s, made)
	if err != nil {
		return nil, fmt.Errorf("timetravel: open branch: %w", err)
	}
	if saved.Last != nil && last != nil && *saved.Last != *last {
		return nil, fmt.Errorf("%w: position %d has event %s, not %s", ErrForeignBranch, made, last, saved.Last)
	}
	edits := make([]Edit, len(saved.Edits))
	for i, e := range saved.Edits {
		if edits[i], err = e.restore(); err != nil {
			return nil, fmt.Errorf("timetravel: open branch: edit %d: %w", i, err)
		}
	}
	b, err := whatIf(ctx, s, made, edits)
	if err != nil {
		return nil, err
	}
	for i, e := range restore(saved.Appended) {
		if err := b.appendAgain(ctx, e); err != nil {
			return nil, fmt.Errorf("timetravel: open branch: appended event %d: %w", i, err)
		}
	}
	return b, nil
}

// appendAgain appends what was in the tail of a saved branch.
func (b *Branch) appendAgain(ctx context.Context, e annals.Event) error {
	if source, ok := strings.CutPrefix(e.Stream, annals.TrackingStream("")); ok && e.Type == annals.TypeTracked {
		p, err := annals.TrackedPosition(e)
		if err == nil {
			_, err = b.Append(ctx, nil, annals.TrackingAt(source, p))
		}
		return err
	}
	_, err := b.System().Append(ctx, []annals.Event{e})
	return err
}

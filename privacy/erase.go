package privacy

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/annalsdb/annals"
)

// Stream is the system stream that tells of all erasures.
const Stream = "$privacy"

// typeErased is the type of its events.
const typeErased = "$erased"

// Erasure says that the data of a subject was erased.
type Erasure struct {
	// Position is that of the record.
	Position annals.Position `json:"-"`
	Subject  string          `json:"subject"`
	// Key is the id of the key that was destroyed, in hexadecimal; "" if there was none.
	Key string `json:"key,omitempty"`
	// Reason is what was given as such, Actor who asked for it.
	Reason string    `json:"reason"`
	Actor  string    `json:"actor,omitempty"`
	Time   time.Time `json:"time"`
}

// Erase destroys the key of a subject: all its personal values are erased, for good. It first writes down who asked for it (the
// principal of ctx) and why, in one append with events of the application, if any, which are encoded by annals.Log.Encode and tell read
// models. An error that matches annals.ErrUnknownOutcome, or comes with a receipt, means that it may be half done: erase again, or open
// the store again, which finishes it; events that are stored by then are not stored twice. What somebody appends for the subject at the
// same moment may be erased as well. To erase a subject that has no data is no error: that it was asked for is on record.
func (s *Store) Erase(ctx context.Context, subject, reason string, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	switch {
	case subject == "" || reason == "" || !utf8.ValidString(subject):
		return annals.Receipt{}, &annals.InvalidError{What: "erasure", Problem: "a subject, in UTF-8, and a reason are required"}
	case s.system == nil:
		return annals.Receipt{}, fmt.Errorf("privacy: erase: the store keeps no system events: %w", annals.ErrUnsupported)
	}
	events, err := s.sealEvents(ctx, events) // before the key is looked up, for it may make one
	if err != nil {
		return annals.Receipt{}, err
	}
	e := Erasure{Subject: subject, Reason: reason, Actor: annals.MetadataFrom(ctx).Actor, Time: time.Now().UTC().Round(0)}
	receipt, err := s.eraseOnce(ctx, e, events, conds)
	if err != nil {
		return receipt, err
	}
	// It is decided: whether ctx ends does not matter. A key that somebody has made between the look at it and the record may have
	// values before the record.
	ctx = context.WithoutCancel(ctx)
	for range roundsMax {
		_, found, err := s.keys.Key(ctx, subject)
		if err != nil || !found {
			return receipt, err
		}
		if _, err := s.eraseOnce(ctx, e, nil, nil); err != nil {
			return receipt, err
		}
	}
	return receipt, fmt.Errorf("privacy: erase %s: again and again there is a new key: does somebody append all the time?", subject)
}

// roundsMax is how often keys are erased that are made meanwhile.
const roundsMax = 10

// eraseOnce writes a record, with events, and destroys the key that there is.
func (s *Store) eraseOnce(ctx context.Context, e Erasure, events []annals.Event, conds []annals.Condition) (annals.Receipt, error) {
	key, found, err := s.keys.Key(ctx, e.Subject)
	if err != nil {
		return annals.Receipt{}, fmt.Errorf("privacy: erase %s: %w", e.Subject, err)
	}
	if found {
		e.Key = hex.EncodeToString(key.ID[:])
	}
	data, err := json.Marshal(e)
	if err != nil {
		return annals.Receipt{}, fmt.Errorf("privacy: erase %s: %w", e.Subject, err)
	}
	record := annals.Event{Type: typeErased, Stream: Stream, Data: data}
	receipt, err := s.system.Append(ctx, append(slices.Clip(events), record), conds...)
	if errors.Is(err, annals.ErrPartialDuplicate) { // the events are stored, by a try that did not come to its end
		receipt, err = s.system.Append(ctx, []annals.Event{record})
	}
	if conflict, ok := errors.AsType[*annals.ConflictError](err); ok {
		err = s.openConflict(ctx, conflict)
	}
	if err != nil {
		return receipt, fmt.Errorf("privacy: erase %s: %w", e.Subject, err)
	}
	return receipt, s.destroy(context.WithoutCancel(ctx), e)
}

// destroy does what a record says.
func (s *Store) destroy(ctx context.Context, e Erasure) error {
	defer s.forget(e.Subject)
	var id [keyIDBytes]byte
	b, err := hex.DecodeString(e.Key)
	if err != nil || e.Key != "" && copy(id[:], b) != len(id) {
		return fmt.Errorf("privacy: the record of the erasure of %s is malformed", e.Subject)
	}
	if e.Key == "" {
		return nil
	}
	if err := s.keys.Erase(ctx, e.Subject, id); err != nil {
		return fmt.Errorf("privacy: erase %s: it is on record, and will be finished when the store is opened: %w", e.Subject, err)
	}
	return nil
}

// finish does what records say and was cut off.
func (s *Store) finish(ctx context.Context) error {
	for e, err := range s.Erasures(ctx) {
		if err == nil {
			err = s.destroy(ctx, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Erasures yields what was erased, the oldest first. Options are those of annals.Store.Read.
func (s *Store) Erasures(ctx context.Context, opts ...annals.ReadOption) iter.Seq2[Erasure, error] {
	return func(yield func(Erasure, error) bool) {
		for r, err := range s.base.Read(ctx, annals.Stream(Stream).WithSystem(), opts...) {
			var e Erasure
			if err == nil {
				if err = json.Unmarshal(r.Data, &e); err != nil {
					err = errors.Join(fmt.Errorf("privacy: position %d is no record of an erasure", r.Position), err)
				}
				e.Position = r.Position
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

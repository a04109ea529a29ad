package annals

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Retention says which events of a stream are kept. The zero Retention keeps them all.
//
// An event that is not kept is hidden at once and for good: no read, no subscription and no condition sees it, and its
// id is free. Settings that are widened later bring nothing back. The stream's revisions go on, and so do all
// positions. What is hidden may leave the disk later; no answer changes when it does.
type Retention struct {
	// TruncateBefore hides the events with lower revisions. It may be at most one more than the stream's last revision:
	// what does not exist yet cannot be hidden.
	TruncateBefore Revision
	// MaxAge hides what was accepted longer ago, by the store's clock at the time of the read, which is taken to be no
	// earlier than the last event. 0: no bound.
	MaxAge time.Duration
	// MaxCount hides all but the last so many revisions of the stream. 0: no bound.
	MaxCount int
}

// Check reports what is wrong with k, as an [InvalidError].
func (k Retention) Check() error { return k.check("retention") }

func (k Retention) check(what string) error {
	switch {
	case k.MaxAge < 0:
		return invalid(what, fmt.Sprintf("MaxAge is negative: %s", k.MaxAge))
	case k.MaxCount < 0:
		return invalid(what, fmt.Sprintf("MaxCount is negative: %d", k.MaxCount))
	case k.TruncateBefore == NoRevision:
		return invalid(what, "TruncateBefore is NoRevision: to hide all events of a stream, delete it")
	}
	return nil
}

// The types of the system events that retention is made of. They stand in the stream that [RetentionStream] names.
// Each takes effect at its own position, on the events of the stream that lie before it.
const (
	// TypeRetention replaces what [Retention] says of the stream. Its data is a JSON object with the optional members
	// truncateBefore (a number), maxAge (a string as [time.Duration] writes it, such as "720h0m0s") and maxCount (a
	// number).
	TypeRetention = "$retention"
	// TypeDeleted hides all events of the stream so far. What is appended later goes on numbering. Its data is {}.
	TypeDeleted = "$deleted"
	// TypeTombstoned ends the stream for good: all its events are hidden, and appends to it are
	// [ErrStreamTombstoned]. Its data is {}.
	TypeTombstoned = "$tombstoned"
)

const retentionPrefix = "$$"

// RetentionStream is the system stream that holds the retention of a stream: "$$order-42" for "order-42". Conditions
// on it guard against others who change the same settings.
func RetentionStream(stream string) string { return retentionPrefix + stream }

// RetentionEvent is the system event that sets what is kept of a stream.
func RetentionEvent(stream string, keep Retention) Event {
	data := retentionData{TruncateBefore: keep.TruncateBefore, MaxCount: keep.MaxCount}
	if keep.MaxAge != 0 {
		data.MaxAge = keep.MaxAge.String()
	}
	b, err := json.Marshal(data)
	if err != nil {
		panic("annals: encoding retention: " + err.Error()) // numbers and a string always encode
	}
	return retentionEvent(stream, TypeRetention, b)
}

// DeletionEvent is the system event that deletes a stream.
func DeletionEvent(stream string) Event { return retentionEvent(stream, TypeDeleted, []byte("{}")) }

// TombstoneEvent is the system event that ends a stream for good.
func TombstoneEvent(stream string) Event {
	return retentionEvent(stream, TypeTombstoned, []byte("{}"))
}

func retentionEvent(stream, kind string, data []byte) Event {
	return Event{ID: NewID(), Type: kind, Stream: RetentionStream(stream), Data: data}
}

type retentionData struct {
	TruncateBefore Revision `json:"truncateBefore,omitempty"`
	MaxAge         string   `json:"maxAge,omitempty"`
	MaxCount       int      `json:"maxCount,omitempty"`
}

// RetentionChange is what a system event does to the retention of a stream.
type RetentionChange struct {
	// Stream is the one whose events are kept or not.
	Stream string
	// Type is [TypeRetention], [TypeDeleted] or [TypeTombstoned].
	Type string
	// Keep is what TypeRetention sets.
	Keep Retention
}

// RetentionChangeOf is what e does to the retention of a stream; ok is false if it has nothing to do with that. An event
// that has, and makes no sense, is an [InvalidError].
func RetentionChangeOf(e Event) (change RetentionChange, ok bool, err error) {
	switch e.Type {
	case TypeRetention, TypeDeleted, TypeTombstoned:
	default:
		return RetentionChange{}, false, nil
	}
	change, err = retentionChange("event "+e.Type, &e)
	return change, err == nil, err
}

func retentionChange(what string, e *Event) (RetentionChange, error) {
	stream, ok := strings.CutPrefix(e.Stream, retentionPrefix)
	switch {
	case !ok:
		return RetentionChange{}, invalid(what, fmt.Sprintf("%s belongs into the stream \"$$\" and the name of the one to keep, not into %q", e.Type, e.Stream))
	case stream == "":
		return RetentionChange{}, invalid(what, "retention of a stream without a name")
	case isSystemName(stream):
		return RetentionChange{}, systemStream(what, stream)
	case e.Version > 1:
		return RetentionChange{}, invalid(what, fmt.Sprintf("version %d of %s is newer than this program", e.Version, e.Type))
	}
	change := RetentionChange{Stream: stream, Type: e.Type}
	if e.Type != TypeRetention {
		return change, nil
	}
	var data retentionData
	d := json.NewDecoder(bytes.NewReader(e.Data))
	d.DisallowUnknownFields() // a misspelt setting would keep everything, in silence
	if err := d.Decode(&data); err != nil {
		return RetentionChange{}, invalid(what, "data: "+err.Error())
	}
	if d.More() {
		return RetentionChange{}, invalid(what, "data: more than one JSON value")
	}
	change.Keep = Retention{TruncateBefore: data.TruncateBefore, MaxCount: data.MaxCount}
	if data.MaxAge != "" {
		age, err := time.ParseDuration(data.MaxAge)
		if err != nil {
			return RetentionChange{}, invalid(what, "data: maxAge: "+err.Error())
		}
		change.Keep.MaxAge = age
	}
	return change, change.Keep.check(what)
}

// StreamRetention is what is kept of a stream, and what has become of it.
type StreamRetention struct {
	// Keep is what was set last. Deletion does not change it.
	Keep Retention
	// State is what has become of the stream.
	State StreamState
	// First is the revision of the first event that can be read; if none can, the one that the next event will have.
	First Revision
	// Last is the last revision that was ever given, [NoRevision] if none was.
	Last Revision
	// Settings is the last revision of the stream's [RetentionStream], [NoRevision] if that has no event. A change
	// on the condition [StreamAt], or [NoStream], of it is refused if somebody else was faster.
	Settings Revision
}

// Retainer is implemented by stores that keep less than everything. Such a store accepts retention events through
// [System], and says so in [Limits.Retention].
//
// It honours them in every read and subscription that begins after they were acknowledged, and in every append. Reads of
// the past ([AsOf], [AsOfTime], [AsOfRevision]) are no exception: what is hidden now is hidden in the past too. A read
// sees all retention as it was at the head and at the moment that it is pinned to.
type Retainer interface {
	// Retention tells what is kept of a stream. A stream of which nothing is known has the zero Keep.
	// Safe for concurrent use.
	Retention(ctx context.Context, stream string) (StreamRetention, error)
}

// CheckRetained reports what is wrong with the name of a stream that is to be kept or asked about, as an [InvalidError] or
// [LimitError]. It is for those who implement stores.
func CheckRetained(stream string, limits Limits) error {
	if isSystemName(stream) {
		return systemStream("stream", stream)
	}
	return checkName(place{thing: "stream", index: noIndex}, stream, limits.StreamBytes)
}

func systemStream(what, stream string) error {
	return &InvalidError{What: what, Problem: fmt.Sprintf("retention of %q, which is the system's: it keeps its own books", stream), reserved: true}
}

// RetentionOf tells what s keeps of a stream. It fails with [ErrUnsupported] if s is no [Retainer].
func RetentionOf(ctx context.Context, s Store, stream string) (StreamRetention, error) {
	if r, ok := s.(Retainer); ok {
		return r.Retention(ctx, stream)
	}
	return StreamRetention{}, fmt.Errorf("retention of stream %s: %w", stream, ErrUnsupported)
}

// Retain sets what s keeps of a stream, replacing what was set before, if the conditions hold. It fails with
// [ErrUnsupported] if s is no [Retainer], and with [ErrAhead] if TruncateBefore is past the stream's end.
//
// It is an append of [RetentionEvent] through [System]. Whoever has to repeat it after an unknown outcome, or wants it to
// happen together with something else, appends the event.
func Retain(ctx context.Context, s Store, stream string, keep Retention, conds ...Condition) (Receipt, error) {
	if err := keep.Check(); err != nil {
		return Receipt{}, err
	}
	return appendRetention(ctx, s, RetentionEvent(stream, keep), conds)
}

// DeleteStream hides all events of a stream so far, if the conditions hold. What is appended to it later goes on
// numbering. It is an append of [DeletionEvent], with the remarks on [Retain].
func DeleteStream(ctx context.Context, s Store, stream string, conds ...Condition) (Receipt, error) {
	return appendRetention(ctx, s, DeletionEvent(stream), conds)
}

// TombstoneStream ends a stream for good, if the conditions hold: its events are hidden, and appends to it are
// [ErrStreamTombstoned]. That cannot be undone. It is an append of [TombstoneEvent], with the remarks on [Retain].
func TombstoneStream(ctx context.Context, s Store, stream string, conds ...Condition) (Receipt, error) {
	return appendRetention(ctx, s, TombstoneEvent(stream), conds)
}

func appendRetention(ctx context.Context, s Store, e Event, conds []Condition) (Receipt, error) {
	if !LimitsOf(s).Retention {
		return Receipt{}, fmt.Errorf("%s of %s: %w", e.Type, strings.TrimPrefix(e.Stream, retentionPrefix), ErrUnsupported)
	}
	system, err := System(s)
	if err != nil {
		return Receipt{}, err
	}
	return system.Append(ctx, []Event{e}, conds...)
}

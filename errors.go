package annals

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinels to branch on with errors.Is. Those that carry facts have a type beside them, for errors.As.
var (
	// ErrInvalid: the call is malformed; nothing was written. See [InvalidError] and [LimitError].
	ErrInvalid = errors.New("annals: invalid")
	// ErrTooLarge: something is over a limit of the store. See [LimitError]. It is an ErrInvalid too.
	ErrTooLarge = errors.New("annals: too large")
	// ErrReserved: a name begins with "$" without leave to. It is an ErrInvalid too.
	ErrReserved = errors.New("annals: reserved name")
	// ErrConflict: a condition of the append does not hold; nothing was written. Read again and decide again.
	// See [ConflictError].
	ErrConflict = errors.New("annals: conflict")
	// ErrAhead: a position or revision that does not exist yet was named. See [AheadError].
	ErrAhead = errors.New("annals: ahead of the head")
	// ErrIDReused: an event id is in use for another event; nothing was written. See [IDReusedError].
	ErrIDReused = errors.New("annals: event id reused")
	// ErrPartialDuplicate: some events of the append are stored already and some are not; nothing was written. See
	// [PartialDuplicateError].
	ErrPartialDuplicate = errors.New("annals: partial duplicate")
	// ErrStreamTombstoned: a stream of the append has ended for good; nothing was written. See [TombstonedError].
	ErrStreamTombstoned = errors.New("annals: stream is tombstoned")
	// ErrNotWritten: the append was cut off, and nothing was written nor will be. Match the cause too: it wraps
	// context.Canceled or the like. See [OutcomeError].
	ErrNotWritten = errors.New("annals: not written")
	// ErrUnknownOutcome: the append was cut off, and may or may not have been, or be about to be, written. To send it
	// again with the same event ids is always safe. See [OutcomeError].
	ErrUnknownOutcome = errors.New("annals: outcome unknown")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("annals: store is closed")
	// ErrDataLoss: stored bytes are missing or damaged. What is undamaged can still be read. See [DataLossError].
	ErrDataLoss = errors.New("annals: data loss")
	// ErrReadOnly: the store does not take appends (any more); the message says why. Nothing was written.
	ErrReadOnly = errors.New("annals: store is read-only")
	// ErrFull: there is no space left; the store takes appends again once there is. Nothing was written.
	ErrFull = errors.New("annals: no space left")
	// ErrOverloaded: the store has too much in flight; nothing was written. Try again later.
	ErrOverloaded = errors.New("annals: overloaded")
	// ErrUnprotected: an event has personal data, and the store would keep it in plain. See [Protector].
	ErrUnprotected = errors.New("annals: personal data in a store that does not protect it")
	// ErrUnsupported: the store lacks an optional power.
	ErrUnsupported = errors.New("annals: not supported by this store")
)

// InvalidError says what part of a call is malformed. It matches [ErrInvalid].
type InvalidError struct {
	What     string // such as "event 2: tag"
	Problem  string
	reserved bool
}

func invalid(what, problem string) error { return &InvalidError{What: what, Problem: problem} }

// Error names the part and the problem.
func (e *InvalidError) Error() string { return "annals: invalid " + e.What + ": " + e.Problem }

// Is matches ErrInvalid, and ErrReserved if the problem is a system name.
func (e *InvalidError) Is(target error) bool {
	return target == ErrInvalid || e.reserved && target == ErrReserved
}

// LimitError says what is over which limit. It matches [ErrTooLarge] and [ErrInvalid].
type LimitError struct {
	What, Unit    string // such as "append" and "events"
	Limit, Actual int
}

// Error names the thing, its size and the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("annals: too large: %s has %d %s, the limit is %d", e.What, e.Actual, e.Unit, e.Limit)
}

// Is matches ErrTooLarge and ErrInvalid.
func (e *LimitError) Is(target error) bool { return target == ErrTooLarge || target == ErrInvalid }

// ConflictPositionsMax is how many conflicting positions, and events, a [Failure] lists at most.
const ConflictPositionsMax = 16

// Failure is one condition that did not hold.
type Failure struct {
	// Index is the place of the condition in the append.
	Index     int
	Condition Condition
	// Actual is the last revision that was given in the condition's stream, or [NoRevision] if it never had an event or
	// the condition is on no stream.
	Actual Revision
	// State is that of the condition's stream, or 0 if the condition is on no stream.
	State StreamState
	// Tracked is the position that is stored for the source of [TrackingAt].
	Tracked Position
	// Positions are those of the first events that are in the way and can be read, ascending: matches of [NoneSince];
	// events after the revision that [StreamAt] wanted; the first events of a stream that [NoStream] or [StreamIn] did
	// not want live; the system event that holds Tracked.
	Positions []Position
	// Events are the events at Positions, if [Condition.WithEvents] asked for them.
	Events []Recorded
}

// String writes the failure for people.
func (f Failure) String() string {
	switch f.Condition.Kind() {
	case KindNoneSince:
		if len(f.Positions) == 0 {
			return fmt.Sprintf("%s: there are", f.Condition)
		}
		return fmt.Sprintf("%s: there are, first at %d", f.Condition, f.Positions[0])
	case KindStreamExists:
		return fmt.Sprintf("%s: it does not", f.Condition)
	case KindStreamIn:
		return fmt.Sprintf("%s: it is %s", f.Condition, f.State)
	case KindTracking:
		return fmt.Sprintf("%s: it is at %d", f.Condition, f.Tracked)
	}
	if f.Actual == NoRevision {
		return fmt.Sprintf("%s: it has no event", f.Condition)
	}
	return fmt.Sprintf("%s: it is at revision %d", f.Condition, f.Actual)
}

// ConflictError lists every condition of an append that failed, in the order in which they were given. It matches
// [ErrConflict].
type ConflictError struct{ Failures []Failure }

// Error lists the failures.
func (e *ConflictError) Error() string {
	parts := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		parts[i] = f.String()
	}
	return "annals: conflict: wanted " + strings.Join(parts, "; ")
}

// Is matches ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// AheadError says what was named that does not exist yet. It matches [ErrAhead].
type AheadError struct {
	// Position that was named, and the Head it is past.
	Position, Head Position
	// Stream is set if a revision was named: Revision, of a stream whose last is Actual ([NoRevision] if it has none).
	Stream           string
	Revision, Actual Revision
}

// Error names the place and the head.
func (e *AheadError) Error() string {
	switch {
	case e.Stream == "":
		return fmt.Sprintf("annals: position %d is ahead of the head, %d", e.Position, e.Head)
	case e.Actual == NoRevision:
		return fmt.Sprintf("annals: revision %d of stream %s: the stream has no event", e.Revision, e.Stream)
	}
	return fmt.Sprintf("annals: revision %d of stream %s: the stream is at %d", e.Revision, e.Stream, e.Actual)
}

// Is matches ErrAhead.
func (e *AheadError) Is(target error) bool { return target == ErrAhead }

// IDReusedError names the events of an append whose ids are in use for other events, or were given in another order
// than they are stored in. It matches [ErrIDReused].
type IDReusedError struct{ IDs []ID }

// Error names the ids.
func (e *IDReusedError) Error() string {
	return "annals: event id reused with other content or in another order: " + joinIDs(e.IDs)
}

// Is matches ErrIDReused.
func (e *IDReusedError) Is(target error) bool { return target == ErrIDReused }

// PartialDuplicateError names the events of an append that are stored already and those that are not. It matches
// [ErrPartialDuplicate].
type PartialDuplicateError struct{ Known, New []ID }

// Error names both sets.
func (e *PartialDuplicateError) Error() string {
	return "annals: partial duplicate: stored already: " + joinIDs(e.Known) + "; not stored: " + joinIDs(e.New)
}

// Is matches ErrPartialDuplicate.
func (e *PartialDuplicateError) Is(target error) bool { return target == ErrPartialDuplicate }

func joinIDs(ids []ID) string {
	const shown = 5
	parts := make([]string, 0, shown+1)
	for i, id := range ids {
		if i == shown {
			parts = append(parts, fmt.Sprintf("and %d more", len(ids)-shown))
			break
		}
		parts = append(parts, id.String())
	}
	return strings.Join(parts, ", ")
}

// TombstonedError names a stream that has ended for good. It matches [ErrStreamTombstoned].
type TombstonedError struct{ Stream string }

// Error names the stream.
func (e *TombstonedError) Error() string { return "annals: stream " + e.Stream + " is tombstoned" }

// Is matches ErrStreamTombstoned.
func (e *TombstonedError) Is(target error) bool { return target == ErrStreamTombstoned }

// OutcomeError says what became of an append that was cut off. It matches [ErrNotWritten], or [ErrUnknownOutcome] if
// Unknown, and its cause.
type OutcomeError struct {
	Unknown bool
	Cause   error // such as context.Canceled, ErrClosed, or what the disk said
}

// Error names the outcome and the cause.
func (e *OutcomeError) Error() string {
	if e.Unknown {
		return fmt.Sprintf("%v: %v", ErrUnknownOutcome, e.Cause)
	}
	return fmt.Sprintf("%v: %v", ErrNotWritten, e.Cause)
}

// Unwrap gives the cause.
func (e *OutcomeError) Unwrap() error { return e.Cause }

// Is matches ErrUnknownOutcome or ErrNotWritten.
func (e *OutcomeError) Is(target error) bool {
	return e.Unknown && target == ErrUnknownOutcome || !e.Unknown && target == ErrNotWritten
}

// DataLossError says which stored bytes are missing or damaged. It matches [ErrDataLoss].
type DataLossError struct {
	// File and Offset say where, File relative to the store's directory.
	File   string
	Offset int64
	// First and Last are the positions that are affected; 0 if they are not known.
	First, Last Position
	Reason      string
}

// Error names the place, the positions and the reason.
func (e *DataLossError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "annals: data loss: %s at offset %d", e.File, e.Offset)
	if e.First != 0 {
		fmt.Fprintf(&b, " (positions %d to %d)", e.First, e.Last)
	}
	return b.String() + ": " + e.Reason
}

// Is matches ErrDataLoss.
func (e *DataLossError) Is(target error) bool { return target == ErrDataLoss }

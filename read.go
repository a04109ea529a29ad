package annals

import (
	"math"
	"time"
)

// ReadOption narrows or directs a read.
type ReadOption func(*ReadOptions)

// ReadOptions is what [ReadOption]s say, for those who implement stores. Make one with [NewReadOptions].
type ReadOptions struct {
	// After leaves out events at and before this position.
	After Position
	// AsOf leaves out events after this position; [NoPosition] if it was not said.
	AsOf Position
	// AsOfTime leaves out events later than this; the zero time if it was not said.
	AsOfTime time.Time
	// AsOfRevision leaves out events after the one that has this revision in the query's stream; nil if it was not said.
	AsOfRevision *Revision
	// FromRevision leaves out events before the one that has this revision in the query's stream; nil if it was not said.
	FromRevision *Revision
	// AtLeast is the position that the head must have reached before the read begins.
	AtLeast Position
	// Limit is the most events to yield; 0 if it was not said.
	Limit int
	// Backwards yields the last event first.
	Backwards bool
	// HeadInto is where to store the pinned position; nil if it was not said.
	HeadInto *Position

	limited bool
}

// NoPosition stands for "no position was said" in [ReadOptions.AsOf]. It is past every head.
const NoPosition = Position(math.MaxUint64)

// NewReadOptions applies opts to the defaults.
func NewReadOptions(opts ...ReadOption) ReadOptions {
	if len(opts) == 0 { // then they need no place that outlives the call
		return ReadOptions{AsOf: NoPosition}
	}
	return applied(opts)
}

func applied(opts []ReadOption) ReadOptions {
	o := ReadOptions{AsOf: NoPosition}
	for _, f := range opts {
		f(&o)
	}
	return o
}

// Check reports what is wrong with a read of q under these options, as an [InvalidError] or [LimitError].
func (o ReadOptions) Check(q Query, limits Limits) error {
	if err := q.Check(limits); err != nil {
		return err
	}
	if o.limited && o.Limit < 1 {
		return invalid("Limit", "must be at least 1")
	}
	if (o.AsOfRevision != nil || o.FromRevision != nil) && q.Stream() == "" {
		return invalid("query", "AsOfRevision and FromRevision need a query that names one stream; this one is "+q.String())
	}
	return nil
}

// After leaves out the events at and before p. A position past the head is [ErrAhead].
func After(p Position) ReadOption { return func(o *ReadOptions) { o.After = p } }

// AsOf reads the store as it was when p was its head. A position past the head is [ErrAhead].
func AsOf(p Position) ReadOption { return func(o *ReadOptions) { o.AsOf = p } }

// AsOfTime reads the store as it was at t: events accepted at t are part of it. For a t that has not passed yet it is
// the store as it is now.
func AsOfTime(t time.Time) ReadOption {
	if t.IsZero() { // which means that nothing was said
		t = t.Add(1)
	}
	return func(o *ReadOptions) { o.AsOfTime = t }
}

// AsOfRevision reads the store as it was when the event with revision r had just been appended to the one stream
// that the query names. A revision that was never given is [ErrAhead]. That of an event which is hidden leads to the last
// position before the next event of the stream that can be read, or to the head if there is none.
func AsOfRevision(r Revision) ReadOption { return func(o *ReadOptions) { o.AsOfRevision = &r } }

// FromRevision leaves out the events before the one that has revision r in the one stream that the query names or, if
// that one is hidden, before the next of the stream that can be read. If there is none, nothing is left.
func FromRevision(r Revision) ReadOption { return func(o *ReadOptions) { o.FromRevision = &r } }

// AtLeast waits, as long as ctx allows, until the head has reached p, and reads then.
func AtLeast(p Position) ReadOption { return func(o *ReadOptions) { o.AtLeast = p } }

// Limit yields at most n events; n must be at least 1.
func Limit(n int) ReadOption {
	return func(o *ReadOptions) { o.Limit, o.limited = n, true }
}

// Backwards yields the last event first: from the head, or from where AsOf says, down to After, exclusive.
func Backwards() ReadOption { return func(o *ReadOptions) { o.Backwards = true } }

// HeadInto stores, before the first event is yielded, the position up to which the read is complete: the head that it
// is pinned to, or the one that AsOf, AsOfTime or AsOfRevision leads to. It is the `after` of the append that follows.
func HeadInto(p *Position) ReadOption { return func(o *ReadOptions) { o.HeadInto = p } }

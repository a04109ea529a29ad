// Package retention is what a store has to remember to tell which events can be read: for each stream of which retention
// events speak, where its readable part begins. It is a table in memory, since such streams are few beside all
// streams and a look-up per event has to be cheap; it is made from the log and so may be lost.
//
// What makes it small is that visibility only ever shrinks ([annals.Retention]): what is hidden in a stream is always its
// beginning. A few numbers say how much of it, and indexes may go on holding what is hidden.
//
// A store applies every retention event, in order of position and before the event becomes visible ([Table.Apply]). A read
// pins a [View] with its head and asks it about every event that it is about to yield, as phase 1 of an append does about
// every event that an id or a condition leads to. The sequencer asks whether what came since phase 1 could
// change its outcome ([Table.Affects], [Staged]).
package retention

import (
	"iter"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annalsdb/annals"
)

// Table is what retention has done to the streams of a store. The zero Table is empty. It may be used concurrently; one
// goroutine at a time applies.
type Table struct {
	size    atomic.Int64 // of streams, so that a store without retention pays one load for an event
	mu      sync.RWMutex
	streams map[string]*version
}

// version is what is hidden of a stream from one retention event on, until the next. It does not change.
type version struct {
	at       annals.Position // of the retention event
	revision annals.Revision // what is before it is hidden
	deleted  annals.Position // what is before it was deleted
	accepted int64           // what was accepted before it is hidden, in nanoseconds since 1970
	counts   []*count        // what counts that are in force no more have hidden
	keep     annals.Retention
	ended    bool
	older    *version // for reads that are pinned to an earlier head
}

// count is a MaxCount that was in force until a position. What it hid there is worked out when somebody asks, and then kept,
// so that to apply an event never takes a look at the index.
type count struct {
	until annals.Position
	most  int
	known atomic.Uint64 // the revision before which it hides, plus 1; 0 if that was not worked out yet
}

// Next tells the revision that the next event of a stream had when upto was the head: one more than that of the last event at
// or before it, 0 if there is none. Its errors are passed on.
type Next func(stream string, upto annals.Position) (annals.Revision, error)

// hides is the revision before which the count hides.
func (c *count) hides(stream string, next Next) (annals.Revision, error) {
	if known := c.known.Load(); known > 0 {
		return annals.Revision(known - 1), nil
	}
	r, err := beyond(stream, c.most, c.until, next)
	if err == nil {
		c.known.Store(uint64(r) + 1)
	}
	return r, err
}

// beyond is the revision before which a stream has more than so many.
func beyond(stream string, most int, upto annals.Position, next Next) (annals.Revision, error) {
	n, err := next(stream, upto)
	if err != nil {
		return 0, err
	}
	return n - min(n, annals.Revision(most)), nil
}

// Len is the number of streams that the table knows.
func (t *Table) Len() int { return int(t.size.Load()) }

// Apply does what a retention event at this position, accepted at this time, does to a stream ([annals.RetentionChangeOf]).
//
// An event that was applied before is ignored, so that a table that was loaded may be brought up to date from any
// earlier position.
func (t *Table) Apply(change annals.RetentionChange, at annals.Position, accepted time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.streams[change.Stream]
	v := version{accepted: math.MinInt64}
	if old != nil {
		if old.at >= at {
			return
		}
		v = *old
	}
	v.at, v.older = at, old
	v.accepted = max(v.accepted, agedBefore(v.keep, accepted)) // what the old settings hide now stays hidden
	switch change.Type {
	case annals.TypeRetention:
		if most := v.keep.MaxCount; most > 0 && (change.Keep.MaxCount == 0 || change.Keep.MaxCount > most) {
			v.counts = append(slices.Clip(undominated(v.counts, most)), &count{until: at - 1, most: most})
		}
		v.keep = change.Keep
		v.revision = max(v.revision, change.Keep.TruncateBefore)
	case annals.TypeDeleted:
		v.deleted = at
	case annals.TypeTombstoned:
		v.ended = true
	}
	if t.streams == nil {
		t.streams = map[string]*version{}
	}
	t.streams[strings.Clone(change.Stream)] = &v // it may be part of a large buffer
	t.size.Store(int64(len(t.streams)))
}

// undominated leaves out the counts that hide nothing beside a later one of most: those that keep as many or more.
func undominated(counts []*count, most int) []*count {
	for n := len(counts); n > 0 && counts[n-1].most >= most; n-- {
		counts = counts[:n-1]
	}
	return counts
}

// agedBefore is when an event must have been accepted not to be too old at the time now.
func agedBefore(keep annals.Retention, now time.Time) int64 {
	if keep.MaxAge == 0 {
		return math.MinInt64
	}
	return now.Add(-keep.MaxAge).UnixNano()
}

// Forget lets go of what only reads pinned to heads before p would ask for.
func (t *Table) Forget(p annals.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for stream, v := range t.streams {
		if v.older != nil {
			t.streams[stream] = v.since(p)
		}
	}
}

// since is a copy of v without what was in force before p only. Readers follow the links of v without a lock, so v itself
// stays as it is.
func (v *version) since(p annals.Position) *version {
	kept := *v
	if v.at <= p {
		kept.older = nil
	} else if v.older != nil {
		kept.older = v.older.since(p)
	}
	return &kept
}

// of is what was in force for a stream when head was the head; nil if nothing was.
func (t *Table) of(stream string, head annals.Position) *version {
	if t.size.Load() == 0 {
		return nil
	}
	t.mu.RLock()
	v := t.streams[stream]
	t.mu.RUnlock()
	for v != nil && v.at > head {
		v = v.older
	}
	return v
}

// kept is the stream that e is in or, if it is a retention event, speaks of. It looks at names alone: the data may be the
// caller's, and the caller gone.
func kept(e *annals.Event) string {
	if isChange(e) {
		return strings.TrimPrefix(e.Stream, annals.RetentionStream(""))
	}
	return e.Stream
}

func isChange(e *annals.Event) bool {
	return e.Type == annals.TypeRetention || e.Type == annals.TypeDeleted || e.Type == annals.TypeTombstoned
}

// Affects reports whether retention events after a position, at which an append was found to be allowed, may change that:
// one of its streams has ended, or a stream that it wants to exist, or wants in some state, was hidden. That more is
// hidden than was when the ids and the other conditions were looked at changes nothing for them: what was not found before is
// not found now either.
func (t *Table) Affects(events []annals.Event, conds iter.Seq[annals.Condition], after annals.Position) bool {
	if t.size.Load() == 0 {
		return false
	}
	return affects(events, conds, func(stream string) (ended, changed bool) {
		v := t.of(stream, math.MaxUint64)
		changed = v != nil && v.at > after
		return changed && v.ended, changed
	})
}

func affects(events []annals.Event, conds iter.Seq[annals.Condition], since func(stream string) (ended, changed bool)) bool {
	for i := range events {
		if ended, _ := since(kept(&events[i])); ended {
			return true
		}
	}
	for c := range conds {
		switch c.Kind() {
		case annals.KindStreamExists, annals.KindStreamIn:
			if _, changed := since(c.Stream()); changed {
				return true
			}
		}
	}
	return false
}

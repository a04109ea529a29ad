package index

import (
	"slices"

	"github.com/annalsdb/annals"
)

// Memory is the part of the index that is in memory: every event from [Memory.Floor] on. While it is held the index does not
// change, so that it is for the one who publishes, and for a short time. [Memory.Release] it.
//
// Its answers may say yes too often, and never no.
type Memory struct{ x *Index }

// Memory is what is in memory now.
func (x *Index) Memory() Memory {
	x.mu.RLock()
	return Memory{x}
}

// Release lets the index change again.
func (m Memory) Release() { m.x.mu.RUnlock() }

// Floor is the first position that is in memory.
func (m Memory) Floor() uint64 { return m.x.set.floor() }

// Latest is the last revision of a stream, if it has an event in memory. It is exact.
func (m Memory) Latest(name string, t Term) (annals.Revision, bool) {
	for _, e := range slices.Backward(m.x.set.epochs) {
		if r, found := e.latest(name, t); found {
			return r, true
		}
	}
	return annals.NoRevision, false
}

// Any reports whether an event after a position may match.
func (m Memory) Any(p *Plan, after uint64) bool {
	return m.any(after, func(e *epoch) bool {
		r := Range{After: after, Upto: m.x.head.Load()}.within(e.first, e.last)
		return !r.empty() && e.any(p, r)
	})
}

// HasTerm reports whether a term occurs after a position.
func (m Memory) HasTerm(t Term, after uint64) bool {
	return m.any(after, func(e *epoch) bool { return e.recent(t, after) })
}

// HasID reports whether an event with this id may have been added to this stream after a position.
func (m Memory) HasID(k *Keys, after uint64) bool {
	return m.any(after, func(e *epoch) bool { return e.hasID(k, after) })
}

// any asks the epochs that have positions after the given one.
func (m Memory) any(after uint64, ask func(*epoch) bool) bool {
	for _, e := range slices.Backward(m.x.set.epochs) {
		if e.last <= after {
			break
		}
		if ask(e) {
			return true
		}
	}
	return false
}

// hasID reports whether an event after a position may have the id and the stream.
func (e *epoch) hasID(k *Keys, after uint64) bool {
	if isTimed(k.EventID) && !e.ids.has(k.EventID) || !e.recent(k.id, after) {
		return false
	}
	in := e.find(k.stream)
	if in == nil {
		return false
	}
	for _, o := range within(e.first, e.find(k.id).offsets, after, e.last) {
		if _, both := slices.BinarySearch(in.offsets, o); both {
			return true
		}
	}
	return false
}

package index

import (
	"cmp"
	"math"
	"slices"
)

// Cursor walks over positions in one direction. It speaks of keys: a key is the position itself, or, backwards, its
// complement, so that keys ascend in either direction and only lists and ranges know which it is. It is for one goroutine.
type Cursor interface {
	// Seek is the first key that is not below the given one; [Done] if there is none. Keys asked for never decrease.
	Seek(key uint64) uint64
	// AtMost is an upper bound of the number of keys.
	AtMost() int
	// Err is why the cursor was done before its end, if it was.
	Err() error
}

// Done is past every key.
const Done = uint64(math.MaxUint64)

// Position is the position of a key.
func Position(key uint64, backwards bool) uint64 {
	if backwards {
		return ^key
	}
	return key
}

// Range is a part of the log, in (After, Upto], and the direction in which it is walked over.
type Range struct {
	After, Upto uint64
	Backwards   bool
}

func (r Range) empty() bool { return r.After >= r.Upto }

// within is what r has of the positions from first to last.
func (r Range) within(first, last uint64) Range {
	r.After, r.Upto = max(r.After, first-1), min(r.Upto, last)
	return r
}

// noneCursor has no key.
type noneCursor struct{}

func (noneCursor) Seek(uint64) uint64 { return Done }
func (noneCursor) AtMost() int        { return 0 }
func (noneCursor) Err() error         { return nil }

// listCursor walks over what is left of an ascending list of offsets from a position.
type listCursor struct {
	base      uint64
	offsets   []uint32
	backwards bool
}

func (l *listCursor) Seek(key uint64) uint64 {
	if l.backwards {
		return l.seekBack(^key)
	}
	if key > l.base {
		from := key - l.base
		l.offsets = l.offsets[gallop(len(l.offsets), func(i int) bool { return uint64(l.offsets[i]) >= from }):]
	}
	if len(l.offsets) == 0 {
		return Done
	}
	return l.base + uint64(l.offsets[0])
}

func (l *listCursor) seekBack(p uint64) uint64 {
	n := len(l.offsets)
	if p < l.base {
		n = 0
	} else {
		upto := p - l.base
		n -= gallop(n, func(i int) bool { return uint64(l.offsets[n-1-i]) <= upto })
	}
	if l.offsets = l.offsets[:n]; n == 0 {
		return Done
	}
	return ^(l.base + uint64(l.offsets[n-1]))
}

func (l *listCursor) AtMost() int { return len(l.offsets) }
func (*listCursor) Err() error    { return nil }

// gallop is the first i below n for which there is true, or n. It is quick if that is near.
func gallop(n int, there func(int) bool) int {
	step := 1
	low, high := 0, 0 // everything below low is not there yet
	for high < n && !there(high) {
		low = high + 1
		high += step
		step *= 2
	}
	high = min(high, n)
	for low < high {
		if middle := low + (high-low)/2; there(middle) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

// within cuts an ascending list to (after, upto].
func within(base uint64, offsets []uint32, after, upto uint64) []uint32 {
	n := len(offsets)
	if n == 0 || upto < base || base+uint64(offsets[n-1]) <= after {
		return nil
	}
	if base+uint64(offsets[n-1]) > upto {
		i, _ := slices.BinarySearch(offsets, uint32(upto-base)+1)
		offsets = offsets[:i]
	}
	if after >= base && len(offsets) > 0 && base+uint64(offsets[0]) <= after {
		i, _ := slices.BinarySearch(offsets, uint32(after-base)+1)
		offsets = offsets[i:]
	}
	return offsets
}

// rangeCursor walks over every position.
type rangeCursor struct{ Range }

func (r rangeCursor) Seek(key uint64) uint64 {
	if r.empty() {
		return Done
	}
	first, last := r.After+1, r.Upto
	if r.Backwards {
		first, last = ^r.Upto, ^(r.After + 1)
	}
	if key = max(key, first); key > last {
		return Done
	}
	return key
}

func (r rangeCursor) AtMost() int { return int(r.Upto - min(r.After, r.Upto)) }
func (rangeCursor) Err() error    { return nil }

// intersection walks over what all its cursors have, the shortest first.
type intersection []Cursor

func (a intersection) Seek(key uint64) uint64 {
	for i := 0; i < len(a) && key != Done; i++ {
		if at := a[i].Seek(key); at > key {
			key = at
			if i > 0 {
				i = -1 // those before have to catch up
			}
		}
	}
	return key
}

func (a intersection) AtMost() int { return a[0].AtMost() }
func (a intersection) Err() error  { return firstErr(a) }

// intersect walks over what all have.
func intersect(all []Cursor) Cursor {
	if len(all) == 1 {
		return all[0]
	}
	slices.SortFunc(all, func(a, b Cursor) int { return a.AtMost() - b.AtMost() })
	return intersection(all)
}

// union walks over what any of its cursors has. When one of them fails it is done at once: the rest of that one's keys lie
// among those of the others.
type union struct {
	heads []headed // a heap by the key at which each cursor is
	err   error
}

type headed struct {
	Cursor
	at uint64
}

func unite(all []Cursor) Cursor {
	switch len(all) {
	case 0:
		return noneCursor{}
	case 1:
		return all[0]
	}
	u := &union{heads: make([]headed, len(all))}
	for i, c := range all {
		u.heads[i].Cursor = c
	}
	return u
}

func (u *union) Seek(key uint64) uint64 {
	if u.err != nil {
		return Done
	}
	for first := &u.heads[0]; first.at < key || first.at == 0; {
		if first.at = first.Seek(key); first.at == Done {
			if u.err = first.Err(); u.err != nil {
				return Done
			}
		}
		u.sink()
	}
	return u.heads[0].at
}

// sink moves the first down to where it belongs.
func (u *union) sink() {
	h := u.heads
	for i := 0; ; {
		least := 2*i + 1
		if least >= len(h) {
			return
		}
		if other := least + 1; other < len(h) && h[other].at < h[least].at {
			least = other
		}
		if h[i].at <= h[least].at {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

func (u *union) AtMost() int {
	n := 0
	for i := range u.heads {
		n += u.heads[i].AtMost()
	}
	return n
}

func (u *union) Err() error { return u.err }

func firstErr(all []Cursor) error {
	for _, c := range all {
		if err := c.Err(); err != nil {
			return err
		}
	}
	return nil
}

// except leaves hidden positions out. The wrong ones are never hidden: no name has the term of what is hidden.
type except struct {
	Cursor
	hidden Cursor
}

func (e *except) Seek(key uint64) uint64 {
	for {
		key = e.Cursor.Seek(key)
		if key == Done || e.hidden.Seek(key) != key {
			return key
		}
		key++
	}
}

func (e *except) Err() error { return cmp.Or(e.Cursor.Err(), e.hidden.Err()) }

package engine

import (
	"math"
	"slices"

	"github.com/annalsdb/annals"
)

// cursor walks over positions in one direction. It speaks of keys: a key is the position itself, or, backwards, its
// complement, so that keys ascend in either direction and only lists and ranges know which it is.
type cursor interface {
	// seek is the first key that is not below the given one; done if there is none. Keys asked for never decrease.
	seek(key uint64) uint64
	// atMost is an upper bound of the number of keys.
	atMost() int
}

// done is past every key.
const done = uint64(math.MaxUint64)

func keyOf(p uint64, backwards bool) uint64 {
	if backwards {
		return ^p
	}
	return p
}

// compile makes the cursor over the events of q in (after, upto]. It finds them exactly.
func (x *index) compile(q annals.Query, after, upto uint64, backwards bool) cursor {
	x.mu.RLock()
	defer x.mu.RUnlock()
	cut := cut{after, upto, backwards}
	var items union
	for _, it := range q.Items() {
		items = append(items, x.compileItem(&it, cut))
	}
	c := items.simplest()
	if system := within(x.system, after, upto); !q.IncludesSystem() && len(system) > 0 {
		return &except{cursor: c, hidden: listCursor{positions: system, backwards: backwards}}
	}
	return c
}

// cut is the part of the log that is looked at.
type cut struct {
	after, upto uint64
	backwards   bool
}

func (c cut) list(positions []uint64) cursor {
	return &listCursor{positions: within(positions, c.after, c.upto), backwards: c.backwards}
}

func (c cut) named(m lists, name string) cursor {
	if l := m[name]; l != nil {
		return c.list(l.positions)
	}
	return &listCursor{}
}

func (x *index) compileItem(it *annals.Item, c cut) cursor {
	var all intersection
	if it.Stream != "" {
		var positions []uint64
		if s := x.streams[it.Stream]; s != nil {
			positions = s.positions
		}
		all = append(all, c.list(positions))
	}
	if it.Category != "" {
		all = append(all, c.named(x.categories, it.Category))
	}
	if !it.ID.IsZero() {
		all = append(all, c.list(x.withIDLocked(it.ID)))
	}
	for _, t := range it.Tags {
		all = append(all, c.named(x.tags, t))
	}
	if len(it.Types) > 0 {
		var types union
		for _, t := range it.Types {
			types = append(types, c.named(x.types, t))
		}
		all = append(all, types.simplest())
	}
	switch len(all) {
	case 0:
		return rangeCursor(c)
	case 1:
		return all[0]
	}
	slices.SortFunc(all, func(a, b cursor) int { return a.atMost() - b.atMost() })
	return all
}

// listCursor walks over what is left of an ascending list.
type listCursor struct {
	positions []uint64
	backwards bool
}

func (l *listCursor) seek(key uint64) uint64 {
	if l.backwards {
		return l.seekBack(^key)
	}
	l.positions = l.positions[gallop(len(l.positions), func(i int) bool { return l.positions[i] >= key }):]
	if len(l.positions) == 0 {
		return done
	}
	return l.positions[0]
}

func (l *listCursor) seekBack(p uint64) uint64 {
	n := len(l.positions)
	n -= gallop(n, func(i int) bool { return l.positions[n-1-i] <= p })
	l.positions = l.positions[:n]
	if n == 0 {
		return done
	}
	return ^l.positions[n-1]
}

func (l *listCursor) atMost() int { return len(l.positions) }

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

// rangeCursor walks over every position.
type rangeCursor cut

func (r rangeCursor) seek(key uint64) uint64 {
	if r.after >= r.upto {
		return done
	}
	first, last := r.after+1, r.upto
	if r.backwards {
		first, last = ^r.upto, ^(r.after + 1)
	}
	if key = max(key, first); key > last {
		return done
	}
	return key
}

func (r rangeCursor) atMost() int { return int(r.upto - min(r.after, r.upto)) }

// intersection walks over what all its cursors have, the shortest first.
type intersection []cursor

func (a intersection) seek(key uint64) uint64 {
	for i := 0; i < len(a) && key != done; i++ {
		if at := a[i].seek(key); at > key {
			key = at
			if i > 0 {
				i = -1 // those before have to catch up
			}
		}
	}
	return key
}

func (a intersection) atMost() int { return a[0].atMost() }

// union walks over what any of its cursors has.
type union []cursor

func (u union) simplest() cursor {
	if len(u) == 1 {
		return u[0]
	}
	return u
}

func (u union) seek(key uint64) uint64 {
	least := done
	for _, c := range u {
		least = min(least, c.seek(key))
	}
	return least
}

func (u union) atMost() int {
	n := 0
	for _, c := range u {
		n += c.atMost()
	}
	return n
}

// except leaves hidden positions out.
type except struct {
	cursor
	hidden listCursor
}

func (e *except) seek(key uint64) uint64 {
	for {
		key = e.cursor.seek(key)
		if key == done || e.hidden.seek(key) != key {
			return key
		}
		key++
	}
}

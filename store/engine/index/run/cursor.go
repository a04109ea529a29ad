package run

import "math"

// Done is past every key of a [Cursor].
const Done = uint64(math.MaxUint64)

// Cursor walks over the positions of a list in one direction. It speaks of keys: a key is the position itself, or,
// backwards, its complement, so that keys ascend in either direction. It is for one goroutine.
type Cursor struct {
	r         *Reader
	e         Entry
	backwards bool
	over      bool
	err       error
	first     uint64 // of the run; what follows is counted from it
	low, high uint32 // between these the positions are, both included

	// window is consecutive positions of the list. Those that are passed lie on one side of place.
	window []uint32
	place  int
	index  uint32 // in the list, of the first of the window
	before uint32 // the position before the window, or none
	few    [2]uint32
	path   path
}

// Cursor makes a cursor over the positions of e in (after, upto]. Nothing is read before it is asked.
func (r *Reader) Cursor(e Entry, after, upto uint64, backwards bool) *Cursor {
	c := &Cursor{r: r, e: e, backwards: backwards, first: r.trailer.meta.First}
	upto = min(upto, e.Last)
	if e.Count == 0 || after >= upto || upto < e.First {
		c.over = true
		return c
	}
	c.low, c.high = uint32(max(after+1, e.First)-c.first), uint32(upto-c.first)
	return c
}

// Seek gives the first key that is not below the given one, [Done] if there is none or something failed. Keys asked for
// never decrease.
func (c *Cursor) Seek(key uint64) uint64 {
	if c.over {
		return Done
	}
	if c.backwards {
		p := ^key
		if p < c.first+uint64(c.low) {
			return c.end(nil)
		}
		if p = uint64(c.back(uint32(min(p-c.first, uint64(c.high))))); c.over || p < uint64(c.low) {
			return c.end(c.err)
		}
		return ^(c.first + p)
	}
	if key > c.first+uint64(c.high) {
		return c.end(nil)
	}
	p := c.forward(uint32(max(key, c.first+uint64(c.low)) - c.first))
	if c.over || p > c.high {
		return c.end(c.err)
	}
	return c.first + uint64(p)
}

// AtMost is how many keys there can be at most from the last one that was found on, that one included.
func (c *Cursor) AtMost() int {
	if c.over {
		return 0
	}
	left, span := uint64(c.e.Count), uint64(c.high-c.low)+1
	if len(c.window) > 0 {
		at := c.window[c.place]
		if c.backwards {
			left, span = uint64(c.index)+uint64(c.place)+1, uint64(at-c.low)+1
		} else {
			left, span = left-min(left, uint64(c.index)+uint64(c.place)), uint64(c.high-at)+1
		}
	}
	return int(min(left, span, math.MaxInt))
}

// Err tells, once there is no more, whether that is because something failed: the file could not be read, or it is
// [ErrDamaged].
func (c *Cursor) Err() error { return c.err }

// Close lets the memory of the cursor be used by others at once. It need not be called; the end of the list does the same.
func (c *Cursor) Close() { _ = c.end(c.err) }

// end is the end, for a reason if there is one.
func (c *Cursor) end(err error) uint64 {
	c.over, c.err = true, err
	c.path.free(c.r)
	return Done
}

// forward is the first position that is not below p, which is not above the last.
func (c *Cursor) forward(p uint32) uint32 {
	w, i := c.window, c.place
	if i+1 < len(w) {
		if w[i] >= p {
			return w[i]
		}
		if w[i+1] >= p { // mostly it is the next
			c.place++
			return w[i+1]
		}
	}
	if n := len(w); n == 0 || w[n-1] < p {
		if err := c.load(p); err != nil {
			c.over, c.err = true, err
			return 0
		}
	}
	c.place += int(rank(c.window[c.place:], p))
	return c.window[c.place]
}

// back is the last position that is not above p, which is not below the first.
func (c *Cursor) back(p uint32) uint32 {
	w, i := c.window, c.place
	if i > 0 && i < len(w) {
		if w[i] <= p {
			return w[i]
		}
		if w[i-1] <= p {
			c.place--
			return w[i-1]
		}
	}
	if len(w) == 0 || w[0] > p {
		if err := c.loadBack(p); err != nil {
			c.over, c.err = true, err
			return 0
		}
	}
	// There is one that is not above p, so neither is the one before the first that is.
	c.place = search(c.place+1, func(i int) bool { return c.window[i] > p }) - 1
	return c.window[c.place]
}

// load makes the window one that holds the first position that is not below p. There is one: p is not above the last.
func (c *Cursor) load(p uint32) error {
	if !c.e.long {
		return c.loadShort(0)
	}
	number, err := c.loadGroup(p)
	if err == nil && c.window[len(c.window)-1] < p {
		err = damaged(number, "the list ends before its last position")
	}
	c.place = 0
	return err
}

// loadBack makes the window one that holds the last position that is not above p. There is one: p is not below the first.
func (c *Cursor) loadBack(p uint32) error {
	if !c.e.long {
		return c.loadShort(int(c.e.Count) - 1)
	}
	if len(c.window) > 0 {
		p = min(p, c.before)
	}
	number, err := c.loadGroup(p)
	if err == nil && c.window[0] > p && c.before <= p {
		p = c.before // the last position of the group before
		number, err = c.loadGroup(p)
	}
	if err == nil && c.window[0] > p {
		err = damaged(number, "the list begins behind its first position")
	}
	c.place = len(c.window) - 1
	return err
}

func (c *Cursor) loadShort(place int) (err error) {
	c.index, c.before, c.place = 0, none, place
	if c.e.Count <= uint32(len(c.few)) {
		c.window = c.few[:0]
	} else {
		c.window = make([]uint32, 0, c.e.Count)
	}
	c.window, err = c.r.appendShort(c.window, &c.e)
	return err
}

// loadGroup makes the window the first group whose last position is not below p, or the last group.
func (c *Cursor) loadGroup(p uint32) (number uint32, err error) {
	l, err := c.path.toPosition(c.r, &c.e, p)
	if err != nil {
		return 0, err
	}
	if c.window == nil {
		c.window = make([]uint32, 0, groupMax)
	}
	group := l.ofPosition(p)
	c.index, c.before = l.indexOf(group), l.beforeGroup(group)
	c.window, err = l.decode(c.window[:0], group, c.e.Count)
	return l.number, err
}

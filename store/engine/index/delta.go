package index

// Delta is the index of the events that are being packed into a frame. It belongs to one goroutine. The zero Delta is
// ready for [Delta.Reset].
type Delta struct{ e *epoch }

// Reset makes it empty; the next event has the given position.
func (d *Delta) Reset(first uint64) {
	if d.e == nil {
		d.e = newEpoch(first)
		return
	}
	d.e.reset(first)
}

// Add adds the event at the next position.
func (d *Delta) Add(k *Keys) { d.e.add(k) }

// Any reports whether an event after a position may match.
func (d *Delta) Any(p *Plan, after uint64) bool {
	r := Range{After: max(after, d.e.first-1), Upto: d.e.last}
	return !r.empty() && d.e.any(p, r)
}

// Set is a set of terms. The zero Set is empty and ready.
type Set struct {
	slots []Term // open addressing; 0 is free
	n     int
}

// setMin is the size of a small set.
const setMin = 256

// Clear makes it empty, and keeps its memory unless it is large.
func (s *Set) Clear() {
	if len(s.slots) > keptLists {
		s.slots = nil
	}
	if s.n > 0 {
		clear(s.slots)
		s.n = 0
	}
}

// Add adds a term.
func (s *Set) Add(t Term) {
	if 2*s.n >= len(s.slots) {
		s.grow()
	}
	if i, has := s.place(t); !has {
		s.slots[i] = max(t, 1)
		s.n++
	}
}

// Has reports whether it was added.
func (s *Set) Has(t Term) bool {
	if s.n == 0 {
		return false
	}
	_, has := s.place(t)
	return has
}

func (s *Set) place(t Term) (uint64, bool) {
	t = max(t, 1)
	mask := uint64(len(s.slots) - 1)
	for i := t & mask; ; i = (i + 1) & mask {
		if s.slots[i] == t || s.slots[i] == 0 {
			return i, s.slots[i] == t
		}
	}
}

func (s *Set) grow() {
	old := s.slots
	s.slots = make([]Term, max(setMin, 2*len(old)))
	for _, t := range old {
		if t != 0 {
			i, _ := s.place(t)
			s.slots[i] = t
		}
	}
}

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

// Events is how many were added.
func (d *Delta) Events() int { return d.e.events() }

// Any reports whether an event after a position may match.
func (d *Delta) Any(p *Plan, after uint64) bool {
	r := Range{After: max(after, d.e.first-1), Upto: d.e.last}
	return !r.empty() && d.e.any(p, r)
}

// HasID reports whether an event with this id may have been added to this stream.
func (d *Delta) HasID(k *Keys) bool { return d.e.hasID(k, d.e.first-1) }

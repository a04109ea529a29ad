package engine

import (
	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/retention"
)

// delta is the events of the frame that is being packed, with exact keys. It is private to the sequencer, and indexed only as
// far as it is asked for, since an append alone in its frame asks for nothing.
type delta struct {
	first     uint64 // the position of the first event
	count     int
	staged    []*request
	revisions map[string]annals.Revision // the last of each stream that the frame touches

	ids       index.Set // of all events
	retention retention.Staged

	index   index.Delta // of the first indexed requests
	indexed int
}

// deltaEventsMax is the largest delta whose memory is kept for the next frame: to clear a map takes as long as it ever
// was large.
const deltaEventsMax = 4096

// reset begins a frame whose first event has this position.
func (d *delta) reset(first uint64) {
	d.forget()
	d.first = first
	if d.revisions == nil {
		d.revisions = map[string]annals.Revision{}
	}
}

// forget lets go of the events: their data is the callers'.
func (d *delta) forget() {
	d.retention.Forget()
	if d.count > deltaEventsMax {
		*d = delta{}
		return
	}
	clear(d.staged)
	d.staged = d.staged[:0]
	d.count, d.indexed = 0, 0
	d.ids.Clear()
	clear(d.revisions)
}

func (d *delta) tip() uint64 { return d.first + uint64(d.count) - 1 }

// stage gives the events of r the next places.
func (d *delta) stage(r *request, m index.Memory) {
	r.first = d.tip() + 1
	for i := range r.keys {
		r.keys[i].Revision = d.next(r, i, m)
		d.ids.Add(r.keys[i].Identity())
	}
	for _, c := range r.changes {
		d.retention.Add(c.RetentionChange)
	}
	d.staged = append(d.staged, r)
	d.count += len(r.events)
}

// next is the revision of the event i of r in its stream.
func (d *delta) next(r *request, i int, m index.Memory) annals.Revision {
	k := &r.keys[i]
	if k.Stream == "" {
		return annals.NoRevision
	}
	last, exists := d.revisions[k.Stream]
	if !exists {
		last, exists = m.Latest(k.Stream, k.StreamTerm())
	}
	if !exists {
		last = r.bases[i]
	}
	next := last + 1 // of a stream that has no event, too: NoRevision + 1 is 0
	d.revisions[k.Stream] = next
	return next
}

// affects reports whether an event that is staged may change what was found for r before.
func (d *delta) affects(r *request) bool {
	if d.count == 0 {
		return false
	}
	if d.retention.Affects(r.events, r.conditions) {
		return true
	}
	for i := range r.events {
		if !r.made(i) && d.ids.Has(r.keys[i].Identity()) {
			return true
		}
	}
	for i := range r.conds {
		if r.conds[i].affectedByFrame(d) {
			return true
		}
	}
	return false
}

// recent is the index of all that is staged.
func (d *delta) recent() *index.Delta {
	if d.indexed == 0 {
		d.index.Reset(d.first)
	}
	for ; d.indexed < len(d.staged); d.indexed++ {
		for i := range d.staged[d.indexed].keys {
			d.index.Add(&d.staged[d.indexed].keys[i])
		}
	}
	return &d.index
}

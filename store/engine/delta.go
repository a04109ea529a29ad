package engine

import (
	"github.com/annalsdb/annals"
)

// delta is the events of the frame that is being packed, with exact keys: an index like that of the log, private to
// the sequencer and made only as far as it is asked for, since an append alone in its frame asks for nothing.
type delta struct {
	first     uint64 // the position of the first entry
	entries   []entry
	revisions map[string]annals.Revision // the last of each stream that the frame touches

	ids     map[idKey]struct{} // of the first idCount entries
	idCount int
	index   *index // of the first count entries
	count   int
}

// idKey is what makes an append idempotent.
type idKey struct {
	stream string
	id     annals.ID
}

// deltaEventsMax is the largest delta whose memory is kept for the next frame: to clear a map takes as long as it ever
// was large.
const deltaEventsMax = 4096

// reset begins a frame whose first event has this position.
func (d *delta) reset(first uint64) {
	d.forget()
	d.first = first
	if d.revisions == nil {
		d.revisions, d.ids = map[string]annals.Revision{}, map[idKey]struct{}{}
	}
}

// forget lets go of the events: their data is the callers'.
func (d *delta) forget() {
	if len(d.entries) > deltaEventsMax {
		*d = delta{}
		return
	}
	clear(d.entries)
	d.entries = d.entries[:0]
	d.index, d.count, d.idCount = nil, 0, 0
	clear(d.revisions)
	clear(d.ids)
}

func (d *delta) tip() uint64 { return d.first + uint64(len(d.entries)) - 1 }

// stage gives the events of r the next places.
func (d *delta) stage(r *request, x *index) {
	r.first = d.tip() + 1
	for i := range r.events {
		e := &r.events[i]
		r.revisions[i] = d.next(e.Stream, x)
		d.entries = append(d.entries, entry{event: e, revision: r.revisions[i]})
	}
}

// next is the revision of the next event in a stream.
func (d *delta) next(stream string, x *index) annals.Revision {
	if stream == "" {
		return annals.NoRevision
	}
	last, exists := d.revisions[stream]
	if !exists {
		last, exists = x.last(stream, d.first-1)
	}
	next := annals.Revision(0)
	if exists {
		next = last + 1
	}
	d.revisions[stream] = next
	return next
}

// affects reports whether an event that is staged may change what was found for r before.
func (d *delta) affects(r *request) bool {
	if len(d.entries) == 0 {
		return false
	}
	for i := range r.events {
		if r.made(i) {
			continue
		}
		if _, staged := d.stagedIDs()[idKey{r.events[i].Stream, r.events[i].ID}]; staged {
			return true
		}
	}
	return len(r.conds) > 0 && d.staged().affectsConditions(r.conds, d.first-1, d.tip())
}

func (d *delta) stagedIDs() map[idKey]struct{} {
	for ; d.idCount < len(d.entries); d.idCount++ {
		e := d.entries[d.idCount].event
		d.ids[idKey{e.Stream, e.ID}] = struct{}{}
	}
	return d.ids
}

func (d *delta) staged() *index {
	if d.index == nil {
		d.index = newIndex()
	}
	for ; d.count < len(d.entries); d.count++ {
		d.index.add(d.entries[d.count], d.first+uint64(d.count))
	}
	return d.index
}

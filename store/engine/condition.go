package engine

import (
	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/index"
)

// condition is one of an append's, in terms. It never changes, and belongs to the request: the caller may be gone.
type condition struct {
	annals.Condition
	plan   index.Plan // of a query
	stream index.Term
}

func newConditions(h index.Hasher, conds []annals.Condition) []condition {
	if len(conds) == 0 {
		return nil
	}
	made := make([]condition, len(conds))
	for i, c := range conds {
		made[i].Condition = c
		switch c.Kind() {
		case annals.KindNoneSince:
			made[i].plan = h.Plan(c.Query())
		case annals.KindTracking:
			made[i].stream = h.Stream(annals.TrackingStream(c.Source()))
		default:
			made[i].stream = h.Stream(c.Stream())
		}
	}
	return made
}

// conditions yields them as they were given.
func (r *request) conditions(yield func(annals.Condition) bool) {
	for i := range r.conds {
		if !yield(r.conds[i].Condition) {
			return
		}
	}
}

// affectedSince reports whether an event after a position may change what was found before.
func (c *condition) affectedSince(m index.Memory, after uint64) bool {
	switch c.Kind() {
	case annals.KindStreamAt, annals.KindNoStream, annals.KindStreamIn, annals.KindTracking:
		return m.HasTerm(c.stream, after)
	case annals.KindNoneSince:
		return m.Any(&c.plan, max(after, uint64(c.After())))
	default:
		return false // a stream that exists goes on existing
	}
}

// affectedByFrame is the same for the events of the frame that is being packed.
func (c *condition) affectedByFrame(d *delta) bool {
	switch c.Kind() {
	case annals.KindTracking:
		_, touched := d.revisions[annals.TrackingStream(c.Source())]
		return touched
	case annals.KindStreamAt, annals.KindNoStream, annals.KindStreamIn:
		_, touched := d.revisions[c.Stream()]
		return touched
	case annals.KindNoneSince:
		return d.recent().Any(&c.plan, uint64(c.After()))
	default:
		return false
	}
}

// affectedSince reports whether what memory holds after the head at which phase 1 found nothing against r may change that.
// Memory may not even reach back so far.
func (r *request) affectedSince(m index.Memory) bool {
	if m.Floor() > r.checked+1 {
		return true
	}
	for i := range r.keys {
		if !r.made(i) && m.HasID(&r.keys[i], r.checked) {
			return true
		}
	}
	for i := range r.conds {
		if r.conds[i].affectedSince(m, r.checked) {
			return true
		}
	}
	return false
}

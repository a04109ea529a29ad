package retention

import (
	"time"

	"github.com/annalsdb/annals"
)

// View is what can be read at one head and one moment. It belongs to one goroutine.
type View struct {
	table *Table
	head  annals.Position
	now   time.Time
	next  func(stream string) annals.Revision

	// The stream asked about last: events of one stream often come in a row.
	stream string
	edge   Edge
	known  bool
	asked  bool
}

// At is what can be read when head is the head and now the time, which must not be earlier than the last event's. Next
// is the revision that the next event of a stream has at that head; it is asked for streams with MaxCount only.
func (t *Table) At(head annals.Position, now time.Time, next func(stream string) annals.Revision) *View {
	return &View{table: t, head: head, now: now, next: next}
}

// Edge is where the readable part of a stream begins. An event is hidden if any of the bounds hides it.
type Edge struct {
	// Revision: lower ones are hidden.
	Revision annals.Revision
	// Position: lower ones are hidden.
	Position annals.Position
	// Accepted: what was accepted before is hidden, in nanoseconds since 1970.
	Accepted int64
	// Ended: everything is hidden.
	Ended bool
}

// Hides reports whether an event of the stream with these properties is hidden. It is monotone: it hides all events of the
// stream before one that it hides, so a binary search finds the first that can be read.
func (e Edge) Hides(p annals.Position, r annals.Revision, accepted time.Time) bool {
	return e.Ended || p < e.Position || r < e.Revision || accepted.UnixNano() < e.Accepted
}

// Edge is where the readable part of a stream begins; ok is false if all of it can be read.
func (v *View) Edge(stream string) (e Edge, ok bool) {
	if v.table.size.Load() == 0 || stream == "" {
		return Edge{}, false
	}
	if v.asked && v.stream == stream {
		return v.edge, v.known
	}
	state := v.table.of(stream, v.head)
	v.stream, v.known, v.asked = stream, state != nil, true
	if state == nil {
		v.edge = Edge{}
		return Edge{}, false
	}
	e = Edge{Revision: state.revision, Position: state.deleted, Accepted: max(state.accepted, agedBefore(state.keep, v.now)), Ended: state.ended}
	if most := annals.Revision(state.keep.MaxCount); most > 0 && !state.ended {
		if n := v.next(stream); n > most {
			e.Revision = max(e.Revision, n-most)
		}
	}
	v.edge = e
	return e, true
}

// Hides reports whether r is hidden.
func (v *View) Hides(r *annals.Recorded) bool {
	e, ok := v.Edge(r.Stream)
	return ok && e.Hides(r.Position, r.Revision, r.Time)
}

// Tombstoned is the first stream among those of the events that has ended; ok is false if none has. Events of retention
// itself count for the stream that they speak of only if changes is true: they are looked up by id before.
func (v *View) Tombstoned(events []annals.Event, changes bool) (stream string, ok bool) {
	if v.table.size.Load() == 0 {
		return "", false
	}
	for i := range events {
		stream := events[i].Stream
		if changes {
			change, ok, err := annals.RetentionChangeOf(events[i])
			if !ok || err != nil {
				continue
			}
			stream = change.Stream
		}
		if e, ok := v.Edge(stream); ok && e.Ended {
			return stream, true
		}
	}
	return "", false
}

// Keep is what was set last for a stream.
func (v *View) Keep(stream string) annals.Retention {
	if state := v.table.of(stream, v.head); state != nil {
		return state.keep
	}
	return annals.Retention{}
}

// State is what has become of a stream whose last event, hidden or not, is the one given, or nil if it never had one.
func (v *View) State(stream string, last *annals.Recorded) annals.StreamState {
	e, known := v.Edge(stream)
	switch {
	case known && e.Ended:
		return annals.StreamTombstoned
	case last == nil:
		return annals.StreamNone
	case !known || !e.Hides(last.Position, last.Revision, last.Time):
		return annals.StreamLive
	case last.Position < e.Position:
		return annals.StreamDeleted
	}
	return annals.StreamEmpty
}

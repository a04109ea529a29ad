package retention

import (
	"strings"
	"time"

	"github.com/annalsdb/annals"
)

// View is what can be read at one head and one moment. It belongs to one goroutine. A nil View hides nothing.
type View struct {
	table *Table
	head  annals.Position
	now   time.Time
	next  Next

	// The stream asked about last: events of one stream often come in a row. It is a copy, since names may be lent.
	stream []byte
	edge   Edge
	known  bool
	asked  bool
	// counted is what MaxCount hides of the streams that were asked about.
	counted map[string]annals.Revision
}

// At is what can be read when head is the head and now the time, which must not be earlier than the last event's. Next is
// asked about streams that have, or had, a MaxCount, once for each. It is nil if the table is empty.
func (t *Table) At(head annals.Position, now time.Time, next Next) *View {
	if t.size.Load() == 0 {
		return nil
	}
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

// Edge is where the readable part of a stream begins; ok is false if all of it can be read. Its errors are those of Next.
func (v *View) Edge(stream string) (e Edge, ok bool, err error) {
	if v == nil || stream == "" {
		return Edge{}, false, nil
	}
	if v.asked && string(v.stream) == stream {
		return v.edge, v.known, nil
	}
	state := v.table.of(stream, v.head)
	if state == nil {
		v.stream, v.edge, v.known, v.asked = append(v.stream[:0], stream...), Edge{}, false, true
		return Edge{}, false, nil
	}
	e = Edge{Revision: state.revision, Position: state.deleted, Accepted: max(state.accepted, agedBefore(state.keep, v.now)), Ended: state.ended}
	if !e.Ended && (state.keep.MaxCount > 0 || state.counts != nil) {
		r, err := v.count(stream, state)
		if err != nil {
			return Edge{}, false, err
		}
		e.Revision = max(e.Revision, r)
	}
	v.stream, v.edge, v.known, v.asked = append(v.stream[:0], stream...), e, true, true
	return e, true, nil
}

// count is the revision before which the counts of a stream hide.
func (v *View) count(stream string, state *version) (annals.Revision, error) {
	if r, known := v.counted[stream]; known {
		return r, nil
	}
	r := annals.Revision(0)
	for _, c := range state.counts {
		hidden, err := c.hides(stream, v.next)
		if err != nil {
			return 0, err
		}
		r = max(r, hidden)
	}
	if most := state.keep.MaxCount; most > 0 {
		hidden, err := beyond(stream, most, v.head, v.next)
		if err != nil {
			return 0, err
		}
		r = max(r, hidden)
	}
	if v.counted == nil {
		v.counted = map[string]annals.Revision{}
	}
	v.counted[strings.Clone(stream)] = r
	return r, nil
}

// Hides reports whether r is hidden. Its errors are those of Next.
func (v *View) Hides(r *annals.Recorded) (bool, error) {
	e, ok, err := v.Edge(r.Stream)
	return ok && e.Hides(r.Position, r.Revision, r.Time), err
}

// Tombstoned is the first stream among those of the events that has ended; ok is false if none has. With changes it asks about
// retention events alone, and the streams that they speak of: those are refused only after their ids were looked up.
func (v *View) Tombstoned(events []annals.Event, changes bool) (stream string, ok bool) {
	if v == nil {
		return "", false
	}
	for i := range events {
		if isChange(&events[i]) != changes {
			continue
		}
		stream := kept(&events[i])
		if state := v.table.of(stream, v.head); state != nil && state.ended {
			return stream, true
		}
	}
	return "", false
}

// Keep is what was set last for a stream.
func (v *View) Keep(stream string) annals.Retention {
	if v == nil {
		return annals.Retention{}
	}
	if state := v.table.of(stream, v.head); state != nil {
		return state.keep
	}
	return annals.Retention{}
}

// State is what has become of a stream whose last event, hidden or not, is the one given, or nil if it never had one. Its
// errors are those of Next.
func (v *View) State(stream string, last *annals.Recorded) (annals.StreamState, error) {
	e, known, err := v.Edge(stream)
	switch {
	case err != nil:
		return 0, err
	case known && e.Ended:
		return annals.StreamTombstoned, nil
	case last == nil:
		return annals.StreamNone, nil
	case !known || !e.Hides(last.Position, last.Revision, last.Time):
		return annals.StreamLive, nil
	case last.Position < e.Position:
		return annals.StreamDeleted, nil
	}
	return annals.StreamEmpty, nil
}

// Now is the time at which v looks; zero for a nil View, for which time is of no account.
func (v *View) Now() time.Time {
	if v == nil {
		return time.Time{}
	}
	return v.now
}

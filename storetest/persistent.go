package storetest

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/annalsdb/annals"
)

// RunPersistent proves that closing a store and opening it again changes nothing. Each call of open opens the store
// that lies in the directory dir, or makes one if dir is empty. The store must be an [io.Closer]; the suite closes
// what it opens.
func RunPersistent(t *testing.T, open func(t *testing.T, dir string) annals.Store, opts ...Option) {
	t.Helper()
	o := newOptions(opts)
	for _, p := range []struct {
		rule string
		keep func(p *shelf)
	}{
		{"reopening changes nothing that was read", reopeningChangesNothing},
		{"reopening keeps ids: a retry is a duplicate still", reopeningKeepsIDs},
		{"reopening goes on at the next position and the next revision, and at no earlier time", reopeningGoesOn},
		{"conditions see what was written before reopening", reopeningKeepsConditions},
		{"a subscription goes on from its checkpoint after reopening", reopeningKeepsCheckpoints},
		{"reopening keeps retention, and positions of sources", reopeningKeepsRetention},
		{"an empty store reopens empty", reopeningEmpty},
		{"a store that was closed twice reopens", reopeningClosedTwice},
	} {
		t.Run(p.rule, func(t *testing.T) {
			t.Parallel()
			s := &shelf{rig: &rig{T: t, rule: p.rule, options: o}, dir: t.TempDir(), open: open}
			s.store = open(t, s.dir)
			t.Cleanup(func() { s.close() })
			p.keep(s)
		})
	}
	for seed := range uint64(5) {
		t.Run(fmt.Sprintf("reopening between random operations changes no answer, seed %d", seed), func(t *testing.T) {
			t.Parallel()
			s := &shelf{rig: &rig{T: t, rule: "reopening changes no answer", options: o}, dir: t.TempDir(), open: open}
			s.store = open(t, s.dir)
			t.Cleanup(func() { s.close() })
			m := newModel(t, s.store, seed, o)
			m.reopen = func() annals.Store {
				s.reopen()
				return s.store
			}
			for m.step < m.options.operations {
				m.operate()
			}
			s.reopen()
			m.subject = s.store
			m.compareEverything()
		})
	}
}

// shelf is a rig whose store can be put away and taken out again.
type shelf struct {
	*rig
	dir  string
	open func(t *testing.T, dir string) annals.Store
}

func (s *shelf) close() {
	s.Helper()
	c, ok := s.store.(io.Closer)
	if !ok {
		s.Fatalf("a persistent store has a Close method; %T has none", s.store)
	}
	if err := c.Close(); err != nil {
		s.Errorf("closing failed: %v", err)
	}
}

func (s *shelf) reopen() {
	s.Helper()
	s.close()
	s.store = s.open(s.T, s.dir)
}

// fill appends a little of everything, the system's events included, and gives the appends back.
func (s *shelf) fill() [][]annals.Event {
	s.Helper()
	appends := [][]annals.Event{
		events(event("A", "order-1", "x:1"), event("B", "order-1", "x:1", "y:1")),
		events(event("A", "order-2", "x:2"), event("C", "", "x:1", "y:1", "z:1"), event("A", "")),
		events(event("A", "order-1", "y:2")),
	}
	large := event("Large", "stock-7-8")
	large.Data, large.Metadata, large.ContentType, large.Version = filled(100<<10), []byte(`{"actor":"ann"}`), "application/octet-stream", 3
	appends = append(appends, events(large))
	many := make([]annals.Event, 200)
	for i := range many {
		many[i] = event("Many", "many-"+decimal(i%9), annals.Tag("n", decimal(i)))
	}
	appends = append(appends, many)
	for _, es := range appends {
		s.append(es)
	}
	if s.options.system {
		if _, err := s.system().Append(s.Context(), events(event("$timer", "$s-1"))); err != nil {
			s.Fatalf("appending a system event failed: %v", err)
		}
	}
	return appends
}

// questions are reads whose answers must never change.
func (s *shelf) questions() [][]annals.Recorded {
	s.Helper()
	var answers [][]annals.Recorded
	for _, q := range append(mixedQueries(s.rig), annals.All().WithSystem(), annals.Category("many"), annals.Tags("n:77"), annals.Types("Large")) {
		for _, opts := range [][]annals.ReadOption{nil, {annals.Backwards()}, {annals.After(3)}, {annals.AsOf(5)}, {annals.Limit(2)}} {
			answers = append(answers, s.read(q, opts...))
		}
	}
	for _, e := range s.read(annals.All(), annals.Limit(8)) {
		answers = append(answers, s.read(annals.All(), annals.AsOfTime(e.Time)), s.read(annals.ByID(e.ID)))
	}
	return append(answers, s.read(annals.Stream("order-1"), annals.AsOfRevision(1)), s.read(annals.Stream("many-3"), annals.FromRevision(4)))
}

func reopeningChangesNothing(s *shelf) {
	s.fill()
	head, want := s.head(), s.questions()
	for i := range 3 {
		s.reopen()
		s.equal("the head", s.head(), head)
		for j, got := range s.questions() {
			s.sameAll(fmt.Sprintf("question %d after opening %d times", j, i+2), got, want[j])
		}
	}
}

func reopeningKeepsIDs(s *shelf) {
	appends := s.fill()
	s.reopen()
	next := annals.Position(1)
	for i, es := range appends {
		what := "append " + decimal(i) + " sent again after reopening"
		got := s.duplicate(what, es, annals.NoneSince(0, annals.All()))
		if got.First != next || got.Last != next+annals.Position(len(es))-1 {
			s.Errorf("%s is at %d … %d; want it to begin at %d", what, got.First, got.Last, next)
		}
		next = got.Last + 1
	}
	changed := appends[0][0]
	changed.Data = []byte(`"other"`)
	s.refused("a known id with other content", annals.ErrIDReused, events(changed))
	s.refused("a known event and a new one", annals.ErrPartialDuplicate, events(appends[0][0], event("A", "order-1")))
}

func reopeningGoesOn(s *shelf) {
	s.fill()
	for range 5 {
		head := s.head()
		last := s.read(annals.Stream("order-1"), annals.Backwards(), annals.Limit(1))[0]
		newest := s.read(annals.All(), annals.Backwards(), annals.Limit(1))[0]
		s.reopen()
		got := s.append(events(event("A", "order-1"), event("A", "order-1")), annals.StreamAt("order-1", last.Revision))
		if got.First != head+1 || got.Last != head+2 || got.Revision != last.Revision+2 {
			s.Errorf("the head was %d and the stream at %d; the next append went to %+v", head, last.Revision, got)
		}
		if got.Time.Before(newest.Time) {
			s.Errorf("the last event was accepted at %v, and the next one, after reopening, at %v", newest.Time, got.Time)
		}
	}
	s.reopen()
	for i, e := range s.read(annals.All().WithSystem()) {
		s.equal("a position", e.Position, annals.Position(i+1))
	}
}

func reopeningKeepsConditions(s *shelf) {
	s.fill()
	head := s.head()
	s.reopen()
	s.refused("a stream that has events", annals.ErrConflict, events(event("A", "order-1")), annals.NoStream("order-1"))
	s.refused("a tag that was used", annals.ErrConflict, events(event("A", "")), annals.NoneSince(0, annals.Tags("z:1")))
	s.refused("a type that was used", annals.ErrConflict, events(event("A", "")), annals.NoneSince(5, annals.Types("Large")))
	s.refused("a position past the head", annals.ErrAhead, events(event("A", "")), annals.NoneSince(head+1, annals.All()))
	s.append(events(event("A", "order-1")), annals.StreamAt("order-1", 2), annals.NoneSince(head, annals.All()), annals.NoneSince(4, annals.Tags("z:1")))
}

func reopeningKeepsCheckpoints(s *shelf) {
	s.fill()
	q := annals.Category("many")
	want := s.read(q)
	next := 0
	checkpoint := annals.Position(0)
	for next < len(want) {
		for u, err := range s.store.Subscribe(s.patient(), q, checkpoint) {
			if err != nil {
				s.Fatalf("the subscription after %d failed: %v", checkpoint, err)
			}
			checkpoint = u.Position
			if u.Event == nil {
				continue
			}
			if next >= len(want) || !same(*u.Event, want[next]) {
				s.Fatalf("event %d of the subscription is %+v; want the one that was read", next, *u.Event)
			}
			if next++; next%50 == 0 || next == len(want) {
				break
			}
		}
		s.reopen()
	}
}

func reopeningKeepsRetention(s *shelf) {
	es := events(event("A", "u-0"), event("A", "u-1"), event("A", "u-2"), event("A", "u-3"), event("A", "u-4"), event("A", "u-5"))
	for range 3 {
		s.append(es)
		for i := range es {
			es[i].ID = annals.NewID()
		}
	}
	s.append(es)
	tracks, retains := false, false
	if _, tracks = s.store.(annals.Tracker); tracks {
		s.append(events(event("A", "u-0")), annals.TrackingAt("billing", 7))
	}
	if _, retains = s.store.(annals.Retainer); retains {
		s.retain("u-1", annals.Retention{TruncateBefore: 2, MaxAge: 1000 * time.Hour})
		s.retain("u-2", annals.Retention{MaxCount: 3})
		s.retain("u-2", annals.Retention{MaxCount: 9})
		s.delete("u-3")
		s.put("A", "u-3")
		s.delete("u-4")
		s.tombstone("u-5")
	}
	want := s.read(annals.All().WithSystem())
	var kept []annals.StreamRetention
	for range 3 {
		s.sameAll("what can be read", s.read(annals.All().WithSystem()), want)
		for i := range es {
			if retains && len(kept) < len(es) {
				kept = append(kept, s.retention("u-"+decimal(i)))
			} else if retains {
				s.equal("what is kept of a stream", s.retention("u-"+decimal(i)), kept[i])
			}
		}
		if retains {
			s.refused("an append to a tombstoned stream", annals.ErrStreamTombstoned, es[5:])
			s.append(nil, annals.StreamIn("u-4", annals.StreamDeleted), annals.StreamAt("u-3", 4), annals.NoneSince(0, annals.Stream("u-5")))
		}
		if tracks {
			s.equal("the position of a source", s.tracked("billing"), annals.Position(7))
			s.refused("a position that was passed", annals.ErrConflict, nil, annals.TrackingAt("billing", 7))
		}
		s.reopen()
	}
	if retains {
		s.append(events(es[3], es[4], event("A", "u-2")))
		s.equal("the next revision after deletion", s.read(annals.Stream("u-4"))[0].Revision, annals.Revision(4))
		s.equal("what lies within the count", len(s.read(annals.Stream("u-2"))), 4)
	}
}

func reopeningEmpty(s *shelf) {
	s.reopen()
	s.reopen()
	s.equal("the head", s.head(), annals.Position(0))
	if got := s.put("A", "s-1"); got.First != 1 || got.Revision != 0 {
		s.Errorf("the first event went to %+v", got)
	}
}

func reopeningClosedTwice(s *shelf) {
	s.put("A", "s-1")
	s.close()
	s.reopen()
	s.equal("what is read", s.at(annals.All()), positions(1))
}

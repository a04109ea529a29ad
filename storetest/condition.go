package storetest

import (
	"errors"
	"slices"

	"github.com/annalsdb/annals"
)

func conditionPromises() []promise {
	return []promise{
		{"StreamAt holds at exactly that revision", streamAtIsExact},
		{"NoStream and StreamExists tell a stream with events from one without", streamsExistOrNot},
		{"StreamIn tells a stream with events from one without", streamIsInAState},
		{"NoneSince ignores events at and before its position", noneSinceIgnoresThePast},
		{"a condition on a stream counts every event of that stream and no other", streamConditionsAreExact},
		{"a condition sees the state before the append, and its own events never count", ownEventsNeverCount},
		{"a condition may be on what the append does not write", conditionsElsewhere},
		{"all conditions must hold, and a conflict lists every one that does not, in order", conflictsListAll},
		{"a failure tells the actual revision and the first positions in the way", failuresTellFacts},
		{"a failure carries the conflicting events if they were asked for", failuresCarryEvents},
		{"a failure lists the first positions only, up to a maximum", failuresAreBounded},
		{"a position past the head is ahead, which is said before any conflict", aheadBeforeConflict},
		{"a condition sees exactly what a read would", conditionsAreReads},
		{"a condition sees what it is about however much was appended since", conditionsSeeFarBack},
	}
}

func streamAtIsExact(r *rig) {
	r.append(events(event("A", "s-1"), event("A", "s-1"), event("A", "s-1")))
	for revision, want := range map[annals.Revision]bool{0: false, 1: false, 2: true, 3: false, 1000: false} {
		_, err := r.store.Append(r.Context(), nil, annals.StreamAt("s-1", revision))
		if (err == nil) != want || err != nil && !errors.Is(err, annals.ErrConflict) {
			r.Errorf("the stream is at revision 2 and was wanted at %d: got %v", revision, err)
		}
	}
	r.refused("a stream without events, wanted at revision 0", annals.ErrConflict, events(event("A", "s-2")), annals.StreamAt("s-2", 0))
	r.append(events(event("A", "s-1")), annals.StreamAt("s-1", 2))
	r.refused("the revision that it was at before", annals.ErrConflict, events(event("A", "s-1")), annals.StreamAt("s-1", 2))
}

func streamsExistOrNot(r *rig) {
	r.put("A", "s-1")
	r.append(nil, annals.StreamExists("s-1"), annals.NoStream("s-2"))
	r.refused("NoStream of a stream with an event", annals.ErrConflict, events(event("A", "s-1")), annals.NoStream("s-1"))
	r.refused("StreamExists of a stream without", annals.ErrConflict, events(event("A", "s-2")), annals.StreamExists("s-2"))
	r.append(events(event("A", "s-2")), annals.NoStream("s-2"))
	r.append(events(event("A", "s-2")), annals.StreamExists("s-2"))
}

func streamIsInAState(r *rig) {
	r.put("A", "s-1")
	others := annals.StreamEmpty | annals.StreamDeleted | annals.StreamTombstoned
	r.append(nil, annals.StreamIn("s-1", annals.StreamLive), annals.StreamIn("s-2", annals.StreamNone|others))
	r.append(nil, annals.StreamIn("s-1", annals.StreamLive|others), annals.StreamIn("s-2", annals.StreamNone|annals.StreamLive))
	failures := r.conflict(r.refusal("two streams in the wrong state", annals.ErrConflict, events(event("A", "s-2")),
		annals.StreamIn("s-1", annals.StreamNone|others).WithEvents(), annals.StreamIn("s-2", annals.StreamLive|others)))
	if len(failures) != 2 {
		r.Fatalf("two conditions fail; listed are %+v", failures)
	}
	r.equal("the state of the stream with an event", failures[0].State, annals.StreamLive)
	r.equal("its last revision", failures[0].Actual, annals.Revision(0))
	r.equal("what is in the way", failures[0].Positions, positions(1))
	r.equal("the events in the way", positionsOf(failures[0].Events), positions(1))
	r.equal("the state of the stream without", failures[1].State, annals.StreamNone)
	r.equal("its last revision", failures[1].Actual, annals.NoRevision)
	for _, c := range []annals.Condition{annals.NoStream("s-1"), annals.StreamAt("s-1", 3)} {
		f := r.conflict(r.refusal(c.String(), annals.ErrConflict, nil, c))[0]
		r.equal(c.String()+": the state", f.State, annals.StreamLive)
	}
	for _, states := range []annals.StreamState{0, 1 << 7, annals.StreamLive | 1<<6} {
		r.refused("a set that is none", annals.ErrInvalid, nil, annals.StreamIn("s-1", states))
	}
}

func noneSinceIgnoresThePast(r *rig) {
	r.put("A", "", "x:1")
	r.put("B", "", "x:2")
	r.put("A", "", "x:1")
	for after, want := range []bool{false, false, false, true} {
		_, err := r.store.Append(r.Context(), nil, annals.NoneSince(annals.Position(after), annals.Tags("x:1")))
		if (err == nil) != want || err != nil && !errors.Is(err, annals.ErrConflict) {
			r.Errorf("x:1 is at 1 and 3; none was wanted since %d: got %v", after, err)
		}
	}
	r.append(nil, annals.NoneSince(2, annals.Tags("x:2")), annals.NoneSince(0, annals.Tags("x:3")))
}

func streamConditionsAreExact(r *rig) {
	r.append(events(event("A", "s-1"), event("A", "s-10"), event("A", "s-10"), event("A", "s"), event("A", "")))
	r.append(nil, annals.StreamAt("s-1", 0), annals.StreamAt("s-10", 1), annals.StreamAt("s", 0), annals.NoStream("s-"), annals.NoStream("S-1"))
	r.append(events(event("A", "s-10")), annals.StreamAt("s-1", 0))
	r.append(nil, annals.StreamAt("s-1", 0), annals.StreamAt("s-10", 2))
}

func ownEventsNeverCount(r *rig) {
	got := r.append(events(event("A", "s-1", "x:1"), event("B", "s-1", "x:1"), event("C", "s-1")),
		annals.NoStream("s-1"), annals.NoneSince(0, annals.Tags("x:1")), annals.NoneSince(0, annals.All()))
	r.equal("the revision", got.Revision, annals.Revision(2))
	got = r.append(events(event("D", "s-1"), event("E", "s-2"), event("F", "s-1")), annals.StreamAt("s-1", 2))
	r.equal("the revision after a stream was touched twice on one condition", got.Revision, annals.Revision(4))
	var revisions []annals.Revision
	for _, e := range r.read(annals.Stream("s-1")) {
		revisions = append(revisions, e.Revision)
	}
	r.equal("the revisions of the stream", revisions, []annals.Revision{0, 1, 2, 3, 4})
	r.refused("StreamExists by the append's own event", annals.ErrConflict, events(event("A", "s-9")), annals.StreamExists("s-9"))
	r.refused("StreamAt by the append's own event", annals.ErrConflict, events(event("A", "s-9"), event("A", "s-9")), annals.StreamAt("s-9", 0))
}

func conditionsElsewhere(r *rig) {
	r.put("A", "s-1")
	r.append(events(event("B", "s-2")), annals.StreamAt("s-1", 0))
	r.append(events(event("B", "")), annals.NoneSince(2, annals.All()))
	r.refused("a stream that is not written, at another revision", annals.ErrConflict, events(event("B", "s-2")), annals.StreamAt("s-1", 1))
	r.refused("All, when something was written", annals.ErrConflict, events(event("B", "")), annals.NoneSince(2, annals.All()))
	r.refused("an id that is stored", annals.ErrConflict, events(event("B", "")), annals.NoneSince(0, annals.ByID(r.read(annals.All())[0].ID)))
	r.append(events(event("B", "")), annals.NoneSince(0, annals.ByID(annals.NewID())))
}

func conflictsListAll(r *rig) {
	r.append(events(event("A", "s-1", "x:1"), event("B", "s-1")))
	conds := []annals.Condition{
		annals.StreamAt("s-1", 0),
		annals.NoStream("s-3"),
		annals.NoneSince(0, annals.Tags("x:1")),
		annals.NoneSince(1, annals.Tags("x:1")),
		annals.StreamExists("s-9"),
		annals.NoneSince(0, annals.All()),
	}
	failures := r.conflict(r.refusal("six conditions, of which four fail", annals.ErrConflict, events(event("C", "s-1")), conds...))
	var failed []int
	for _, f := range failures {
		failed = append(failed, f.Index)
		if f.Condition.String() != conds[f.Index].String() || f.Condition.Kind() != conds[f.Index].Kind() {
			r.Errorf("failure %d names the condition %q; it is %q", f.Index, f.Condition, conds[f.Index])
		}
	}
	r.equal("the conditions that failed", failed, []int{0, 2, 4, 5})
}

func failuresTellFacts(r *rig) {
	r.append(events(event("A", "s-1", "x:1"), event("B", "s-2"), event("C", "s-1"), event("D", "s-1", "x:1")))
	failures := r.conflict(r.refusal("five conditions that fail", annals.ErrConflict, nil,
		annals.StreamAt("s-1", 0), annals.NoStream("s-2"), annals.StreamExists("s-3"), annals.StreamAt("s-4", 7), annals.NoneSince(0, annals.Tags("x:1"))))
	want := []struct {
		actual annals.Revision
		at     []annals.Position
	}{
		{2, positions(3, 4)}, {0, positions(2)}, {annals.NoRevision, positions()}, {annals.NoRevision, positions()}, {annals.NoRevision, positions(1, 4)},
	}
	if len(failures) != len(want) {
		r.Fatalf("five conditions fail; listed are %+v", failures)
	}
	for i, f := range failures {
		if f.Actual != want[i].actual || !slices.Equal(f.Positions, want[i].at) {
			r.Errorf("%s: the failure tells revision %d and positions %v; want %d and %v", f.Condition, f.Actual, f.Positions, want[i].actual, want[i].at)
		}
		if len(f.Events) > 0 {
			r.Errorf("%s: nobody asked for the events", f.Condition)
		}
	}
	ahead := r.conflict(r.refusal("a revision that is still to come", annals.ErrConflict, nil, annals.StreamAt("s-1", 9)))
	if ahead[0].Actual != 2 || len(ahead[0].Positions) != 0 {
		r.Errorf("a stream at revision 2, wanted at 9, has nothing in the way: got %+v", ahead[0])
	}
}

func failuresCarryEvents(r *rig) {
	r.append(events(event("A", "s-1", "x:1"), event("B", "s-1", "x:1"), event("C", "s-2")))
	all := r.read(annals.All())
	failures := r.conflict(r.refusal("three conditions that fail", annals.ErrConflict, nil,
		annals.NoneSince(0, annals.Tags("x:1")).WithEvents(), annals.StreamAt("s-1", 0).WithEvents(), annals.NoStream("s-2")))
	if len(failures) != 3 {
		r.Fatalf("three conditions fail; listed are %+v", failures)
	}
	r.sameAll("the events of NoneSince", failures[0].Events, all[:2])
	r.sameAll("the events of StreamAt", failures[1].Events, all[1:2])
	r.sameAll("the events of a condition that did not ask", failures[2].Events, nil)
}

func failuresAreBounded(r *rig) {
	var es []annals.Event
	for range 3 * annals.ConflictPositionsMax {
		es = append(es, event("A", "s-1", "x:1"))
	}
	r.append(es)
	var want []annals.Position
	for i := range annals.ConflictPositionsMax {
		want = append(want, annals.Position(i+2))
	}
	for _, f := range r.conflict(r.refusal("many in the way", annals.ErrConflict, nil,
		annals.NoneSince(1, annals.Tags("x:1")).WithEvents(), annals.StreamAt("s-1", 0).WithEvents())) {
		r.equal(f.Condition.String()+": the positions", f.Positions, want)
		r.equal(f.Condition.String()+": the positions of the events", positionsOf(f.Events), want)
	}
}

func aheadBeforeConflict(r *rig) {
	r.put("A", "s-1")
	for name, conds := range map[string][]annals.Condition{
		"alone":               {annals.NoneSince(2, annals.All())},
		"after a failure":     {annals.NoStream("s-1"), annals.NoneSince(2, annals.All())},
		"before a failure":    {annals.NoneSince(2, annals.Tags("x:1")), annals.NoStream("s-1")},
		"with nothing to see": {annals.NoneSince(2, annals.Tags("never"))},
	} {
		err := r.refusal(name, annals.ErrAhead, events(event("A", "s-1")), conds...)
		var ahead *annals.AheadError
		if !errors.As(err, &ahead) || ahead.Position != 2 || ahead.Head != 1 {
			r.Errorf("%s: the error tells the position 2 and the head 1: %v", name, err)
		}
	}
	r.append(nil, annals.NoneSince(1, annals.All()))
}

func conditionsAreReads(r *rig) {
	mixedEvents(r)
	head := r.head()
	for _, q := range mixedQueries(r) {
		for after := range head + 1 {
			want := r.at(q, annals.After(after))
			_, err := r.store.Append(r.Context(), nil, annals.NoneSince(after, q))
			if len(want) == 0 {
				if err != nil {
					r.Errorf("%s after %d reads nothing, and yet NoneSince answers %v", q, after, err)
				}
				continue
			}
			if !errors.Is(err, annals.ErrConflict) {
				r.Errorf("%s after %d reads %v, and yet NoneSince answers %v", q, after, want, err)
				continue
			}
			if got := r.conflict(err)[0].Positions; !slices.Equal(got, want[:min(len(want), annals.ConflictPositionsMax)]) {
				r.Errorf("%s after %d reads %v, and NoneSince names %v", q, after, want, got)
			}
		}
	}
}

func conditionsSeeFarBack(r *rig) {
	r.append(events(event("First", "s-0", "x:1")))
	r.bury()
	for _, c := range []annals.Condition{
		annals.NoneSince(0, annals.Tags("x:1")), annals.NoneSince(0, annals.Types("First")), annals.NoneSince(0, annals.Stream("s-0")),
		annals.NoneSince(0, annals.Types("First").Or(annals.Tags("never"))), annals.NoStream("s-0"),
	} {
		failures := r.conflict(r.refusal(c.String(), annals.ErrConflict, nil, c))
		r.equal(c.String()+", which lies thousands of events back", failures[0].Positions, positions(1))
	}
	r.append(events(event("A", "s-0")), annals.NoneSince(1, annals.Tags("x:1")), annals.NoneSince(1, annals.Types("First")), annals.StreamAt("s-0", 0))
}

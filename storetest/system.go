package storetest

import (
	"github.com/annalsdb/annals"
)

func systemPromises() []promise {
	return []promise{
		{"the system's view may append reserved names", systemAppends},
		{"system events are hidden from queries that do not ask for them", systemEventsAreHidden},
		{"positions are dense over user and system events", systemEventsHavePositions},
		{"a condition sees system events only if its query asks for them", conditionsSeeWhatReadsSee},
		{"a subscription passes over system events unless its query asks for them", subscriptionsPassOver},
		{"the system's view is the same store", systemIsTheSameStore},
	}
}

// system is the view that may append reserved names.
func (r *rig) system() annals.Store {
	r.Helper()
	s, err := annals.System(r.store)
	if err != nil {
		r.Fatalf("the store has no view for system events: %v; if that is meant, say storetest.WithoutSystem()", err)
	}
	return s
}

// withSystem appends user and system events in turn: the system's are at 2, 4, 5 and 6.
func withSystem(r *rig) {
	r.Helper()
	r.put("A", "s-1", "x:1")
	for i, e := range []annals.Event{event("$timer", ""), event("B", "s-1"), event("A", "$s-1"), event("A", "", "x:1", "$due"), event("$timer", "$s-1", "$due")} {
		if _, err := r.system().Append(r.Context(), events(e)); err != nil {
			r.Fatalf("appending event %d through the system's view failed: %v", i, err)
		}
	}
	r.put("A", "s-1", "x:1")
}

func systemAppends(r *rig) {
	withSystem(r)
	r.equal("everything", r.at(annals.All().WithSystem()), positions(1, 2, 3, 4, 5, 6, 7))
	for what, e := range map[string]annals.Event{"a type": event("$timer", ""), "a stream": event("A", "$s-1"), "a tag": event("A", "", "$due")} {
		r.refused(what+", through the store itself", annals.ErrReserved, events(e))
	}
}

func systemEventsAreHidden(r *rig) {
	withSystem(r)
	for _, c := range []struct {
		q    annals.Query
		want []annals.Position
	}{
		{annals.All(), positions(1, 3, 7)},
		{annals.Types("A"), positions(1, 7)},
		{annals.Types("A").WithSystem(), positions(1, 4, 5, 7)},
		{annals.Tags("x:1"), positions(1, 7)},
		{annals.Tags("x:1").WithSystem(), positions(1, 5, 7)},
		{annals.Types("$timer").WithSystem(), positions(2, 6)},
		{annals.Stream("$s-1").WithSystem(), positions(4, 6)},
		{annals.Category("$s").WithSystem(), positions(4, 6)},
		{annals.Tags("$due").WithSystem(), positions(5, 6)},
	} {
		r.equal(c.q.String(), r.at(c.q), c.want)
	}
	system := r.read(annals.Types("$timer").WithSystem())
	r.equal("ByID of a system event", r.at(annals.ByID(system[0].ID)), positions())
	r.equal("ByID of a system event, asked for", r.at(annals.ByID(system[0].ID).WithSystem()), positions(2))
	r.equal("All, backwards", r.at(annals.All(), annals.Backwards()), positions(7, 3, 1))
}

func systemEventsHavePositions(r *rig) {
	withSystem(r)
	var head annals.Position
	r.equal("a limit", r.at(annals.All(), annals.Limit(2), annals.HeadInto(&head)), positions(1, 3))
	r.equal("the head of a read", head, annals.Position(7))
	r.equal("the head", r.head(), annals.Position(7))
	if got := r.put("A", ""); got.First != 8 {
		r.Errorf("the next event is at %d, want 8", got.First)
	}
}

func conditionsSeeWhatReadsSee(r *rig) {
	withSystem(r)
	r.append(nil, annals.NoneSince(3, annals.Types("B")), annals.NoneSince(7, annals.All().WithSystem()))
	failures := r.conflict(r.refusal("two conditions over the same position", annals.ErrConflict, nil,
		annals.NoneSince(3, annals.Tags("x:1")), annals.NoneSince(3, annals.Tags("x:1").WithSystem())))
	if len(failures) != 2 {
		r.Fatalf("both fail; listed are %v", failures)
	}
	r.equal("in the way without system events", failures[0].Positions, positions(7))
	r.equal("in the way with system events", failures[1].Positions, positions(5, 7))
	timer := r.read(annals.Types("$timer").WithSystem())[0]
	r.append(nil, annals.NoneSince(0, annals.ByID(timer.ID)))
	r.refused("the id of a system event, asked for", annals.ErrConflict, nil, annals.NoneSince(0, annals.ByID(timer.ID).WithSystem()))
}

func subscriptionsPassOver(r *rig) {
	withSystem(r)
	got, last := r.follow(annals.All(), 0).caughtUp()
	r.equal("what a subscription yields", positionsOf(got), positions(1, 3, 7))
	r.equal("where it is caught up", last.Position, annals.Position(7))
	got, _ = r.follow(annals.All().WithSystem(), 1).caughtUp()
	r.equal("what a subscription yields that asks", positionsOf(got), positions(2, 3, 4, 5, 6, 7))
}

func systemIsTheSameStore(r *rig) {
	s := r.system()
	e := event("$timer", "")
	if _, err := s.Append(r.Context(), events(e)); err != nil {
		r.Fatalf("appending through the system's view failed: %v", err)
	}
	r.put("A", "s-1")
	got, err := r.drain(s.Read(r.Context(), annals.All().WithSystem()))
	if err != nil {
		r.Fatalf("reading through the system's view failed: %v", err)
	}
	r.sameAll("what both views read", got, r.read(annals.All().WithSystem()))
	if head, err := s.Head(r.Context()); err != nil || head != 2 {
		r.Errorf("the head of the system's view is %d, %v; want 2", head, err)
	}
	if again, err := s.Append(r.Context(), events(e)); err != nil || !again.Duplicate {
		r.Errorf("a system event sent again is a duplicate: %+v, %v", again, err)
	}
}

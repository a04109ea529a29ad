package storetest

import (
	"errors"
	"sync"

	"github.com/annalsdb/annals"
)

// noTrackingPromises are for stores that are no [annals.Tracker].
func noTrackingPromises() []promise {
	return []promise{
		{"a store that is no Tracker says so in its limits, and refuses tracking by name", trackingIsUnsupported},
	}
}

func trackingPromises() []promise {
	return []promise{
		{"a Tracker says so in its limits, and tells the position that was stored last", trackedIsTold},
		{"a position is stored together with the events, or neither is", trackingIsAtomic},
		{"a consumer that replays has a conflict, and no second effect", replaysConflict},
		{"known events are a duplicate, and the position stays", trackedDuplicates},
		{"an append without events moves the position alone", trackingAlone},
		{"positions of several sources are kept apart", sourcesAreApart},
		{"tracking that fails is listed among the conditions that fail", trackingFailures},
		{"the receipt speaks of the events, and the position lies behind them as a system event", trackingIsAnEvent},
		{"malformed tracking is invalid", malformedTracking},
		{"of many that store the same position one wins", trackersRace},
		{"a stored position never goes back", trackedNeverGoesBack},
	}
}

func (r *rig) tracked(source string) annals.Position {
	r.Helper()
	p, err := annals.Tracked(r.Context(), r.store, source)
	if err != nil {
		r.Fatalf("asking for the position of source %s must succeed: %v", source, err)
	}
	return p
}

func trackingIsUnsupported(r *rig) {
	if l := annals.LimitsOf(r.store); l.Tracking {
		r.Errorf("its limits say that it keeps positions: it must implement annals.Tracker then")
	}
	if _, err := annals.Tracked(r.Context(), r.store, "billing"); !errors.Is(err, annals.ErrUnsupported) {
		r.Errorf("asking for the position of a source answered %v", err)
	}
	r.refused("an append with a position", annals.ErrUnsupported, events(event("A", "s-1")), annals.TrackingAt("billing", 1))
	r.refused("a position alone", annals.ErrUnsupported, nil, annals.TrackingAt("billing", 1))
}

func trackedIsTold(r *rig) {
	if l := annals.LimitsOf(r.store); !l.Tracking {
		r.Fatalf("Limits().Tracking must be true")
	}
	r.equal("of a source that was never heard of", r.tracked("billing"), annals.Position(0))
	for _, p := range []annals.Position{1, 2, 7, 1 << 60} {
		r.append(events(event("A", "s-1")), annals.TrackingAt("billing", p))
		r.equal("the position", r.tracked("billing"), p)
	}
}

func trackingIsAtomic(r *rig) {
	r.append(events(event("A", "s-1")), annals.TrackingAt("billing", 5))
	r.refused("another condition that fails", annals.ErrConflict, events(event("A", "s-1")), annals.TrackingAt("billing", 6), annals.NoStream("s-1"))
	r.equal("the position after a refusal", r.tracked("billing"), annals.Position(5))
	r.refused("a position past the head", annals.ErrAhead, events(event("A", "s-1")), annals.TrackingAt("billing", 6), annals.NoneSince(99, annals.All()))
	r.equal("the position after another refusal", r.tracked("billing"), annals.Position(5))
	r.append(events(event("A", "s-1"), event("B", "s-2")), annals.StreamAt("s-1", 0), annals.TrackingAt("billing", 6))
	r.equal("the position", r.tracked("billing"), annals.Position(6))
	r.equal("the events", len(r.at(annals.All())), 3)
}

func replaysConflict(r *rig) {
	r.append(events(event("A", "s-1")), annals.TrackingAt("billing", 5))
	for _, p := range []annals.Position{1, 4, 5} {
		f := r.conflict(r.refusal("a position that was passed", annals.ErrConflict, events(event("A", "s-1")), annals.TrackingAt("billing", p)))
		if len(f) != 1 || f[0].Tracked != 5 || f[0].Condition.Source() != "billing" || f[0].Condition.After() != p || f[0].Condition.Kind() != annals.KindTracking {
			r.Errorf("one failure tells the source, the position that was wanted, %d, and the one that is stored, 5: %+v", p, f)
		}
		if f[0].State != 0 || f[0].Actual != annals.NoRevision {
			r.Errorf("tracking is on no stream: %+v", f[0])
		}
	}
	r.equal("the events", r.at(annals.All()), positions(1))
	r.append(events(event("A", "s-1")), annals.TrackingAt("billing", 6))
}

func trackedDuplicates(r *rig) {
	es := events(event("A", "s-1"), event("B", ""))
	first := r.append(es, annals.TrackingAt("billing", 5))
	again := r.duplicate("a retry", es, annals.TrackingAt("billing", 5))
	if again.First != first.First || again.Last != first.Last || again.Revision != first.Revision {
		r.Errorf("the retry of %+v is answered by %+v", first, again)
	}
	r.duplicate("a retry without its position", es)
	r.duplicate("a retry with another position", es, annals.TrackingAt("billing", 9))
	r.equal("the position", r.tracked("billing"), annals.Position(5))
	r.refused("a known event and a new one", annals.ErrPartialDuplicate, append(es[:1:1], event("C", "")), annals.TrackingAt("billing", 9))
	r.equal("the position after a refusal", r.tracked("billing"), annals.Position(5))
}

func trackingAlone(r *rig) {
	r.put("A", "s-1")
	got := r.append(nil, annals.TrackingAt("billing", 3))
	if got.First != 0 || got.Last != 0 || got.Revision != annals.NoRevision || got.Head != r.head() || got.Duplicate {
		r.Errorf("the receipt of no events tells the head alone: %+v", got)
	}
	r.equal("the position", r.tracked("billing"), annals.Position(3))
	r.equal("the events", r.at(annals.All()), positions(1))
	r.refused("the same again", annals.ErrConflict, nil, annals.TrackingAt("billing", 3))
	r.refused("when another condition fails", annals.ErrConflict, nil, annals.TrackingAt("billing", 4), annals.NoStream("s-1"))
	r.append(nil, annals.TrackingAt("billing", 4), annals.StreamAt("s-1", 0))
	r.equal("the position", r.tracked("billing"), annals.Position(4))
}

func sourcesAreApart(r *rig) {
	name := longName(annals.LimitsOf(r.store).StreamBytes - len(annals.TrackingStream("")))
	sources := []string{"billing", "billing-1", "Billing", "1", "x y", name}
	for i, s := range sources {
		r.append(events(event("A", "s-1")), annals.TrackingAt(s, annals.Position(i+1)))
	}
	for i, s := range sources {
		r.equal("the position of "+s, r.tracked(s), annals.Position(i+1))
	}
	r.append(events(event("A", "s-1")), annals.TrackingAt("billing", 10), annals.TrackingAt("1", 20))
	r.equal("one of two that were stored together", r.tracked("billing"), annals.Position(10))
	r.equal("the other", r.tracked("1"), annals.Position(20))
	r.refused("two, of which one was passed", annals.ErrConflict, events(event("A", "s-1")), annals.TrackingAt("billing", 11), annals.TrackingAt("1", 20))
	r.equal("the one that was not passed", r.tracked("billing"), annals.Position(10))
	r.append(events(event("A", "tracked-billing"), event("A", "billing"))) // streams of the user's are others
	r.equal("the position", r.tracked("billing"), annals.Position(10))
}

func trackingFailures(r *rig) {
	r.append(events(event("A", "s-1")), annals.TrackingAt("billing", 5), annals.TrackingAt("mail", 7))
	r.put("A", "s-2")
	failures := r.conflict(r.refusal("five conditions of which three fail", annals.ErrConflict, events(event("A", "s-1")),
		annals.TrackingAt("billing", 5).WithEvents(), annals.StreamAt("s-1", 0), annals.NoStream("s-2"), annals.TrackingAt("mail", 2), annals.TrackingAt("sms", 1)))
	var failed []int
	for _, f := range failures {
		failed = append(failed, f.Index)
	}
	r.equal("the conditions that failed", failed, []int{0, 2, 3})
	if len(failures) != 3 {
		return
	}
	stored := r.read(annals.Stream(annals.TrackingStream("billing")).WithSystem())
	r.sameAll("the event that holds the position", failures[0].Events, stored)
	r.equal("where it is", failures[0].Positions, positionsOf(stored))
	r.equal("the position that is stored", failures[2].Tracked, annals.Position(7))
	r.equal("the events of a condition that did not ask", len(failures[2].Events), 0)
}

func trackingIsAnEvent(r *rig) {
	r.put("A", "s-1")
	got := r.append(events(event("A", "s-1"), event("B", "")), annals.TrackingAt("billing", 5), annals.TrackingAt("mail", 6))
	if got.First != 2 || got.Last != 3 || got.Revision != 1 || got.Head != 5 {
		r.Errorf("the receipt is %+v; want positions 2 to 3, revision 1 and the head 5", got)
	}
	r.equal("the head", r.head(), annals.Position(5))
	r.equal("the events of the user", r.at(annals.All()), positions(1, 2, 3))
	for i, e := range r.read(annals.Types(annals.TypeTracked).WithSystem()) {
		p, err := annals.TrackedPosition(e.Event)
		r.equal("where a position lies", e.Position, annals.Position(4+i))
		r.equal("the position in the event", p, annals.Position(5+i))
		r.equal("its revision", e.Revision, annals.Revision(0))
		if err != nil || !e.Time.Equal(got.Time) || e.ID.IsZero() {
			r.Errorf("the event has the append's time and an id of its own: %+v, %v", e, err)
		}
	}
	r.equal("the stream of a source", r.at(annals.Stream(annals.TrackingStream("mail")).WithSystem()), positions(5))
	r.refused("a condition that sees it, if it asks", annals.ErrConflict, nil, annals.NoneSince(3, annals.All().WithSystem()))
	r.append(nil, annals.NoneSince(3, annals.All()))
	r.equal("the next event's place", r.put("A", "").First, annals.Position(6))
}

func malformedTracking(r *rig) {
	for what, conds := range map[string][]annals.Condition{
		"position 0":                  {annals.TrackingAt("billing", 0)},
		"NoPosition":                  {annals.TrackingAt("billing", annals.NoPosition)},
		"a source without a name":     {annals.TrackingAt("", 1)},
		"a name of the system's":      {annals.TrackingAt("$billing", 1)},
		"a control character":         {annals.TrackingAt("bill\n", 1)},
		"a name that is not UTF-8":    {annals.TrackingAt("\xff", 1)},
		"a name too long":             {annals.TrackingAt(longName(annals.LimitsOf(r.store).StreamBytes), 1)},
		"two positions of one source": {annals.TrackingAt("billing", 1), annals.TrackingAt("billing", 2)},
	} {
		r.refused(what, annals.ErrInvalid, events(event("A", "s-1")), conds...)
	}
	for _, source := range []string{"", "$x", "a\n"} {
		if _, err := annals.Tracked(r.Context(), r.store, source); !errors.Is(err, annals.ErrInvalid) {
			r.Errorf("asking for the position of a source named %q must be ErrInvalid, not %v", source, err)
		}
	}
	system, err := annals.System(r.store)
	if err != nil {
		return
	}
	for what, e := range map[string]annals.Event{
		"the type": event(annals.TypeTracked, "s-1"), "the stream": event("A", annals.TrackingStream("billing")),
	} {
		if _, err := system.Append(r.Context(), events(e)); !errors.Is(err, annals.ErrInvalid) {
			r.Errorf("an event with %s of a position, appended past TrackingAt, must be ErrInvalid, not %v", what, err)
		}
	}
}

func trackersRace(r *rig) {
	for p := range annals.Position(5) {
		before := r.head()
		var mu sync.Mutex
		won := 0
		race(12, func(i int) {
			es := events(event("A", "s-"+decimal(i)))
			_, err := r.store.Append(r.Context(), es[:i%2], annals.TrackingAt("billing", p+1)) // some move the position alone
			if err != nil && !errors.Is(err, annals.ErrConflict) {
				r.Errorf("a racer failed with something else than a conflict: %v", err)
			}
			if err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
		if written := r.head() - before; won != 1 || written < 1 || written > 2 {
			r.Errorf("12 consumers stored position %d of one source: %d were accepted and %d events written; want 1, and its own", p+1, won, written)
		}
		r.equal("the position", r.tracked("billing"), p+1)
	}
}

func trackedNeverGoesBack(r *rig) {
	race(6, func(i int) {
		for j := range 12 {
			_, err := r.store.Append(r.Context(), events(event("A", "")), annals.TrackingAt("billing", annals.Position(1+j*6+i)))
			if err != nil && !errors.Is(err, annals.ErrConflict) {
				r.Errorf("an append failed with something else than a conflict: %v", err)
			}
		}
	})
	last := annals.Position(0)
	for _, e := range r.read(annals.Stream(annals.TrackingStream("billing")).WithSystem()) {
		p, err := annals.TrackedPosition(e.Event)
		if err != nil || p <= last {
			r.Errorf("position %d is stored behind %d, %v", p, last, err)
		}
		last = p
	}
	r.equal("the position that is told", r.tracked("billing"), last)
}

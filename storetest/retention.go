package storetest

import (
	"errors"
	"runtime"
	"time"

	"github.com/annalsdb/annals"
)

// noRetentionPromises are for stores that are no [annals.Retainer].
func noRetentionPromises() []promise {
	return []promise{
		{"a store that is no Retainer says so in its limits, and refuses retention by name", retentionIsUnsupported},
	}
}

func retentionPromises() []promise {
	return []promise{
		{"a Retainer says so in its limits, and tells what is kept of a stream", retentionIsTold},
		{"retention is an event in the log, hidden from who does not ask for the system's", retentionIsAnEvent},
		{"what is truncated is hidden from every read, in both directions", truncationHides},
		{"what is deleted is hidden from every read, and the stream's revisions go on", deletionHides},
		{"MaxCount hides all but the last revisions, of what is there and of what comes", maxCountHides},
		{"MaxAge hides what is old enough, and only that", maxAgeHides},
		{"what is hidden stays hidden, whatever is set later", hidingIsForGood},
		{"what is hidden now is hidden in the past too", thePastIsNoException},
		{"a read sees retention as it was when its ranging began", readsArePinnedToRetention},
		{"a subscription passes over what is hidden, and goes on", subscriptionsHonourRetention},
		{"a condition sees what can be read, and a revision condition the last revision that was given", conditionsHonourRetention},
		{"StreamIn tells the five states of a stream apart", streamStatesWithRetention},
		{"the id of what is hidden is free", hiddenIDsAreFree},
		{"events of an append take effect at their own places, or not at all", retentionIsAtomic},
		{"retention sent again is a duplicate", retentionIsIdempotent},
		{"TruncateBefore past the end of the stream is ahead", truncationAhead},
		{"an append to a tombstoned stream is refused, before ids and conditions are looked at", tombstonesRefuse},
		{"a tombstone hides everything, and stays", tombstonesHide},
		{"retention that makes no sense is invalid", malformedRetention},
		{"retention of one stream does nothing to another", retentionIsOfOneStream},
		{"of many that change the same settings on one condition one wins", settingsRace},
		{"nothing is accepted behind a tombstone, however many race with it", tombstonesRace},
		{"a condition that a stream exists holds at no place behind its deletion", existenceRaces},
		{"a read of a stream under MaxCount sees its last revisions without a gap, while others write", countedReadsRace},
	}
}

// asSystem is the rig of the view that may append reserved names.
func (r *rig) asSystem() *rig {
	r.Helper()
	s := *r
	s.store = r.system()
	return &s
}

func (r *rig) retain(stream string, keep annals.Retention) annals.Receipt {
	r.Helper()
	return r.asSystem().append(events(annals.RetentionEvent(stream, keep)))
}

func (r *rig) delete(stream string) annals.Receipt {
	r.Helper()
	return r.asSystem().append(events(annals.DeletionEvent(stream)))
}

func (r *rig) tombstone(stream string) annals.Receipt {
	r.Helper()
	return r.asSystem().append(events(annals.TombstoneEvent(stream)))
}

func (r *rig) retention(stream string) annals.StreamRetention {
	r.Helper()
	got, err := annals.RetentionOf(r.Context(), r.store, stream)
	if err != nil {
		r.Fatalf("asking for the retention of %s must succeed: %v", stream, err)
	}
	return got
}

// expire lets everything in a stream get too old.
func (r *rig) expire(stream string) {
	r.Helper()
	r.retain(stream, annals.Retention{MaxAge: time.Nanosecond})
	r.untilGone(stream)
}

// untilGone waits until the store's clock has gone on so far that nothing in the stream can be read.
func (r *rig) untilGone(stream string) {
	r.Helper()
	ctx := r.patient()
	for len(r.at(annals.Stream(stream))) > 0 {
		if ctx.Err() != nil {
			r.Fatalf("MaxAge of 1 ns hides an event of %s at last; waited %s", stream, r.options.patience)
		}
		runtime.Gosched()
	}
}

func retentionIsUnsupported(r *rig) {
	if l := annals.LimitsOf(r.store); l.Retention {
		r.Errorf("its limits say that it honours retention: it must implement annals.Retainer then")
	}
	if _, err := annals.RetentionOf(r.Context(), r.store, "s-1"); !errors.Is(err, annals.ErrUnsupported) {
		r.Errorf("asking for the retention of a stream answered %v", err)
	}
	r.put("A", "s-1")
	system, err := annals.System(r.store)
	if err != nil {
		return // then nobody can try
	}
	for _, e := range []annals.Event{annals.RetentionEvent("s-1", annals.Retention{MaxCount: 1}), annals.DeletionEvent("s-1"), annals.TombstoneEvent("s-1")} {
		if _, err := system.Append(r.Context(), events(e)); !errors.Is(err, annals.ErrUnsupported) {
			r.Errorf("an event of type %s was answered by %v; it must be ErrUnsupported, not be kept and ignored", e.Type, err)
		}
	}
	r.equal("what can be read", r.at(annals.All().WithSystem()), positions(1))
}

func retentionIsTold(r *rig) {
	if l := annals.LimitsOf(r.store); !l.Retention {
		r.Fatalf("Limits().Retention must be true")
	}
	none := annals.StreamRetention{State: annals.StreamNone, Last: annals.NoRevision, Settings: annals.NoRevision}
	r.equal("of a stream that was never heard of", r.retention("s-1"), none)
	r.append(many(5))
	r.equal("of a stream that nothing was said about", r.retention("s-1"),
		annals.StreamRetention{State: annals.StreamLive, Last: 4, Settings: annals.NoRevision})
	keep := annals.Retention{TruncateBefore: 2, MaxAge: 1000*time.Hour + 7, MaxCount: 100}
	if _, err := annals.Retain(r.Context(), r.store, "s-1", keep); err != nil {
		r.Fatalf("setting what is kept failed: %v", err)
	}
	r.equal("after it was set", r.retention("s-1"), annals.StreamRetention{Keep: keep, State: annals.StreamLive, First: 2, Last: 4})
	r.retain("s-1", annals.Retention{MaxCount: 1})
	want := annals.StreamRetention{Keep: annals.Retention{MaxCount: 1}, State: annals.StreamLive, First: 4, Last: 4, Settings: 1}
	r.equal("after it was set again", r.retention("s-1"), want)
	if _, err := annals.DeleteStream(r.Context(), r.store, "s-1"); err != nil {
		r.Fatalf("deleting a stream failed: %v", err)
	}
	want.State, want.First, want.Settings = annals.StreamDeleted, 5, 2
	r.equal("after deletion", r.retention("s-1"), want)
	r.put("A", "s-1")
	want.State, want.Last = annals.StreamLive, 5
	r.equal("after one more event", r.retention("s-1"), want)
	if _, err := annals.TombstoneStream(r.Context(), r.store, "s-1"); err != nil {
		r.Fatalf("tombstoning a stream failed: %v", err)
	}
	want.State, want.First, want.Settings = annals.StreamTombstoned, 6, 3
	r.equal("after the tombstone", r.retention("s-1"), want)
	for _, name := range []string{"", "$s", "s\n", longName(annals.LimitsOf(r.store).StreamBytes + 1)} {
		if _, err := annals.RetentionOf(r.Context(), r.store, name); !errors.Is(err, annals.ErrInvalid) {
			r.Errorf("asking about a stream named %.20q must be ErrInvalid, not %v", name, err)
		}
	}
}

func retentionIsAnEvent(r *rig) {
	r.append(many(3))
	keep := annals.Retention{TruncateBefore: 1, MaxAge: time.Hour, MaxCount: 7}
	set := annals.RetentionEvent("s-1", keep)
	receipt := r.asSystem().append(events(set))
	r.equal("the place of the setting", receipt.First, annals.Position(4))
	r.delete("s-1")
	r.tombstone("s-1")
	r.equal("the next event's place", r.put("A", "t-1").First, annals.Position(7))
	r.equal("the events of the user", r.at(annals.All()), positions(7))
	r.equal("all events", r.at(annals.All().WithSystem()), positions(4, 5, 6, 7))
	got := r.read(annals.Stream(annals.RetentionStream("s-1")).WithSystem())
	var types []string
	for i, e := range got {
		types = append(types, e.Type)
		r.equal("the revision of a change", e.Revision, annals.Revision(i))
		change, ok, err := annals.RetentionChangeOf(e.Event)
		if !ok || err != nil || change.Stream != "s-1" || change.Type != e.Type {
			r.Errorf("the event %+v reads as the change %+v, %t, %v", e, change, ok, err)
		}
		if i == 0 {
			r.equal("what was set", change.Keep, keep)
		}
	}
	r.equal("the changes", types, []string{annals.TypeRetention, annals.TypeDeleted, annals.TypeTombstoned})
	r.equal("the category of the changes", r.at(annals.Category("$$s").WithSystem()), positions(4, 5, 6))
	r.refused("a retention event through the store itself", annals.ErrReserved, events(annals.DeletionEvent("t-1")))
	name := longName(annals.LimitsOf(r.store).StreamBytes)
	r.put("A", name)
	r.delete(name)
	r.equal("a stream with the longest name", r.at(annals.Stream(name)), positions())
	r.equal("its deletion", r.at(annals.Stream(annals.RetentionStream(name)).WithSystem()), positions(9))
}

func retentionIsAtomic(r *rig) {
	r.append(many(2))
	before, after := event("A", "s-1"), event("B", "s-1")
	s := r.asSystem()
	s.refused("a condition that fails", annals.ErrConflict, events(before, annals.DeletionEvent("s-1"), after), annals.StreamAt("s-1", 9))
	r.equal("after a refusal", len(r.at(annals.Stream("s-1"))), 2)
	got := s.append(events(before, annals.DeletionEvent("s-1"), after), annals.StreamAt("s-1", 1))
	r.equal("what is behind the deletion", r.at(annals.Stream("s-1")), positions(got.Last))
	r.equal("its revision", r.read(annals.Stream("s-1"))[0].Revision, annals.Revision(3))
	got = s.append(events(event("A", "s-1"), annals.RetentionEvent("s-1", annals.Retention{MaxCount: 1}), event("A", "s-1"), annals.DeletionEvent("s-2"),
		annals.RetentionEvent("s-1", annals.Retention{MaxCount: 5})))
	r.equal("settings that change twice in an append", r.at(annals.Stream("s-1")), positions(got.First+2))
	got = s.append(events(event("A", "s-2"), event("Closed", "s-1"), annals.TombstoneEvent("s-1")))
	r.equal("a stream that is closed with a last event", r.at(annals.Stream("s-1")), positions())
	r.equal("its neighbour", r.at(annals.Stream("s-2")), positions(got.First))
}

func retentionIsIdempotent(r *rig) {
	r.append(many(3))
	s := r.asSystem()
	set := annals.RetentionEvent("s-1", annals.Retention{MaxCount: 2})
	first := s.append(events(set))
	r.retain("s-1", annals.Retention{MaxCount: 1})
	again := s.duplicate("settings sent again", events(set), annals.StreamAt("s-1", 77))
	r.equal("the place of the duplicate", again.First, first.First)
	r.equal("the settings, which were set anew since", r.retention("s-1").Keep, annals.Retention{MaxCount: 1})
	other := annals.RetentionEvent("s-1", annals.Retention{MaxCount: 3})
	other.ID = set.ID
	s.refused("other settings with the same id", annals.ErrIDReused, events(other))
	gone := annals.DeletionEvent("s-1")
	s.append(events(gone))
	r.put("A", "s-1")
	s.duplicate("a deletion sent again", events(gone))
	r.equal("what came after the deletion", len(r.at(annals.Stream("s-1"))), 1)
	end := annals.TombstoneEvent("s-1")
	s.append(events(end))
	s.duplicate("a tombstone sent again", events(end))
	s.duplicate("settings sent again, after the tombstone", events(set))
}

func truncationAhead(r *rig) {
	s := r.asSystem()
	s.refused("of a stream that never was", annals.ErrAhead, events(annals.RetentionEvent("s-1", annals.Retention{TruncateBefore: 1})))
	r.append(many(3))
	set := annals.RetentionEvent("s-1", annals.Retention{TruncateBefore: 4})
	err := s.refusal("one more than there is", annals.ErrAhead, events(set))
	var ahead *annals.AheadError
	if !errors.As(err, &ahead) || ahead.Stream != "s-1" || ahead.Revision != 4 || ahead.Actual != 2 {
		r.Errorf("the error tells the stream, the revision 4 and the last, 2: %v", err)
	}
	s.refused("before conditions", annals.ErrAhead, events(set), annals.NoStream("s-1"))
	s.refused("counting the append's own events", annals.ErrAhead, events(event("A", "s-1"), set))
	s.append(events(annals.RetentionEvent("s-1", annals.Retention{TruncateBefore: 3})))
	r.equal("what is left", r.at(annals.Stream("s-1")), positions())
	r.put("A", "s-1")
	s.append(events(set))
	s.duplicate("the settings sent again", events(set))
}

func tombstonesRefuse(r *rig) {
	known := event("A", "s-1")
	r.append(events(known))
	r.tombstone("s-1")
	for what, c := range map[string]struct {
		es    []annals.Event
		conds []annals.Condition
	}{
		"an event":                         {es: events(event("A", "s-1"))},
		"an event that was stored already": {es: events(known)},
		"an event with a known id":         {es: events(annals.Event{ID: known.ID, Type: "B", Stream: "s-1"})},
		"an event among others":            {es: events(event("A", "s-2"), event("A", "s-1"), event("A", ""))},
		"a condition that fails":           {es: events(event("A", "s-1")), conds: []annals.Condition{annals.StreamExists("s-9")}},
		"a position past the head":         {es: events(event("A", "s-1")), conds: []annals.Condition{annals.NoneSince(99, annals.All())}},
	} {
		err := r.refusal(what, annals.ErrStreamTombstoned, c.es, c.conds...)
		var tombstoned *annals.TombstonedError
		if !errors.As(err, &tombstoned) || tombstoned.Stream != "s-1" {
			r.Errorf("%s: the error names the stream: %v", what, err)
		}
	}
	r.refused("a malformed event, for shape comes first", annals.ErrInvalid, events(annals.Event{Stream: "s-1"}))
	s := r.asSystem()
	for _, e := range []annals.Event{annals.RetentionEvent("s-1", annals.Retention{}), annals.DeletionEvent("s-1"), annals.TombstoneEvent("s-1")} {
		s.refused("another "+e.Type, annals.ErrStreamTombstoned, events(e))
	}
	for _, c := range []annals.Condition{annals.StreamAt("s-1", 0), annals.NoStream("s-1"), annals.StreamIn("s-1", annals.StreamTombstoned)} {
		r.append(nil, c)
	}
	r.append(events(event("A", "s-2"), event("A", "s-10"), event("A", "s")), annals.NoStream("s-2"))
	r.tombstone("never-1")
	r.refused("a stream that ended before it began", annals.ErrStreamTombstoned, events(event("A", "never-1")))
}

func malformedRetention(r *rig) {
	s := r.asSystem()
	with := func(change func(*annals.Event)) annals.Event {
		e := annals.RetentionEvent("s-1", annals.Retention{MaxCount: 1})
		change(&e)
		return e
	}
	data := func(d string) annals.Event { return with(func(e *annals.Event) { e.Data = []byte(d) }) }
	for what, e := range map[string]annals.Event{
		"a negative age":         annals.RetentionEvent("s-1", annals.Retention{MaxAge: -1}),
		"a negative count":       annals.RetentionEvent("s-1", annals.Retention{MaxCount: -1}),
		"before NoRevision":      annals.RetentionEvent("s-1", annals.Retention{TruncateBefore: annals.NoRevision}),
		"no data":                data(""),
		"data that is no JSON":   data("{"),
		"data that is no object": data("7"),
		"a setting misspelt":     data(`{"maxcount":1,"maxAgee":"1h"}`),
		"an age that is none":    data(`{"maxAge":"soon"}`),
		"an age as a number":     data(`{"maxAge":3600}`),
		"a count as a string":    data(`{"maxCount":"1"}`),
		"two values":             data(`{} {}`),
		"a newer version":        with(func(e *annals.Event) { e.Version = 2 }),
		"in another stream":      with(func(e *annals.Event) { e.Stream = "s-1" }),
		"in a system stream":     with(func(e *annals.Event) { e.Stream = "$s-1" }),
		"in no stream":           with(func(e *annals.Event) { e.Stream = "" }),
		"of no stream":           annals.DeletionEvent(""),
		"deleting the system's":  annals.DeletionEvent("$s-1"),
		"ending the system's":    annals.TombstoneEvent("$s-1"),
		"of retention itself":    annals.TombstoneEvent(annals.RetentionStream("s-1")),
		"a name too long":        annals.DeletionEvent(longName(annals.LimitsOf(r.store).StreamBytes + 1)),
	} {
		s.refused(what, annals.ErrInvalid, events(e))
	}
	s.refused("an event behind its stream's end", annals.ErrInvalid, events(annals.TombstoneEvent("s-1"), event("A", "s-1")))
	s.refused("settings behind the end", annals.ErrInvalid, events(annals.TombstoneEvent("s-1"), event("A", "s-2"), annals.RetentionEvent("s-1", annals.Retention{})))
	if _, err := annals.Retain(r.Context(), r.store, "s-1", annals.Retention{MaxAge: -time.Second}); !errors.Is(err, annals.ErrInvalid) {
		r.Errorf("Retain with a negative age answered %v", err)
	}
	r.equal("what was written", r.at(annals.All().WithSystem()), positions())
}

func retentionIsOfOneStream(r *rig) {
	r.append(events(event("A", "s"), event("A", "s-1"), event("A", "s-10"), event("A", "S-1"), event("A", "")))
	if _, err := r.system().Append(r.Context(), events(event("A", "$s-1"), event("$note", "s-2"))); err != nil {
		r.Fatalf("appending system events failed: %v", err)
	}
	r.delete("s-1")
	r.tombstone("s")
	r.equal("of the user's events", r.at(annals.All()), positions(3, 4, 5))
	r.equal("of all events", r.at(annals.All().WithSystem()), positions(3, 4, 5, 6, 7, 8, 9))
	r.delete("s-2")
	r.equal("a system event in a stream of the user's goes with it", r.at(annals.All().WithSystem()), positions(3, 4, 5, 6, 8, 9, 10))
}

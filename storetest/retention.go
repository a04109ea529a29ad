package storetest

import (
	"errors"
	"runtime"
	"slices"
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

// toHide appends events 1 to 8, of which 1, 3, 4 and 6 are in the stream s-1, as revisions 0 to 3, and gives them back.
func toHide(r *rig) []annals.Recorded {
	r.Helper()
	r.append(events(event("A", "s-1", "x:1"), event("A", "s-2", "x:1"), event("B", "s-1", "x:1")))
	r.append(events(event("A", "s-1", "x:1", "y:1"), event("B", "", "x:1"), event("C", "s-1", "x:1"), event("A", "", "y:1"), event("C", "t-1")))
	return r.read(annals.All())
}

// seen wants reads of every kind to yield these events, those hidden excepted.
func (r *rig) seen(what string, all []annals.Recorded, hidden ...annals.Position) {
	r.Helper()
	queries := []annals.Query{
		annals.All(), annals.Stream("s-1"), annals.Stream("s-2"), annals.Category("s"), annals.Tags("x:1"), annals.Types("A"),
		annals.Types("B").Or(annals.Tags("y:1")), annals.Stream("s-1").Types("A", "C"), annals.Stream("s-1").Tags("y:1"),
		annals.Category("s").Tags("x:1").Types("C"), annals.Stream("s-1").Or(annals.Tags("y:1")),
	}
	for _, e := range all {
		queries = append(queries, annals.ByID(e.ID))
	}
	for _, q := range queries {
		want := positions()
		for _, e := range all {
			if q.Match(e) && !slices.Contains(hidden, e.Position) {
				want = append(want, e.Position)
			}
		}
		backwards := slices.Clone(want)
		slices.Reverse(backwards)
		about := what + ": " + q.String()
		r.equal(about, r.at(q), want)
		r.equal(about+", backwards", r.at(q, annals.Backwards()), backwards)
		for n := 1; n <= len(want); n++ {
			r.equal(about+", limited", r.at(q, annals.Limit(n)), want[:n])
			r.equal(about+", limited, backwards", r.at(q, annals.Limit(n), annals.Backwards()), backwards[:n])
		}
		for after := range annals.Position(len(all)) {
			r.equal(about+", after a position", r.at(q, annals.After(after)),
				slices.DeleteFunc(slices.Clone(want), func(p annals.Position) bool { return p <= after }))
		}
	}
}

func truncationHides(r *rig) {
	all := toHide(r)
	r.retain("s-1", annals.Retention{})
	r.seen("nothing", all)
	r.retain("s-1", annals.Retention{TruncateBefore: 1})
	r.seen("before revision 1", all, 1)
	r.retain("s-1", annals.Retention{TruncateBefore: 3})
	r.seen("before revision 3", all, 1, 3, 4)
	for from, want := range []annals.Position{6, 6, 6, 6} {
		r.equal("from a revision", r.at(annals.Stream("s-1"), annals.FromRevision(annals.Revision(from))), positions(want))
		r.equal("from a revision, with others", r.at(annals.Stream("s-1").Or(annals.Tags("y:1")), annals.FromRevision(annals.Revision(from))), positions(want, 7))
	}
	r.retain("s-1", annals.Retention{TruncateBefore: 4})
	r.seen("before the next revision", all, 1, 3, 4, 6)
	r.equal("from a revision when nothing is left", r.at(annals.Stream("s-1").Or(annals.Tags("y:1")), annals.FromRevision(0)), positions())
	got := r.put("A", "s-1")
	r.equal("the next revision", got.Revision, annals.Revision(4))
	r.equal("the stream", r.at(annals.Stream("s-1")), positions(got.First))
}

func deletionHides(r *rig) {
	all := toHide(r)
	r.delete("s-1")
	r.seen("deleted", all, 1, 3, 4, 6)
	got := r.append(events(event("Z", "s-1"), event("Z", "s-1", "x:1")), annals.StreamAt("s-1", 3))
	r.equal("the revision of the last event after deletion", got.Revision, annals.Revision(5))
	all = append(all, r.read(annals.Types("Z"))...)
	r.seen("deleted, and gone on", all, 1, 3, 4, 6)
	r.delete("s-1")
	r.seen("deleted twice", all, 1, 3, 4, 6, got.First, got.Last)
	r.delete("never-1")
	r.equal("a stream that was deleted before it began", r.put("A", "never-1").Revision, annals.Revision(0))
	r.equal("what can be read of it", len(r.at(annals.Stream("never-1"))), 1)
}

func maxCountHides(r *rig) {
	all := toHide(r)
	r.retain("s-1", annals.Retention{MaxCount: 4})
	r.seen("four of four", all)
	r.retain("s-1", annals.Retention{MaxCount: 2})
	r.seen("two of four", all, 1, 3)
	r.append(events(event("Z", "s-1"), event("Z", "s-1"), event("Z", "s-2")))
	all = append(all, r.read(annals.Types("Z").Or(annals.Types("none")))...)
	r.seen("two of six", all, 1, 3, 4, 6)
	r.append(events(event("Y", "s-1"), event("Y", "s-1"), event("Y", "s-1")))
	got := r.read(annals.Stream("s-1"))
	if len(got) != 2 || got[0].Revision != 7 || got[1].Revision != 8 {
		r.Errorf("an append of three to a stream that keeps two leaves the last two: got %+v", got)
	}
	r.retain("s-2", annals.Retention{MaxCount: 1})
	r.put("Y", "s-2")
	r.equal("one of three", len(r.at(annals.Stream("s-2"))), 1)
}

func maxAgeHides(r *rig) {
	all := toHide(r)
	r.retain("s-1", annals.Retention{MaxAge: 1000 * time.Hour})
	r.seen("younger than a thousand hours", all)
	r.expire("s-1")
	r.seen("older than a nanosecond", all, 1, 3, 4, 6)
	r.equal("the next revision", r.put("Z", "s-1").Revision, annals.Revision(4))
	r.untilGone("s-1")
	r.equal("what is to be read of the stream's neighbours", r.at(annals.Category("s")), positions(2))
	r.equal("the state of the stream", r.retention("s-1").State, annals.StreamEmpty)
}

func hidingIsForGood(r *rig) {
	all := toHide(r)
	for _, c := range []struct {
		what   string
		keep   annals.Retention
		hidden []annals.Position
	}{
		{"truncated at 1", annals.Retention{TruncateBefore: 1}, positions(1)},
		{"not truncated any more", annals.Retention{}, positions(1)},
		{"the last two", annals.Retention{MaxCount: 2}, positions(1, 3)},
		{"the last hundred", annals.Retention{MaxCount: 100}, positions(1, 3)},
		{"the last one", annals.Retention{MaxCount: 1}, positions(1, 3, 4)},
		{"truncated at 2", annals.Retention{TruncateBefore: 2}, positions(1, 3, 4)},
	} {
		r.retain("s-1", c.keep)
		r.seen(c.what, all, c.hidden...)
	}
	r.expire("s-1")
	r.retain("s-1", annals.Retention{MaxAge: 1000 * time.Hour})
	r.seen("once too old", all, 1, 3, 4, 6)
	r.retain("s-1", annals.Retention{})
	r.seen("of any age", all, 1, 3, 4, 6)
	r.put("Z", "s-1")
	r.delete("s-1")
	r.retain("s-1", annals.Retention{})
	r.equal("after deletion, and new settings", r.at(annals.Stream("s-1")), positions())
	r.append(events(event("Z", "s-1"), event("Z", "s-1"), event("Z", "s-1")))
	r.retain("s-1", annals.Retention{MaxCount: 2})
	r.retain("s-1", annals.Retention{})
	r.append(events(event("Z", "s-1")))
	r.equal("what was beyond the count when that was lifted, and what came later", len(r.at(annals.Stream("s-1"))), 3)
}

func thePastIsNoException(r *rig) {
	all := toHide(r)
	r.retain("s-1", annals.Retention{TruncateBefore: 2})
	for p := range annals.Position(9) {
		var want []annals.Recorded
		for _, e := range all[:p] {
			if e.Position != 1 && e.Position != 3 {
				want = append(want, e)
			}
		}
		r.sameAll("as of a position", r.read(annals.All(), annals.AsOf(p)), want)
	}
	for _, e := range all {
		got := r.at(annals.All(), annals.AsOfTime(e.Time))
		if slices.Contains(got, 1) || slices.Contains(got, 3) || !slices.Contains(got, 2) {
			r.Errorf("as of the time of event %d: got %v; want neither 1 nor 3, but 2", e.Position, got)
		}
	}
	for revision, want := range []struct {
		stream, both []annals.Position
		head         annals.Position
	}{
		{positions(), positions(2), 3}, {positions(), positions(2), 3}, // hidden: up to what is there still
		{positions(4), positions(2, 4), 4}, {positions(4, 6), positions(2, 4, 5, 6), 6},
	} {
		var head annals.Position
		r.equal("as of a revision", r.at(annals.Stream("s-1"), annals.AsOfRevision(annals.Revision(revision)), annals.HeadInto(&head)), want.stream)
		r.equal("the head as of a revision", head, want.head)
		r.equal("as of a revision, with others", r.at(annals.Stream("s-1").Or(annals.Tags("x:1")), annals.AsOfRevision(annals.Revision(revision))), want.both)
	}
	r.unreadable("a revision that was never given", annals.ErrAhead, annals.Stream("s-1"), annals.AsOfRevision(4))
	r.delete("s-1")
	var head annals.Position
	r.equal("as of a revision of a deleted stream", r.at(annals.Stream("s-1"), annals.AsOfRevision(3), annals.HeadInto(&head)), positions())
	r.equal("the head as of a revision of a deleted stream", head, r.head())
	r.unreadable("a revision that a deleted stream never gave", annals.ErrAhead, annals.Stream("s-1"), annals.AsOfRevision(4))
}

func readsArePinnedToRetention(r *rig) {
	toHide(r)
	r.bury() // in s-1, so that no store has all of it at hand
	for _, c := range []struct {
		name string
		hide func()
	}{
		{"the stream's deletion", func() { r.delete("s-1") }},
		{"a neighbour's truncation", func() { r.retain("s-2", annals.Retention{TruncateBefore: 1}) }},
	} {
		want := r.read(annals.All())
		var got []annals.Recorded
		for e, err := range r.store.Read(r.patient(), annals.All()) {
			if err != nil {
				r.Fatalf("a read that %s came between failed: %v", c.name, err)
			}
			if got = append(got, e); len(got) == 1 {
				c.hide()
			}
		}
		if !slices.EqualFunc(got, want, same) {
			r.Errorf("a read that began before %s yields %d events; want the %d that there were", c.name, len(got), len(want))
		}
	}
	r.equal("a read that began later", r.at(annals.Category("s")), positions())
}

func subscriptionsHonourRetention(r *rig) {
	all := toHide(r)
	live := r.follow(annals.All(), 0)
	got, _ := live.caughtUp()
	r.sameAll("before anything is hidden", got, all)
	r.retain("s-1", annals.Retention{TruncateBefore: 3})
	got, last := r.follow(annals.All(), 0).caughtUp()
	r.equal("from the start", positionsOf(got), positions(2, 5, 6, 7, 8))
	r.equal("where it is caught up", last.Position, annals.Position(9))
	got, _ = r.follow(annals.Stream("s-1"), 0, annals.ProgressEvery(1)).caughtUp()
	r.equal("of the stream", positionsOf(got), positions(6))
	got, _ = r.follow(annals.Stream("s-1"), 4).caughtUp()
	r.equal("after a position", positionsOf(got), positions(6))
	gone := r.asSystem().append(events(event("Z", "s-1"), event("Z", "s-2"), annals.DeletionEvent("s-1"), event("Z", "s-1")))
	r.equal("live: what was hidden before it could be seen is not yielded", positionsOf(live.reaches(gone.Last)), positions(gone.First+1, gone.Last))
	got, _ = r.follow(annals.All(), 0).caughtUp()
	r.equal("from the start, after deletion", positionsOf(got), positions(2, 5, 7, 8, gone.First+1, gone.Last))
	r.tombstone("s-1")
	got, last = r.follow(annals.Stream("s-1"), 0).caughtUp()
	r.equal("of a tombstoned stream", positionsOf(got), positions())
	r.equal("where that is caught up", last.Position, r.head())
	next := r.put("Z", "s-2")
	r.equal("live: what comes afterwards", positionsOf(live.reaches(next.First)), positions(next.First))
}

func conditionsHonourRetention(r *rig) {
	toHide(r)
	r.retain("s-1", annals.Retention{TruncateBefore: 2})
	for _, q := range []annals.Query{annals.Stream("s-1"), annals.Tags("x:1"), annals.Types("A", "B"), annals.All(), annals.Category("s").Types("A")} {
		for after := range annals.Position(9) {
			want := r.at(q, annals.After(after))
			_, err := r.store.Append(r.Context(), nil, annals.NoneSince(after, q))
			if len(want) == 0 && err != nil || len(want) > 0 && !errors.Is(err, annals.ErrConflict) {
				r.Errorf("%s after %d reads %v, and NoneSince answers %v", q, after, want, err)
				continue
			}
			if err != nil {
				r.equal(q.String()+": the positions in the way", r.conflict(err)[0].Positions, want)
			}
		}
	}
	r.append(nil, annals.NoneSince(0, annals.Stream("s-1").Types("B")), annals.StreamAt("s-1", 3))
	r.append(nil, annals.StreamExists("s-1"))
	f := r.conflict(r.refusal("a stream that can be read in part", annals.ErrConflict, nil, annals.NoStream("s-1").WithEvents()))[0]
	r.equal("the stream's last revision", f.Actual, annals.Revision(3))
	r.equal("the positions in the way of NoStream", f.Positions, positions(4, 6))
	r.equal("the events in the way of NoStream", positionsOf(f.Events), positions(4, 6))
	f = r.conflict(r.refusal("a revision that is hidden", annals.ErrConflict, nil, annals.StreamAt("s-1", 0)))[0]
	r.equal("the positions in the way of StreamAt", f.Positions, positions(4, 6))

	for i, hide := range []func(stream string){
		func(s string) { r.retain(s, annals.Retention{TruncateBefore: 1}) }, func(s string) { r.delete(s) }, r.expire,
	} {
		s := "u-" + decimal(i)
		r.put("A", s)
		hide(s)
		r.append(nil, annals.NoneSince(0, annals.Stream(s)))
		r.append(nil, annals.NoStream(s))
		r.append(nil, annals.StreamAt(s, 0))
		f := r.conflict(r.refusal("a stream of which nothing can be read", annals.ErrConflict, nil, annals.StreamExists(s)))[0]
		r.equal("its last revision", f.Actual, annals.Revision(0))
		f = r.conflict(r.refusal("its revision, which was passed", annals.ErrConflict, nil, annals.StreamAt(s, 1)))[0]
		r.equal("its last revision", f.Actual, annals.Revision(0))
		r.equal("nothing that can be read is in the way", len(f.Positions), 0)
		got := r.append(events(event("A", s)), annals.NoStream(s))
		r.equal("the revision that it goes on with", got.Revision, annals.Revision(1))
	}
}

func streamStatesWithRetention(r *rig) {
	r.put("A", "live-1")
	for _, s := range []string{"empty-1", "old-1", "deleted-1", "emptied-1", "gone-1", "again-1"} {
		r.append(events(event("A", s), event("A", s)))
	}
	r.retain("none-1", annals.Retention{MaxCount: 3})
	r.delete("none-2")
	r.tombstone("never-1")
	r.retain("empty-1", annals.Retention{TruncateBefore: 2})
	r.expire("old-1")
	r.delete("deleted-1")
	r.retain("deleted-1", annals.Retention{MaxCount: 3})
	r.delete("emptied-1")
	r.put("A", "emptied-1")
	r.retain("emptied-1", annals.Retention{TruncateBefore: 3})
	r.tombstone("gone-1")
	r.delete("again-1")
	r.put("A", "again-1")
	states := []annals.StreamState{annals.StreamNone, annals.StreamLive, annals.StreamEmpty, annals.StreamDeleted, annals.StreamTombstoned}
	for stream, state := range map[string]annals.StreamState{
		"unheard-1": annals.StreamNone, "none-1": annals.StreamNone, "none-2": annals.StreamNone, "live-1": annals.StreamLive,
		"again-1": annals.StreamLive, "empty-1": annals.StreamEmpty, "old-1": annals.StreamEmpty, "emptied-1": annals.StreamEmpty,
		"deleted-1": annals.StreamDeleted, "gone-1": annals.StreamTombstoned, "never-1": annals.StreamTombstoned,
	} {
		r.equal("the state of "+stream, r.retention(stream).State, state)
		others := annals.StreamState(0)
		for _, s := range states {
			if s != state {
				others |= s
			}
			if _, err := r.store.Append(r.Context(), nil, annals.StreamIn(stream, s)); (err == nil) != (s == state) {
				r.Errorf("%s is %s; StreamIn %s answers %v", stream, state, s, err)
			}
			r.append(nil, annals.StreamIn(stream, s|state))
		}
		f := r.conflict(r.refusal(stream, annals.ErrConflict, nil, annals.StreamIn(stream, others)))[0]
		r.equal("the state that the failure tells", f.State, state)
		live := state == annals.StreamLive
		if _, err := r.store.Append(r.Context(), nil, annals.NoStream(stream)); (err == nil) == live {
			r.Errorf("%s is %s; NoStream answers %v", stream, state, err)
		}
		if _, err := r.store.Append(r.Context(), nil, annals.StreamExists(stream)); (err == nil) != live {
			r.Errorf("%s is %s; StreamExists answers %v", stream, state, err)
		}
	}
}

func hiddenIDsAreFree(r *rig) {
	for i, hide := range []func(stream string){
		func(s string) { r.retain(s, annals.Retention{TruncateBefore: 1}) },
		func(s string) { r.retain(s, annals.Retention{MaxCount: 1}) },
		func(s string) { r.delete(s) },
		r.expire,
	} {
		s := "s-" + decimal(i)
		first, second := event("A", s), event("B", s)
		r.append(events(first))
		r.append(events(second))
		r.duplicate("before it is hidden", events(first))
		hide(s)
		changed := first
		changed.Data = []byte(`"other"`)
		got := r.append(events(changed), annals.StreamAt(s, 1))
		r.equal("the revision of the new event with the old id", got.Revision, annals.Revision(2))
		if i == 3 { // it is too old by now as well
			continue
		}
		again := r.duplicate("the new event sent again", events(changed))
		r.equal("where the duplicate is", again.First, got.First)
		r.refused("the old event, whose id is taken again", annals.ErrIDReused, events(first))
		r.equal("the events with this id", r.at(annals.ByID(first.ID)), positions(got.First))
		r.refused("the new event and one that is not known", annals.ErrPartialDuplicate, events(changed, event("C", s)))
	}
	// An append whose events are hidden in part is known in part.
	one, two := event("A", "t-1"), event("B", "t-1")
	r.append(events(one, two))
	r.retain("t-1", annals.Retention{TruncateBefore: 1})
	err := r.refusal("an append of which half is hidden", annals.ErrPartialDuplicate, events(one, two))
	var partial *annals.PartialDuplicateError
	if !errors.As(err, &partial) || !slices.Equal(partial.Known, []annals.ID{two.ID}) || !slices.Equal(partial.New, []annals.ID{one.ID}) {
		r.Errorf("what is hidden is new, what can be read is known: %v", err)
	}
	r.append(events(event("A", "t-2"), one), annals.NoStream("t-2")) // the hidden one's id is free beside new ones
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

func tombstonesHide(r *rig) {
	all := toHide(r)
	r.tombstone("s-1")
	r.seen("tombstoned", all, 1, 3, 4, 6)
	r.refused("an append", annals.ErrStreamTombstoned, events(event("A", "s-1")))
	r.seen("after a refusal", all, 1, 3, 4, 6)
	r.equal("the changes of the stream's retention", len(r.at(annals.Stream(annals.RetentionStream("s-1")).WithSystem())), 1)
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

func settingsRace(r *rig) {
	r.append(many(3))
	settings := annals.RetentionStream("s-1")
	s := r.asSystem()
	cond := annals.NoStream(settings)
	for i := range 5 {
		winners(s, 12, func(i int) annals.Event { return annals.RetentionEvent("s-1", annals.Retention{MaxCount: i + 1}) },
			func(int) annals.Condition { return cond })
		cond = annals.StreamAt(settings, annals.Revision(i))
	}
	r.equal("the settings' revision", r.retention("s-1").Settings, annals.Revision(4))
}

func tombstonesRace(r *rig) {
	for i := range 6 {
		s := "s-" + decimal(i)
		r.put("A", s)
		receipts, end := make([]annals.Receipt, 8), annals.Receipt{}
		race(len(receipts)+1, func(j int) {
			if j == len(receipts)/2 {
				end = r.tombstone(s)
				return
			}
			j -= j / (len(receipts)/2 + 1)
			for range 4 {
				got, err := r.store.Append(r.Context(), events(event("B", "other-1"), event("A", s)))
				if err != nil {
					if !errors.Is(err, annals.ErrStreamTombstoned) {
						r.Errorf("an append that raced with a tombstone failed with something else: %v", err)
					}
					return
				}
				receipts[j] = got
			}
		})
		for _, got := range receipts {
			if got.Last > end.First {
				r.Errorf("the stream ended at position %d, and yet an append to it was accepted at %d", end.First, got.Last)
			}
		}
		r.equal("what can be read of the stream", r.at(annals.Stream(s)), positions())
		r.refused("an append when all is over", annals.ErrStreamTombstoned, events(event("A", s)))
	}
}

func existenceRaces(r *rig) {
	for i := range 6 {
		s := "s-" + decimal(i)
		r.put("A", s)
		conds := []annals.Condition{annals.StreamExists(s), annals.StreamIn(s, annals.StreamLive)}
		receipts, gone := make([]annals.Receipt, 9), annals.Receipt{}
		race(len(receipts), func(j int) {
			if j == 4 {
				gone = r.delete(s)
				return
			}
			for range 4 {
				got, err := r.store.Append(r.Context(), events(event("B", "other-1")), conds[j%2])
				if err != nil {
					if !errors.Is(err, annals.ErrConflict) {
						r.Errorf("an append that raced with a deletion failed with something else: %v", err)
					}
					return
				}
				receipts[j] = got
			}
		})
		for _, got := range receipts {
			if got.Last > gone.First {
				r.Errorf("the stream was deleted at position %d, and yet an append that wanted it to exist was accepted at %d", gone.First, got.Last)
			}
		}
	}
}

func countedReadsRace(r *rig) {
	r.retain("s-1", annals.Retention{MaxCount: 5})
	race(4, func(i int) {
		for range 25 {
			if i == 0 {
				if _, err := r.store.Append(r.Context(), events(event("A", "s-1"), event("A", "s-1"))); err != nil {
					r.Errorf("an append failed: %v", err)
					return
				}
				continue
			}
			got, err := r.drainQuietly(r.store.Read(r.Context(), annals.Stream("s-1")))
			if err != nil {
				r.Errorf("a read failed: %v", err)
				return
			}
			for j, e := range got {
				if e.Revision != got[0].Revision+annals.Revision(j) {
					r.Errorf("revision %d is followed by %d", got[j-1].Revision, e.Revision)
				}
			}
			if len(got) > 0 && len(got) != int(min(5, got[len(got)-1].Revision+1)) {
				r.Errorf("a read saw %d events up to revision %d; want the last five", len(got), got[len(got)-1].Revision)
			}
		}
	})
}

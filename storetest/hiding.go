package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

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

func tombstonesHide(r *rig) {
	all := toHide(r)
	r.tombstone("s-1")
	r.seen("tombstoned", all, 1, 3, 4, 6)
	r.refused("an append", annals.ErrStreamTombstoned, events(event("A", "s-1")))
	r.seen("after a refusal", all, 1, 3, 4, 6)
	r.equal("the changes of the stream's retention", len(r.at(annals.Stream(annals.RetentionStream("s-1")).WithSystem())), 1)
}

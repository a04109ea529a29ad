package timetravel_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/storetest"
	"github.com/annalsdb/annals/timetravel"
)

func branch(t *testing.T, s annals.Store, edits ...timetravel.Edit) *timetravel.Branch {
	t.Helper()
	b, err := timetravel.WhatIf(t.Context(), s, edits...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func openBranch(t *testing.T) annals.Store {
	t.Helper()
	return branch(t, memory.New())
}

func TestABranchKeepsEveryPromiseOfAStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, openBranch)
}

func TestRandomOperationsOnABranch(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			storetest.Model(t, openBranch, seed, storetest.Operations(200))
		})
	}
}

// A life is a store with a past, edits of it, and the past that they lead to, told event by event.
type life struct {
	*rand.Rand
	now   time.Time
	base  *memory.Store
	past  []annals.Recorded
	edits []timetravel.Edit
}

func newLife(t *testing.T, seed uint64) *life {
	t.Helper()
	l := &life{Rand: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	l.base = memory.New(memory.Clock(func() time.Time { return l.now }))
	for range l.IntN(30) {
		l.now = l.now.Add(time.Duration(l.IntN(3)) * time.Second)
		if _, err := l.base.Append(t.Context(), []annals.Event{l.event()}); err != nil {
			t.Fatal(err)
		}
	}
	for e, err := range l.base.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		l.past = append(l.past, e)
	}
	return l
}

func (l *life) event() annals.Event {
	e := annals.Event{ID: annals.NewID(), Type: string(rune('A' + l.IntN(3))), Tags: []string{fmt.Sprint("n:", l.IntN(3))}, Data: fmt.Appendf(nil, `{"n":%d}`, l.IntN(1000))}
	if n := l.IntN(4); n > 0 {
		e.Stream = fmt.Sprint("s-", n)
	}
	return e
}

// told is an event of the past that the edits lead to, in its order: the place in base, and among what is added there.
type told struct {
	annals.Event
	time  time.Time
	place annals.Position
	added int // 0: it is the one of base
}

// edit makes random edits, and tells the past that they lead to.
func (l *life) edit() (story []told) {
	for i, e := range l.past {
		story = append(story, told{e.Event, e.Time, annals.Position(i + 1), 0})
	}
	free := l.Perm(len(l.past)) // positions that no edit has changed
	take := func() (annals.Position, bool) {
		if len(free) == 0 {
			return 0, false
		}
		p := annals.Position(free[0] + 1)
		free = free[1:]
		return p, true
	}
	gone := map[annals.Position]bool{}
	added := 0
	put := func(after annals.Position, events ...annals.Event) {
		for _, e := range events {
			added++
			story = append(story, told{Event: e, place: after, added: added})
		}
	}
	for range l.IntN(6) {
		after := annals.Position(l.IntN(len(l.past) + 1))
		switch l.IntN(4) {
		case 0:
			events := []annals.Event{l.event(), l.event()}[:1+l.IntN(2)]
			l.edits = append(l.edits, timetravel.Insert(after, events...))
			put(after, events...)
		case 1:
			if p, ok := take(); ok {
				l.edits = append(l.edits, timetravel.Drop(p))
				gone[p] = true
			}
		case 2:
			if p, ok := take(); ok {
				e := l.event()
				l.edits = append(l.edits, timetravel.Replace(p, e))
				if old := l.past[p-1]; old.Stream == e.Stream {
					e.ID = old.ID
				}
				gone[p] = true
				put(p, e)
			}
		case 3:
			if p, ok := take(); ok {
				l.edits = append(l.edits, timetravel.Move(after, p))
				gone[p] = true
				put(after, l.past[p-1].Event)
			}
		}
	}
	story = slices.DeleteFunc(story, func(e told) bool { return e.added == 0 && gone[e.place] })
	slices.SortStableFunc(story, func(a, b told) int {
		if a.place != b.place {
			return int(a.place) - int(b.place)
		}
		return a.added - b.added
	})
	for i := range story { // those that were added happened together with the one before, or after
		for j := i - 1; story[i].time.IsZero() && j >= 0; j-- {
			story[i].time = story[j].time
		}
		for j := i + 1; story[i].time.IsZero() && j < len(story); j++ {
			story[i].time = story[j].time
		}
		if n := len(l.past); story[i].time.IsZero() && n > 0 { // nothing of the past is left: the time of what was there
			story[i].time = l.past[min(int(story[i].place), n-1)].Time
		}
	}
	return story
}

// branch makes edits, and lives on in the branch.
func (l *life) branch(t *testing.T) *timetravel.Branch {
	t.Helper()
	l.edit()
	b := branch(t, l.base, l.edits...)
	for range l.IntN(3) {
		if _, err := b.Append(t.Context(), []annals.Event{l.event()}); err != nil {
			t.Fatal(err)
		}
	}
	l.past, l.edits = nil, nil
	for e, err := range b.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		l.past = append(l.past, e)
	}
	return b
}

// Whatever the edits are, the branch answers as a store in which it happened so.
func TestABranchIsTheStoreInWhichItHappenedSo(t *testing.T) {
	t.Parallel()
	edits := 0
	for seed := range uint64(400) {
		l := newLife(t, seed)
		base := annals.Store(l.base)
		if seed%3 == 0 { // a branch of a branch
			base = l.branch(t)
		}
		story := l.edit()
		edits += len(l.edits)
		b := branch(t, base, l.edits...)
		now := l.now
		oracle := memory.New(memory.Clock(func() time.Time { return now }))
		for _, e := range story {
			if now = e.time; now.IsZero() { // there was no time before
				now = time.Now()
			}
			if _, err := oracle.Append(t.Context(), []annals.Event{e.Event}); err != nil {
				t.Fatal(err)
			}
		}
		now = time.Now()
		for range 5 { // and goes on as that would
			e := l.event()
			conds := []annals.Condition{annals.NoneSince(annals.Position(l.IntN(len(story)+1)), l.query())}
			if l.IntN(2) == 0 {
				conds = []annals.Condition{annals.StreamAt("s-1", annals.Revision(l.IntN(5)))}
			}
			want, wantErr := oracle.Append(t.Context(), []annals.Event{e}, conds...)
			got, err := b.Append(t.Context(), []annals.Event{e}, conds...)
			want.Time, got.Time = time.Time{}, time.Time{}
			if got != want || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("seed %d, %v: append on %v: got %+v, %v, want %+v, %v", seed, l.edits, conds, got, err, want, wantErr)
			}
		}
		for range 40 {
			q, opts := l.query(), l.options(len(story))
			got, gotErr := drain(t, b, q, opts)
			want, wantErr := drain(t, oracle, q, opts)
			if !reflect.DeepEqual(got, want) || fmt.Sprint(gotErr) != fmt.Sprint(wantErr) {
				t.Fatalf("seed %d, %v:\nread %s with %+v\ngot  %v, %v\nwant %v, %v", seed, l.edits, q, annals.NewReadOptions(opts...), got, gotErr, want, wantErr)
			}
		}
	}
	if edits < 500 {
		t.Errorf("only %d edits were made", edits)
	}
}

func (l *life) query() annals.Query {
	queries := []annals.Query{
		annals.All(), annals.Stream("s-1"), annals.Stream("s-2"), annals.Types("A", "B"), annals.Tags("n:1"), annals.Category("s"),
		annals.Tags("n:1").Types("A").Or(annals.Stream("s-3")), annals.Stream("s-3").Types("C"),
	}
	if len(l.past) > 0 {
		queries = append(queries, annals.ByID(l.past[l.IntN(len(l.past))].ID))
	}
	return queries[l.IntN(len(queries))]
}

func (l *life) options(n int) (opts []annals.ReadOption) {
	maybe := func(o annals.ReadOption) {
		if l.IntN(4) == 0 {
			opts = append(opts, o)
		}
	}
	maybe(annals.After(annals.Position(l.IntN(n + 2))))
	maybe(annals.AsOf(annals.Position(l.IntN(n + 2))))
	maybe(annals.AsOfTime(time.Date(2026, 1, 1, 0, 0, l.IntN(40), 0, time.UTC)))
	maybe(annals.AsOfRevision(annals.Revision(l.IntN(8))))
	maybe(annals.FromRevision(annals.Revision(l.IntN(8))))
	maybe(annals.Limit(1 + l.IntN(5)))
	maybe(annals.Backwards())
	return opts
}

// drain is all that a read gives, as text but for times of what was appended last.
func drain(t *testing.T, s annals.Store, q annals.Query, opts []annals.ReadOption) (got []string, last error) {
	t.Helper()
	var head annals.Position
	for e, err := range s.Read(t.Context(), q, append(slices.Clone(opts), annals.HeadInto(&head))...) {
		if err != nil {
			return got, err
		}
		at := e.Time.Format(time.RFC3339)
		if e.Time.Year() == time.Now().Year() && time.Since(e.Time) < time.Hour {
			at = "now"
		}
		got = append(got, fmt.Sprintf("%d %d %s %s %s %s %s", e.Position, int64(e.Revision), e.ID, e.Stream, e.Type, e.Data, at))
	}
	return append(got, fmt.Sprint("head ", head)), nil
}

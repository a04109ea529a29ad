package timetravel_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/timetravel"
)

// recount corrects counts, and nothing else.
func recount(today, wanted Order, _ []timetravel.Change) (events []any, _ error) {
	for p, n := range wanted.Counts {
		if diff := n - today.Counts[p]; diff > 0 {
			events = append(events, Added{today.ID, p, diff})
		}
	}
	return events, nil
}

func TestACorrectionBringsTodayToWhereTheBranchIs(t *testing.T) {
	t.Parallel()
	log := newLog(t, Opened{"1"}, Added{"1", "tea", 1}, Opened{"2"}, Added{"2", "tea", 1}, Opened{"3"})
	ctx := annals.WithPrincipal(t.Context(), annals.Principal{ID: "ann"})
	b := branch(t, log.Store(),
		timetravel.Replace(2, raw(t, log, Added{"1", "tea", 3})...), timetravel.Insert(4, raw(t, log, Added{"2", "tea", 1})...))
	amend := []timetravel.Amendment[any]{
		timetravel.Amend(Order{ID: "1"}, recount), timetravel.Amend(Order{ID: "2"}, recount), timetravel.Amend(Order{ID: "3"}, recount),
	}
	done, err := timetravel.Correct(ctx, log, b, "the scales were wrong", amend...)
	if err != nil || len(done.Events) != 2 || done.Receipt.First != 6 || fmt.Sprint(done.Changes) != "[[counts.tea: 1 → 3] [counts.tea: 1 → 2] []]" {
		t.Fatalf("got %+v, %v", done, err)
	}
	if m := at(t, log.Store(), 6).Meta(); m.Reason != "the scales were wrong" || m.Actor != "ann" {
		t.Errorf("got %+v", m)
	}
	for _, id := range []string{"1", "2", "3"} {
		if changes, err := timetravel.Compare(t.Context(), log, log.On(b), Order{ID: id}); err != nil || len(changes) > 0 {
			t.Errorf("order %s: got %v, %v", id, changes, err)
		}
	}
	if _, err := timetravel.Correct(ctx, log, b, "again", amend...); !errors.Is(err, annals.ErrConflict) {
		t.Errorf("a correction that was made already: %v", err)
	}
	again := branch(t, log.Store())
	if done, err := timetravel.Correct(ctx, log, again, "nothing is wrong", amend...); err != nil || done.Events != nil || done.Receipt.Last != 0 {
		t.Errorf("got %+v, %v", done, err)
	}
}

func TestACorrectionIsRefusedIfSomethingMovedOrItLeadsElsewhere(t *testing.T) {
	t.Parallel()
	log := newLog(t, Opened{"1"}, Added{"1", "tea", 1}, Paid{"1"})
	amend := timetravel.Amend(Order{ID: "1"}, recount)
	b := branch(t, log.Store(), timetravel.Until(2), timetravel.Insert(2, raw(t, log, Added{"1", "jam", 1})...))
	_, err := timetravel.Correct(t.Context(), log, b, "not paid", amend)
	e, ok := errors.AsType[*timetravel.UncorrectedError](err)
	if !ok || !errors.Is(err, timetravel.ErrUncorrected) || fmt.Sprint(e.Left) != `[status: "paid" → "open"]` {
		t.Errorf("got %v", err)
	}
	b = branch(t, log.Store(), timetravel.Replace(2, raw(t, log, Added{"1", "tea", 3})...))
	if _, err := log.Append(t.Context(), []any{Added{"1", "tea", 1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := timetravel.Correct(t.Context(), log, b, "late", amend); !errors.Is(err, annals.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if _, err := timetravel.Correct(t.Context(), log, b, "", amend); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	no := errors.New("no")
	refuse := timetravel.Amend(Order{ID: "1"}, func(Order, Order, []timetravel.Change) ([]any, error) { return nil, no })
	if _, err := timetravel.Correct(t.Context(), log, b, "why", refuse); !errors.Is(err, no) {
		t.Errorf("got %v", err)
	}
	if head, err := log.Store().Head(t.Context()); err != nil || head != 4 {
		t.Errorf("the head is %d, %v", head, err)
	}
}

// What an amendment leads to is tried out, with all that it brings into boundaries, and with what the others append.
func TestACorrectionIsProvedByTryingItOut(t *testing.T) {
	t.Parallel()
	amend := timetravel.Amend(Order{ID: "1"}, recount)
	t.Run("amendments of one state", func(t *testing.T) {
		t.Parallel()
		log := newLog(t, Opened{"1"}, Added{"1", "tea", 1})
		b := branch(t, log.Store(), timetravel.Replace(2, raw(t, log, Added{"1", "tea", 3})...))
		if done, err := timetravel.Correct(t.Context(), log, b, "once", amend, amend); err != nil || len(done.Events) != 1 {
			t.Errorf("got %+v, %v", done, err)
		}
		same(t, log, b)
	})
	t.Run("a boundary that grows to what the branch has not", func(t *testing.T) {
		t.Parallel()
		log := newLog(t, Priced{"jam", 9}, Opened{"1"})
		b := branch(t, log.Store(), timetravel.Drop(1), timetravel.Insert(2, raw(t, log, Added{"1", "jam", 1})...))
		if _, err := timetravel.Correct(t.Context(), log, b, "grows", amend); !errors.Is(err, timetravel.ErrUncorrected) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a boundary that grows as in the branch", func(t *testing.T) {
		t.Parallel()
		log := newLog(t, Priced{"jam", 9}, Opened{"1"})
		b := branch(t, log.Store(), timetravel.Insert(2, raw(t, log, Added{"1", "jam", 1})...))
		if _, err := timetravel.Correct(t.Context(), log, b, "grows", amend); err != nil {
			t.Error(err)
		}
		same(t, log, b)
	})
	t.Run("what happened in the boundary that it grows to", func(t *testing.T) {
		t.Parallel()
		log := newLog(t, Opened{"1"})
		b := branch(t, log.Store(), timetravel.Insert(1, raw(t, log, Added{"1", "jam", 1})...))
		if _, err := log.Append(t.Context(), []any{Priced{"jam", 9}}); err != nil {
			t.Fatal(err)
		}
		if _, err := timetravel.Correct(t.Context(), log, b, "late", amend); !errors.Is(err, annals.ErrConflict) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("events that lose something when they are stored", func(t *testing.T) {
		t.Parallel()
		log := newLogOf(t, annals.NewSchema([]any{Received{}, Counted{}, Lied{}, Lossy{}}), Received{"tea", 1})
		b := branch(t, log.Store(), timetravel.Replace(1, raw(t, log, Received{"tea", 5})...))
		lossy := timetravel.Amend(Stock{ID: "tea"}, func(a, w Stock, _ []timetravel.Change) ([]any, error) { return []any{Lossy{"tea", w.N - a.N}}, nil })
		if _, err := timetravel.Correct(t.Context(), log, b, "lossy", lossy); !errors.Is(err, timetravel.ErrUncorrected) {
			t.Errorf("got %v", err)
		}
	})
}

// Lossy does not keep what it says.
type Lossy struct {
	Stock string `json:"stock" annals:"stock,stream"`
	n     int
}

func same(t *testing.T, log *annals.Log[any], b *timetravel.Branch) {
	t.Helper()
	if changes, err := timetravel.Compare(t.Context(), log, log.On(b), Order{ID: "1"}); err != nil || len(changes) > 0 {
		t.Errorf("still to change: %v, %v", changes, err)
	}
}

func TestABranchOfAnotherStoreCorrectsNothing(t *testing.T) {
	t.Parallel()
	log, other := newLog(t, Opened{"1"}), newLog(t, Opened{"1"}, Paid{"1"})
	amend := timetravel.Amend(Order{ID: "1"}, recount)
	for name, b := range map[string]*timetravel.Branch{"another store": branch(t, other.Store()), "a branch": branch(t, branch(t, log.Store()))} {
		if _, err := timetravel.Correct(t.Context(), log, b, "no", amend); !errors.Is(err, timetravel.ErrForeignBranch) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := timetravel.Correct(t.Context(), log, branch(t, log.Store()), "no", timetravel.Amendment[any]{}); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// Stock is counted by differences, which can be undone, but for a count.
type (
	Stock struct {
		ID string `json:"id"`
		N  int    `json:"n"`
	}
	Received struct {
		Stock string `json:"stock" annals:"stock,stream"`
		N     int    `json:"n"`
	}
	Counted struct {
		Stock string `json:"stock" annals:"stock,stream"`
		N     int    `json:"n"`
	}
	Lied struct {
		Stock string `json:"stock" annals:"stock,stream"`
	}
)

func (e Received) Reverse() []any { return []any{Received{e.Stock, -e.N}} }
func (e Lied) Reverse() []any     { return []any{Received{e.Stock, 1}} }

func (s Stock) Boundary() annals.Query { return annals.Stream("stock-" + s.ID) }
func (s Stock) Evolve(e any) Stock {
	switch e := e.(type) {
	case Received:
		s.N += e.N
	case Counted:
		s.N = e.N
	case Lossy:
		s.N += e.n
	}
	return s
}

func TestTheLastEventsAreReversedToTheStateBeforeThem(t *testing.T) {
	t.Parallel()
	log := newLogOf(t, annals.NewSchema([]any{Received{}, Counted{}, Lied{}}), Counted{"tea", 10}, Received{"tea", 5}, Received{"jam", 1}, Received{"tea", -2})
	done, err := timetravel.Reverse(t.Context(), log, Stock{ID: "tea"}, 2, "wrong shop")
	if err != nil || fmt.Sprint(done.Events) != "[{tea 2} {tea -5}]" || fmt.Sprint(done.Changes) != "[[n: 13 → 10]]" {
		t.Errorf("got %+v, %v", done, err)
	}
	if l, err := decider.Load(t.Context(), log, Stock{ID: "tea"}); err != nil || l.State.N != 10 || l.Revision != 4 {
		t.Errorf("got %+v, %v", l, err)
	}
	if m := at(t, log.Store(), 6).Meta(); m.Reason != "wrong shop" {
		t.Errorf("got %+v", m)
	}
	for n, want := range map[int]error{5: timetravel.ErrIrreversible, 6: timetravel.ErrIrreversible, 0: annals.ErrInvalid} {
		if _, err := timetravel.Reverse(t.Context(), log, Stock{ID: "tea"}, n, "more"); !errors.Is(err, want) {
			t.Errorf("%d events: got %v", n, err)
		}
	}
	if _, err := timetravel.Reverse(t.Context(), log, Stock{ID: "jam"}, 2, "more"); !errors.Is(err, annals.ErrInvalid) || !strings.Contains(err.Error(), "has 1 events") {
		t.Errorf("got %v", err)
	}
	if _, err := log.Append(t.Context(), []any{Lied{"tea"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := timetravel.Reverse(t.Context(), log, Stock{ID: "tea"}, 1, "a lie"); !errors.Is(err, timetravel.ErrUncorrected) {
		t.Errorf("got %v", err)
	}
}

func TestBisectFindsTheEventThatBrokeIt(t *testing.T) {
	t.Parallel()
	var events []any
	for range 1000 {
		events = append(events, Received{"jam", 1}, Received{"tea", 1})
	}
	log := newLogOf(t, annals.NewSchema([]any{Received{}, Counted{}, Lied{}}), events...)
	for limit := range 60 {
		few := func(s Stock) bool { return s.N <= limit*17 }
		got, err := timetravel.Bisect(t.Context(), log, Stock{ID: "tea"}, few)
		switch {
		case limit*17 >= 1000:
			if !errors.Is(err, timetravel.ErrStillHolds) {
				t.Errorf("got %v", err)
			}
		case err != nil || got.Before.N != limit*17 || got.After.N != limit*17+1 || got.Event.Revision != annals.Revision(limit*17) || got.Folds > 14:
			t.Errorf("limit %d: got %+v, %v", limit*17, got, err)
		}
	}
	if _, err := timetravel.Bisect(t.Context(), log, Stock{ID: "tea"}, func(Stock) bool { return false }); !errors.Is(err, timetravel.ErrNeverHeld) {
		t.Errorf("got %v", err)
	}
	got, err := timetravel.Bisect(t.Context(), log, Stock{ID: "tea"}, func(s Stock) bool { return s.N < 10 }, annals.AsOfRevision(9))
	if err != nil || got.Event.Revision != 9 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func newLogOf(t *testing.T, schema *annals.Schema[any], events ...any) *annals.Log[any] {
	t.Helper()
	log := annals.NewLog(newLog(t).Store(), schema)
	if len(events) > 0 {
		for _, e := range events {
			if _, err := log.Append(t.Context(), []any{e}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return log
}

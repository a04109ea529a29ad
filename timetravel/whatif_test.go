package timetravel_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/timetravel"
)

// Baskets are a read model.
var baskets = projection.Rows[Order, any]{
	Name: "baskets", By: "order", Query: annals.Category("order"),
	Apply: func(key string, row *Order, e annals.Entry[any]) error {
		row.ID = key
		*row = row.Evolve(e.Value)
		return nil
	},
}

func raw(t *testing.T, log *annals.Log[any], events ...any) []annals.Event {
	t.Helper()
	encoded, err := log.Encode(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestEveryToolWorksOnABranch(t *testing.T) {
	t.Parallel()
	log := newLog(t, past...)
	b := branch(t, log.Store(),
		timetravel.Replace(3, raw(t, log, Added{"1", "tea", 5})...),
		timetravel.Drop(7),
		timetravel.Insert(2, raw(t, log, Opened{"3"})...),
	)
	what := log.On(b)
	changes, err := timetravel.Compare(t.Context(), log, what, Order{ID: "1"})
	if got := fmt.Sprint(changes); err != nil || got != `[counts.tea: 3 → 6 status: "paid" → "open"]` {
		t.Errorf("got %s, %v", got, err)
	}
	reason, err := timetravel.Why(t.Context(), what, Order{ID: "1"}, "counts.tea")
	if err != nil || reason.Event.Position != 6 || string(reason.Value) != "6" {
		t.Errorf("got %+v, %v", reason, err)
	}
	if row, err := projection.AsOf(t.Context(), what, baskets, "1", annals.AsOfRevision(1)); err != nil || row.Counts["tea"] != 5 {
		t.Errorf("got %+v, %v", row, err)
	}
	rows, err := timetravel.CompareRows(t.Context(), log, what, baskets, 10)
	if err != nil || rows.String() != "same 1, differ 1, only in the first 0, only in the second 1" || rows.Samples[0].Key != "1" || rows.Samples[1].A != nil || rows.Samples[1].B.Status != "open" || rows.Equal() {
		t.Errorf("got %+v, %v", rows, err)
	}
	result, err := decider.Update(t.Context(), what, Order{ID: "3"}, func(o Order) ([]any, error) { return []any{Paid{o.ID}}, nil })
	if err != nil || result.Revision != 1 || result.Position != 8 {
		t.Errorf("got %+v, %v", result, err)
	}
	if head, err := log.Store().Head(t.Context()); err != nil || head != 7 {
		t.Errorf("the store below is at %d, %v", head, err)
	}
}

func TestAReplacedEventIsStillTheCauseOfWhatItLedTo(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	_, err := log.Append(annals.WithMetadata(t.Context(), annals.Metadata{Actor: "ann", Command: "Add"}), []any{Added{"1", "tea", 2}})
	if err != nil {
		t.Fatal(err)
	}
	id := at(t, log.Store(), 1).ID
	_, err = log.Append(annals.WithMetadata(t.Context(), annals.Metadata{CausationID: id.String()}), []any{Priced{"tea", 9}})
	if err != nil {
		t.Fatal(err)
	}
	what := log.On(branch(t, log.Store(), timetravel.Replace(1, raw(t, log, Added{"1", "tea", 3})...)))
	reason, err := timetravel.Why(t.Context(), what, Order{ID: "1"}, "prices")
	if err != nil || len(reason.Causes) != 1 || reason.Causes[0].Metadata.Command != "Add" || !strings.Contains(string(reason.Causes[0].Data), "3") {
		t.Errorf("got %+v, %v", reason, err)
	}
}

func at(t *testing.T, s annals.Store, p annals.Position) annals.Recorded {
	t.Helper()
	for e, err := range s.Read(t.Context(), annals.All(), annals.After(p-1), annals.Limit(1)) {
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	t.Fatalf("there is no position %d", p)
	return annals.Recorded{}
}

func TestAPastThatCannotBeNamesTheEventAndAnswersUpToIt(t *testing.T) {
	t.Parallel()
	log := newLog(t, past...)
	what := log.On(branch(t, log.Store(), timetravel.Insert(3, raw(t, log, Added{"1", "tea", -9})...)))
	_, err := decider.Load(t.Context(), what, Order{ID: "1"})
	if e, ok := errors.AsType[*decider.PanicError](err); !ok || e.Position != 4 {
		t.Errorf("got %v", err)
	}
	if l, err := decider.Load(t.Context(), what, Order{ID: "1"}, annals.AsOf(3)); err != nil || l.State.Counts["tea"] != 2 {
		t.Errorf("got %+v, %v", l.State, err)
	}
}

func TestABranchKnowsWhenThingsHappened(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	now := noon
	log := annals.NewLog(memory.New(memory.Clock(func() time.Time { return now })), schema)
	for _, e := range past {
		if _, err := log.Append(t.Context(), []any{e}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
	}
	b := branch(t, log.Store(),
		timetravel.Move(2, 7).At(noon.Add(90*time.Minute)),
		timetravel.Insert(3, raw(t, log, Opened{"3"})...),
		timetravel.Insert(7, raw(t, log, Opened{"4"})...).At(noon.Add(100*time.Hour)),
	)
	for p, minutes := range map[annals.Position]float64{2: 60, 3: 90, 4: 120, 5: 120, 9: 6000} {
		if got := at(t, b, p).Time.Sub(noon); got.Minutes() != minutes {
			t.Errorf("position %d happened after %v, want %v minutes", p, got, minutes)
		}
	}
	l, err := decider.Load(t.Context(), log.On(b), Order{ID: "1"}, annals.AsOfTime(noon.Add(100*time.Minute)))
	if err != nil || l.State.Status != "paid" || l.Position != 3 {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestUntilForgetsWhatCameAfter(t *testing.T) {
	t.Parallel()
	log := newLog(t, past...)
	b := branch(t, log.Store(), timetravel.Until(3), timetravel.Until(5), timetravel.Drop(1))
	if head, err := b.Head(t.Context()); err != nil || head != 2 {
		t.Errorf("got %d, %v", head, err)
	}
	if l, err := decider.Load(t.Context(), log.On(b), Order{ID: "1"}); err != nil || l.State.Counts["tea"] != 2 || l.State.Prices != nil {
		t.Errorf("got %+v, %v", l.State, err)
	}
}

func TestABranchHonoursTheRetentionBelow(t *testing.T) {
	t.Parallel()
	log := newLog(t, Opened{"1"}, Added{"1", "tea", 1}, Opened{"2"}, Opened{"3"}, Added{"1", "tea", 2})
	b := branch(t, log.Store(), timetravel.Insert(3, raw(t, log, Added{"1", "tea", 7}, Added{"3", "jam", 1})...))
	must := func(_ annals.Receipt, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(annals.Retain(t.Context(), log.Store(), "order-1", annals.Retention{TruncateBefore: 1}))
	must(annals.DeleteStream(t.Context(), log.Store(), "order-2"))
	must(annals.TombstoneStream(t.Context(), log.Store(), "order-3"))
	var got []string
	for e, err := range b.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.Position, " ", e.Stream, " ", e.Revision))
	}
	if want := "2 order-1 1, 4 order-1 2, 5 order-3 0, 7 order-1 3"; strings.Join(got, ", ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), want)
	}
	_, err := log.On(b).Append(t.Context(), []any{Opened{"3"}})
	if !errors.Is(err, annals.ErrStreamTombstoned) {
		t.Errorf("got %v", err)
	}
	receipt, err := log.On(b).Append(t.Context(), []any{Opened{"2"}}, annals.StreamIn("order-2", annals.StreamDeleted))
	if err != nil || receipt.Revision != 1 {
		t.Errorf("got %+v, %v", receipt, err)
	}
}

func TestABranchOfABranchKnowsTheRetentionBelow(t *testing.T) {
	t.Parallel()
	log := newLog(t, Opened{"1"}, Opened{"2"}, Opened{"3"})
	must := func(_ annals.Receipt, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(annals.DeleteStream(t.Context(), log.Store(), "order-1"))
	must(annals.TombstoneStream(t.Context(), log.Store(), "order-2"))
	b := log.On(branch(t, branch(t, log.Store(), timetravel.Drop(3))))
	receipt, err := b.Append(t.Context(), []any{Opened{"1"}}, annals.StreamIn("order-1", annals.StreamDeleted))
	if err != nil || receipt.Revision != 1 {
		t.Errorf("got %+v, %v", receipt, err)
	}
	if _, err := b.Append(t.Context(), []any{Opened{"2"}}); !errors.Is(err, annals.ErrStreamTombstoned) {
		t.Errorf("got %v", err)
	}
	if receipt, err := b.Append(t.Context(), []any{Opened{"3"}}, annals.StreamIn("order-3", annals.StreamNone)); err != nil || receipt.Revision != 0 {
		t.Errorf("got %+v, %v", receipt, err)
	}
}

func TestRevisionsGoOnWhereAllIsHiddenThatABranchHas(t *testing.T) {
	t.Parallel()
	log := newLog(t, Opened{"1"}, Added{"1", "tea", 1}, Added{"1", "tea", 1})
	b := branch(t, log.Store())
	for range 3 { // no part of the branch
		if _, err := log.Append(t.Context(), []any{Added{"1", "tea", 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := annals.Retain(t.Context(), log.Store(), "order-1", annals.Retention{TruncateBefore: 3}); err != nil {
		t.Fatal(err)
	}
	receipt, err := log.On(b).Append(t.Context(), []any{Added{"1", "tea", 1}}, annals.StreamIn("order-1", annals.StreamEmpty))
	if err != nil || receipt.Revision != 3 {
		t.Errorf("got %+v, %v", receipt, err)
	}
}

func TestRevisionsCountTheSystemsEventsToo(t *testing.T) {
	t.Parallel()
	s := memory.New()
	for _, kind := range []string{"A", "$note", "B"} {
		if _, err := s.System().Append(t.Context(), []annals.Event{{Type: kind, Stream: "s-1"}}); err != nil {
			t.Fatal(err)
		}
	}
	b := branch(t, s, timetravel.Insert(1, annals.Event{Type: "X", Stream: "s-1"}))
	var got []string
	for e, err := range b.Read(t.Context(), annals.Stream("s-1").WithSystem()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.Type, e.Revision))
	}
	if want := "A0 X1 $note2 B3"; strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
	b = branch(t, s, timetravel.Drop(1))
	for _, o := range []annals.ReadOption{annals.FromRevision(math.MaxUint64), annals.FromRevision(math.MaxUint64 - 1)} {
		for e, err := range b.Read(t.Context(), annals.Stream("s-1"), o) {
			t.Errorf("got %+v, %v", e, err)
		}
	}
	for _, err := range b.Read(t.Context(), annals.Stream("s-1"), annals.AsOfRevision(math.MaxUint64)) {
		if !errors.Is(err, annals.ErrAhead) {
			t.Errorf("got %v", err)
		}
	}
}

// slow is a store whose reads can be held up.
type slow struct {
	*memory.Store
	before func()
}

func (s *slow) Read(ctx context.Context, q annals.Query, o ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	if s.before != nil {
		s.before()
	}
	return s.Store.Read(ctx, q, o...)
}

func TestNobodyWaitsForAnAppendThatReadsBelow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{Store: memory.New()}
		if _, err := s.Append(t.Context(), []annals.Event{{Type: "A", Stream: "s-1"}}); err != nil {
			t.Fatal(err)
		}
		b := branch(t, s)
		gate, done := make(chan struct{}), make(chan error, 1)
		s.before = sync.OnceFunc(func() { <-gate })
		go func() {
			_, err := b.Append(t.Context(), []annals.Event{{ID: annals.NewID(), Type: "A", Stream: "s-1"}})
			done <- err
		}()
		synctest.Wait()
		if head, err := b.Head(t.Context()); err != nil || head != 1 {
			t.Errorf("got %d, %v", head, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Append(ctx, []annals.Event{{Type: "A"}}); !errors.Is(err, annals.ErrNotWritten) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		s.before = cancel
		if _, err := b.Append(ctx, []annals.Event{{ID: annals.NewID(), Type: "A", Stream: "s-1"}}); !errors.Is(err, annals.ErrNotWritten) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestEditsAreTheirOwn(t *testing.T) {
	t.Parallel()
	log := newLog(t)
	if _, err := log.Append(annals.WithMetadata(t.Context(), annals.Metadata{CorrelationID: "c"}), []any{Added{"1", "tea", 1}, Opened{"2"}}); err != nil {
		t.Fatal(err)
	}
	other, err := log.Encode(annals.WithPrincipal(t.Context(), annals.Principal{ID: "ann"}), []any{Added{"1", "tea", 2}})
	if err != nil {
		t.Fatal(err)
	}
	positions := []annals.Position{2}
	b := branch(t, log.Store(), timetravel.Replace(1, other...), timetravel.Drop(positions...))
	if m := at(t, b, 1).Meta(); m.CorrelationID != "c" || m.Actor != "" {
		t.Errorf("the metadata is not that of the event replaced: %+v", m)
	}
	positions[0] = 1
	if text := fmt.Sprint(b.Edits()); text != "[replace 1 by Added drop [2]]" {
		t.Error(text)
	}
	if text := timetravel.Insert(0, make([]annals.Event, 1000)...).String(); len(text) > 50 {
		t.Error(text)
	}
}

func TestEditsThatCannotBeMadeSayWhy(t *testing.T) {
	t.Parallel()
	log := newLog(t, past...)
	if _, err := annals.DeleteStream(t.Context(), log.Store(), "order-2"); err != nil { // position 8
		t.Fatal(err)
	}
	e := raw(t, log, Opened{"9"})
	known := at(t, log.Store(), 2).Event
	for problem, edits := range map[string][]timetravel.Edit{
		"edit 0, nothing: is the zero Edit":                                       {{}},
		"edit 0, insert  after 1: no events":                                      {timetravel.Insert(1)},
		"edit 0, insert Opened after 9: position 9 is past the end, 8":            {timetravel.Insert(9, e...)},
		"edit 0, drop []: no positions":                                           {timetravel.Drop()},
		"edit 0, drop [0]: position 0 is not between 1 and 8":                     {timetravel.Drop(0)},
		"edit 0, drop [2 2]: names a position twice":                              {timetravel.Drop(2, 2)},
		"edit 0, drop [6]: position 6 holds no event that can be read":            {timetravel.Drop(6)},
		"edit 0, drop [8]: position 8 holds $deleted, which is the system's own":  {timetravel.Drop(8)},
		"edit 1, move [2] after 0: position 2 is changed by edit 0 already":       {timetravel.Drop(2), timetravel.Move(0, 2)},
		"edit 1, insert Opened after 0: edit 0 has an event with this id":         {timetravel.Insert(1, e...), timetravel.Insert(0, e...)},
		"edit 0, insert Opened after 0: position 2 has an event with this id":     {timetravel.Insert(0, known)},
		"edit 0, drop [2]: has a time, but happens at none":                       {timetravel.Drop(2).At(time.Now())},
		"edit 0, insert $secret after 0: event 0: annals: invalid event 0: names": {timetravel.Insert(0, annals.Event{Type: "$secret"})},
		"has a time that cannot be written":                                       {timetravel.Insert(0, e...).At(time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC))},
		"is not between any time and ":                                            {timetravel.Insert(0, e...).At(time.Now().Add(time.Hour))},
		"edit 1, drop [7]: position 7 is not between 1 and 3":                     {timetravel.Until(3), timetravel.Drop(7)},
	} {
		_, err := timetravel.WhatIf(t.Context(), log.Store(), edits...)
		if e, ok := errors.AsType[*timetravel.EditError](err); !ok || !errors.Is(err, timetravel.ErrEdit) || !strings.Contains(err.Error(), problem) || e.Index != len(edits)-1 {
			t.Errorf("want %s\n got %v", problem, err)
		}
	}
}

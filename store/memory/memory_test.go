package memory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

func event(kind, stream string, tags ...string) annals.Event {
	return annals.Event{ID: annals.NewID(), Type: kind, Stream: stream, Tags: tags, Data: []byte("{}")}
}

func appendAll(t *testing.T, s annals.Store, events ...annals.Event) annals.Receipt {
	t.Helper()
	r, err := s.Append(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func positions(t *testing.T, s annals.Store, q annals.Query, opts ...annals.ReadOption) []annals.Position {
	t.Helper()
	got := []annals.Position{}
	for r, err := range s.Read(t.Context(), q, opts...) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Position)
	}
	return got
}

func TestPositionsAndRevisionsHaveNoGaps(t *testing.T) {
	t.Parallel()
	s := memory.New()
	r := appendAll(t, s, event("A", "s-1"), event("B", ""), event("A", "s-2"), event("C", "s-1"))
	if r.First != 1 || r.Last != 4 || r.Revision != 1 || r.Duplicate {
		t.Errorf("got the receipt %+v", r)
	}
	want := []annals.Revision{0, annals.NoRevision, 0, 1}
	i := 0
	for e, err := range s.Read(t.Context(), annals.All()) {
		if err != nil || e.Position != annals.Position(i+1) || e.Revision != want[i] || !e.Time.Equal(r.Time) {
			t.Errorf("event %d: %+v, %v", i, e, err)
		}
		i++
	}
}

func TestARetryIsADuplicateAlthoughItsConditionIsFalseNow(t *testing.T) {
	t.Parallel()
	s := memory.New()
	a, b := event("A", "s-1"), event("B", "s-1")
	first, err := s.Append(t.Context(), []annals.Event{a, b}, annals.NoStream("s-1"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Append(t.Context(), []annals.Event{a, b}, annals.NoStream("s-1"))
	if err != nil || !again.Duplicate || again.First != first.First || again.Last != first.Last || again.Revision != 1 {
		t.Errorf("got %+v, %v", again, err)
	}
	changed := a
	changed.Data = []byte("[]")
	retraced := a
	retraced.Metadata = []byte(`{"traceparent":"x"}`)
	elsewhere := a
	elsewhere.Stream = "s-2"
	for name, c := range map[string]struct {
		events []annals.Event
		want   error
	}{
		"part of it":        {[]annals.Event{b}, nil},
		"other metadata":    {[]annals.Event{retraced}, nil},
		"another order":     {[]annals.Event{b, a}, annals.ErrIDReused},
		"other content":     {[]annals.Event{changed}, annals.ErrIDReused},
		"one known one new": {[]annals.Event{a, event("C", "s-1")}, annals.ErrPartialDuplicate},
	} {
		if r, err := s.Append(t.Context(), c.events); !errors.Is(err, c.want) || err == nil && !r.Duplicate {
			t.Errorf("%s: got %+v, %v; want %v", name, r, err, c.want)
		}
	}
	if r := appendAll(t, s, elsewhere); r.Duplicate || r.First != 3 {
		t.Errorf("the same id in another stream is another event: %+v", r)
	}
}

func TestAConflictListsEveryFailedCondition(t *testing.T) {
	t.Parallel()
	s := memory.New()
	appendAll(t, s, event("A", "s-1", "x:1"), event("B", "s-1"))
	_, err := s.Append(t.Context(), []annals.Event{event("C", "s-1")},
		annals.StreamAt("s-1", 0), annals.NoStream("s-3"), annals.NoneSince(0, annals.Tags("x:1")).WithEvents(), annals.NoneSince(1, annals.Tags("x:1")), annals.StreamExists("s-9"))
	var conflict *annals.ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, annals.ErrConflict) {
		t.Fatalf("got %v, want a ConflictError", err)
	}
	f := conflict.Failures
	if len(f) != 3 || f[0].Index != 0 || f[1].Index != 2 || f[2].Index != 4 || f[0].Actual != 1 || f[0].Positions[0] != 2 || len(f[1].Events) != 1 || f[2].Actual != annals.NoRevision {
		t.Errorf("got %+v", f)
	}
	if _, err := s.Append(t.Context(), []annals.Event{event("C", "")}, annals.NoneSince(3, annals.All())); !errors.Is(err, annals.ErrAhead) {
		t.Errorf("a condition past the head: got %v, want ErrAhead", err)
	}
	if r, err := s.Append(t.Context(), nil, annals.StreamAt("s-1", 1)); err != nil || r.Head != 2 || r.Last != 0 {
		t.Errorf("conditions alone: got %+v, %v", r, err)
	}
	if _, err := s.Append(t.Context(), nil); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("nothing at all: got %v, want ErrInvalid", err)
	}
	if h, err := s.Head(t.Context()); h != 2 || err != nil {
		t.Errorf("a refused append left something: head %d, %v", h, err)
	}
}

func TestPastStatesAreReadOptions(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := memory.New(memory.Clock(func() time.Time { return now }))
	for i := range 4 {
		now = now.Add(time.Hour)
		appendAll(t, s, event("A", fmt.Sprintf("s-%d", i%2)))
	}
	var head annals.Position
	cases := []struct {
		name string
		q    annals.Query
		opts []annals.ReadOption
		want []annals.Position
		head annals.Position
	}{
		{"all", annals.All(), nil, []annals.Position{1, 2, 3, 4}, 4},
		{"after", annals.All(), []annals.ReadOption{annals.After(2)}, []annals.Position{3, 4}, 4},
		{"as of", annals.All(), []annals.ReadOption{annals.AsOf(3)}, []annals.Position{1, 2, 3}, 3},
		{"as of the beginning", annals.All(), []annals.ReadOption{annals.AsOf(0)}, []annals.Position{}, 0},
		{"as of a time", annals.All(), []annals.ReadOption{annals.AsOfTime(now.Add(-90 * time.Minute))}, []annals.Position{1, 2}, 2},
		{"as of a revision", annals.Stream("s-0"), []annals.ReadOption{annals.AsOfRevision(0)}, []annals.Position{1}, 1},
		{"from a revision", annals.Stream("s-1"), []annals.ReadOption{annals.FromRevision(1)}, []annals.Position{4}, 4},
		{"from a revision to come", annals.Stream("s-1"), []annals.ReadOption{annals.FromRevision(2)}, []annals.Position{}, 4},
		{"backwards", annals.All(), []annals.ReadOption{annals.Backwards(), annals.After(1), annals.AsOf(3)}, []annals.Position{3, 2}, 3},
		{"limit", annals.Stream("s-0"), []annals.ReadOption{annals.Limit(1)}, []annals.Position{1}, 4},
		{"nothing matches", annals.Tags("x"), nil, []annals.Position{}, 4},
	}
	for _, c := range cases {
		if got := positions(t, s, c.q, append(c.opts, annals.HeadInto(&head))...); fmt.Sprint(got) != fmt.Sprint(c.want) || head != c.head {
			t.Errorf("%s: got %v, head %d; want %v, head %d", c.name, got, head, c.want, c.head)
		}
	}
	for name, c := range map[string]struct {
		opt  annals.ReadOption
		want error
	}{
		"after past the head":    {annals.After(5), annals.ErrAhead},
		"after no position":      {annals.After(annals.NoPosition), annals.ErrAhead},
		"as of past the head":    {annals.AsOf(5), annals.ErrAhead},
		"as of revision to come": {annals.AsOfRevision(2), annals.ErrAhead},
		"limit 0":                {annals.Limit(0), annals.ErrInvalid},
	} {
		var got error
		for _, err := range s.Read(t.Context(), annals.Stream("s-0"), c.opt) {
			got = err
		}
		if !errors.Is(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestOfManyRacersOneWins(t *testing.T) {
	t.Parallel()
	for name, cond := range map[string]annals.Condition{
		"a stream": annals.NoStream("s-1"), "a tag": annals.NoneSince(0, annals.Tags("x:1")), "a type": annals.NoneSince(0, annals.Types("A")),
	} {
		s := memory.New()
		var wins atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				_, err := s.Append(context.WithoutCancel(t.Context()), []annals.Event{event("A", "s-1", "x:1")}, cond)
				if err == nil {
					wins.Add(1)
				} else if !errors.Is(err, annals.ErrConflict) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Errorf("%s: %d racers won", name, wins.Load())
		}
	}
}

func TestASubscriptionMissesNothing(t *testing.T) {
	t.Parallel()
	s := memory.New()
	const each, writers = 50, 4
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				_, err := s.Append(context.WithoutCancel(t.Context()), []annals.Event{event("A", "", fmt.Sprint("w:", w))})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := annals.Position(1)
	for u, err := range s.Subscribe(t.Context(), annals.All(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if u.CaughtUp && u.More {
			t.Error("caught up, and yet there is more")
		}
		if u.Event == nil {
			continue
		}
		if u.Position != next || u.Event.Position != next {
			t.Fatalf("got position %d, want %d", u.Position, next)
		}
		if next++; next > each*writers {
			break
		}
	}
	wg.Wait()
}

func TestAFilteredSubscriptionTellsItsProgressAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := memory.New()
	appendAll(t, s, event("A", ""), event("B", ""), event("B", ""))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got []string
	for u, err := range s.Subscribe(ctx, annals.Types("A"), 0) {
		if err != nil {
			got = append(got, fmt.Sprint(errors.Is(err, context.Canceled)))
			break
		}
		got = append(got, fmt.Sprint(u.Event != nil, u.Position, u.CaughtUp, u.More))
		if u.CaughtUp {
			cancel()
		}
	}
	if want := "[true 1 false true false 3 true false true]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestAClosedStoreSaysSo(t *testing.T) {
	t.Parallel()
	s := memory.New()
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		for u, err := range s.Subscribe(context.WithoutCancel(t.Context()), annals.All(), 0) {
			if err != nil {
				done <- err
				return
			}
			if u.CaughtUp {
				close(ready)
			}
		}
	}()
	<-ready
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, appendErr := s.Append(t.Context(), []annals.Event{event("A", "")})
	_, headErr := s.Head(t.Context())
	for _, err := range []error{<-done, appendErr, headErr} {
		if !errors.Is(err, annals.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
}

func TestSystemNamesNeedLeave(t *testing.T) {
	t.Parallel()
	s := memory.New()
	if _, err := s.Append(t.Context(), []annals.Event{event("$timer", "")}); !errors.Is(err, annals.ErrReserved) {
		t.Errorf("got %v, want ErrReserved", err)
	}
	sys, err := annals.System(s)
	if err != nil {
		t.Fatal(err)
	}
	appendAll(t, sys, event("$timer", ""))
	appendAll(t, s, event("A", ""))
	if got := positions(t, s, annals.All()); fmt.Sprint(got) != "[2]" {
		t.Errorf("All() read %v", got)
	}
	if got := positions(t, s, annals.All().WithSystem()); fmt.Sprint(got) != "[1 2]" {
		t.Errorf("with the system's events: %v", got)
	}
}

func TestAnAppendKeepsNothingOfItsArguments(t *testing.T) {
	t.Parallel()
	s := memory.New()
	e := event("A", "", "b:2", "a:1")
	appendAll(t, s, e)
	e.Data[0], e.Tags[0] = 'x', "changed"
	for r, err := range s.Read(t.Context(), annals.All()) {
		if err != nil || string(r.Data) != "{}" || fmt.Sprint(r.Tags) != "[a:1 b:2]" {
			t.Errorf("stored %s %v, %v", r.Data, r.Tags, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Append(ctx, []annals.Event{event("A", "")}); !errors.Is(err, annals.ErrNotWritten) || !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled append: got %v, want ErrNotWritten and context.Canceled", err)
	}
	for _, err := range s.Read(ctx, annals.All()) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled read: got %v", err)
		}
	}
}

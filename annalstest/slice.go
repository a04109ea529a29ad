package annalstest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

// Slice is a whole slice of a service under test: commands go through its bus, the real projections follow, and
// queries are asked of the same bus. It belongs to one test and one goroutine, and needs no closing.
//
//	s := annalstest.NewSlice(t, Schema, Orders)
//	cqrs.Answer(s.Bus, func(ctx context.Context, q GetOrder) (OrderRow, error) {
//		return projection.Of(s.Views, Orders).Get(ctx, q.Order)
//	})
//	annalstest.Do(s.Given(OrderCreated{"1", "ann"}), PayOrder{"1"}).Then(OrderPaid{"1"})
//	annalstest.ThenAnswer(s, GetOrder{"1"}, OrderRow{Status: "paid"})
type Slice[E any] struct {
	Bus   *cqrs.Bus[E]
	Log   *annals.Log[E]
	Views projection.Views

	tb          testing.TB
	projections []projection.Definition[E]
	principal   annals.Principal
	mu          sync.Mutex // middleware may look at the clock from elsewhere
	now         time.Time
}

// NewSlice makes a service on a store in memory, with views in memory of these projections. Its bus has middleware as
// soon as [Slice.Through] says so.
func NewSlice[E any](tb testing.TB, schema *annals.Schema[E], projections ...projection.Definition[E]) *Slice[E] {
	tb.Helper()
	s := &Slice[E]{tb: tb, Views: projection.NewMemory(), projections: projections, now: Epoch}
	s.Log = annals.NewLog(memory.New(memory.Clock(s.clock)), schema)
	s.Bus = cqrs.New(s.Log)
	return s
}

// Through puts a new bus with this middleware in the place of the old one. Answers are given to it afterwards.
func (s *Slice[E]) Through(middleware ...cqrs.Middleware) *Slice[E] {
	s.Bus = cqrs.New(s.Log, middleware...)
	return s
}

// As says who gives commands and asks queries from now on. At first, nobody does.
func (s *Slice[E]) As(p annals.Principal) *Slice[E] {
	s.principal = p
	return s
}

// At sets the time of the events that follow. The store never goes back in time.
func (s *Slice[E]) At(now time.Time) *Slice[E] {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
	return s
}

func (s *Slice[E]) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Given records the past, one append for each event, and brings the views up to date.
func (s *Slice[E]) Given(past ...E) *Slice[E] {
	s.tb.Helper()
	for i, e := range past {
		if _, err := s.Log.Append(s.tb.Context(), []E{e}); err != nil {
			s.tb.Fatalf("annalstest: given event %d, %s: %v", i+1, show(e), err)
		}
	}
	s.follow()
	return s
}

func (s *Slice[E]) context() context.Context {
	return annals.WithPrincipal(s.tb.Context(), s.principal)
}

func (s *Slice[E]) follow() {
	s.tb.Helper()
	if len(s.projections) == 0 {
		return
	}
	if err := projection.CatchUp(s.tb.Context(), s.Log, s.Views, s.projections...); err != nil {
		s.tb.Fatalf("annalstest: the projections do not follow: %v", err)
	}
}

// Do gives a command on the bus, and brings the views up to date. What it led to is checked by a Then method, in the
// words of [Spec].
func Do[C decider.Command[S, E], S decider.State[S, E], E any](s *Slice[E], cmd C, opts ...decider.Option) *Spec[S, E] {
	s.tb.Helper()
	spec := &Spec[S, E]{
		tb: s.tb, log: s.Log, principal: s.principal, options: opts,
		initial: cmd.Initial, name: decider.CommandName[C](),
		setNow: func(now time.Time) { s.At(now) },
	}
	spec.execute = func(ctx context.Context, opts ...decider.Option) (decider.Result[S, E], error) {
		res, err := cqrs.Do(ctx, s.Bus, cmd, opts...)
		s.follow()
		return res, err
	}
	spec.mustConclude()
	return spec
}

// ThenAnswer wants the query to be answered by this, nil and empty slices and maps being alike.
func ThenAnswer[Q, R, E any](s *Slice[E], query Q, want R) {
	s.tb.Helper()
	got, err := cqrs.Ask[R](s.context(), s.Bus, query)
	if err != nil {
		s.tb.Errorf("%s failed: %v\nwant %s", show(query), err, show(want))
	} else if !alike(got, want) {
		s.tb.Errorf("%s is answered otherwise:\n%s", show(query), diff([]R{got}, []R{want}))
	}
}

// ThenNoAnswer wants the query for an R to fail with an error that matches target, as errors.Is has it.
func ThenNoAnswer[R, Q, E any](s *Slice[E], query Q, target error) {
	s.tb.Helper()
	got, err := cqrs.Ask[R](s.context(), s.Bus, query)
	if err == nil || !errors.Is(err, target) {
		s.tb.Errorf("%s was not to be answered:\n got %s, %v\nwant %v", show(query), show(got), err, target)
	}
}

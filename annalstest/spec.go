package annalstest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

// Spec is a command that waits for its past and its outcome. It belongs to one test and one goroutine. A Spec that no
// Then method has concluded fails the test when it ends.
type Spec[S decider.State[S, E], E any] struct {
	tb        testing.TB
	log       *annals.Log[E]
	now       time.Time
	setNow    func(time.Time)
	principal annals.Principal
	options   []decider.Option
	initial   func() S
	execute   func(context.Context, ...decider.Option) (decider.Result[S, E], error)
	name      string
	concluded bool
	unguarded []reflect.Type // of events that may lie outside the boundary
}

// Epoch is when the past of a Spec happens, unless [Spec.At] says otherwise.
var Epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// When begins the test of a command. The type of its events is that of the schema's.
func When[C decider.Command[S, E], S decider.State[S, E], E any](tb testing.TB, schema *annals.Schema[E], cmd C) *Spec[S, E] {
	tb.Helper()
	s := &Spec[S, E]{tb: tb, now: Epoch, initial: cmd.Initial, name: decider.CommandName[C]()}
	s.setNow = func(now time.Time) { s.now = now }
	s.log = annals.NewLog(memory.New(memory.Clock(func() time.Time { return s.now })), schema)
	s.execute = func(ctx context.Context, opts ...decider.Option) (decider.Result[S, E], error) {
		return decider.Execute(ctx, s.log, cmd, opts...)
	}
	s.mustConclude()
	return s
}

// mustConclude fails the test at its end if no Then method was called.
func (s *Spec[S, E]) mustConclude() {
	s.tb.Helper()
	s.tb.Cleanup(func() {
		s.tb.Helper()
		if !s.concluded && !s.tb.Failed() {
			s.tb.Errorf("annalstest: the test of %s says no outcome: end it with Then, ThenNothing, ThenError or ThenInvalid", s.name)
		}
	})
}

// As says who gives the command. Without it, nobody does.
func (s *Spec[S, E]) As(p annals.Principal) *Spec[S, E] {
	s.principal = p
	return s
}

// At sets the time of what comes after it in the chain: of the events of the next Given, or of the decision. The store
// never goes back in time.
func (s *Spec[S, E]) At(now time.Time) *Spec[S, E] {
	s.setNow(now)
	return s
}

// With passes options to decider.Execute.
func (s *Spec[S, E]) With(opts ...decider.Option) *Spec[S, E] {
	s.options = append(s.options, opts...)
	return s
}

// Unguarded says that events of the types of these may lie outside the boundary that they are decided on, because it does not
// matter that two such decisions do not see each other: an order does not change the price that it was decided on.
func (s *Spec[S, E]) Unguarded(examples ...E) *Spec[S, E] {
	for _, e := range examples {
		s.unguarded = append(s.unguarded, reflect.TypeOf(e))
	}
	return s
}

// Given records the past, one append for each event. It may be said more than once.
func (s *Spec[S, E]) Given(past ...E) *Spec[S, E] {
	s.tb.Helper()
	for i, e := range past {
		if _, err := s.log.Append(s.tb.Context(), []E{e}); err != nil {
			s.concluded = true
			s.tb.Fatalf("annalstest: given event %d, %s: %v", i, show(e), err)
		}
	}
	return s
}

// Then wants exactly these events, in this order; at least one, for nothing is wanted by [Spec.ThenNothing]. It fails
// too if one of them lies outside the boundary that decided it and is not [Spec.Unguarded], or if the state comes out otherwise when it is read back.
func (s *Spec[S, E]) Then(want ...E) {
	s.tb.Helper()
	if len(want) == 0 {
		s.concluded = true
		s.tb.Fatalf("annalstest: Then without events: say ThenNothing")
	}
	if res, ok := s.decided(); ok && !alike(res.Events, want) {
		s.tb.Errorf("%s decided other events:\n%s", s.name, diff(res.Events, want))
	}
}

// ThenState wants the state after the decided events to be this one, nil and empty slices and maps being alike.
func (s *Spec[S, E]) ThenState(want S) {
	s.tb.Helper()
	if res, ok := s.decided(); ok && !alike(res.State, want) {
		s.tb.Errorf("%s led to another state:\n%s", s.name, diff([]S{res.State}, []S{want}))
	}
}

// ThenNothing wants the command to be accepted without any event.
func (s *Spec[S, E]) ThenNothing() {
	s.tb.Helper()
	if res, ok := s.decided(); ok && len(res.Events) > 0 {
		s.tb.Errorf("%s was to decide nothing:\n%s", s.name, diff(res.Events, nil))
	}
}

// ThenError wants an error that matches target, as errors.Is has it: a decider.Rule, decider.ErrForbidden, any other.
// Nothing may have been stored.
func (s *Spec[S, E]) ThenError(target error) {
	s.tb.Helper()
	if target == nil {
		s.concluded = true
		s.tb.Fatalf("annalstest: ThenError(nil): say Then or ThenNothing")
	}
	if err, ok := s.refused(target.Error()); ok && !errors.Is(err, target) {
		s.tb.Errorf("%s was refused otherwise:\n got %v\nwant %v", s.name, err, target)
	}
}

// ThenInvalid wants the command to be refused for exactly these fields, in any order.
func (s *Spec[S, E]) ThenInvalid(fields ...string) {
	s.tb.Helper()
	err, ok := s.refused("a decider.InvalidError")
	if !ok {
		return
	}
	invalid, ok := errors.AsType[*decider.InvalidError](err)
	if !ok {
		s.tb.Errorf("%s was refused otherwise:\n got %v\nwant a decider.InvalidError of %q", s.name, err, fields)
		return
	}
	var got []string
	for _, f := range invalid.Fields {
		got = append(got, f.Name)
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(fields))
	if !slices.Equal(slices.Compact(got), want) {
		s.tb.Errorf("%s is invalid otherwise: %v\nwant the fields %q", s.name, err, want)
	}
}

// run executes the command, once: its outcome belongs to one Then method.
func (s *Spec[S, E]) run() (res decider.Result[S, E], before decider.Loaded[S], err error) {
	s.tb.Helper()
	if s.concluded {
		s.tb.Fatalf("annalstest: the test of %s says its outcome twice", s.name)
	}
	s.concluded = true
	ctx := annals.WithPrincipal(s.tb.Context(), s.principal)
	if before.Position, err = s.log.Store().Head(ctx); err != nil {
		s.tb.Fatalf("annalstest: head: %v", err)
	}
	res, err = s.execute(ctx, s.options...)
	if err != nil {
		return res, before, err
	}
	if before, err = decider.Load(ctx, s.log, s.initial(), annals.AsOf(before.Position)); err != nil {
		s.tb.Fatalf("annalstest: load again: %v", err)
	}
	return res, before, nil
}

// decided wants success, and checks what holds for every success.
func (s *Spec[S, E]) decided() (decider.Result[S, E], bool) {
	s.tb.Helper()
	res, before, err := s.run()
	if err != nil {
		s.tb.Errorf("%s failed: %v", s.name, err)
		return res, false
	}
	for _, e := range res.Events {
		if !s.log.Schema().Match(before.Boundary, e) && !slices.Contains(s.unguarded, reflect.TypeOf(e)) {
			s.tb.Errorf("%s decided an event outside the boundary that it was decided on:\n  %s\nThe boundary is %s.\n"+
				"Two such decisions can both be accepted, and the next will not see this event: widen Boundary to match it, or say Unguarded if that does no harm.",
				s.name, show(e), before.Boundary)
			return res, false
		}
	}
	if res.Duplicate || len(res.Events) == 0 {
		return res, true
	}
	after, err := decider.Load(s.tb.Context(), s.log, s.initial())
	switch {
	case err != nil:
		s.tb.Errorf("%s: its events cannot be read back: %v", s.name, err)
		return res, false
	case after.Position == res.Position && before.Position != after.Position && before.Boundary.Covers(after.Boundary) && !alike(res.State, after.State):
		s.tb.Errorf("%s: the state read back differs from the one decided: do events lose something in JSON, or does Evolve not follow from them alone?\n%s",
			s.name, diff([]S{after.State}, []S{res.State}))
		return res, false
	}
	return res, true
}

// refused wants an error, and nothing stored.
func (s *Spec[S, E]) refused(want string) (error, bool) { //nolint:revive // the bool says whether to look at the error
	s.tb.Helper()
	res, before, err := s.run()
	if err == nil {
		s.tb.Errorf("%s was accepted, not refused:\nwant %s\n%s", s.name, want, diff(res.Events, nil))
		return nil, false
	}
	head, headErr := s.log.Store().Head(s.tb.Context())
	if headErr != nil || head != before.Position {
		s.tb.Errorf("%s failed, yet the store went from position %d to %d: %v", s.name, before.Position, head, errors.Join(err, headErr))
		return err, false
	}
	return err, true
}

package cqrs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
)

// occupy gives a command that stays under way until release is called.
func occupy(t *testing.T, bus *cqrs.Bus[any], gate chan struct{}) (release func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		_, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "occupied"})
		done <- err
	}()
	synctest.Wait()
	return func() {
		close(gate)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// gated holds up the command on the door that is occupied.
func gated(gate chan struct{}) cqrs.Middleware {
	return func(next cqrs.Handler) cqrs.Handler {
		return func(ctx context.Context, m cqrs.Message) (any, error) {
			if m.Subject() == "door-occupied" {
				<-gate
			}
			return next(ctx, m)
		}
	}
}

func TestWhoFindsNoPlaceWaitsAndIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		bus := newBus(t, cqrs.Commands(cqrs.Concurrency(1, time.Second)), gated(gate))
		cqrs.Answer(bus, func(context.Context, IsOpen) (bool, error) { return true, nil })
		release := occupy(t, bus, gate)
		start := time.Now()
		_, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"})
		e, ok := errors.AsType[*cqrs.BusyError](err)
		if !ok || !errors.Is(err, cqrs.ErrBusy) || e.Message != "OpenDoor" || e.Places != 1 || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if cqrs.OutcomeOf(err) != cqrs.OutcomeLimited {
			t.Error(cqrs.OutcomeOf(err))
		}
		if _, err := cqrs.Ask[bool](t.Context(), bus, IsOpen{}); err != nil {
			t.Errorf("a query is held up by commands: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := cqrs.Do(ctx, bus, OpenDoor{Door: "1"}); !errors.Is(err, cqrs.ErrBusy) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		waiting := make(chan error)
		go func() {
			_, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"})
			waiting <- err
		}()
		synctest.Wait()
		release()
		if err := <-waiting; err != nil {
			t.Errorf("whoever waited is refused when there is a place: %v", err)
		}
	})
}

func TestWhoGoesAwayWhileWaitingIsNotCalledLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		bus := newBus(t, cqrs.Concurrency(1, time.Hour), gated(gate))
		release := occupy(t, bus, gate)
		gone := errors.New("the client went away")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		_, err := cqrs.Do(ctx, bus, OpenDoor{Door: "2"})
		if cqrs.OutcomeOf(err) != cqrs.OutcomeCanceled || !errors.Is(err, gone) || !errors.Is(err, cqrs.ErrBusy) {
			t.Errorf("got %v: %s", err, cqrs.OutcomeOf(err))
		}
		release()
	})
}

func TestTheSubjectIsThatOfTheCommandThatIsGiven(t *testing.T) {
	t.Parallel()
	change := func(next cqrs.Handler) cqrs.Handler {
		return func(ctx context.Context, m cqrs.Message) (any, error) {
			m.Value = OpenDoor{Door: "2"}
			return next(ctx, m)
		}
	}
	var got string
	bus := newBus(t, change, cqrs.Audit(func(_ context.Context, r cqrs.AuditRecord) { got = r.Subject }))
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"}); err != nil || got != "door-2" {
		t.Errorf("door 2 was opened, the record is about %s, %v", got, err)
	}
}

func TestAPlaceIsFreeAgainAfterAPanic(t *testing.T) {
	t.Parallel()
	explode := func(cqrs.Handler) cqrs.Handler {
		return func(context.Context, cqrs.Message) (any, error) { panic("boom") }
	}
	bus := newBus(t, cqrs.Recover(), cqrs.Concurrency(1, 0), explode)
	for range 3 {
		if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"}); !errors.Is(err, cqrs.ErrPanic) {
			t.Errorf("got %v", err)
		}
	}
}

func TestEverybodyHasARateOfTheirOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bus := newBus(t, cqrs.Rate(2, 3, nil))
		n := 0
		give := func(who string) error {
			n++
			_, err := cqrs.Do(annals.WithPrincipal(t.Context(), annals.Principal{ID: who}), bus, OpenDoor{Door: fmt.Sprint(n)})
			return err
		}
		for range 3 {
			if err := give("ann"); err != nil {
				t.Fatal(err)
			}
		}
		err := give("ann")
		if e, ok := errors.AsType[*cqrs.TooManyError](err); !ok || e.Wait != 500*time.Millisecond || cqrs.OutcomeOf(err) != cqrs.OutcomeLimited {
			t.Errorf("got %v", err)
		}
		if err := give("bob"); err != nil {
			t.Errorf("bob waits for ann: %v", err)
		}
		<-time.After(500 * time.Millisecond)
		if err := give("ann"); err != nil {
			t.Errorf("what was refused took room: %v", err)
		}
		if err := give("ann"); !errors.Is(err, cqrs.ErrTooMany) {
			t.Errorf("got %v", err)
		}
		for i := range 5000 { // more than are kept without a look
			if err := give(fmt.Sprint("guest ", i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := give("ann"); !errors.Is(err, cqrs.ErrTooMany) {
			t.Errorf("the crowd made the log forget who gave too many: %v", err)
		}
	})
}

func TestLimitsThatLetNothingPassArePanics(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(){
		"no place":          func() { cqrs.Concurrency(0, 0) },
		"negative patience": func() { cqrs.Concurrency(1, -1) },
		"no rate":           func() { cqrs.Rate(0, 1, nil) },
		"no burst":          func() { cqrs.Rate(1, 0, nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error(name, "is taken")
				}
			}()
			f()
		}()
	}
}

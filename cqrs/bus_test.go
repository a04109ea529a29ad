package cqrs_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

func TestACommandIsDecidedAndAppended(t *testing.T) {
	bus := newBus(t)
	result, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"})
	if err != nil || !result.State.Open || len(result.Events) != 1 || result.Position != 1 {
		t.Fatalf("got %+v, %v", result, err)
	}
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"}); !errors.Is(err, errOpen) || !errors.Is(err, decider.ErrRejected) {
		t.Fatalf("a broken rule is a rejection, got %v", err)
	}
}

func TestOptionsOfACommandReachTheDecider(t *testing.T) {
	bus := newBus(t)
	for _, duplicate := range []bool{false, true} {
		result, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"}, decider.IdempotencyKey("k"))
		if err != nil || result.Duplicate != duplicate {
			t.Fatalf("want duplicate %v, got %+v, %v", duplicate, result, err)
		}
	}
}

func TestMiddlewareStandsAroundCommandsAndQueriesOutermostFirst(t *testing.T) {
	var trace []string
	mw := func(name string) cqrs.Middleware {
		return func(next cqrs.Handler) cqrs.Handler {
			return func(ctx context.Context, m cqrs.Message) (any, error) {
				kind := "command"
				if m.Query {
					kind = "query"
				}
				trace = append(trace, name+" "+kind+" "+m.Name)
				return next(ctx, m)
			}
		}
	}
	bus := newBus(t, mw("outer"), mw("inner"))
	cqrs.Answer(bus, func(context.Context, IsOpen) (bool, error) { return true, nil })
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"}); err != nil {
		t.Fatal(err)
	}
	if open, err := cqrs.Ask[bool](t.Context(), bus, IsOpen{Door: "1"}); err != nil || !open {
		t.Fatal(open, err)
	}
	want := "outer command OpenDoor, inner command OpenDoor, outer query IsOpen, inner query IsOpen"
	if got := strings.Join(trace, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMiddlewareThatChangesTypesIsNamed(t *testing.T) {
	for name, mw := range map[string]cqrs.Middleware{
		"the message": func(next cqrs.Handler) cqrs.Handler {
			return func(ctx context.Context, m cqrs.Message) (any, error) {
				m.Value = "something else"
				return next(ctx, m)
			}
		},
		"the result": func(cqrs.Handler) cqrs.Handler {
			return func(context.Context, cqrs.Message) (any, error) { return 7, nil }
		},
		"no result": func(cqrs.Handler) cqrs.Handler {
			return func(context.Context, cqrs.Message) (any, error) { return nil, nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			bus := newBus(t, mw)
			cqrs.Answer(bus, func(context.Context, IsOpen) (bool, error) { return true, nil })
			if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"}); !errors.Is(err, cqrs.ErrMiddleware) {
				t.Errorf("command: got %v", err)
			}
			if _, err := cqrs.Ask[bool](t.Context(), bus, IsOpen{}); !errors.Is(err, cqrs.ErrMiddleware) {
				t.Errorf("query: got %v", err)
			}
		})
	}
}

func TestOneCommandWithAuthorizeMakesItsAbsenceAnError(t *testing.T) {
	bus := newBus(t)
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"}); err != nil {
		t.Fatalf("nobody has Authorize yet: %v", err)
	}
	ctx := annals.WithPrincipal(t.Context(), porter)
	if _, err := cqrs.Do(ctx, bus, CloseDoor{Door: "1"}); err != nil {
		t.Fatalf("the guarded command itself is fine: %v", err)
	}
	_, err := cqrs.Do(ctx, bus, OpenDoor{Door: "1"})
	e, ok := errors.AsType[*cqrs.UnguardedError](err)
	if !ok || !errors.Is(err, cqrs.ErrUnguarded) || e.Commands[0] != "OpenDoor" || e.Guarded != "CloseDoor" {
		t.Fatalf("got %v", err)
	}
}

func TestRegisterFindsCommandsWithoutAuthorizeInEitherOrder(t *testing.T) {
	for name, register := range map[string]func(*cqrs.Bus[any]) (first, second error){
		"open first": func(b *cqrs.Bus[any]) (error, error) {
			return cqrs.Register[OpenDoor](b), cqrs.Register[CloseDoor](b)
		},
		"guarded first": func(b *cqrs.Bus[any]) (error, error) {
			return cqrs.Register[CloseDoor](b), cqrs.Register[OpenDoor](b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, second := register(newBus(t))
			if first != nil || !errors.Is(second, cqrs.ErrUnguarded) || !strings.Contains(second.Error(), "OpenDoor") {
				t.Errorf("got %v, then %v", first, second)
			}
		})
	}
}

func TestALogThatRequiresAuthorizeRefusesTheFirstCommandWithout(t *testing.T) {
	bus := cqrs.New(annals.NewLog[any](memory.New(), schema, annals.RequireAuthorize()))
	if err := cqrs.Register[OpenDoor](bus); !errors.Is(err, cqrs.ErrUnguarded) {
		t.Errorf("got %v", err)
	}
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: "1"}); !errors.Is(err, cqrs.ErrUnguarded) {
		t.Errorf("got %v", err)
	}
}

func TestANearMissOfACommandsAuthorizeIsRefusedByName(t *testing.T) {
	bus := newBus(t)
	if err := cqrs.Register[SlamDoor](bus); err == nil || !strings.Contains(err.Error(), "Authorise") {
		t.Errorf("Register: got %v", err)
	}
	if _, err := cqrs.Do(t.Context(), bus, SlamDoor{Door: "1"}); err == nil || !strings.Contains(err.Error(), "Authorise") {
		t.Errorf("Do: got %v", err)
	}
}

func TestABusMayBeUsedConcurrently(t *testing.T) {
	bus := newBus(t, cqrs.Recover(), cqrs.Correlation())
	cqrs.Answer(bus, func(context.Context, IsOpen) (bool, error) { return true, nil })
	var wg sync.WaitGroup
	for _, door := range []string{"1", "2", "3", "4"} {
		wg.Go(func() {
			if _, err := cqrs.Do(t.Context(), bus, OpenDoor{Door: door}); err != nil {
				t.Error(err)
			}
			if _, err := cqrs.Ask[bool](t.Context(), bus, IsOpen{Door: door}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

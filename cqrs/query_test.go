package cqrs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
)

func panicText(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() { text = fmt.Sprint(recover()) }()
	f()
	return ""
}

func TestAQueryThatNothingAnswersIsANamedError(t *testing.T) {
	bus := newBus(t)
	if _, err := cqrs.Ask[bool](t.Context(), bus, IsOpen{}); !errors.Is(err, cqrs.ErrUnanswered) || !strings.Contains(err.Error(), "IsOpen") {
		t.Errorf("got %v", err)
	}
	cqrs.Answer(bus, func(context.Context, IsOpen) (bool, error) { return true, nil })
	_, err := cqrs.Ask[string](t.Context(), bus, IsOpen{})
	if e, ok := errors.AsType[*cqrs.UnansweredError](err); !ok || e.Answered != "bool" || e.Wanted != "string" {
		t.Errorf("got %v", err)
	}
	if cqrs.Answers[IsOpen, string](bus) || cqrs.Answers[Passers, []string](bus) || !cqrs.Answers[IsOpen, bool](bus) {
		t.Error("Answers does not tell what Ask will find")
	}
}

func TestAnsweringAQueryTwicePanics(t *testing.T) {
	bus := newBus(t)
	cqrs.Answer(bus, func(context.Context, IsOpen) (bool, error) { return true, nil })
	text := panicText(t, func() {
		cqrs.Answer(bus, func(context.Context, IsOpen) (string, error) { return "", nil })
	})
	if !strings.Contains(text, "IsOpen is answered already, by bool") {
		t.Errorf("got %q", text)
	}
}

func TestAQuerysAuthorizeSeesTheAnswerBeforeAnybodyElse(t *testing.T) {
	var seen any
	bus := newBus(t, func(next cqrs.Handler) cqrs.Handler {
		return func(ctx context.Context, m cqrs.Message) (any, error) {
			v, err := next(ctx, m)
			seen = v
			return v, err
		}
	})
	cqrs.Answer(bus, func(_ context.Context, q Passers) ([]string, error) {
		if q.Door == "unused" {
			return nil, nil
		}
		return []string{"ann"}, nil
	})
	names, err := cqrs.Ask[[]string](t.Context(), bus, Passers{Door: "1"})
	if !errors.Is(err, decider.ErrForbidden) || names != nil || seen != nil {
		t.Errorf("got %v, %v; a middleware saw %v", names, err, seen)
	}
	if _, err := cqrs.Ask[[]string](t.Context(), bus, Passers{Door: "unused"}); err != nil {
		t.Errorf("an answer that anybody may see: %v", err)
	}
	names, err = cqrs.Ask[[]string](annals.WithPrincipal(t.Context(), porter), bus, Passers{Door: "1"})
	if err != nil || len(names) != 1 {
		t.Errorf("got %v, %v", names, err)
	}
}

type misspelt struct{}

func (misspelt) Authorise(annals.Principal, bool) error { return nil }

type wrongAnswer struct{}

func (wrongAnswer) Authorize(annals.Principal, string) error { return nil }

type pointerReceiver struct{}

func (*pointerReceiver) Authorize(annals.Principal, bool) error { return nil }

func TestANearMissOfAQuerysAuthorizePanics(t *testing.T) {
	bus := newBus(t)
	for want, f := range map[string]func(){
		"did you mean Authorize?":                func() { cqrs.Answer(bus, func(context.Context, misspelt) (bool, error) { return true, nil }) },
		"wrongAnswer.Authorize must be func":     func() { cqrs.Answer(bus, func(context.Context, wrongAnswer) (bool, error) { return true, nil }) },
		"pointerReceiver.Authorize must be func": func() { cqrs.Answer(bus, func(context.Context, pointerReceiver) (bool, error) { return true, nil }) },
		"IsOpen is answered by a nil function":   func() { cqrs.Answer[IsOpen, bool](bus, nil) },
	} {
		if text := panicText(t, f); !strings.Contains(text, want) {
			t.Errorf("want a panic with %q, got %q", want, text)
		}
	}
}

func TestDemandedFreshnessReachesTheAnswer(t *testing.T) {
	bus := newBus(t, cqrs.Correlation())
	cqrs.Answer(bus, func(ctx context.Context, _ IsOpen) (annals.Position, error) { return annals.AtLeastFrom(ctx), nil })
	if p, err := cqrs.Ask[annals.Position](annals.WithAtLeast(t.Context(), 9), bus, IsOpen{}); p != 9 || err != nil {
		t.Errorf("got %v, %v", p, err)
	}
}

func TestAnAnswerMayBeANilInterface(t *testing.T) {
	bus := newBus(t)
	cqrs.Answer(bus, func(context.Context, IsOpen) (fmt.Stringer, error) { return nil, nil })
	if s, err := cqrs.Ask[fmt.Stringer](t.Context(), bus, IsOpen{}); s != nil || err != nil {
		t.Errorf("got %v, %v", s, err)
	}
}

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
	"github.com/annalsdb/annals/projection"
)

var errNobody = errors.New("nobody may")

type guardA struct{}

func (guardA) Authorize(annals.Principal, bool) error { return errNobody }

type guardB struct{ guardA }

type guardC struct{} //nolint:unused // reflection looks at it

//nolint:unused // reflection looks at it
func (*guardC) Authorize(annals.Principal, bool) error { return errNobody }

//nolint:unused // reflection looks at what is embedded
type (
	ambiguous struct {
		guardA
		guardC
	}
	deeper   struct{ ambiguous }
	byAField struct {
		guardA
		Authorize string
	}
	promoted struct{ guardB }
)

type validatesArgument struct{}

func (validatesArgument) Validate(context.Context) error { return nil }

type isValid struct{}

func (isValid) IsValid() error { return nil }

type transposed struct{}

func (transposed) Authoirze(annals.Principal, bool) error { return errNobody }

type oneMissing struct{}

func (*oneMissing) Authorze(annals.Principal, bool) error { return errNobody }

func answerTrue[Q any](bus *cqrs.Bus[any]) func() {
	return func() { cqrs.Answer(bus, func(context.Context, Q) (bool, error) { return true, nil }) }
}

func TestAMethodOfAQueryThatWouldNeverBeCalledPanics(t *testing.T) {
	bus := newBus(t)
	for want, f := range map[string]func(){
		"ambiguous.Authorize is hidden":                 answerTrue[ambiguous](bus),
		"deeper.Authorize is hidden":                    answerTrue[deeper](bus),
		"byAField.Authorize is hidden":                  answerTrue[byAField](bus),
		"validatesArgument.Validate must be func":       answerTrue[validatesArgument](bus),
		"isValid.IsValid: did you mean Validate?":       answerTrue[isValid](bus),
		"transposed.Authoirze: did you mean Authorize?": answerTrue[transposed](bus),
		"oneMissing.Authorze: did you mean Authorize?":  answerTrue[oneMissing](bus),
	} {
		if text := panicText(t, f); !strings.Contains(text, want) {
			t.Errorf("want a panic with %q, got %q", want, text)
		}
	}
	answerTrue[promoted](bus)()
	if _, err := cqrs.Ask[bool](t.Context(), bus, promoted{}); !errors.Is(err, errNobody) {
		t.Errorf("a method that is embedded once: %v", err)
	}
}

// ticket is answered by a pointer, for porters only.
type ticket struct{ Number int }

func (q ticket) Validate() error {
	if q.Number < 0 {
		return errors.New("negative")
	}
	var v decider.Invalid
	v.Check(q.Number != 13, "number", "is unlucky")
	return v.Err()
}

func (ticket) Authorize(p annals.Principal, _ *Door) error {
	if !p.Has("porter") {
		return errNobody
	}
	return nil
}

func TestAQueryIsValidatedBeforeItIsAnswered(t *testing.T) {
	bus := newBus(t)
	answered := 0
	cqrs.Answer(bus, func(context.Context, ticket) (*Door, error) {
		answered++
		return nil, nil //nolint:nilnil // the query of the test has no answer
	})
	ctx := annals.WithPrincipal(t.Context(), porter)
	for number, want := range map[int]string{-1: "negative", 13: "is unlucky"} {
		_, err := cqrs.Ask[*Door](ctx, bus, ticket{number})
		if e, ok := errors.AsType[*decider.InvalidError](err); !ok || e.Fields[0].Problem != want || cqrs.OutcomeOf(err) != cqrs.OutcomeInvalid {
			t.Errorf("%d: got %v", number, err)
		}
	}
	if _, err := cqrs.Ask[*Door](ctx, bus, ticket{1}); err != nil || answered != 1 {
		t.Errorf("got %v after %d answers", err, answered)
	}
}

func TestWhoMayNotSeeAnAnswerDoesNotLearnWhetherThereIsOne(t *testing.T) {
	bus := newBus(t)
	var fail error
	cqrs.Answer(bus, func(context.Context, ticket) (*Door, error) { return &Door{}, fail })
	for _, missing := range []error{projection.ErrNotFound, &projection.NotFoundError{}, fmt.Errorf("then: %w", annals.ErrAhead)} {
		fail = missing
		if _, err := cqrs.Ask[*Door](t.Context(), bus, ticket{}); !errors.Is(err, decider.ErrForbidden) || errors.Is(err, missing) {
			t.Errorf("a stranger learns %v", err)
		}
		if d, err := cqrs.Ask[*Door](annals.WithPrincipal(t.Context(), porter), bus, ticket{}); !errors.Is(err, missing) || d != nil {
			t.Errorf("a porter gets %v, %v", d, err)
		}
	}
	fail = errors.New("the disk is on fire")
	if _, err := cqrs.Ask[*Door](t.Context(), bus, ticket{}); !errors.Is(err, fail) {
		t.Errorf("got %v", err)
	}
}

type brokenView struct{}

func (brokenView) Wait(context.Context, annals.Position) error { return projection.ErrLagging }

func TestAnAuditTellsAnAcceptedCommandWhoseViewLags(t *testing.T) {
	var records []cqrs.AuditRecord
	bus := newBus(t, cqrs.Audit(func(_ context.Context, r cqrs.AuditRecord) { records = append(records, r) }))
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{"1"}, decider.WaitFor(brokenView{})); !errors.Is(err, projection.ErrLagging) {
		t.Fatal(err)
	}
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{"1"}); !errors.Is(err, errOpen) {
		t.Fatal(err)
	}
	if _, err := cqrs.Do(t.Context(), bus, OpenDoor{"2"}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct {
		accepted bool
		outcome  cqrs.Outcome
	}{{true, cqrs.OutcomeLagging}, {false, cqrs.OutcomeRejected}, {true, cqrs.OutcomeOK}} {
		if r := records[i]; r.Accepted != want.accepted || r.Outcome != want.outcome {
			t.Errorf("record %d: accepted %v, %s", i, r.Accepted, r.Outcome)
		}
	}
}

// pastDoor is answered to whom the door belongs today.
type pastDoor struct{ Door string }

func (pastDoor) Authorize(p annals.Principal, d Door) error {
	if p.ID != d.ID {
		return errNobody
	}
	return nil
}

func TestAMissingAnswerMaySayWhoseItIs(t *testing.T) {
	bus := newBus(t)
	cqrs.Answer(bus, func(_ context.Context, q pastDoor) (Door, error) { return Door{ID: q.Door}, annals.ErrAhead })
	ctx := annals.WithPrincipal(t.Context(), annals.Principal{ID: "1"})
	if _, err := cqrs.Ask[Door](ctx, bus, pastDoor{"1"}); !errors.Is(err, annals.ErrAhead) {
		t.Errorf("the owner gets %v", err)
	}
	if _, err := cqrs.Ask[Door](ctx, bus, pastDoor{"2"}); !errors.Is(err, decider.ErrForbidden) {
		t.Errorf("a stranger gets %v", err)
	}
}

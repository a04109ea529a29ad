package decider_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// request is what all the commands below have in common.
type request struct{ Order string }

func (r request) Initial() order                { return order{ID: r.Order} }
func (r request) Decide(order) ([]event, error) { return nil, nil }

type (
	british        struct{ request }
	past           struct{ request }
	mistyped       struct{ request }
	swapped        struct{ request }
	short          struct{ request }
	shouted        struct{ request }
	otherState     struct{ request }
	otherResult    struct{ request }
	pointer        struct{ request }
	pointerBritish struct{ request }
	MixinA         struct{}
	MixinB         struct{}
	hidden         struct {
		request
		MixinA
		MixinB
	}
	fine     struct{ request }
	embedded struct{ fine }
)

func (british) Authorise(annals.Principal, order) error         { return nil }
func (past) Authorized(annals.Principal, order) error           { return nil }
func (mistyped) Valdate() error                                 { return nil }
func (swapped) Vaildate() error                                 { return nil }
func (short) Valid() error                                      { return nil }
func (shouted) VALIDATE() error                                 { return nil }
func (otherState) Authorize(annals.Principal, placing) error    { return nil }
func (otherResult) Validate() bool                              { return false }
func (*pointer) Validate() error                                { return nil }
func (*pointerBritish) Authorise(annals.Principal, order) error { return nil }
func (MixinA) Validate() error                                  { return nil }
func (MixinB) Validate() error                                  { return nil }
func (fine) Authorize(annals.Principal, order) error            { return nil }
func (fine) Validate() error                                    { return nil }
func (fine) Value() string                                      { return "not like any of them" }

func TestNearMissesOfOptionalMethodsAreRefusedByName(t *testing.T) {
	t.Parallel()
	for want, check := range map[string]func(bool) error{
		"british.Authorise":        decider.CheckCommand[british],
		"past.Authorized":          decider.CheckCommand[past],
		"mistyped.Valdate":         decider.CheckCommand[mistyped],
		"swapped.Vaildate":         decider.CheckCommand[swapped],
		"short.Valid":              decider.CheckCommand[short],
		"shouted.VALIDATE":         decider.CheckCommand[shouted],
		"otherState.Authorize":     decider.CheckCommand[otherState],
		"otherResult.Validate":     decider.CheckCommand[otherResult],
		"pointer.Validate":         decider.CheckCommand[pointer],
		"pointerBritish.Authorise": decider.CheckCommand[pointerBritish],
		"hidden.Validate":          decider.CheckCommand[hidden],
	} {
		err := check(false)
		if !errors.Is(err, decider.ErrDeclaration) || errors.Is(err, decider.ErrNoAuthorize) || !strings.Contains(err.Error(), want+":") {
			t.Errorf("%s: got %v", want, err)
		}
	}
	_, err := decider.Execute(t.Context(), history(t), british{request{"1"}})
	wantError(t, err, decider.ErrDeclaration)
	for _, check := range []func(bool) error{decider.CheckCommand[fine], decider.CheckCommand[embedded], decider.CheckCommand[*pointer]} {
		if err := check(false); err != nil {
			t.Error(err)
		}
	}
}

func TestALogCanRequireAuthorize(t *testing.T) {
	t.Parallel()
	open := history(t)
	log := annals.NewLog(open.Store(), schema, annals.RequireAuthorize())
	_, err := decider.Execute(t.Context(), log, createOrder{"1"})
	wantError(t, err, decider.ErrNoAuthorize)
	if e, ok := errors.AsType[*decider.DeclarationError](err); !ok || e.Command != "createOrder" || e.Method != "Authorize" {
		t.Errorf("got %v", err)
	}
	if _, err := decider.Execute(t.Context(), log, fine{request{"1"}}); err != nil {
		t.Error(err)
	}
	if decider.CheckCommand[createOrder](true) == nil || decider.CheckCommand[createOrder](false) != nil || decider.CheckCommand[embedded](true) != nil {
		t.Error("CheckCommand must ask for Authorize only when told to")
	}
}

func TestCommandsAreNamedAfterTheirType(t *testing.T) {
	t.Parallel()
	if n := decider.CommandName[createOrder](); n != "createOrder" {
		t.Error(n)
	}
	if n := decider.CommandName[*pointer](); n != "pointer" {
		t.Error(n)
	}
}

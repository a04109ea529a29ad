package decider

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/annalsdb/annals"
)

// Command is a request to change something. Ids and times are data: fields of the command, filled in where it comes
// from.
type Command[S, E any] interface {
	// Initial is the state before any event, with the ids that say what the command is about. It is called afresh for
	// every attempt.
	Initial() S
	// Decide answers with the events that the command leads to, none if there is nothing to do, or with the reason why
	// not. It must be pure, and leave maps and slices of the state as they are: it may be called several times, and the
	// events are folded into the same state.
	Decide(state S) ([]E, error)
}

// validator and authorizer are the optional methods of a command.
type (
	validator         interface{ Validate() error }
	authorizer[S any] interface {
		Authorize(principal annals.Principal, state S) error
	}
)

// CommandName is the name of commands of type C, as metadata, errors and idempotency keys use it: the name of the type
// without its package.
func CommandName[C any]() string { return typeName(reflect.TypeFor[C]()) }

// SubjectOf is the one stream that the boundary of a command's initial state names: what the command is about. It is "" if the
// boundary names none or several, or panics.
func SubjectOf[S State[S, E], E any](cmd Command[S, E]) string {
	l, err := begin[S, E](cmd)
	if err != nil {
		return ""
	}
	return l.about
}

// Execute runs a command: Validate, if it has that; load the state; Authorize, if it has that; Decide; append on the
// condition that nothing in the boundary has changed, or once more from loading. Events of other boundaries may be
// decided too, but nothing guards those.
//
// The principal of ctx is who asks. Errors: [ErrInvalid], [ErrForbidden], [ErrRejected], [ErrKeyReused];
// annals.ErrConflict when the tries are used up; [ErrDeclaration] and [ErrPanic] for mistakes in the program; and what
// the store says. Nothing was stored then, except with annals.ErrUnknownOutcome, where nobody knows, and when an error
// of [WaitFor] comes with a result.
func Execute[C Command[S, E], S State[S, E], E any](ctx context.Context, log *annals.Log[E], cmd C, opts ...Option) (Result[S, E], error) {
	o, err := newOptions(opts)
	if err != nil {
		return Result[S, E]{}, err
	}
	command := Command[S, E](cmd)
	t := reflect.TypeOf(command)
	if t == nil {
		return Result[S, E]{}, &annals.InvalidError{What: "command", Problem: "nil"}
	}
	if err := checkMethods[S](t, log.RequiresAuthorize()); err != nil {
		return Result[S, E]{}, err
	}
	r := run[S, E]{log: log, options: o, name: typeName(t), command: command}
	if o.key != nil {
		r.fingerprint = fingerprintOf(&r, cmd)
	}
	if v, ok := command.(validator); ok {
		if err := r.validate(v); err != nil {
			return Result[S, E]{}, err
		}
	}
	if a, ok := command.(authorizer[S]); ok {
		principal := annals.PrincipalFrom(ctx)
		r.authorize = func(s S) error { return a.Authorize(principal, s) }
	}
	m := annals.MetadataFrom(ctx)
	m.Command, m.Fingerprint = r.name, ""
	return r.execute(annals.WithMetadata(ctx, m))
}

// fingerprintOf is what tells a command from others under the same key.
func fingerprintOf[C any, S State[S, E], E any](r *run[S, E], cmd C) func() (string, error) {
	return func() (string, error) {
		b, err := json.Marshal(cmd)
		if err != nil {
			return "", err
		}
		l, err := begin[S, E](r.command) // what JSON leaves out, or commands of one name in two packages, must not look alike
		return r.log.Schema().Fingerprint(r.name, string(b), l.Boundary.String()), err
	}
}

func (r *run[S, E]) validate(v validator) error {
	var invalid error
	if err := guard(r.name, ".Validate", 0, func() { invalid = v.Validate() }); err != nil {
		return err
	}
	if invalid == nil || errors.Is(invalid, ErrInvalid) {
		return invalid
	}
	return &InvalidError{Fields: []Field{{Problem: invalid.Error()}}, cause: invalid}
}

// Update is [Execute] without a command: it loads the state, decides with the function, which must be pure, and
// appends. As initial may be used more than once and Evolve may change them, maps in it must be nil.
func Update[S State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, decide func(S) ([]E, error), opts ...Option) (Result[S, E], error) {
	o, err := newOptions(opts)
	if err != nil {
		return Result[S, E]{}, err
	}
	r := run[S, E]{log: log, options: o, name: stateName[S](), command: update[S, E]{initial, decide}}
	r.fingerprint = func() (string, error) {
		boundary, err := boundaryOf(initial, 0)
		return log.Schema().Fingerprint(r.name, boundary.String()), err
	}
	m := annals.MetadataFrom(ctx)
	m.Fingerprint = "" // that of a cause, whose metadata was passed on
	return r.execute(annals.WithMetadata(ctx, m))
}

// update makes a command of what [Update] was given.
type update[S, E any] struct {
	initial S
	decide  func(S) ([]E, error)
}

func (u update[S, E]) Initial() S              { return u.initial }
func (u update[S, E]) Decide(s S) ([]E, error) { return u.decide(s) }

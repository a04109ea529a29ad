package cqrs

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

// answer is how one type of query is answered.
type answer struct {
	of     reflect.Type // the type of answer
	handle Handler
}

// validator and authorizer are the optional methods of a query that is answered by R.
type (
	validator         interface{ Validate() error }
	authorizer[R any] interface {
		Authorize(p annals.Principal, answer R) error
	}
)

// Answer says how queries of type Q are answered.
//
// If Q has a method Validate() error, it is asked first; its error is a decider.InvalidError, and the query is not
// answered.
//
// If Q has a method Authorize(annals.Principal, R) error, it is asked about each answer before anybody sees it; its
// error reaches the caller in a decider.ForbiddenError. Who may not see an answer is not to learn whether there is one
// either: if the function says projection.ErrNotFound or annals.ErrAhead, Authorize is asked about the R that came with
// the error, and only who passes is told. That is the zero R, unless the function knows whose the missing thing would be
// and says so by it. The zero R of a pointer type is nil, which Authorize must be ready for.
//
// Answer belongs to the start of a program. A wrong declaration is a mistake in the program and panics: a second
// Answer for the same query type, and a method that looks like Validate or Authorize but is not, or is hidden by
// embedding.
func Answer[Q, R, E any](b *Bus[E], f func(context.Context, Q) (R, error)) {
	t, name := reflect.TypeFor[Q](), queryName(reflect.TypeFor[Q]())
	if f == nil {
		panic(fmt.Sprintf("cqrs: Answer: %s is answered by a nil function", name))
	}
	if err := checkQuery[Q, R](); err != nil {
		panic("cqrs: Answer: " + err.Error())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if earlier, ok := b.answers[t]; ok {
		panic(fmt.Sprintf("cqrs: Answer: %s is answered already, by %s", name, earlier.of))
	}
	b.answers[t] = answer{of: reflect.TypeFor[R](), handle: func(ctx context.Context, m Message) (any, error) {
		q, ok := m.Value.(Q)
		if !ok {
			return nil, &MiddlewareError{Message: m.Name, Want: t, Got: reflect.TypeOf(m.Value)}
		}
		if v, ok := any(q).(validator); ok {
			if err := invalid(v.Validate()); err != nil {
				return nil, err
			}
		}
		r, err := f(ctx, q)
		missing := errors.Is(err, projection.ErrNotFound) || errors.Is(err, annals.ErrAhead)
		if err != nil && !missing {
			return nil, err
		}
		if a, ok := any(q).(authorizer[R]); ok {
			if err := a.Authorize(annals.PrincipalFrom(ctx), r); err != nil {
				return nil, &decider.ForbiddenError{Command: m.Name, Err: err}
			}
		}
		if err != nil {
			return nil, err
		}
		return r, nil
	}}
}

// invalid is what a Validate said, as package decider has it of commands.
func invalid(err error) error {
	if err == nil || errors.Is(err, decider.ErrInvalid) {
		return err
	}
	return errors.Join(&decider.InvalidError{Fields: []decider.Field{{Problem: err.Error()}}}, err)
}

// Answers reports whether queries of type Q are answered by R, for those who want to know before the first [Ask].
func Answers[Q, R, E any](b *Bus[E]) bool {
	a, ok := b.answerTo(reflect.TypeFor[Q]())
	return ok && a.of == reflect.TypeFor[R]()
}

// Ask answers a query. It fails with [ErrUnanswered] if no [Answer] was given for Q, or one of another type than R. The
// freshness that annals.WithAtLeast demands reaches the read models through ctx.
func Ask[R, Q, E any](ctx context.Context, b *Bus[E], q Q) (R, error) {
	var zero R
	t := reflect.TypeFor[Q]()
	m := Message{Name: queryName(t), Query: true, Value: q}
	a, ok := b.answerTo(t)
	if !ok {
		return zero, &UnansweredError{Query: m.Name, Wanted: reflect.TypeFor[R]().String()}
	}
	if a.of != reflect.TypeFor[R]() {
		return zero, &UnansweredError{Query: m.Name, Wanted: reflect.TypeFor[R]().String(), Answered: a.of.String()}
	}
	v, err := b.handle(ctx, m, a.handle)
	if err != nil {
		return zero, err
	}
	return as[R](m, v)
}

func (b *Bus[E]) answerTo(query reflect.Type) (answer, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	a, ok := b.answers[query]
	return a, ok
}

// queryName is the name of a query's type; types without one go by how they are written.
func queryName(t reflect.Type) string {
	if t.Name() == "" {
		return t.String()
	}
	return t.Name()
}

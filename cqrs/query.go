package cqrs

import (
	"context"
	"fmt"
	"reflect"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// answer is how one type of query is answered.
type answer struct {
	of     reflect.Type // the type of answer
	handle Handler
}

// authorizer is the optional method of a query that is answered by R.
type authorizer[R any] interface {
	Authorize(p annals.Principal, answer R) error
}

// Answer says how queries of type Q are answered. If Q has a method Authorize(annals.Principal, R) error it is asked
// about each answer before anybody sees it; its error reaches the caller in a decider.ForbiddenError.
//
// Answer belongs to the start of a program. A wrong declaration is a mistake in the program and panics: a second
// Answer for the same query type, and a method that looks like Authorize but is not.
func Answer[Q, R, E any](b *Bus[E], f func(context.Context, Q) (R, error)) {
	t, name := reflect.TypeFor[Q](), queryName(reflect.TypeFor[Q]())
	if f == nil {
		panic(fmt.Sprintf("cqrs: Answer: %s is answered by a nil function", name))
	}
	if err := checkAuthorize[Q, R](); err != nil {
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
		r, err := f(ctx, q)
		if err != nil {
			return nil, err
		}
		if a, ok := any(q).(authorizer[R]); ok {
			if err := a.Authorize(annals.PrincipalFrom(ctx), r); err != nil {
				return nil, &decider.ForbiddenError{Command: m.Name, Err: err}
			}
		}
		return r, nil
	}}
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

// checkAuthorize refuses methods that are meant to be [authorizer]'s and would be passed over in silence.
func checkAuthorize[Q, R any]() error {
	t := reflect.TypeFor[Q]()
	methods := t
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		methods = reflect.PointerTo(t) // it has the methods of t, and those that a value would lack
	}
	for method := range methods.Methods() {
		name := method.Name
		switch {
		case name == "Authorize":
			if !t.Implements(reflect.TypeFor[authorizer[R]]()) {
				return fmt.Errorf("%s.Authorize must be func (%s) Authorize(annals.Principal, %s) error", t, t, reflect.TypeFor[R]())
			}
		case strings.HasPrefix(strings.ToLower(name), "authori"):
			return fmt.Errorf("%s.%s: did you mean Authorize?", t, name)
		}
	}
	return nil
}

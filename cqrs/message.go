package cqrs

import (
	"context"
	"reflect"
	"slices"
)

// Message is a command or a query on its way.
type Message struct {
	// Name is that of the command's or the query's type, such as "PlaceOrder".
	Name string
	// Query tells a query from a command.
	Query bool
	// Value is the command or the query itself. A middleware that changes it must keep its type.
	Value any

	subject func(value any) string // the stream that a command is about; nil for a query
	stored  func(result any) bool  // whether a command's result tells of stored events; nil if nobody knows
}

// Subject is the one stream that the boundary of a command's initial state names, such as "order-42": what the command is about,
// whatever became of it. It is "" for a query, and for a command whose boundary names none or several.
func (m Message) Subject() string {
	if m.subject == nil {
		return ""
	}
	return m.subject(m.Value)
}

// Handler deals with a message. For a command it returns the decider.Result, for a query the answer. A Result may
// come together with an error: the command was accepted, and what was to follow, such as the wait for a view, failed.
type Handler func(ctx context.Context, m Message) (any, error)

// Middleware wraps a handler in another. It is called once for each message, and the handler it returns may be used
// concurrently with others.
type Middleware func(next Handler) Handler

// handle sends m through the middlewares to the handler.
func (b *Bus[E]) handle(ctx context.Context, m Message, h Handler) (any, error) {
	for _, mw := range slices.Backward(b.middleware) {
		h = mw(h)
	}
	return h(ctx, m)
}

// as takes what came out of the middlewares for what the caller was promised.
func as[T any](m Message, v any) (T, error) {
	t, ok := v.(T)
	if !ok && (v != nil || reflect.TypeFor[T]().Kind() != reflect.Interface) {
		return t, &MiddlewareError{Message: m.Name, Want: reflect.TypeFor[T](), Got: reflect.TypeOf(v)}
	}
	return t, nil
}

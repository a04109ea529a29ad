package cqrs

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/annalsdb/annals/decider"
)

// Sentinels to branch on with errors.Is. The type beside each carries the facts.
var (
	// ErrUnanswered: nothing answers the query. See [UnansweredError].
	ErrUnanswered = errors.New("cqrs: nothing answers the query")
	// ErrUnguarded: a command does not say who may give it, on a bus whose commands must. See [UnguardedError].
	ErrUnguarded = errors.New("cqrs: command without Authorize")
	// ErrMiddleware: a middleware changed the type of a message or of what came back. See [MiddlewareError].
	ErrMiddleware = errors.New("cqrs: middleware broke its contract")
	// ErrPanic: a handler panicked. See [PanicError].
	ErrPanic = errors.New("cqrs: handler panicked")
)

// UnansweredError names a query that nothing answers. It matches [ErrUnanswered].
type UnansweredError struct {
	Query string
	// Wanted is the type of answer that was asked for.
	Wanted string
	// Answered is the type that the query is answered by, "" if nothing answers it at all.
	Answered string
}

// Error names the query and the answer.
func (e *UnansweredError) Error() string {
	if e.Answered == "" {
		return fmt.Sprintf("%v: %s: no Answer was given for it", ErrUnanswered, e.Query)
	}
	return fmt.Sprintf("%v: %s is answered by %s, not by %s", ErrUnanswered, e.Query, e.Answered, e.Wanted)
}

// Is matches ErrUnanswered.
func (e *UnansweredError) Is(target error) bool { return target == ErrUnanswered }

// UnguardedError names commands that lack a method Authorize, and why they need one. It matches [ErrUnguarded] and
// decider.ErrNoAuthorize.
type UnguardedError struct {
	// Commands that lack it, sorted.
	Commands []string
	// Guarded is a command of the same bus that has one; "" if the log demands it of all.
	Guarded string
}

// Error names the commands and the reason.
func (e *UnguardedError) Error() string {
	why := "the log requires it"
	if e.Guarded != "" {
		why = e.Guarded + " has it, so all commands of the bus need it"
	}
	return fmt.Sprintf("%v: %s: %s", ErrUnguarded, strings.Join(e.Commands, ", "), why)
}

// Is matches ErrUnguarded, and decider.ErrNoAuthorize.
func (e *UnguardedError) Is(target error) bool {
	return target == ErrUnguarded || target == decider.ErrNoAuthorize
}

// MiddlewareError says which type a middleware should have passed on and which it did; Got is nil for nothing. It
// matches [ErrMiddleware].
type MiddlewareError struct {
	Message   string
	Want, Got reflect.Type
}

// Error names the message and both types.
func (e *MiddlewareError) Error() string {
	got := "nothing"
	if e.Got != nil {
		got = e.Got.String()
	}
	return fmt.Sprintf("%v: %s: %s was passed on instead of %s", ErrMiddleware, e.Message, got, e.Want)
}

// Is matches ErrMiddleware.
func (e *MiddlewareError) Is(target error) bool { return target == ErrMiddleware }

// PanicError is a panic of a handler, caught by [Recover]. It matches [ErrPanic], and the panic's value if that is an
// error.
type PanicError struct {
	Message string
	Value   any
	// Stack is that of the goroutine, as runtime/debug.Stack writes it.
	Stack []byte
}

// Error names the message and the value.
func (e *PanicError) Error() string { return fmt.Sprintf("%v: %s: %v", ErrPanic, e.Message, e.Value) }

// Is matches ErrPanic.
func (e *PanicError) Is(target error) bool { return target == ErrPanic }

// Unwrap gives the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

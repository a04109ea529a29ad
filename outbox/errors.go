package outbox

import (
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
)

// Sentinels to branch on with errors.Is.
var (
	// ErrElsewhere: another process runs the relay, and is further.
	ErrElsewhere = errors.New("outbox: another process runs the relay")
	// ErrRunning: this process runs the relay already.
	ErrRunning = errors.New("outbox: the relay is running")
	// ErrMessage: no message could be made of an event. See [MessageError].
	ErrMessage = errors.New("outbox: no message can be made of the event")
	// ErrNotParked: nothing is parked under the id.
	ErrNotParked = errors.New("outbox: no such message is parked")
	// ErrPanic: a function of the application panicked. See [PanicError].
	ErrPanic = errors.New("outbox: panic")
)

// MessageError names an event that stops a relay: it cannot be decoded, or Messages failed. What is before it is published,
// and nothing behind it. It matches
// [ErrMessage].
type MessageError struct {
	Relay    string
	Position annals.Position
	Type     string
	Err      error
}

// Error names the event and the reason.
func (e *MessageError) Error() string {
	return fmt.Sprintf("outbox: %s: %s at position %d: %v", e.Relay, e.Type, e.Position, e.Err)
}

// Is matches ErrMessage.
func (e *MessageError) Is(target error) bool { return target == ErrMessage }

// Unwrap gives the reason.
func (e *MessageError) Unwrap() error { return e.Err }

// PanicError is a panic of Messages or of a publisher. It matches [ErrPanic], and the panic's value if that is an error.
type PanicError struct {
	Value any
	// Stack is that of the goroutine, as runtime/debug.Stack writes it.
	Stack []byte
}

// Error names the value.
func (e *PanicError) Error() string { return fmt.Sprintf("%v: %v", ErrPanic, e.Value) }

// Is matches ErrPanic.
func (e *PanicError) Is(target error) bool { return target == ErrPanic }

// Unwrap gives the panic's value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

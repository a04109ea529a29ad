package process

import (
	"errors"
	"fmt"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// Sentinels to branch on with errors.Is.
var (
	// ErrCycle: too many reactions led to an event. It is parked with this error. See [Options.HopsMax].
	ErrCycle = errors.New("process: managers answer each other in a circle")
	// ErrPanic: a function of the manager, or of a gateway, panicked.
	ErrPanic = errors.New("process: panic")
	// ErrNotRecorded: a gateway that only asks was used in a replay, and has no recorded response. See [Replaying].
	ErrNotRecorded = errors.New("process: no recorded response")
	// ErrOtherRequest: a gateway was asked something else under the same id before.
	ErrOtherRequest = errors.New("process: another request under the same id")
	// ErrNotFound: there is no such timer, or nothing is parked under the key.
	ErrNotFound = errors.New("process: not found")
)

// Permanent says that it is no use to try again: a gateway's function wraps the error of a request that will never succeed.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// uncertainError says that an effect may have been done.
type uncertainError struct{ err error }

func (e *uncertainError) Error() string { return e.err.Error() }
func (e *uncertainError) Unwrap() error { return e.err }

// uncertain reports whether an effect that failed may have been done.
func uncertain(err error) bool {
	_, ok := errors.AsType[*uncertainError](err)
	return ok || errors.Is(err, annals.ErrUnknownOutcome)
}

// refused reports whether a store will never take what was appended.
func refused(err error) bool {
	return errors.Is(err, annals.ErrInvalid) || errors.Is(err, annals.ErrTooLarge) || errors.Is(err, annals.ErrStreamTombstoned)
}

// textMax is how much of an error is kept, in bytes.
const textMax = 1000

// textOf is what is kept of an error.
func textOf(err error) string {
	s := err.Error()
	if len(s) > textMax {
		s = strings.ToValidUTF8(s[:textMax], "") + "…"
	}
	return s
}

// hopeless reports whether trying again would lead to the same.
func hopeless(err error) bool {
	if _, ok := errors.AsType[*permanentError](err); ok {
		return true
	}
	for _, target := range []error{
		decider.ErrRejected, decider.ErrForbidden, decider.ErrInvalid, decider.ErrKeyReused, decider.ErrDeclaration, decider.ErrPanic,
		annals.ErrInvalid, ErrCycle, ErrPanic, ErrNotRecorded, ErrOtherRequest,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// panicked makes an error of a panic.
func panicked(what string, value any) error { return fmt.Errorf("%w in %s: %v", ErrPanic, what, value) }

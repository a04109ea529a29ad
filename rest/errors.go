package rest

import (
	"errors"

	"github.com/annalsdb/annals/decider"
)

// Sentinels to branch on with errors.Is.
var (
	// ErrMalformed: the request cannot be read. See [MalformedError].
	ErrMalformed = errors.New("rest: malformed request")
	// ErrUnauthenticated: who asks is not known, and must be.
	ErrUnauthenticated = errors.New("rest: unauthenticated")

	errMediaType = errors.New("rest: unsupported media type")
)

// MalformedError says what cannot be read of a request, and where. It matches [ErrMalformed] and is answered with 400.
// Both parts are shown to the client, cut short where what was sent makes them long.
type MalformedError struct {
	// Place such as "body", "body member lines.count", "path order", "parameter limit", "header If-Match".
	Place   string
	Problem string
}

// Error names the place and the problem.
func (e *MalformedError) Error() string {
	return ErrMalformed.Error() + ": " + e.Place + ": " + e.Problem
}

// Is matches ErrMalformed.
func (e *MalformedError) Is(target error) bool { return target == ErrMalformed }

// missingError is a command that broke a rule of [NotFound].
type missingError struct {
	rule     decider.Rule
	rejected *decider.RejectedError
}

func (e *missingError) Error() string { return e.rejected.Error() }
func (e *missingError) Unwrap() error { return e.rejected }

func memberPlace(name string) string { return "body member " + name }

// mediaTypeError is answered with 415. It matches errMediaType.
type mediaTypeError struct{ problem string }

func (e *mediaTypeError) Error() string        { return errMediaType.Error() + ": " + e.problem }
func (e *mediaTypeError) Is(target error) bool { return target == errMediaType }

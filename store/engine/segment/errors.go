package segment

import (
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
)

var (
	// ErrNewerFormat says that a newer program wrote the directory. See [NewerFormatError].
	ErrNewerFormat = errors.New("segment: newer format")
	// ErrNotAStore says that the directory holds other files and no store.
	ErrNotAStore = errors.New("segment: not a store")
	// ErrLocked says that another process, or another Dir of this one, has the directory open. See [LockedError].
	ErrLocked = errors.New("segment: directory is in use")
)

// NewerFormatError says which format was found, and which is the newest that this program knows. It matches
// [ErrNewerFormat].
type NewerFormatError struct {
	File          string
	Format, Known int
}

// Error names both numbers.
func (e *NewerFormatError) Error() string {
	return fmt.Sprintf("segment: %s has format %d, this program knows formats up to %d", e.File, e.Format, e.Known)
}

// Is matches ErrNewerFormat.
func (e *NewerFormatError) Is(target error) bool { return target == ErrNewerFormat }

// LockedError says who has the directory open. It matches [ErrLocked].
type LockedError struct {
	Dir string
	// PID is the process, 0 if it is not known.
	PID int
}

// Error names the directory and the process.
func (e *LockedError) Error() string {
	return fmt.Sprintf("segment: directory %s is in use by process %d", e.Dir, e.PID)
}

// Is matches ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// notWritten is the answer when it is certain that a frame is not in the log nor will be.
func notWritten(err error) error { return &annals.OutcomeError{Cause: err} }

// errDamaged is why a part of a file is not what it should be.
var errDamaged = errors.New("does not verify")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

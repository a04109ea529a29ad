package run

import (
	"errors"
	"fmt"
)

var (
	// ErrDamaged says that the file is not what was written: it has to be made again from the log. See [DamageError].
	ErrDamaged = errors.New("run: damaged")
	// ErrNewerFormat says that a newer program wrote the file. See [NewerFormatError].
	ErrNewerFormat = errors.New("run: newer format")
	// ErrMisuse says that a writer was called with what cannot be written, or in the wrong order.
	ErrMisuse = errors.New("run: misuse")
)

// DamageError says where a file does not verify. It matches [ErrDamaged].
type DamageError struct {
	// Block is the number of the block, from 0.
	Block uint32
	// Reason is what is wrong with it.
	Reason string
}

// Error names the block and the reason.
func (e *DamageError) Error() string {
	return fmt.Sprintf("run: damaged: block %d: %s", e.Block, e.Reason)
}

// Is matches ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

func damaged(block uint32, format string, args ...any) error {
	return &DamageError{Block: block, Reason: fmt.Sprintf(format, args...)}
}

// NewerFormatError says which format was found, and which is the newest that this program knows. It matches
// [ErrNewerFormat].
type NewerFormatError struct{ Format, Known uint32 }

// Error names both numbers.
func (e *NewerFormatError) Error() string {
	return fmt.Sprintf("run: format %d, this program knows formats up to %d", e.Format, e.Known)
}

// Is matches ErrNewerFormat.
func (e *NewerFormatError) Is(target error) bool { return target == ErrNewerFormat }

func misuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMisuse, fmt.Sprintf(format, args...))
}

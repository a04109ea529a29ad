package projection

import (
	"errors"
	"fmt"
	"strings"

	"github.com/annalsdb/annals"
)

// Sentinels to branch on with errors.Is. Those that carry facts have a type beside them, for errors.As.
var (
	// ErrNotFound: there is no row with this key. See [NotFoundError].
	ErrNotFound = errors.New("projection: not found")
	// ErrLagging: the rows have not seen the position that was demanded. See [LaggingError].
	ErrLagging = errors.New("projection: lagging")
	// ErrApply: an event could not be applied, and the projection stopped before it. See [ApplyError].
	ErrApply = errors.New("projection: apply failed")
	// ErrParked: an event of the row is parked, and the row is as it was before it. It is an [ErrLagging] too. See [ParkedError].
	ErrParked = errors.New("projection: an event of the row is parked")
	// ErrTooManyParked: a projection has parked [ParkedMax] events, and stopped.
	ErrTooManyParked = errors.New("projection: too many events are parked")
	// ErrDefinition: a definition is wrong. See [DefinitionError].
	ErrDefinition = errors.New("projection: wrong definition")
	// ErrShapeChanged: the rows that are stored were made by another definition of the same name and version. See
	// [ShapeError].
	ErrShapeChanged = errors.New("projection: shape changed")
	// ErrForeignCheckpoint: the rows that are stored were made from another store. See [ForeignCheckpointError].
	ErrForeignCheckpoint = errors.New("projection: checkpoint of another store")
	// ErrCheckpointMoved: the stored checkpoint is not where the runner left it: another runner applies the same
	// projection, or it was reset. Nothing was written.
	ErrCheckpointMoved = errors.New("projection: the checkpoint was moved by somebody else")
	// ErrRunning: the projection runs already in this process.
	ErrRunning = errors.New("projection: runs already")
	// ErrPaused: somebody has paused the projection; see [Resume].
	ErrPaused = errors.New("projection: it is paused")
	// ErrServing: the version serves; switch to another one first.
	ErrServing = errors.New("projection: the version serves")
	// ErrReset: the rows were dropped while they were being read. Ask again.
	ErrReset = errors.New("projection: rows were dropped meanwhile")
	// ErrTemporary: the views could not do it just now, and may when they are asked again: the disk is full or failed, or
	// somebody else keeps the file. Runners try again for half a minute. annals.ErrFull is taken for one, too.
	ErrTemporary = errors.New("projection: views cannot do it just now")
	// ErrUnstorable: a row has a key or a value of a column that the views do not keep, such as text that is too long for an index. It
	// comes as an [ApplyError], which names the event.
	ErrUnstorable = errors.New("projection: row that cannot be stored")
	// ErrNoteMoved: a note was set by somebody else meanwhile; nothing was set. See [Views].
	ErrNoteMoved = errors.New("projection: the note was set by somebody else")
	// ErrClosed: the views were closed.
	ErrClosed = errors.New("projection: views are closed")
)

// Delete is what Apply returns to drop the row, as fs.SkipDir skips. It is not a failure; joined with another error, as
// errors.Join does, it is.
var Delete = errors.New("projection: delete the row") //nolint:errname,revive,staticcheck // a signal, as fs.SkipDir is

// NotFoundError says which row there is not. It matches [ErrNotFound].
type NotFoundError struct{ Projection, Key string }

// Error names the projection and the key.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("projection: %s: no row %q", e.Projection, e.Key)
}

// Is matches ErrNotFound.
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// LaggingError says how far the rows are and how far they were wanted. It matches [ErrLagging], and Cause.
type LaggingError struct {
	Projection      string
	Applied, Wanted annals.Position
	// Cause is why waiting was given up early: the error that stopped the projection, or that the caller went away. Nil if
	// the time was up.
	Cause error
}

// Error names the projection, both positions and the cause.
func (e *LaggingError) Error() string {
	s := fmt.Sprintf("projection: %s lags: it has applied position %d, wanted is %d", e.Projection, e.Applied, e.Wanted)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *LaggingError) Unwrap() error { return e.Cause }

// Is matches ErrLagging.
func (e *LaggingError) Is(target error) bool { return target == ErrLagging }

// ParkedError says which event a row waits for that was to be fresh. It matches [ErrParked] and [ErrLagging].
type ParkedError struct {
	Projection, Key string
	// Parked is the first event that the row has not seen.
	Parked Parked
}

// Error names the row, the event and its error.
func (e *ParkedError) Error() string {
	return fmt.Sprintf("projection: %s: row %q waits for the event at %d, %s, which is parked: %s", e.Projection, e.Key, e.Parked.Position, e.Parked.Type, e.Parked.Error)
}

// Is matches ErrParked and ErrLagging.
func (e *ParkedError) Is(target error) bool { return target == ErrParked || target == ErrLagging }

// ApplyError says which event a projection could not apply. Its rows are as they were before that event. It matches
// [ErrApply], and Err.
type ApplyError struct {
	Projection string // name@version
	Position   annals.Position
	Type       string
	Key        string // of the row; "" if the event could not be decoded
	Err        error  // what Apply said, or a [PanicError]
}

// Error names the projection, the event, the row and the problem.
func (e *ApplyError) Error() string {
	row := ""
	if e.Key != "" {
		row = fmt.Sprintf(" to row %q", e.Key)
	}
	return fmt.Sprintf("projection: %s: apply position %d, %s%s: %v", e.Projection, e.Position, e.Type, row, e.Err)
}

// Unwrap gives what Apply said.
func (e *ApplyError) Unwrap() error { return e.Err }

// Is matches ErrApply.
func (e *ApplyError) Is(target error) bool { return target == ErrApply }

// PanicError is a panic in a function of a definition.
type PanicError struct {
	Value any
	Stack []byte
}

// Error gives the value, without the stack.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap gives the value, if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error) // a panic with something else has no cause
	return err
}

// DefinitionError lists all that is wrong with a definition. It matches [ErrDefinition].
type DefinitionError struct {
	Projection string
	Problems   []string
}

// Error lists the problems.
func (e *DefinitionError) Error() string {
	return fmt.Sprintf("projection: definition of %q: %s", e.Projection, strings.Join(e.Problems, "; "))
}

// Is matches ErrDefinition.
func (e *DefinitionError) Is(target error) bool { return target == ErrDefinition }

// ShapeError says that rows stored under this name and version have another shape. It matches [ErrShapeChanged].
type ShapeError struct {
	Projection string // name@version
	// Stored and Declared are the two fingerprints, see [Shape.Fingerprint].
	Stored, Declared string
}

// Error names what differs first, and the remedy.
func (e *ShapeError) Error() string {
	stored, declared := firstDifference(e.Stored, e.Declared)
	return fmt.Sprintf("projection: %s: its rows were made by another definition (stored: %s; declared: %s): raise Version, or Reset it",
		e.Projection, stored, declared)
}

// Is matches ErrShapeChanged.
func (e *ShapeError) Is(target error) bool { return target == ErrShapeChanged }

func firstDifference(a, b string) (inA, inB string) {
	as, bs := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(as), len(bs)) {
		inA, inB = "nothing", "nothing"
		if i < len(as) {
			inA = as[i]
		}
		if i < len(bs) {
			inB = bs[i]
		}
		if inA != inB {
			return inA, inB
		}
	}
	return inA, inB
}

// ForeignCheckpointError says that the rows were not made from this store. It matches [ErrForeignCheckpoint].
type ForeignCheckpointError struct {
	Projection string // name@version
	Checkpoint annals.Position
	// Head of the store.
	Head annals.Position
}

// Error names both positions and the remedy.
func (e *ForeignCheckpointError) Error() string {
	why := "the event it stands on is not in this store"
	if e.Checkpoint > e.Head {
		why = fmt.Sprintf("the store's head is %d", e.Head)
	}
	return fmt.Sprintf("projection: %s: its checkpoint %d belongs to another store (%s): open the views that belong to the store, or Reset the projection",
		e.Projection, e.Checkpoint, why)
}

// Is matches ErrForeignCheckpoint.
func (e *ForeignCheckpointError) Is(target error) bool { return target == ErrForeignCheckpoint }

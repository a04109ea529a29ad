package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/sqliteviews"
	"github.com/annalsdb/annals/server/auth"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/engine/segment"
	"github.com/annalsdb/annals/store/remote"
	"github.com/annalsdb/annals/timetravel"
)

// Exit codes, the same for every command.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnavailable = 5
	exitDamaged     = 6
	exitDenied      = 7
	exitInterrupted = 130
)

// usageError is a command line, or an input, that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errDamaged is the answer of a check that found damage, and has said so where its findings go.
var errDamaged = errors.New("the store is damaged")

// noStoreError says that there is no store where one was expected. It matches disk.ErrNotAStore.
type noStoreError struct {
	dir, problem string
	vacant       bool // one could be made there
}

func (e *noStoreError) Error() string { return e.dir + " " + e.problem }

func (e *noStoreError) Is(target error) bool { return target == disk.ErrNotAStore }

// checkStore fails if there is no store in dir. The store itself would make one, or say less about what is there.
func checkStore(dir string) error {
	names, err := storeFiles(dir)
	info, statErr := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &noStoreError{dir: dir, problem: "does not exist", vacant: true}
	case statErr == nil && !info.IsDir():
		return &noStoreError{dir: dir, problem: "is a file, and not the directory of a store"}
	case err != nil:
		return fmt.Errorf("cannot look into the directory: %w", err)
	case len(names) > 0:
		return nil
	}
	below := filepath.Join(dir, storeName)
	if names, err := storeFiles(below); err == nil && len(names) > 0 {
		return &noStoreError{dir: dir, problem: "is not the directory of a store; " + below + " is"}
	}
	entries, err := os.ReadDir(dir)
	return &noStoreError{
		dir: dir, problem: "is not the directory of a store: it has neither manifest nor segment", vacant: err == nil && len(entries) == 0,
	}
}

// storeFiles are the names of the manifests and segments in dir.
func storeFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if segment.IsManifest(e.Name()) || segment.IsSegment(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// report says what went wrong, and what to do about it, and gives the exit code.
func report(ctx context.Context, talk io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) && !errors.Is(err, annals.ErrUnknownOutcome) {
		return exitInterrupted
	}
	if errors.Is(err, errDamaged) { // the findings have said it all
		return exitDamaged
	}
	if errors.Is(err, errDiffer) { // as above
		return exitFailure
	}
	// Nobody is left to tell if this fails.
	_, _ = fmt.Fprintln(talk, "error:", message(err))
	if h := hint(err); h != "" {
		_, _ = fmt.Fprintln(talk, "  "+h)
	}
	return exitCode(err)
}

// message is err for people. Errors that come through several layers, each of which names the directory, are cut down to
// the one that knows.
func message(err error) string {
	if e, ok := errors.AsType[*segment.LockedError](err); ok {
		holder := "another process"
		if e.PID != 0 {
			holder = fmt.Sprintf("process %d", e.PID)
		}
		return fmt.Sprintf("%s is in use by %s", e.Dir, holder)
	}
	if e, ok := errors.AsType[*segment.NewerFormatError](err); ok {
		return fmt.Sprintf("%s has format %d, and this program knows formats up to %d", e.File, e.Format, e.Known)
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok && strings.HasPrefix(err.Error(), "disk: ") {
		return "cannot use the store: " + e.Error()
	}
	for _, known := range []error{timetravel.ErrStillHolds, timetravel.ErrNeverHeld} { // the state's Go type says nothing here
		if errors.Is(err, known) {
			err = known
		}
	}
	return strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "annals: "), "timetravel: "), "projection: "), ": annals: ", ": ")
}

// hint is what to do about err, or "".
func hint(err error) string {
	switch {
	case errors.Is(err, disk.ErrLocked):
		return "stop that process first; read, verify and dump work beside it"
	case errors.Is(err, disk.ErrNewerFormat):
		return "nothing was changed; use the version of annals that wrote it, or a later one"
	case errors.Is(err, syscall.EADDRINUSE):
		return "stop what listens there, or give another --addr; with port 0 the system chooses a free one"
	case errors.Is(err, annals.ErrDataLoss):
		return "annals verify DIR lists everything that is damaged; what is undamaged can be read"
	case errors.Is(err, annals.ErrUnknownOutcome):
		return "send it again with the same id: what is stored already is not stored twice"
	case errors.Is(err, annals.ErrFull):
		return "make space; the store takes appends again then"
	case errors.Is(err, remote.ErrUnauthenticated):
		return "the variable " + tokenVariable + " has to hold an API key that is good; annals key add makes one"
	case errors.Is(err, remote.ErrUnavailable):
		return "is the server there? annals serve starts one"
	case errors.Is(err, projection.ErrServing):
		return "annals projection switch VIEWS NAME@VERSION makes another version serve"
	case errors.Is(err, sqliteviews.ErrCorrupt), errors.Is(err, sqliteviews.ErrForeignFile),
		errors.Is(err, projection.ErrForeignCheckpoint), errors.Is(err, projection.ErrShapeChanged):
		return "the read models are made of the events: move " + viewsName + " away, and they are made anew"
	}
	return ""
}

func exitCode(err error) int {
	var usage usageError
	switch {
	case errors.As(err, &usage), errors.Is(err, annals.ErrInvalid):
		return exitUsage
	case errors.Is(err, annals.ErrConflict), errors.Is(err, annals.ErrIDReused), errors.Is(err, annals.ErrPartialDuplicate):
		return exitConflict
	case errors.Is(err, annals.ErrDataLoss):
		return exitDamaged
	case errors.Is(err, remote.ErrUnauthenticated), errors.Is(err, remote.ErrForbidden):
		return exitDenied
	case errors.Is(err, disk.ErrNotAStore), errors.Is(err, annals.ErrAhead), errors.Is(err, errNoEvents), errors.Is(err, timetravel.ErrNoReason),
		errors.Is(err, timetravel.ErrStillHolds), errors.Is(err, timetravel.ErrNeverHeld), errors.Is(err, projection.ErrNotFound), errors.Is(err, remote.ErrNoStore), errors.Is(err, auth.ErrNoKey):
		return exitNotFound
	case errors.Is(err, disk.ErrLocked), errors.Is(err, annals.ErrReadOnly), errors.Is(err, annals.ErrFull),
		errors.Is(err, annals.ErrOverloaded), errors.Is(err, syscall.EADDRINUSE), errors.Is(err, projection.ErrTemporary), errors.Is(err, remote.ErrUnavailable):
		return exitUnavailable
	}
	return exitFailure
}

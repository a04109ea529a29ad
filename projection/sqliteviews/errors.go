package sqliteviews

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// Sentinels to branch on with errors.Is. A full disk is annals.ErrFull, and views that were closed are
// projection.ErrClosed.
var (
	// ErrLocked: another process kept the file locked for too long. Try again. It is a projection.ErrTemporary.
	ErrLocked = errors.New("sqliteviews: file is locked by another process")
	// ErrCorrupt: the file is damaged. Rows are made of events: delete the file, and the projections are built anew.
	ErrCorrupt = errors.New("sqliteviews: file is damaged")
	// ErrForeignFile: the file is not one of this package, or was written by a newer version of it.
	ErrForeignFile = errors.New("sqliteviews: not a file of this version")
)

// primaryCode masks the part of an extended result code that tells its kind.
const primaryCode = 0xff

// cutOff is err, which a statement gave, and the end of ctx if that has come: the driver says what became of the
// statement then, and not why.
func cutOff(ctx context.Context, err error) error {
	if cut := ctx.Err(); err != nil && cut != nil && !errors.Is(err, cut) {
		return fmt.Errorf("%w: %w", cut, err)
	}
	return err
}

// temporaryError is a projection.ErrTemporary too.
type temporaryError struct{ error }

func (e temporaryError) Unwrap() error { return e.error }

func (e temporaryError) Is(target error) bool { return target == projection.ErrTemporary }

// named gives an error of SQLite its name, so that callers can branch on it.
func named(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, sql.ErrConnDone) || strings.Contains(err.Error(), "sql: database is closed") {
		return projection.ErrClosed
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return err
	}
	switch e.Code() & primaryCode {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return temporaryError{fmt.Errorf("%w: %w", ErrLocked, err)}
	case lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN:
		return temporaryError{err}
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case lib.SQLITE_FULL:
		return temporaryError{fmt.Errorf("%w: %w", annals.ErrFull, err)}
	}
	return err
}

package pgviews

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// Sentinels to branch on with errors.Is. A full disk of the server is annals.ErrFull, a server that is not there a
// projection.ErrTemporary, and views that were closed are projection.ErrClosed.
var (
	// ErrForeignSchema: the schema's tables were made by a newer version of this package, or by another program.
	ErrForeignSchema = errors.New("pgviews: not a schema of this version")
	// ErrNameTooLong: a name of a table or an index is longer than PostgreSQL's 63 bytes. Choose shorter names for
	// projection, join and column.
	ErrNameTooLong = errors.New("pgviews: name is too long")
	// ErrNoSchema: there is no schema of this package, and [Existing] wants one. It is a projection.ErrNotFound.
	ErrNoSchema = fmt.Errorf("pgviews: there are no views in this schema: %w", projection.ErrNotFound)
	// ErrDamaged: what is stored in the catalog cannot be read.
	ErrDamaged = errors.New("pgviews: catalog is damaged")
)

// temporaryError is a projection.ErrTemporary too.
type temporaryError struct{ error }

func (e temporaryError) Unwrap() error { return e.error }

func (e temporaryError) Is(target error) bool { return target == projection.ErrTemporary }

// Codes of PostgreSQL, see its documentation, appendix A.
const (
	codeDiskFull       = "53100"
	codeTooLongToIndex = "54000"
	codeBadCharacter   = "22021"
	codeUndefinedTable = "42P01"
	codeShutdown       = "57P" // and crash, and start-up
)

// named gives an error its name, so that callers can branch on it. The end of ctx is not one of the server's.
func named(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cut := ctx.Err(); cut != nil {
		if errors.Is(err, cut) {
			return err
		}
		return fmt.Errorf("%w: %w", cut, err)
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		if ofConnection(err) && !errors.Is(err, projection.ErrTemporary) {
			return temporaryError{err}
		}
		return err
	}
	switch {
	case e.Code == codeDiskFull:
		return temporaryError{fmt.Errorf("%w: %w", annals.ErrFull, err)}
	case e.Code == codeTooLongToIndex || e.Code == codeBadCharacter:
		return fmt.Errorf("%w: %w", projection.ErrUnstorable, err)
	case e.Code[:3] == codeShutdown:
		return temporaryError{err}
	}
	switch e.Code[:2] {
	case "08", "40", "53", "55", "58": // connections, conflicts of transactions, resources, locks, the machine
		return temporaryError{err}
	}
	return err
}

// ofConnection reports whether it is the connection that failed, and not a statement: the next try has another one.
func ofConnection(err error) bool {
	_, network := errors.AsType[net.Error](err)
	_, connect := errors.AsType[*pgconn.ConnectError](err)
	return network || connect || pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "conn closed")
}

package sqliteviews_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/projectiontest"
	"github.com/annalsdb/annals/store/memory"
)

func TestProjectionsInSQLKeepTheirPromises(t *testing.T) {
	t.Parallel()
	projectiontest.RunCustom(t,
		func(t *testing.T) projection.Views {
			t.Helper()
			return open(t, filepath.Join(t.TempDir(), "views.db"))
		},
		func(*testing.T) annals.Store { return memory.New() },
		projectiontest.SQL[*sql.Tx]{
			Argument: func(int) string { return "?" },
			Exec: func(ctx context.Context, tx *sql.Tx, statement string, args ...any) error {
				_, err := tx.ExecContext(ctx, statement, args...)
				return err
			},
			Query: func(ctx context.Context, tx *sql.Tx, into any, statement string, args ...any) error {
				return tx.QueryRowContext(ctx, statement, args...).Scan(into)
			},
		})
}

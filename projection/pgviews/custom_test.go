package pgviews_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

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
			return open(t, schema())
		},
		func(*testing.T) annals.Store { return memory.New() },
		projectiontest.SQL[pgx.Tx]{
			Argument: func(n int) string { return fmt.Sprintf("$%d", n) },
			Exec: func(ctx context.Context, tx pgx.Tx, statement string, args ...any) error {
				_, err := tx.Exec(ctx, statement, args...)
				return err
			},
			Query: func(ctx context.Context, tx pgx.Tx, into any, statement string, args ...any) error {
				return tx.QueryRow(ctx, statement, args...).Scan(into)
			},
		})
}

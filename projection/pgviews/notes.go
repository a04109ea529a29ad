package pgviews

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annalsdb/annals/projection"
)

// Note implements [projection.Views].
func (v *Views) Note(ctx context.Context, key string) (note []byte, err error) {
	err = v.use(ctx, func(ctx context.Context) error {
		err := v.pool.QueryRow(ctx, "SELECT value FROM "+v.name("notes")+" WHERE key = $1", key).Scan(&note)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return note, err
}

// SetNote implements [projection.Views].
func (v *Views) SetNote(ctx context.Context, key string, old, now []byte) error {
	return v.use(ctx, func(ctx context.Context) error {
		done, err := v.setNote(ctx, key, old, now)
		if err == nil && done.RowsAffected() == 0 {
			return projection.ErrNoteMoved
		}
		return err
	})
}

// setNote touches one row if the note is still old, and else none.
func (v *Views) setNote(ctx context.Context, key string, old, now []byte) (pgconn.CommandTag, error) {
	notes := v.name("notes")
	switch {
	case old == nil && now == nil:
		return v.pool.Exec(ctx, "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM "+notes+" WHERE key = $1)", key)
	case old == nil:
		return v.pool.Exec(ctx, "INSERT INTO "+notes+" (key, value) VALUES ($1, $2) ON CONFLICT DO NOTHING", key, now)
	case now == nil:
		return v.pool.Exec(ctx, "DELETE FROM "+notes+" WHERE key = $1 AND value = $2", key, old)
	}
	return v.pool.Exec(ctx, "UPDATE "+notes+" SET value = $3 WHERE key = $1 AND value = $2", key, old, now)
}

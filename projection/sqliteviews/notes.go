package sqliteviews

import (
	"bytes"
	"context"
	"database/sql"
	"errors"

	"github.com/annalsdb/annals/projection"
)

// Note implements [projection.Views].
func (v *Views) Note(ctx context.Context, key string) (note []byte, err error) {
	err = v.use(func() (err error) {
		note, err = noteIn(ctx, v.readers, key)
		return err
	})
	return note, cutOff(ctx, named(err))
}

// noteIn is the note; nil if there is none.
func noteIn(ctx context.Context, from querier, key string) (note []byte, err error) {
	err = from.QueryRowContext(ctx, "SELECT value FROM notes WHERE key = ?", key).Scan(&note)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err == nil && note == nil { // the driver's word for an empty one
		note = []byte{}
	}
	return note, err
}

// SetNote implements [projection.Views].
func (v *Views) SetNote(ctx context.Context, key string, old, now []byte) error {
	t, err := v.begin(ctx, busyMax)
	if err != nil {
		return cutOff(ctx, named(err))
	}
	defer func() { _ = t.rollback() }() // does nothing after commit
	err = t.do(func(tx *sql.Tx) error {
		have, err := noteIn(ctx, tx, key)
		switch {
		case err != nil:
			return err
		case (have == nil) != (old == nil) || !bytes.Equal(have, old):
			return projection.ErrNoteMoved
		case now == nil:
			_, err = tx.ExecContext(ctx, "DELETE FROM notes WHERE key = ?", key)
		default:
			_, err = tx.ExecContext(ctx, "INSERT INTO notes (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, now)
		}
		return err
	})
	if err == nil {
		err = t.commit()
	}
	return cutOff(ctx, named(err))
}

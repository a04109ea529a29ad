package sqliteviews

import (
	"context"
	"database/sql"
	"errors"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// batch is one transaction.
type batch struct {
	table      *table
	tx         *transaction
	statements map[string]*sql.Stmt // prepared once each; closed with the transaction
}

// Begin implements [projection.Table]. It waits for other processes too, as long as ctx allows. Transactions begin
// IMMEDIATE, so the checkpoint that is checked here is the one that the commit moves, also when other processes write.
func (t *table) Begin(ctx context.Context, at annals.Position) (projection.Batch, error) {
	tx, err := t.views.begin(ctx, 0)
	if err != nil {
		return nil, t.failed(ctx, err)
	}
	b := &batch{table: t, tx: tx, statements: map[string]*sql.Stmt{}}
	var checkpoint projection.Checkpoint
	err = tx.do(func(tx *sql.Tx) (err error) {
		checkpoint, err = t.checkpoint(ctx, tx)
		return err
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		t.dropped.Store(true)
		err = projection.ErrReset
	case err != nil:
		err = t.failed(ctx, err)
	case checkpoint.Position != at:
		err = projection.ErrCheckpointMoved
	}
	if err != nil {
		return nil, errors.Join(err, b.Rollback())
	}
	return b, nil
}

// run runs a statement that is prepared once for the batch.
func (b *batch) run(ctx context.Context, query string, f func(s *sql.Stmt) error) error {
	err := b.tx.do(func(tx *sql.Tx) (err error) {
		s := b.statements[query]
		if s == nil {
			if s, err = tx.PrepareContext(ctx, query); err != nil {
				return err
			}
			b.statements[query] = s
		}
		return f(s)
	})
	return b.table.failed(ctx, err)
}

// Get implements [projection.Batch].
func (b *batch) Get(ctx context.Context, part, key string) (doc []byte, found bool, err error) {
	err = b.run(ctx, b.table.parts[part].get, func(s *sql.Stmt) error {
		err := s.QueryRowContext(ctx, key).Scan(&doc)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		found = err == nil
		return err
	})
	return doc, found, err
}

// Keys implements [projection.Batch].
func (b *batch) Keys(ctx context.Context, part, name string, value any) (keys []string, err error) {
	p := b.table.parts[part]
	err = b.tx.do(func(tx *sql.Tx) (err error) {
		keys, err = column[string](ctx, tx, "SELECT _key FROM "+p.table+" WHERE "+quote(name)+" = ? ORDER BY _key", value)
		return err
	})
	return keys, b.table.failed(ctx, err)
}

// Put implements [projection.Batch].
func (b *batch) Put(ctx context.Context, part string, doc projection.Document, columns []any) error {
	args := append([]any{doc.Key, string(doc.JSON)}, columns...)
	return b.exec(ctx, b.table.parts[part].put, args...)
}

// Delete implements [projection.Batch].
func (b *batch) Delete(ctx context.Context, part, key string) error {
	return b.exec(ctx, b.table.parts[part].remove, key)
}

func (b *batch) exec(ctx context.Context, query string, args ...any) error {
	return b.run(ctx, query, func(s *sql.Stmt) error {
		_, err := s.ExecContext(ctx, args...)
		return err
	})
}

// Commit implements [projection.Batch].
func (b *batch) Commit(ctx context.Context, c projection.Checkpoint) error {
	id := ""
	if !c.EventID.IsZero() {
		id = c.EventID.String()
	}
	err := b.exec(ctx, "UPDATE projections SET position = ?, event = ?, event_id = ? WHERE id = ?", int64(c.Position), int64(c.Event), id, b.table.id)
	if err == nil {
		err = b.table.failed(ctx, b.tx.commit())
	}
	return err
}

// Rollback implements [projection.Batch].
func (b *batch) Rollback() error { return b.tx.rollback() }

package sqliteviews

import (
	"context"
	"database/sql"
	"errors"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// batch is one transaction of the writer.
type batch struct {
	table      *table
	tx         *sql.Tx
	statements map[string]*sql.Stmt // prepared once each; closed with the transaction
}

// Begin implements [projection.Table]. Transactions begin IMMEDIATE, so the checkpoint that is checked here is the one
// that the commit moves, also when other processes write.
func (t *table) Begin(ctx context.Context, at annals.Position) (projection.Batch, error) {
	if t.views.closed.Load() {
		return nil, projection.ErrClosed
	}
	tx, err := t.views.writer.BeginTx(ctx, nil)
	if err != nil {
		return nil, t.failed(ctx, err)
	}
	b := &batch{table: t, tx: tx, statements: map[string]*sql.Stmt{}}
	checkpoint, err := t.checkpoint(ctx, tx)
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

func (b *batch) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := b.statements[query]; s != nil {
		return s, nil
	}
	s, err := b.tx.PrepareContext(ctx, query)
	if err == nil {
		b.statements[query] = s
	}
	return s, err
}

// Get implements [projection.Batch].
func (b *batch) Get(ctx context.Context, part, key string) ([]byte, bool, error) {
	s, err := b.prepared(ctx, b.table.parts[part].get)
	if err != nil {
		return nil, false, b.table.failed(ctx, err)
	}
	var doc []byte
	err = s.QueryRowContext(ctx, key).Scan(&doc)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return doc, err == nil, b.table.failed(ctx, err)
}

// Keys implements [projection.Batch].
func (b *batch) Keys(ctx context.Context, part, name string, value any) ([]string, error) {
	p := b.table.parts[part]
	keys, err := column[string](ctx, b.tx, "SELECT _key FROM "+p.table+" WHERE "+quote(name)+" = ? ORDER BY _key", value)
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
	s, err := b.prepared(ctx, query)
	if err == nil {
		_, err = s.ExecContext(ctx, args...)
	}
	return b.table.failed(ctx, err)
}

// Commit implements [projection.Batch].
func (b *batch) Commit(ctx context.Context, c projection.Checkpoint) error {
	id := ""
	if !c.EventID.IsZero() {
		id = c.EventID.String()
	}
	err := b.exec(ctx, "UPDATE projections SET position = ?, event = ?, event_id = ? WHERE id = ?", int64(c.Position), int64(c.Event), id, b.table.id)
	if err == nil {
		err = b.table.failed(ctx, b.tx.Commit())
	}
	return err
}

// Rollback implements [projection.Batch].
func (b *batch) Rollback() error {
	if err := b.tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return named(err)
	}
	return nil
}

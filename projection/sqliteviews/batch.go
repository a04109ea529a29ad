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

// Write implements [projection.Batch].
func (b *batch) Write(ctx context.Context, part string, changes []projection.Change) error {
	p := b.table.parts[part]
	var args []any
	for _, c := range changes {
		query := p.remove
		args = append(args[:0], c.Key)
		if c.JSON != nil {
			query = p.put
			args = append(append(args, string(c.JSON)), c.Columns...)
		}
		if err := b.exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) exec(ctx context.Context, query string, args ...any) error {
	return b.run(ctx, query, func(s *sql.Stmt) error {
		_, err := s.ExecContext(ctx, args...)
		return err
	})
}

// Transact implements [projection.Transactor].
func (b *batch) Transact(ctx context.Context, f func(tx any) error) error {
	return cutOff(ctx, named(b.tx.do(func(tx *sql.Tx) error { return f(tx) })))
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

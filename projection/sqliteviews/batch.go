package sqliteviews

import (
	"context"
	"database/sql"
	"errors"

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
func (t *table) Begin(ctx context.Context, at projection.Checkpoint) (projection.Batch, error) {
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
	case !checkpoint.Is(at):
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

// putMany is how many rows one statement puts: what a statement costs by itself is shared by so many.
const putMany = 16

// Write implements [projection.Batch].
func (b *batch) Write(ctx context.Context, part string, changes []projection.Change) error {
	p := b.table.parts[part]
	args := make([]any, 0, putMany*(2+p.width))
	for len(changes) > 0 {
		puts := 0 // that follow one another
		for puts < min(len(changes), putMany) && changes[puts].JSON != nil {
			puts++
		}
		var err error
		switch puts {
		case 0:
			err, puts = b.exec(ctx, p.remove, changes[0].Key), 1
		case putMany:
			err = b.exec(ctx, p.putMany, p.values(args, changes[:puts])...)
		default:
			for i := 0; i < puts && err == nil; i++ {
				err = b.exec(ctx, p.put, p.values(args, changes[i:i+1])...)
			}
		}
		if err != nil {
			return err
		}
		changes = changes[puts:]
	}
	return nil
}

// values are the arguments that put some rows.
func (p *part) values(args []any, changes []projection.Change) []any {
	for _, c := range changes {
		args = append(append(args, c.Key, string(c.JSON)), c.Columns...)
	}
	return args
}

func (b *batch) exec(ctx context.Context, query string, args ...any) error {
	// A statement here is short. The driver would start a goroutine for each that can be cut off.
	whole := context.WithoutCancel(ctx)
	return b.run(ctx, query, func(s *sql.Stmt) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err := s.ExecContext(whole, args...)
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
	err := b.exec(ctx, "UPDATE projections SET position = ?, event = ?, event_id = ?, commits = ? WHERE id = ?",
		int64(c.Position), int64(c.Event), id, c.Commits, b.table.id)
	if err == nil {
		err = b.table.failed(ctx, b.tx.commit())
	}
	return err
}

// Rollback implements [projection.Batch].
func (b *batch) Rollback() error { return b.tx.rollback() }

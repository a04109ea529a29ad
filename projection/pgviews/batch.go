package pgviews

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annalsdb/annals/projection"
)

const (
	// writeMax bounds how many rows one statement writes, and so what it takes in memory here and there.
	writeMax = 2000
	// commitMax is how long a commit is waited for. It is not cut off by the caller: nobody would know what became of it.
	commitMax = 30 * time.Second
)

// errEnded is what a batch says after its end.
var errEnded = errors.New("pgviews: the batch has ended")

// batch is one transaction.
type batch struct {
	table *table
	tx    pgx.Tx

	mu sync.Mutex // held while a statement is under way
	// err is why nothing more is done; guarded by mu. A transaction in which a statement has failed is of no use.
	err   error
	ended bool // guarded by mu
}

// Begin implements [projection.Table]. It takes the lock of the projection's row in the catalog.
func (t *table) Begin(ctx context.Context, at projection.Checkpoint) (projection.Batch, error) {
	b := &batch{table: t}
	err := t.views.use(ctx, func(ctx context.Context) error {
		tx, err := t.views.pool.Begin(ctx)
		if err != nil {
			return err
		}
		c, err := t.checkpoint(ctx, tx, " FOR UPDATE")
		if err == nil && !c.Is(at) {
			err = projection.ErrCheckpointMoved
		}
		if err != nil {
			undo(tx)
			return err
		}
		b.tx = tx
		t.views.mu.Lock()
		t.views.batches[b] = struct{}{}
		t.views.mu.Unlock()
		return nil
	})
	if err != nil {
		return nil, t.failed(err)
	}
	return b, nil
}

// undo gives the connection back, or closes it if the server does not answer.
func undo(tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = tx.Rollback(ctx) // a connection that is closed is rolled back as well
}

// do runs statements. After an error there are no more.
func (b *batch) do(ctx context.Context, f func(ctx context.Context, tx pgx.Tx) error) error {
	return b.table.views.use(ctx, func(ctx context.Context) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.err == nil {
			b.err = cutOff(ctx, f(ctx, b.tx))
		}
		return b.err
	})
}

// cutOff is the end of ctx, if there is no other error.
func cutOff(ctx context.Context, err error) error {
	if err == nil {
		return ctx.Err()
	}
	return err
}

// Write implements [projection.Batch].
func (b *batch) Write(ctx context.Context, part string, changes []projection.Change) error {
	p := b.table.parts[part]
	err := b.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
		for some := range slices.Chunk(changes, writeMax) {
			if err := p.write(ctx, tx, some); err != nil {
				return err
			}
		}
		return nil
	})
	return b.table.failed(err)
}

func (p *part) write(ctx context.Context, tx pgx.Tx, changes []projection.Change) error {
	var removed, keys, docs []string
	columns := make([][]any, len(p.kinds))
	for _, c := range changes {
		if c.JSON == nil {
			removed = append(removed, c.Key)
			continue
		}
		keys, docs = append(keys, c.Key), append(docs, string(c.JSON))
		for i, value := range c.Columns {
			columns[i] = append(columns[i], value)
		}
	}
	if len(removed) > 0 {
		if _, err := tx.Exec(ctx, p.remove, removed); err != nil {
			return err
		}
	}
	if len(keys) == 0 {
		return nil
	}
	args := []any{keys, docs}
	for i, values := range columns {
		args = append(args, listOf(p.kinds[i], values))
	}
	_, err := tx.Exec(ctx, p.put, args...)
	return err
}

// Transact implements [projection.Transactor].
func (b *batch) Transact(ctx context.Context, f func(tx any) error) error {
	var said error
	err := b.do(ctx, func(_ context.Context, tx pgx.Tx) error {
		said = f(tx)
		return said
	})
	if said != nil {
		return named(ctx, said)
	}
	return err
}

// Commit implements [projection.Batch]. If the server does not tell whether it has committed, the error is a
// [projection.ErrTemporary].
func (b *batch) Commit(ctx context.Context, c projection.Checkpoint) error {
	id := ""
	if !c.EventID.IsZero() {
		id = c.EventID.String()
	}
	err := b.do(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE "+b.table.views.name("projections")+" SET position = $1, event = $2, event_id = $3, commits = $4 WHERE id = $5",
			int64(c.Position), int64(c.Event), id, c.Commits, b.table.id)
		return err
	})
	if err != nil {
		return b.table.failed(err)
	}
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitMax)
	defer cancel()
	v := b.table.views
	v.statements.RLock()
	defer v.statements.RUnlock()
	if v.life.Err() != nil {
		return projection.ErrClosed
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	err = b.tx.Commit(whole)
	b.endLocked()
	if whole.Err() != nil {
		return temporaryError{err}
	}
	return named(whole, err)
}

// Rollback implements [projection.Batch].
func (b *batch) Rollback() error {
	b.abandon()
	return nil
}

// abandon ends the batch, unless it has ended.
func (b *batch) abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		undo(b.tx)
		b.endLocked()
	}
}

func (b *batch) endLocked() {
	b.ended, b.err = true, errEnded
	v := b.table.views
	v.mu.Lock()
	delete(v.batches, b)
	v.mu.Unlock()
}

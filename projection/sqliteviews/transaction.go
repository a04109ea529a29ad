package sqliteviews

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/annalsdb/annals/projection"
)

const (
	// busyMax is how long somebody who cannot wait for ever waits for another process.
	busyMax = 5 * time.Second
	// lockedPoll is how often it is tried to get the lock that another process holds. SQLite's own waiting, at intervals
	// of up to 100 ms, would mostly miss the moments at which a process that applies many batches lets others in.
	lockedPoll = 2 * time.Millisecond
	// roomPart, one of so many, is the part of the time it held the lock for which a process leaves it to others, up to
	// roomMax. Processes do not queue for the lock: without this, one that rebuilds would keep the others out to its end.
	roomPart = 10
	roomMax  = 5 * time.Millisecond
)

// transaction is a change of the file. There is one at a time: who makes it has the turn of the views. Its methods are
// called by one goroutine, and fail once the views are closed.
type transaction struct {
	views *Views
	tx    *sql.Tx
	began time.Time
	ended bool
	// err is why nothing more is done. A statement that fails may have rolled everything back by itself, and what followed
	// would be committed alone.
	err error
}

// begin waits for its turn in this process, as long as ctx allows, and then for other processes, if limit is positive no
// longer than that.
func (v *Views) begin(ctx context.Context, limit time.Duration) (*transaction, error) {
	select {
	case v.turn <- struct{}{}:
	case <-v.closing:
		return nil, projection.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t, err := v.lock(ctx, limit)
	if err != nil {
		<-v.turn
	}
	return t, err
}

// lock begins a transaction. The caller has the turn.
func (v *Views) lock(ctx context.Context, limit time.Duration) (*transaction, error) {
	if err := v.sleep(ctx, time.Until(v.leftUntil)); err != nil {
		return nil, err
	}
	for start := time.Now(); ; {
		t, err := v.tryLock(ctx)
		if !errors.Is(err, ErrLocked) || limit > 0 && time.Since(start) >= limit {
			return t, err
		}
		if end := v.sleep(ctx, lockedPoll); end != nil {
			return nil, fmt.Errorf("%w: %w", end, err)
		}
	}
}

// tryLock begins IMMEDIATE, and so with the lock, or fails at once.
func (v *Views) tryLock(ctx context.Context) (t *transaction, err error) {
	err = v.use(func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		// Were it bound to ctx, it would be rolled back behind our back when ctx ends, and perhaps after Close.
		tx, err := v.writer.BeginTx(context.WithoutCancel(ctx), nil)
		if err != nil {
			return cutOff(ctx, named(err))
		}
		t = &transaction{views: v, tx: tx, began: time.Now()}
		v.underWay = t
		return nil
	})
	return t, err
}

// sleep waits, unless ctx ends or the views are closed.
func (v *Views) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-v.closing:
		return projection.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do runs statements. After an error there are no more.
func (t *transaction) do(f func(tx *sql.Tx) error) error {
	return t.views.use(func() error {
		if t.err == nil {
			t.err = f(t.tx)
		}
		return t.err
	})
}

func (t *transaction) exec(ctx context.Context, statement string, args ...any) error {
	return t.do(func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
}

// commit ends the transaction. After an error nothing of it is there: the driver has rolled it back.
func (t *transaction) commit() error {
	return t.views.use(func() error {
		if t.err != nil {
			return t.err
		}
		err := t.tx.Commit()
		t.endLocked()
		return err
	})
}

// rollback ends the transaction, unless it has ended.
func (t *transaction) rollback() error {
	err := t.views.use(func() error { return t.rollbackLocked() })
	if errors.Is(err, projection.ErrClosed) { // Close has done it
		return nil
	}
	return err
}

// rollbackLocked is rollback for callers under views.use, and for Close.
func (t *transaction) rollbackLocked() error {
	if t.ended {
		return nil
	}
	err := t.tx.Rollback()
	if t.err != nil { // what failed may have rolled back by itself, and then there is nothing that could be
		err = nil
	}
	t.endLocked()
	return named(err)
}

// endLocked gives the turn to the next.
func (t *transaction) endLocked() {
	now := time.Now()
	t.ended, t.err = true, sql.ErrTxDone
	t.views.underWay = nil
	t.views.leftUntil = now.Add(min(now.Sub(t.began)/roomPart, roomMax))
	<-t.views.turn
}

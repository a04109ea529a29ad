package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/annalsdb/annals"
)

// job keeps one projection. It is used by one goroutine.
type job[E any] struct {
	runner Runner[E]
	plan   *plan[E]
	id     string
	logger *slog.Logger
	until  annals.Position // where to end; NoPosition to go on for ever

	// building says that the version is to serve once it has come to target.
	building bool
	target   annals.Position

	table  Table
	stored Checkpoint // as it is in the table
	seen   Checkpoint // what was read from the store: stored, then the batch, then events that do not match
	batch  []item[E]
	lot    lot // what is parked
	cache  rowCache
	bytes  int
	// entries is the room for those of one event.
	entries []annals.Entry[E]
}

// open finds the checkpoint and checks that it is of this store.
func (j *job[E]) open(ctx context.Context) error {
	err := j.persist(ctx, func() (err error) {
		if j.table, err = j.runner.Views.Table(ctx, j.plan.shape); err != nil {
			return fmt.Errorf("projection: open %s: %w", j.id, err)
		}
		if j.stored, err = j.table.Checkpoint(ctx); err != nil {
			return fmt.Errorf("projection: %s: checkpoint: %w", j.id, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	j.seen = j.stored
	if err := j.checkStore(ctx); err != nil {
		return err
	}
	if j.plan.probe != nil {
		if err := j.persist(ctx, func() error { return j.plan.probe(ctx, j.table) }); err != nil {
			return err
		}
	}
	clear(j.batch)
	j.batch, j.bytes = j.batch[:0], 0
	j.cache.begin(j.runner.CacheBytes, j.stored.Position == 0)
	return nil
}

// checkStore looks for the event of the checkpoint: another event in its place, or none, is another store, or this one
// put back to an earlier state, also if it has grown again since.
func (j *job[E]) checkStore(ctx context.Context) error {
	store := j.runner.Log.Store()
	head, err := store.Head(ctx)
	if err != nil {
		return fmt.Errorf("projection: %s: head: %w", j.id, err)
	}
	foreign := &ForeignCheckpointError{Projection: j.id, Checkpoint: j.stored.Position, Head: head}
	if j.stored.Position > head {
		return foreign
	}
	if j.stored.Event == 0 {
		return nil
	}
	e, err := j.one(ctx, annals.After(j.stored.Event-1))
	if err != nil {
		return err
	}
	// A store that no longer keeps the event, or has lost it, gives a later one, or none, which says nothing.
	if e.Position == j.stored.Event && e.ID != j.stored.EventID {
		return foreign
	}
	return nil
}

// one is the first event of a read, of any kind; the zero event if there is none, or it is lost.
func (j *job[E]) one(ctx context.Context, opts ...annals.ReadOption) (annals.Recorded, error) {
	for e, err := range j.runner.Log.Store().Read(ctx, annals.All().WithSystem(), append(opts, annals.Limit(1))...) {
		switch {
		case errors.Is(err, annals.ErrDataLoss):
			return annals.Recorded{}, nil
		case err != nil:
			return annals.Recorded{}, fmt.Errorf("projection: %s: read the event of the checkpoint: %w", j.id, err)
		}
		return e, nil
	}
	return annals.Recorded{}, nil
}

// anchor is the checkpoint with the last event that the store has up to its position: the one that was matched last may
// lie far before, and be shared by a store that was put back to a backup.
func (j *job[E]) anchor(ctx context.Context, at Checkpoint) (Checkpoint, error) {
	if at.Event == at.Position {
		return at, nil
	}
	e, err := j.one(ctx, annals.AsOf(at.Position), annals.Backwards())
	if err == nil && e.Position > at.Event {
		at.Event, at.EventID = e.Position, e.ID
	}
	return at, err
}

func (j *job[E]) follow(ctx context.Context) error {
	if j.stored.Position >= j.until {
		return nil
	}
	for u, err := range j.runner.Log.Store().Subscribe(ctx, j.plan.query(), j.stored.Position) {
		if ahead, ok := errors.AsType[*annals.AheadError](err); ok {
			return &ForeignCheckpointError{Projection: j.id, Checkpoint: j.stored.Position, Head: ahead.Head}
		}
		if err != nil {
			return fmt.Errorf("projection: %s: subscribe: %w", j.id, err)
		}
		if err := j.take(ctx, u); err != nil {
			return err
		}
		end := u.Position >= j.until
		if end || !u.More || len(j.batch) >= j.runner.BatchEvents || j.bytes >= j.runner.BatchBytes {
			// What is announced here alone is not seen by other processes, whose reads may wait for it.
			shared := j.runner.Lease > 0 && !u.More
			if err := j.flush(ctx, end || shared); err != nil {
				return err
			}
		} else if len(j.batch) == 0 {
			j.announce(j.seen.Position)
		}
		if err := j.switchOver(ctx, j.seen.Position); err != nil {
			return err
		}
		if end {
			return nil
		}
	}
	return nil
}

// take adds an update to the batch.
func (j *job[E]) take(ctx context.Context, u annals.Update) error {
	if u.Event != nil {
		var err error
		j.entries, err = j.runner.Log.Schema().Decode(j.entries[:0], *u.Event)
		for _, e := range j.entries {
			j.batch = append(j.batch, item[E]{Entry: e})
		}
		switch {
		case errors.Is(err, annals.ErrDropped) || errors.Is(err, annals.ErrUnknownType):
		case err != nil && j.lot.open:
			j.batch = append(j.batch, item[E]{Entry: annals.Entry[E]{Recorded: *u.Event}, poison: err})
		case err != nil:
			// What precedes the event is good: it is committed, so that the rows stand right before it.
			j.seen.Position = u.Event.Position - 1
			return errors.Join(j.flush(ctx, true), &ApplyError{Projection: j.id, Position: u.Event.Position, Type: u.Event.Type, Err: err})
		case len(j.entries) > 0:
			j.bytes += len(u.Event.Data) + len(u.Event.Metadata)
		}
		j.seen.Event, j.seen.EventID = u.Event.Position, u.Event.ID
	}
	j.seen.Position = u.Position
	return nil
}

// flush commits the batch. A checkpoint that moved over no matching event is stored only now and then, or if it must.
func (j *job[E]) flush(ctx context.Context, must bool) error {
	idle := j.seen.Position - j.stored.Position
	if len(j.batch) > 0 || must && idle > 0 || idle >= checkpointEvery {
		for {
			err := j.divide(ctx, j.batch, j.seen)
			if failed, ok := errors.AsType[*ApplyError](err); ok && j.lot.open && !errors.Is(err, ErrTooManyParked) {
				j.batch = poisoned(j.left(), failed.Position, failed.Err) // of a custom projection, whose batch is of no use any more
				continue
			}
			if err != nil {
				return j.salvage(ctx, err)
			}
			break
		}
		clear(j.batch)
		j.batch, j.bytes = j.batch[:0], 0
	}
	j.announce(j.seen.Position)
	return nil
}

// divide commits the batch; if the views cannot keep one of its rows, in ever smaller parts, until it is known of which event the row is.
func (j *job[E]) divide(ctx context.Context, events []item[E], at Checkpoint) error {
	err := j.commit(ctx, events, at)
	if !errors.Is(err, ErrUnstorable) || errors.Is(err, ErrApply) || len(events) == 0 {
		return err
	}
	first := events[0]
	half := middle(events)
	if half == 0 && j.lot.open && first.poison == nil {
		return j.commit(ctx, poisoned(events, first.Position, err), at)
	}
	if half == 0 {
		return &ApplyError{Projection: j.id, Position: first.Position, Type: first.Type, Err: err}
	}
	last := events[half-1]
	if err := j.divide(ctx, events[:half], Checkpoint{Position: last.Position, Event: last.Position, EventID: last.ID}); err != nil {
		return err
	}
	return j.divide(ctx, events[half:], at)
}

// poisoned are the events, of which the one at a position cannot be applied.
func poisoned[E any](events []item[E], at annals.Position, err error) []item[E] {
	now := slices.Clone(events)
	for i := range now {
		if now[i].Position == at { // all its entries: each has tags, and so rows, of its own
			now[i].poison = err
		}
	}
	return now
}

// middle is where the second half of the entries begins. Those of one event stay together; 0 if there is only one.
func middle[E any](entries []item[E]) int {
	within := func(i int) bool { return entries[i-1].Position == entries[i].Position }
	half := len(entries) / 2
	for half > 0 && within(half) {
		half--
	}
	if half > 0 {
		return half
	}
	for half = len(entries)/2 + 1; half < len(entries); half++ {
		if !within(half) {
			return half
		}
	}
	return 0
}

// left is what of the batch is not committed yet.
func (j *job[E]) left() []item[E] {
	return slices.DeleteFunc(slices.Clone(j.batch), func(e item[E]) bool { return e.Position <= j.stored.Position })
}

// salvage commits what precedes the event that could not be applied, so that the rows stand right before it.
func (j *job[E]) salvage(ctx context.Context, err error) error {
	failed, ok := errors.AsType[*ApplyError](err)
	if !ok {
		return err
	}
	good := slices.DeleteFunc(j.left(), func(e item[E]) bool { return e.Position >= failed.Position })
	at := j.stored
	at.Position = failed.Position - 1
	if len(good) > 0 {
		last := good[len(good)-1]
		at.Event, at.EventID = last.Position, last.ID
	}
	if at.Position > j.stored.Position {
		if again := j.commit(ctx, good, at); again != nil {
			return errors.Join(err, again)
		}
	}
	j.announce(at.Position)
	return err
}

// commit applies the events and moves the checkpoint, in one transaction.
func (j *job[E]) commit(ctx context.Context, events []item[E], at Checkpoint) error {
	at, err := j.anchor(ctx, at)
	if err != nil {
		return err
	}
	rows, err := j.fold(ctx, events)
	if err == nil {
		err = j.write(ctx, at, func(b Batch) error {
			if j.plan.custom != nil {
				rows = newPending(j.table, j.plan.shape, j.lot.fork(), &j.cache)
				if err := j.plan.applyCustom(ctx, b, rows, events); err != nil {
					return err
				}
			}
			return rows.write(ctx, b)
		})
	}
	if err != nil {
		return err
	}
	if rows.lot.count != j.lot.count {
		j.runner.Views.Progress().parked(j.id, rows.lot.count)
		j.logger.WarnContext(ctx, "projection parked events", slog.Int("parked", rows.lot.count), slog.Uint64("position", uint64(at.Position)))
	}
	j.lot = *rows.lot
	j.cache.keep(rows)
	return nil
}

// fold applies the events to the rows as they are stored, and writes nothing. A custom projection has no rows.
func (j *job[E]) fold(ctx context.Context, events []item[E]) (rows *pending, err error) {
	err = j.persist(ctx, func() error {
		rows = newPending(j.table, j.plan.shape, j.lot.fork(), &j.cache)
		if j.plan.custom != nil {
			return nil
		}
		if err := j.plan.fetch(ctx, rows, events); err != nil {
			return err
		}
		for _, e := range events {
			if err := j.plan.apply(ctx, rows, e); err != nil {
				return err
			}
		}
		return nil
	})
	return rows, err
}

// write writes and moves the checkpoint, in one transaction. If the views cannot do it just now it tries again, at the checkpoint as it
// is stored, so that nothing is written twice.
func (j *job[E]) write(ctx context.Context, at Checkpoint, f func(b Batch) error) error {
	at.Commits = j.stored.Commits + 1
	inDoubt := false
	err := j.persist(ctx, func() error {
		b, err := j.table.Begin(ctx, j.stored)
		if inDoubt && errors.Is(err, ErrCheckpointMoved) { // by the commit that is said to have failed
			if c, failed := j.table.Checkpoint(ctx); failed == nil && c == at {
				return nil
			}
		}
		if err != nil {
			return fmt.Errorf("projection: %s: begin: %w", j.id, err)
		}
		if err := f(b); err != nil {
			return errors.Join(err, b.Rollback())
		}
		if err := b.Commit(ctx, at); err != nil {
			inDoubt = true
			return errors.Join(fmt.Errorf("projection: %s: commit: %w", j.id, err), b.Rollback())
		}
		return nil
	})
	if err == nil {
		j.stored = at
	}
	return err
}

// announce tells those who wait that everything up to p is committed.
func (j *job[E]) announce(p annals.Position) {
	j.runner.Views.Progress().advance(j.id, j.table.Incarnation(), p)
}

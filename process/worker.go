package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/internal/derive"
)

// moveEvery is how many positions may pass without an effect before the process notes that it has come so far.
const moveEvery = 1000

// worker is one run of a process. It is used by one goroutine.
type worker[S decider.State[S, E], E any] struct {
	*Process[S, E]
	table    *table
	tracked  annals.Position // what the store says the process has come to
	caughtUp bool            // the table is complete, so timers can be trusted
}

// run takes events as they come, and in between what is due.
func (w *worker[S, E]) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	q := w.query.Or(annals.Stream(w.Stream()).WithSystem())
	updates, failed := make(chan annals.Update), make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(updates)
		for u, err := range w.log.Store().Subscribe(ctx, q, w.tracked) {
			if err != nil {
				failed <- err
				return
			}
			select {
			case updates <- u:
			case <-ctx.Done():
				return
			}
		}
	})
	defer reader.Wait()
	defer cancel()
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	for {
		due := w.nextDue()
		clock.Stop()
		if !due.IsZero() {
			clock.Reset(time.Until(due))
		}
		select {
		case u, ok := <-updates:
			if !ok {
				select {
				case err := <-failed:
					return fmt.Errorf("process: %s: subscribe: %w", w.manager.Name, err)
				default:
					return context.Cause(ctx)
				}
			}
			if err := w.take(ctx, u); err != nil {
				return err
			}
		case <-clock.C:
			if err := w.doDue(ctx, time.Now()); err != nil {
				return err
			}
		}
	}
}

// take deals with what the subscription gives.
func (w *worker[S, E]) take(ctx context.Context, u annals.Update) error {
	if e := u.Event; e != nil {
		var err error
		switch {
		case e.Stream == w.Stream():
			err = w.table.apply(*e)
		case w.query.Match(*e) && e.Position > w.tracked:
			err = w.handle(ctx, *e)
		}
		if err != nil {
			return err
		}
	}
	w.caughtUp = w.caughtUp || u.CaughtUp
	if u.Position >= w.tracked+moveEvery {
		if err := w.move(ctx, u.Position); err != nil {
			return err
		}
	}
	w.advance(u.Position)
	return nil
}

// move notes that everything up to a position was dealt with.
func (w *worker[S, E]) move(ctx context.Context, to annals.Position) error {
	_, err := w.system.Append(ctx, nil, annals.TrackingAt(source(w.manager.Name), to))
	if errors.Is(err, annals.ErrConflict) { // another process is further
		return w.look(ctx)
	}
	if err != nil {
		return fmt.Errorf("process: %s: note the position: %w", w.manager.Name, err)
	}
	w.tracked = to
	return nil
}

// look asks the store how far the process has come, others that run it included, and what they parked.
func (w *worker[S, E]) look(ctx context.Context) error {
	at, err := annals.Tracked(ctx, w.log.Store(), source(w.manager.Name))
	if err != nil {
		return fmt.Errorf("process: %s: where is it? %w", w.manager.Name, err)
	}
	w.tracked = max(w.tracked, at)
	return w.fold(ctx, w.table, annals.NoPosition)
}

// nextDue is when a timer or a try is due next; zero if nothing is.
func (w *worker[S, E]) nextDue() (due time.Time) {
	if !w.caughtUp {
		return due
	}
	sooner := func(t time.Time) {
		if !t.IsZero() && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	for _, t := range w.table.timers {
		if sooner(t.At); t.At.IsZero() {
			sooner(time.Unix(0, 0))
		}
	}
	for _, list := range w.table.parked {
		sooner(list[0].due())
	}
	return due
}

// doDue fires timers and tries what is parked, as far as that is due. What it does comes back through the subscription too.
func (w *worker[S, E]) doDue(ctx context.Context, now time.Time) error {
	var overdue []*Timer
	for _, t := range w.table.timers {
		if !t.At.After(now) {
			overdue = append(overdue, t)
		}
	}
	slices.SortFunc(overdue, func(a, b *Timer) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.set, b.set)) })
	for _, t := range overdue {
		delete(w.table.timers, timerName{t.Key, t.Name})
		if err := w.fire(ctx, t); err != nil {
			return err
		}
	}
	for key, list := range w.table.parked {
		first := list[0]
		if due := first.due(); due.IsZero() || due.After(now) {
			continue
		}
		list[0].trying = true
		if err := w.tryAgain(ctx, reaction{key, first.Position, first.part}, first.Tries); err != nil {
			return err
		}
	}
	return nil
}

// fire appends the event of a timer, unless the timer was set anew, taken back or fired since.
func (w *worker[S, E]) fire(ctx context.Context, t *Timer) error {
	tag, done := w.timerTag(t.Key, t.Name), timerEnded{Key: t.Key, Timer: t.Name}
	unchanged := annals.NoneSince(t.set, annals.Tags(tag).Or(annals.Tags(w.instanceTag(t.Key)).Types(typeCompleted)).WithSystem())
	set, err := w.setting(ctx, t)
	if err != nil {
		return fmt.Errorf("process: %s: timer %s of %s: %w", w.manager.Name, t.Name, t.Key, err)
	}
	event := set.Event.event(derive.ID("annals timer fired", string(t.id[:])))
	note, err := w.note(typeFired, derive.ID("annals timer note", string(t.id[:])), done, tag, w.instanceTag(t.Key))
	if err != nil {
		return err
	}
	_, err = w.system.Append(ctx, []annals.Event{event, note}, unchanged)
	if refused(err) {
		// The event will never be taken. The timer must not stand in the way of others for ever.
		w.options.Logger.ErrorContext(ctx, "the event of a timer is refused", slog.String("process", w.manager.Name), slog.String("key", t.Key), slog.String("timer", t.Name), slog.Any("error", err))
		done.Err = textOf(err)
		if note, err = w.note(typeFired, note.ID, done, tag, w.instanceTag(t.Key)); err != nil {
			return err
		}
		_, err = w.system.Append(ctx, []annals.Event{note}, unchanged)
	}
	if err != nil && !somebodyElse(err) {
		return fmt.Errorf("process: %s: fire timer %s of %s: %w", w.manager.Name, t.Name, t.Key, err)
	}
	return nil
}

// setting reads again what a timer was set to. It may be long since it was set: personal data in its event, which were erased
// meanwhile, must not come back out of the memory of this process.
func (w *worker[S, E]) setting(ctx context.Context, t *Timer) (timerSet, error) {
	for r, err := range w.system.Read(ctx, annals.Stream(w.Stream()).WithSystem(), annals.After(t.set-1), annals.AsOf(t.set)) {
		if err != nil {
			return timerSet{}, err
		}
		if r.ID == t.id {
			return dataOf[timerSet](r)
		}
	}
	return timerSet{}, fmt.Errorf("what was set at position %d is not in the store", t.set)
}

// somebodyElse reports whether an append failed because what it says is known already, or overtaken.
func somebodyElse(err error) bool {
	return errors.Is(err, annals.ErrConflict) || errors.Is(err, annals.ErrIDReused) || errors.Is(err, annals.ErrPartialDuplicate)
}

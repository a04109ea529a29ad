package projection

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/annalsdb/annals"
)

// Progress is how far the projections of some [Views] have come, as known in this process, and wakes those who wait for
// them. Backends keep one; its zero value is ready. It may be used concurrently.
//
// The position it tells may be ahead of the stored checkpoint, over events that the projection does not match.
type Progress struct {
	mu sync.Mutex
	at map[string]*tracker // by name@version; guarded by mu, as is what it points to
}

// tracker is one projection's progress.
type tracker struct {
	applied annals.Position
	table   int64 // the incarnation of the table that applied speaks of; 0 if none was opened yet
	running bool
	err     error         // what stopped it last; of no meaning while it runs
	waiting int           // how many events are parked, while it runs
	retries error         // what is tried again; nil if nothing is
	state   State         // what the runner is doing, while it runs
	wanted  chan struct{} // closed when something else may be wanted of it
	changed chan struct{} // closed at the next change
}

// Status is what a projection is doing in this process.
type Status struct {
	// Applied is the position up to which every event is in the rows.
	Applied annals.Position
	// Running says that a runner of this process keeps it.
	Running bool
	// Err is what stopped it; nil if it runs, was not started, or only ended with its context.
	Err error
	// Parked is how many events are parked; it is known while it runs.
	Parked int
	// Retrying is what the views failed with, while the runner waits to try again; nil if nothing is wrong.
	Retrying error
}

func (p *Progress) locked(id string, change func(t *tracker) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.at[id]
	if t == nil {
		if p.at == nil {
			p.at = map[string]*tracker{}
		}
		t = &tracker{changed: make(chan struct{}), wanted: make(chan struct{})}
		p.at[id] = t
	}
	before := *t
	if err := change(t); err != nil {
		return err
	}
	// A comparison of errors may panic; whether there is one says enough, since they come and go with running.
	if t.applied != before.applied || t.table != before.table || t.running != before.running || (t.err != nil) != (before.err != nil) {
		close(t.changed)
		t.changed = make(chan struct{})
	}
	return nil
}

// claim makes the caller the only one to run, or reset, the projection in this process.
func (p *Progress) claim(id string) error {
	return p.locked(id, func(t *tracker) error {
		if t.running {
			return fmt.Errorf("projection: %s: %w", id, ErrRunning)
		}
		t.running = true
		return nil
	})
}

// unclaim gives back the claim of a run that did not begin: what stopped the projection before stays known.
func (p *Progress) unclaim(id string) {
	_ = p.locked(id, func(t *tracker) error { // the change never fails
		t.running = false
		return nil
	})
}

// dropped ends the claim of a reset: there are no rows any more, and nothing is wrong with them.
func (p *Progress) dropped(id string) {
	_ = p.locked(id, func(t *tracker) error { // the change never fails
		t.running, t.err, t.applied = false, nil, 0
		return nil
	})
}

// release ends a claim; err is what stopped the projection.
func (p *Progress) release(id string, err error) {
	_ = p.locked(id, func(t *tracker) error { // the change never fails
		t.running, t.err = false, err
		return nil
	})
}

// retrying tells what is tried again; nobody who waits is woken for it.
func (p *Progress) retrying(id string, err error) {
	_ = p.locked(id, func(t *tracker) error { // the change never fails
		t.retries = err
		return nil
	})
}

// parked tells how many events are parked.
func (p *Progress) parked(id string, count int) {
	_ = p.locked(id, func(t *tracker) error { // the change never fails
		t.waiting = count
		return nil
	})
}

// doing tells what the runner is doing.
func (p *Progress) doing(id string, s State) {
	_ = p.locked(id, func(t *tracker) error { // the change never fails
		t.state = s
		return nil
	})
}

// nudge wakes the runner of this process to look for what is wanted of it.
func (p *Progress) nudge(id string) {
	_ = p.locked(id, func(t *tracker) error { // the change never fails
		close(t.wanted)
		t.wanted = make(chan struct{})
		return nil
	})
}

// nudged is closed at the next nudge.
func (p *Progress) nudged(id string) <-chan struct{} { return p.look(id).wanted }

// advance announces that everything up to applied is committed in this table. It goes back only with another table.
func (p *Progress) advance(id string, table int64, applied annals.Position) {
	_ = p.locked(id, func(t *tracker) error { // the change never fails
		if t.table != table {
			t.table, t.applied = table, 0
		}
		t.applied = max(t.applied, applied)
		return nil
	})
}

// look is the present state.
func (p *Progress) look(id string) tracker {
	var now tracker
	_ = p.locked(id, func(t *tracker) error { // the change never fails
		now = *t
		return nil
	})
	if now.running {
		now.err = nil
	}
	return now
}

// in is how far the rows of this table are.
func (t tracker) in(table int64) annals.Position {
	if t.table != table {
		return 0
	}
	return t.applied
}

// elsewherePoll is how often a read that waits looks at the checkpoint of a projection that no runner of this process keeps.
const elsewherePoll = 20 * time.Millisecond

// waiter waits for one projection.
type waiter struct {
	progress *Progress
	id, name string
	table    Table
}

// wait returns when everything up to wanted is in the rows; else it fails with a LaggingError once ctx or the patience
// has ended or the projection has stopped with an error, or with ErrReset once another table has taken the place of
// this one.
func (w waiter) wait(ctx context.Context, wanted annals.Position) error {
	table := w.table.Incarnation()
	now := w.progress.look(w.id)
	if now.in(table) >= wanted {
		return nil
	}
	waiting, cancel := patient(ctx)
	defer cancel()
	stored, err := w.stored(waiting) // another process may keep the rows
	if err != nil && waiting.Err() == nil || err == nil && stored >= wanted {
		return err
	}
	for {
		now = w.progress.look(w.id)
		switch {
		case now.in(table) >= wanted:
			return nil
		case now.table > table:
			return ErrReset
		case now.err != nil:
			return w.lagging(max(now.in(table), stored), wanted, now.err)
		}
		elsewhere := time.Duration(math.MaxInt64)
		if !now.running || now.state != StateRunning && now.state != StateBuilding { // another process may keep the rows, and nothing wakes us
			elsewhere = elsewherePoll
		}
		select {
		case <-now.changed:
		case <-time.After(elsewhere):
			if stored, err = w.stored(waiting); err != nil && waiting.Err() == nil || err == nil && stored >= wanted {
				return err
			}
		case <-waiting.Done():
			return w.timeUp(ctx, waiting, stored, wanted)
		}
	}
}

// timeUp looks at the stored checkpoint once more before it gives up: another process may have moved it. There is time
// for that, unless the caller gave none.
func (w waiter) timeUp(ctx, waiting context.Context, before, wanted annals.Position) error {
	last, cancel := context.WithTimeout(ctx, lastLookMax)
	defer cancel()
	stored, err := w.stored(last)
	if err == nil && stored >= wanted || err != nil && last.Err() == nil && !errors.Is(err, ErrReset) {
		return err
	}
	return w.lagging(max(w.progress.look(w.id).in(w.table.Incarnation()), before, stored), wanted, givenUp(waiting))
}

// givenUp is why a wait has ended early; nil if its time was up.
func givenUp(waiting context.Context) error {
	cause := context.Cause(waiting)
	if errors.Is(cause, errPatience) || errors.Is(cause, context.DeadlineExceeded) {
		return nil
	}
	return cause
}

func (w waiter) stored(ctx context.Context) (annals.Position, error) {
	c, err := w.table.Checkpoint(ctx)
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	return c.Position, nil
}

func (w waiter) lagging(applied, wanted annals.Position, cause error) error {
	return &LaggingError{Projection: w.name, Applied: applied, Wanted: wanted, Cause: cause}
}

package process

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// Timer is a timer that is set.
type Timer struct {
	// Key is the instance, Name the timer's among those of the instance.
	Key, Name string
	// At is when it fires. A timer whose time has come while no process ran fires when one does.
	At time.Time
	// Event is the type of the event that will be appended.
	Event string

	set  annals.Position // where it was set last
	id   annals.ID       // of that event
	data timerSet
}

// Timers are those that are set, of all instances, the next one first.
func (p *Process[S, E]) Timers(ctx context.Context) ([]Timer, error) {
	t, err := p.read(ctx, annals.NoPosition)
	if err != nil {
		return nil, err
	}
	timers := make([]Timer, 0, len(t.timers))
	for _, timer := range t.timers {
		timers = append(timers, *timer)
	}
	slices.SortFunc(timers, func(a, b Timer) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Name, b.Name))
	})
	return timers, nil
}

// Reschedule sets a timer to another time. It fails with [ErrNotFound] if the timer is not set, or not any more.
func (p *Process[S, E]) Reschedule(ctx context.Context, key, name string, at time.Time) error {
	return p.change(ctx, key, name, func(t *Timer) (annals.Event, error) {
		d := t.data
		d.At = at.UTC().Round(0)
		return p.note(typeTimerSet, annals.NewID(), d, p.timerTag(key, name), p.instanceTag(key))
	})
}

// FireNow sets a timer to now: a process that runs fires it.
func (p *Process[S, E]) FireNow(ctx context.Context, key, name string) error {
	return p.Reschedule(ctx, key, name, time.Now())
}

// CancelTimer takes a timer back. It fails with [ErrNotFound] if the timer is not set, or not any more.
func (p *Process[S, E]) CancelTimer(ctx context.Context, key, name string) error {
	return p.change(ctx, key, name, func(*Timer) (annals.Event, error) {
		return p.note(typeCancelled, annals.NewID(), timerEnded{Key: key, Timer: name}, p.timerTag(key, name), p.instanceTag(key))
	})
}

// change appends what is to become of a timer, if it is what it was.
func (p *Process[S, E]) change(ctx context.Context, key, name string, event func(*Timer) (annals.Event, error)) error {
	t, err := p.read(ctx, annals.NoPosition)
	if err != nil {
		return err
	}
	timer := t.timers[timerName{key, name}]
	if timer == nil {
		return fmt.Errorf("process: %s: timer %q of %q: %w", p.manager.Name, name, key, ErrNotFound)
	}
	e, err := event(timer)
	if err != nil {
		return err
	}
	changed := annals.Tags(p.timerTag(key, name)).Or(annals.Tags(p.instanceTag(key)).Types(typeCompleted)).WithSystem()
	_, err = p.system.Append(ctx, []annals.Event{e}, annals.NoneSince(timer.set, changed))
	if somebodyElse(err) {
		return fmt.Errorf("process: %s: timer %q of %q has fired or was changed just now: %w: %w", p.manager.Name, name, key, ErrNotFound, err)
	}
	if err != nil {
		return fmt.Errorf("process: %s: timer %q of %q: %w", p.manager.Name, name, key, err)
	}
	return nil
}

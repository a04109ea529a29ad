package process

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// Parked is an event that was put aside for an instance.
type Parked struct {
	// Key is the instance, Position that of the event.
	Key      string
	Position annals.Position
	// Tries is how often it failed, Err how it did last. An event that waits behind another has neither.
	Tries int
	Err   string
	// Since is when it was parked, Next when it is tried again. A zero Next waits: for what is parked before it, or else for
	// somebody who calls Retry or Skip.
	Since, Next time.Time

	part   int
	trying bool // by this run of the process, which waits to hear what became of it
}

// due is when the first parked event of a key is to be tried; zero: when somebody says so.
func (p Parked) due() time.Time {
	switch {
	case p.trying:
		return time.Time{}
	case p.Tries == 0: // it waited, and nothing is before it any more
		return p.Since
	}
	return p.Next
}

// Parked is what is put aside, of all instances, in the order of keys and positions.
func (p *Process[S, E]) Parked(ctx context.Context) ([]Parked, error) {
	t, err := p.read(ctx, annals.NoPosition)
	if err != nil {
		return nil, err
	}
	var all []Parked
	for _, list := range t.parked {
		all = append(all, list...)
	}
	slices.SortFunc(all, func(a, b Parked) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Position, b.Position), cmp.Compare(a.part, b.part))
	})
	return all, nil
}

// Retry has the first event that is parked under a key tried now, by a process that runs; the others follow if it succeeds. It
// fails with [ErrNotFound] if nothing is parked there.
func (p *Process[S, E]) Retry(ctx context.Context, key string) error {
	return p.decide(ctx, key, func(Parked) (annals.Event, error) {
		return p.note(typeRetry, annals.NewID(), byKey{key}, p.instanceTag(key))
	})
}

// Skip gives up the first event that is parked under a key: its effects are not done, save those that were. The others
// follow. It fails with [ErrNotFound] if nothing is parked there.
func (p *Process[S, E]) Skip(ctx context.Context, key string) error {
	return p.decide(ctx, key, func(first Parked) (annals.Event, error) {
		at := reaction{Key: key, Position: first.Position, Part: first.part}
		return p.note(typeSkipped, p.skippedID(at), at, p.instanceTag(key))
	})
}

// decide appends what is to become of the first parked event of a key, if that is parked still.
func (p *Process[S, E]) decide(ctx context.Context, key string, event func(Parked) (annals.Event, error)) error {
	head, err := p.log.Store().Head(ctx)
	if err != nil {
		return fmt.Errorf("process: %s: %w", p.manager.Name, err)
	}
	t, err := p.read(ctx, head)
	if err != nil {
		return err
	}
	list := t.parked[key]
	if len(list) == 0 {
		return fmt.Errorf("process: %s: nothing is parked under %q: %w", p.manager.Name, key, ErrNotFound)
	}
	e, err := event(list[0])
	if err != nil {
		return err
	}
	changed := annals.Tags(p.instanceTag(key)).Types(typeReacted, typeSkipped).WithSystem()
	if _, err := p.system.Append(ctx, []annals.Event{e}, annals.NoneSince(head, changed)); err != nil {
		return fmt.Errorf("process: %s: %q: %w", p.manager.Name, key, err)
	}
	return nil
}

// Reaction is what was done about an event, for an instance.
type Reaction struct {
	// Position and Event are those of the event.
	Position annals.Position
	Event    annals.ID
	// Time is when it was done.
	Time time.Time
	// Effects are what was done, in this order.
	Effects []Done
}

// Reactions are what an instance did, the first one first. Events that led to no effect are not among them.
func (p *Process[S, E]) Reactions(ctx context.Context, key string) ([]Reaction, error) {
	var all []Reaction
	for r, err := range p.log.Store().Read(ctx, annals.Tags(p.instanceTag(key)).Types(typeReacted).WithSystem()) {
		if err != nil {
			return nil, fmt.Errorf("process: %s: read: %w", p.manager.Name, err)
		}
		d, err := dataOf[reacted](r)
		if err != nil {
			return nil, err
		}
		all = append(all, Reaction{Position: d.Position, Event: d.Event, Time: r.Time, Effects: d.Effects})
	}
	return all, nil
}

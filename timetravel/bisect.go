package timetravel

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// Sentinels of [Bisect].
var (
	// ErrStillHolds: the predicate holds today, so nothing has broken it.
	ErrStillHolds = errors.New("timetravel: it holds to this day")
	// ErrNeverHeld: the predicate does not hold before the first event either.
	ErrNeverHeld = errors.New("timetravel: it has never held")
)

// Broken is where a predicate ceased to hold.
type Broken[S, E any] struct {
	// Event is the one after which it does not hold.
	Event annals.Entry[E]
	// Before and After are the states on both sides of it.
	Before, After S
	// Folds is how many states were loaded to find it.
	Folds int
}

// Bisect finds the event after which a predicate of a state does not hold any more, by halving the past: about as many loads as the
// store's head has binary digits, each of which is as cheap as snapshots make it. If the predicate has changed more than once,
// it is one of the events that broke it. It fails with [ErrStillHolds] or [ErrNeverHeld] if there is no such event.
//
// As with decider.Load, maps in initial must be nil. Options say as of when.
func Bisect[S decider.State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, holds func(S) bool, opts ...annals.ReadOption) (Broken[S, E], error) {
	var found Broken[S, E]
	load := func(opts ...annals.ReadOption) (decider.Loaded[S], error) {
		found.Folds++
		return decider.Load(ctx, log, initial, opts...)
	}
	last, err := load(opts...)
	if err != nil {
		return found, err
	}
	if holds(last.State) {
		return found, fmt.Errorf("%w: %T", ErrStillHolds, initial)
	}
	before, err := load(annals.AsOf(0))
	if err != nil {
		return found, err
	}
	if !holds(before.State) {
		return found, fmt.Errorf("%w: %T", ErrNeverHeld, initial)
	}
	after := last
	for good, bad := annals.Position(0), last.Position; ; {
		if bad-good <= 1 {
			found.Before, found.After = before.State, after.State
			found.Event, err = entryAt(ctx, log, after.Boundary, bad)
			return found, err
		}
		middle := good + (bad-good)/2
		l, err := load(annals.AsOf(middle))
		if err != nil {
			return found, err
		}
		if holds(l.State) {
			good, before = middle, l
		} else {
			bad, after = middle, l
		}
	}
}

// entryAt is the event at a position; the last of its parts, if it is split.
func entryAt[E any](ctx context.Context, log *annals.Log[E], boundary annals.Query, p annals.Position) (found annals.Entry[E], err error) {
	for e, err := range log.Read(ctx, boundary, annals.After(p-1), annals.AsOf(p)) {
		if err != nil {
			return found, err
		}
		found = e
	}
	if found.Position == 0 {
		return found, fmt.Errorf("timetravel: bisect: position %d, where the state changed, has no event of its boundary: does Evolve depend on anything else?", p)
	}
	return found, nil
}

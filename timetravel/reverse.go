package timetravel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// ErrIrreversible matches what is said of an event that cannot be undone. See [IrreversibleError].
var ErrIrreversible = errors.New("timetravel: event cannot be reversed")

// IrreversibleError names an event that does not say how it is undone. It matches [ErrIrreversible].
type IrreversibleError struct {
	Position annals.Position
	Type     string
}

// Error names the event and what to do.
func (e *IrreversibleError) Error() string {
	return fmt.Sprintf("%v: %s at position %d has no method Reverse: undo it in a branch without it, and by Correct", ErrIrreversible, e.Type, e.Position)
}

// Is matches ErrIrreversible.
func (e *IrreversibleError) Is(target error) bool { return target == ErrIrreversible }

// Reversible is an event that says how it is undone. That is possible if it carries what it changed, and not only what came of it: a
// difference, or the value before.
type Reversible[E any] interface {
	// Reverse gives the events that undo this one.
	Reverse() []E
}

// Reverse undoes the last n events of a state, from the last to the first, by the events that they give ([Reversible]), in one append with
// the reason beside each. The state is then, as JSON shows it, what it was before them: that is proved before anything is appended,
// and else refused with an [UncorrectedError]. Others who change the state meanwhile lead to an annals.ConflictError.
//
// As with decider.Load, maps in initial must be nil. Events are stored as they are, without regard to the rules of commands.
func Reverse[S decider.State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, n int, reason string) (Correction[E], error) {
	switch {
	case n < 1:
		return Correction[E]{}, &annals.InvalidError{What: "reversal", Problem: "the number of events must be at least 1"}
	case reason == "":
		return Correction[E]{}, &annals.InvalidError{What: "reversal", Problem: "no reason is given"}
	}
	l, err := decider.Load(ctx, log, initial)
	if err != nil {
		return Correction[E]{}, err
	}
	var done Correction[E]
	var first annals.Position
	seen := 0
	for e, err := range log.Read(ctx, l.Boundary, annals.AsOf(l.Position), annals.Backwards(), annals.Limit(n)) {
		if err != nil {
			return Correction[E]{}, fmt.Errorf("timetravel: reverse: %w", err)
		}
		how, ok := any(e.Value).(Reversible[E])
		if !ok {
			return Correction[E]{}, fmt.Errorf("timetravel: reverse: %w", &IrreversibleError{Position: e.Position, Type: e.Type})
		}
		done.Events = append(done.Events, how.Reverse()...)
		if e.Position != first { // an event that is split counts once
			first = e.Position
			seen++
		}
	}
	if seen < n {
		return Correction[E]{}, &annals.InvalidError{What: "reversal", Problem: fmt.Sprintf("%T has %d events, and not %d", initial, seen, n)}
	}
	have, err := encode(l.State)
	if err != nil {
		return Correction[E]{}, err
	}
	want, err := loadJSON(ctx, log, initial, annals.AsOf(first-1))
	if err != nil {
		return Correction[E]{}, err
	}
	changes, err := Changes(have, want)
	if err != nil {
		return Correction[E]{}, err
	}
	done.Changes = [][]Change{slices.Clip(changes)}
	tried, err := whatIf(ctx, log.Store(), l.Position, nil)
	if err != nil {
		return Correction[E]{}, err
	}
	trial := log.On(tried)
	if _, err := trial.Append(ctx, done.Events); err != nil {
		return Correction[E]{}, fmt.Errorf("timetravel: reverse: %w", err)
	}
	boundary, err := proved(ctx, trial, initial, want)
	if err != nil {
		return Correction[E]{}, fmt.Errorf("timetravel: reverse: %w", err)
	}
	return done.append(ctx, log, reason, []annals.Condition{annals.NoneSince(l.Position, boundary).WithEvents()})
}

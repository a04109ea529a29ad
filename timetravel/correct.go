package timetravel

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// ErrUncorrected matches what is refused because it would not bring a state where it should be. See [UncorrectedError].
var ErrUncorrected = errors.New("timetravel: the events do not lead there")

// UncorrectedError says what of a state would still be wrong after a correction or a reversal. Nothing was appended. It matches
// [ErrUncorrected].
type UncorrectedError struct {
	// State is the type of the state.
	State string
	// Left is what would still have to change.
	Left []Change
}

// Error names the state and what is left.
func (e *UncorrectedError) Error() string {
	return fmt.Sprintf("%v: %s would still have to change: %v", ErrUncorrected, e.State, e.Left)
}

// Is matches ErrUncorrected.
func (e *UncorrectedError) Is(target error) bool { return target == ErrUncorrected }

// Correction is what was done to bring today into line.
type Correction[E any] struct {
	// Events were appended; none if there was nothing to correct.
	Events []E
	// Changes are what they changed, state by state.
	Changes [][]Change
	// Receipt is that of the append.
	Receipt annals.Receipt
}

// Amendment brings one state of today to where a branch has it. Make one with [Amend].
type Amendment[E any] struct {
	// prepare gives the events that lead from the state in trial to the one in the branch, and the difference.
	prepare func(ctx context.Context, trial, branch *annals.Log[E]) ([]E, []Change, error)
	// prove says what events the state depends on, if it is now in trial as it is in the branch.
	prove func(ctx context.Context, trial, branch *annals.Log[E]) (annals.Query, error)
}

// Amend says how a difference becomes events: how is given the state as it is today and as it is in the branch, and answers with the
// events that lead from the one to the other. It must leave maps and slices of both as they are. It is not called if there is no
// difference. As with decider.Load, maps in initial must be nil.
func Amend[S decider.State[S, E], E any](initial S, how func(today, wanted S, changes []Change) ([]E, error)) Amendment[E] {
	return Amendment[E]{
		prepare: func(ctx context.Context, trial, branch *annals.Log[E]) ([]E, []Change, error) {
			wanted, err := decider.Load(ctx, branch, initial)
			if err != nil {
				return nil, nil, fmt.Errorf("in the branch: %w", err)
			}
			want, err := encode(wanted.State)
			if err != nil {
				return nil, nil, err
			}
			is, err := decider.Load(ctx, trial, initial)
			if err != nil {
				return nil, nil, err
			}
			have, err := encode(is.State)
			if err != nil {
				return nil, nil, err
			}
			changes, err := Changes(have, want)
			if err != nil || len(changes) == 0 {
				return nil, nil, err
			}
			events, err := how(is.State, wanted.State, slices.Clone(changes))
			return events, changes, err
		},
		prove: func(ctx context.Context, trial, branch *annals.Log[E]) (annals.Query, error) {
			want, err := loadJSON(ctx, branch, initial)
			if err != nil {
				return annals.Query{}, err
			}
			return proved(ctx, trial, initial, want)
		},
	}
}

// proved gives the boundary of a state that is, in a log, what it should be; else an error that says what is wrong with it.
func proved[S decider.State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, want []byte) (annals.Query, error) {
	l, err := decider.Load(ctx, log, initial)
	if err != nil {
		return annals.Query{}, err
	}
	have, err := encode(l.State)
	if err != nil {
		return annals.Query{}, err
	}
	left, err := Changes(have, want)
	if err != nil {
		return annals.Query{}, err
	}
	if len(left) > 0 {
		return annals.Query{}, &UncorrectedError{State: fmt.Sprintf("%T", initial), Left: left}
	}
	return l.Boundary, nil
}

// Correct appends the events that bring states of today to where a branch has them, all in one append, with the reason beside each
// event ([annals.Metadata]). The past stays as it was: what was wrong can be seen for ever, and when it was put right.
//
// The branch must be one of the log's store, else it is [ErrForeignBranch]. Amendments see what those before them append. Everything is
// tried out in another branch first: events that would not lead all states to where they should be are refused with an
// [UncorrectedError]. Nothing may have happened to what the states depend on since the branch was made, else the append is an
// annals.ConflictError: make the branch anew and look again. Events are stored as they are, without regard to the rules of commands:
// who may do this is for the caller to say.
func Correct[E any](ctx context.Context, log *annals.Log[E], b *Branch, reason string, amendments ...Amendment[E]) (Correction[E], error) {
	if reason == "" {
		return Correction[E]{}, &annals.InvalidError{What: "correction", Problem: "no reason is given"}
	}
	if !sameStore(b.base, log.Store()) {
		return Correction[E]{}, fmt.Errorf("timetravel: correct: %w", ErrForeignBranch)
	}
	tried, err := whatIf(ctx, log.Store(), b.made, nil)
	if err != nil {
		return Correction[E]{}, err
	}
	trial, branch := log.On(tried), log.On(b)
	var done Correction[E]
	for i, a := range amendments {
		if a.prepare == nil {
			return Correction[E]{}, &annals.InvalidError{What: fmt.Sprintf("amendment %d", i), Problem: "is the zero Amendment: make one with Amend"}
		}
		events, changes, err := a.prepare(ctx, trial, branch)
		if err == nil && len(events) > 0 {
			_, err = trial.Append(ctx, events)
		}
		if err != nil {
			return Correction[E]{}, fmt.Errorf("timetravel: correct: amendment %d: %w", i, err)
		}
		done.Changes, done.Events = append(done.Changes, changes), append(done.Events, events...)
	}
	var conds []annals.Condition
	for i, a := range amendments {
		boundary, err := a.prove(ctx, trial, branch)
		if err != nil {
			return Correction[E]{}, fmt.Errorf("timetravel: correct: amendment %d: %w", i, err)
		}
		conds = append(conds, annals.NoneSince(b.made, boundary).WithEvents())
	}
	return done.append(ctx, log, reason, conds)
}

// sameStore reports whether two stores are one; those that cannot be compared are not.
func sameStore(a, b annals.Store) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}

// append stores the events of a correction, if there are any.
func (c Correction[E]) append(ctx context.Context, log *annals.Log[E], reason string, conds []annals.Condition) (Correction[E], error) {
	if len(c.Events) == 0 {
		return c, nil
	}
	md := annals.MetadataFrom(ctx)
	md.Reason = reason
	receipt, err := log.Append(annals.WithMetadata(ctx, md), c.Events, conds...)
	if err != nil {
		return Correction[E]{}, fmt.Errorf("timetravel: correct: %w", err)
	}
	c.Receipt = receipt
	return c, nil
}

package timetravel

import (
	"context"
	"errors"
	"fmt"
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
	prepare func(ctx context.Context, today, branch *annals.Log[E], made annals.Position) (amended[E], error)
}

// amended is what an amendment comes to.
type amended[E any] struct {
	events   []E
	changes  []Change
	boundary annals.Query
}

// Amend says how a difference becomes events: how is given the state as it is today and as it is in the branch, and answers with the
// events that lead from the one to the other. It must leave maps and slices of both as they are. It is not called if there is no
// difference. As with decider.Load, maps in initial must be nil.
func Amend[S decider.State[S, E], E any](initial S, how func(today, wanted S, changes []Change) ([]E, error)) Amendment[E] {
	return Amendment[E]{func(ctx context.Context, today, branch *annals.Log[E], made annals.Position) (a amended[E], err error) {
		wanted, err := decider.Load(ctx, branch, initial)
		if err != nil {
			return a, fmt.Errorf("in the branch: %w", err)
		}
		want, err := encode(wanted.State)
		if err != nil {
			return a, err
		}
		is, err := decider.Load(ctx, today, initial, annals.AsOf(made))
		if err != nil {
			return a, err
		}
		a.boundary = is.Boundary
		have, err := encode(is.State)
		if err != nil {
			return a, err
		}
		if a.changes, err = Changes(have, want); err != nil || len(a.changes) == 0 {
			return a, err
		}
		if a.events, err = how(is.State, wanted.State, slices.Clone(a.changes)); err != nil {
			return a, err
		}
		return a, leadsTo(today, is, a.events, want)
	}}
}

// leadsTo reports what is still wrong after events have been folded into a state.
func leadsTo[S decider.State[S, E], E any](log *annals.Log[E], l decider.Loaded[S], events []E, want []byte) error {
	state := l.State
	for _, e := range events {
		if !log.Schema().Match(l.Boundary, e) {
			continue
		}
		var err error
		if state, err = evolve(state, annals.Entry[E]{Value: e, Recorded: annals.Recorded{Position: l.Position}}); err != nil {
			return err
		}
	}
	have, err := encode(state)
	if err != nil {
		return err
	}
	left, err := Changes(have, want)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return &UncorrectedError{State: fmt.Sprintf("%T", l.State), Left: left}
	}
	return nil
}

// Correct appends the events that bring states of today to where a branch has them, all in one append, with the reason beside each
// event ([annals.Metadata]). The past stays as it was: what was wrong can be seen for ever, and when it was put right.
//
// The branch must be one of the log's store. Nothing may have happened to the states since it was made, else the append is an
// annals.ConflictError: make the branch anew and look again. Events that would not lead there are refused with an
// [UncorrectedError]. Events are stored as they are, without regard to the rules of commands: who may do this is for the caller to
// say.
func Correct[E any](ctx context.Context, log *annals.Log[E], b *Branch, reason string, amendments ...Amendment[E]) (Correction[E], error) {
	if reason == "" {
		return Correction[E]{}, &annals.InvalidError{What: "correction", Problem: "no reason is given"}
	}
	var done Correction[E]
	var conds []annals.Condition
	for i, a := range amendments {
		got, err := a.prepare(ctx, log, log.On(b), b.made)
		if err != nil {
			return Correction[E]{}, fmt.Errorf("timetravel: correct: amendment %d: %w", i, err)
		}
		done.Changes = append(done.Changes, got.changes)
		done.Events = append(done.Events, got.events...)
		conds = append(conds, annals.NoneSince(b.made, got.boundary).WithEvents())
	}
	return done.append(ctx, log, reason, conds)
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

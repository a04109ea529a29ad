package timetravel

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"runtime/debug"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// Step is an event of a state's history and what it made of the state.
type Step[S, E any] struct {
	// Entry is the event.
	Entry annals.Entry[E]
	// State is the state after it. Evolve may change what lies in it: it is good until the next step is asked for.
	State S
	// JSON is the state as it was then, for good.
	JSON json.RawMessage
	// Changes are what the event has changed, as JSON shows it.
	Changes []Change
}

// History yields each event of a state's boundary with the state after it and what it changed, the oldest first. If the boundary
// grows with the history, it is the one that it has grown to. Options are those of decider.Load: they say as of when. As with
// Load, maps in initial must be nil; a panic of Evolve is an error that matches decider.ErrPanic.
func History[S decider.State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, opts ...annals.ReadOption) iter.Seq2[Step[S, E], error] {
	return func(yield func(Step[S, E], error) bool) {
		before, err := encode(initial)
		if err != nil {
			yield(Step[S, E]{}, err)
			return
		}
		for step, err := range steps(ctx, log, initial, opts...) {
			if err == nil {
				step.Changes, err = Changes(before, step.JSON)
			}
			if err != nil {
				yield(Step[S, E]{}, fmt.Errorf("timetravel: history of %T: %w", initial, err))
				return
			}
			before = step.JSON
			if !yield(step, nil) {
				return
			}
		}
	}
}

// steps is History without what has changed.
func steps[S decider.State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, opts ...annals.ReadOption) iter.Seq2[Step[S, E], error] {
	return func(yield func(Step[S, E], error) bool) {
		loaded, err := decider.Load(ctx, log, initial, opts...)
		if err != nil {
			yield(Step[S, E]{}, err)
			return
		}
		state := initial
		for e, err := range log.Read(ctx, loaded.Boundary, annals.AsOf(loaded.Position)) {
			step := Step[S, E]{Entry: e}
			if err == nil {
				state, err = evolve(state, e)
			}
			if err == nil {
				step.State = state
				step.JSON, err = encode(state)
			}
			if !yield(step, err) || err != nil {
				return
			}
		}
	}
}

func encode(state any) (json.RawMessage, error) {
	b, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("show the state: %w", err)
	}
	return b, nil
}

// evolve folds one event in.
func evolve[S decider.State[S, E], E any](state S, e annals.Entry[E]) (next S, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &decider.PanicError{Method: fmt.Sprintf("%T.Evolve", state), Position: e.Position, Value: v, Stack: debug.Stack()}
		}
	}()
	return state.Evolve(e.Value), nil
}

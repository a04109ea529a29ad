package process

import (
	"context"
	"fmt"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
)

// Effect is what React asks for, as [Preview] shows it.
type Effect[E any] struct {
	// Kind is send, call, schedule, cancel or complete.
	Kind string
	// Name is that of the command, the gateway or the timer.
	Name string
	// Value is the command that is sent, or the request that a gateway is asked.
	Value any
	// At is when the timer fires, and Event what is appended then.
	At    time.Time
	Event E
}

// Preview says what a manager would do about an event for one of its keys, without doing it. The state is as of the event. An
// event that the manager's query leaves out, or that does not concern the key, leads to nothing.
func Preview[S decider.State[S, E], E any](ctx context.Context, log *annals.Log[E], m Manager[S, E], at annals.Position, key string) ([]Effect[E], error) {
	if at == 0 {
		return nil, &annals.InvalidError{What: "Preview", Problem: "there is no event at position 0"}
	}
	p, err := New(cqrs.New(log), m, Options{})
	if err != nil {
		return nil, err
	}
	w := &worker[S, E]{Process: p, table: newTable()}
	var effects []Effect[E]
	for e, err := range log.Read(ctx, m.Query, annals.After(at-1), annals.AsOf(at)) {
		if err != nil {
			return nil, fmt.Errorf("process: preview: %w", err)
		}
		for _, k := range e.TagValues(m.By) {
			if k != key {
				continue
			}
			do, err := w.ask(ctx, e, key)
			if err != nil {
				return nil, err
			}
			for _, step := range do.steps {
				effects = append(effects, Effect[E]{Kind: string(step.kind), Name: step.name, Value: step.value, At: step.at, Event: step.event})
			}
		}
	}
	return effects, nil
}

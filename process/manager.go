package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
)

// Manager declares a process manager. S is its state, E the events of the schema.
type Manager[S decider.State[S, E], E any] struct {
	// Name is that of the manager, for good: what it has done is kept under it.
	Name string
	// By is the name of the tag whose values are the keys: each value is an instance, with a state of its own. An event with
	// several such tags concerns several instances.
	By string
	// Query is the events that React is called for. It may not include system events.
	Query annals.Query
	// Initial is the state of an instance before any event.
	Initial func(key string) S
	// React says what is to be done about an event. The state is as of the event, which is folded in. It must be pure: it
	// is called again after a crash, and must then ask for the same. Times come from the event.
	React func(state S, e annals.Entry[E], do *Effects[E])
}

// Effects are what React asks for, in the order in which it is done.
type Effects[E any] struct {
	steps []*effect[E]
}

// effect is one of them.
type effect[E any] struct {
	kind  effectKind
	name  string // of the command, the gateway or the timer
	value any    // the command, or the request
	// do runs it, for those that do something outside of the append at the end. It gives the events that follow.
	do     func(ctx context.Context, bus *cqrs.Bus[E], id string) ([]E, error)
	accept []error
	or     func(error) E
	at     time.Time
	event  E
}

// effectKind says what an effect is.
type effectKind string

const (
	kindSend     effectKind = "send"
	kindCall     effectKind = "call"
	kindSchedule effectKind = "schedule"
	kindCancel   effectKind = "cancel"
	kindComplete effectKind = "complete"
)

// Step is an effect that may fail. Its methods say what that means.
type Step[E any] struct{ effect *effect[E] }

// Accept says that it is fine if the effect fails so: errors that match one of these, by errors.Is, count as done.
func (s *Step[E]) Accept(targets ...error) *Step[E] {
	s.effect.accept = append(s.effect.accept, targets...)
	return s
}

// Else says which event stands for the failure: f makes it, and it is appended in place of parking. A command fails so when it
// is refused; a gateway when it says that trying again is no use, see [Permanent], or when the tries are used up. Where nobody
// knows whether the effect was done, because the store did not say what became of it, the event is parked all the same.
func (s *Step[E]) Else(f func(err error) E) *Step[E] {
	s.effect.or = f
	return s
}

// accepts reports whether an error is fine.
func (e *effect[E]) accepts(err error) bool {
	for _, target := range e.accept {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

func (do *Effects[E]) add(e *effect[E]) *Step[E] {
	do.steps = append(do.steps, e)
	return &Step[E]{e}
}

// Send gives a command, through the bus and under an idempotency key that follows from the event, on behalf of
// [Options.Principal].
func Send[C decider.Command[S, E], S decider.State[S, E], E any](do *Effects[E], cmd C) *Step[E] {
	return do.add(&effect[E]{
		kind: kindSend, name: decider.CommandName[C](), value: cmd,
		do: func(ctx context.Context, bus *cqrs.Bus[E], id string) ([]E, error) {
			_, err := cqrs.Do(ctx, bus, cmd, decider.IdempotencyKey(id))
			return nil, err
		},
	})
}

// Call asks a gateway, and appends the event that then makes of its response.
func Call[Req, Resp, E any](do *Effects[E], g *Gateway[Req, Resp], req Req, then func(Resp) E) *Step[E] {
	return do.add(&effect[E]{
		kind: kindCall, name: g.Name, value: req,
		do: func(ctx context.Context, bus *cqrs.Bus[E], id string) ([]E, error) {
			resp, err := g.Ask(ctx, bus.Log().Store(), id, req)
			if err != nil {
				return nil, err
			}
			return []E{then(resp)}, nil
		},
	})
}

// Schedule sets a timer: when it is time, e is appended. So that time passes is an event, which is seen by all, and which a
// command may refuse to act on. The name is the timer's among those of the instance; a timer of this name that is set already
// is set anew.
func (do *Effects[E]) Schedule(name string, at time.Time, e E) {
	do.add(&effect[E]{kind: kindSchedule, name: name, at: at, event: e})
}

// Cancel takes a timer back, if it is set.
func (do *Effects[E]) Cancel(name string) { do.add(&effect[E]{kind: kindCancel, name: name}) }

// Complete ends the instance: its timers are taken back, and it reacts to nothing any more.
func (do *Effects[E]) Complete() { do.add(&effect[E]{kind: kindComplete}) }

// check reports what is wrong with a manager.
func (m Manager[S, E]) check(schema *annals.Schema[E]) error {
	var problems []error
	problem := func(wrong bool, text string) {
		if wrong {
			problems = append(problems, &annals.InvalidError{What: fmt.Sprintf("process manager %q", m.Name), Problem: text})
		}
	}
	problem(m.Name == "", "it has no Name")
	problem(m.By == "", "it has no By: the name of the tag whose values are the keys")
	problem(m.Initial == nil, "it has no Initial")
	problem(m.React == nil, "it has no React")
	problem(m.Query.IncludesSystem(), "its Query includes system events")
	if _, err := schema.Bind(m.Query); err != nil {
		problems = append(problems, err)
	}
	if m.By != "" {
		if _, err := schema.Bind(annals.Tags(annals.Tag(m.By, "x"))); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

package annalstest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/store/memory"
)

// Reaction is a process manager that waits for its past, an event, and what it is to do. It belongs to one test and one
// goroutine.
//
//	annalstest.React(t, Schema, Deadlines).
//		Given(OrderPlaced{"1"}).
//		When(PaymentOverdue{"1"}).
//		Then(annalstest.Sends(CancelOrder{"1"}))
//
// The past is appended to a store in memory, and the state that React is given is loaded from it, so its boundary is tested.
// Nothing is sent, called or set.
type Reaction[S decider.State[S, E], E any] struct {
	tb        testing.TB
	manager   process.Manager[S, E]
	log       *annals.Log[E]
	now       time.Time
	key       string
	at        annals.Position
	keys      []string
	concluded bool
}

// React begins the test of a process manager.
func React[S decider.State[S, E], E any](tb testing.TB, schema *annals.Schema[E], m process.Manager[S, E]) *Reaction[S, E] {
	tb.Helper()
	r := &Reaction[S, E]{tb: tb, manager: m, now: Epoch}
	r.log = annals.NewLog(memory.New(memory.Clock(func() time.Time { return r.now })), schema)
	tb.Cleanup(func() {
		tb.Helper()
		if !r.concluded && !tb.Failed() {
			tb.Errorf("annalstest: the test of the process manager %q says no outcome: end it with Then or ThenNothing", m.Name)
		}
	})
	return r
}

// At sets the time of the events that come after it in the chain.
func (r *Reaction[S, E]) At(now time.Time) *Reaction[S, E] {
	r.now = now
	return r
}

// Given records the past, one append for each event.
func (r *Reaction[S, E]) Given(past ...E) *Reaction[S, E] {
	r.tb.Helper()
	for i, e := range past {
		if _, err := r.log.Append(r.tb.Context(), []E{e}); err != nil {
			r.concluded = true
			r.tb.Fatalf("annalstest: given event %d, %s: %v", i+1, show(e), err)
		}
	}
	return r
}

// When records the event that the manager is to react to.
func (r *Reaction[S, E]) When(e E) *Reaction[S, E] {
	r.tb.Helper()
	r.Given(e)
	for stored, err := range r.log.Store().Read(r.tb.Context(), annals.All(), annals.Backwards(), annals.Limit(1)) {
		if err != nil {
			r.concluded = true
			r.tb.Fatalf("annalstest: %v", err)
		}
		r.at, r.keys = stored.Position, stored.TagValues(r.manager.By)
	}
	return r
}

// For says which key is meant, if the event concerns several.
func (r *Reaction[S, E]) For(key string) *Reaction[S, E] {
	r.key = key
	return r
}

// Effect is something that a process manager is to do. Make one with [Sends], [Calls], [Schedules], [Cancels] or [Completes].
type Effect struct {
	kind, name   string
	value, event any
	at           time.Time
}

// Sends is a command that is to be sent.
func Sends(cmd any) Effect {
	name := ""
	if t := reflect.TypeOf(cmd); t != nil {
		name = t.Name()
	}
	return Effect{kind: "send", name: name, value: cmd}
}

// Calls is a request that a gateway of this name is to be asked.
func Calls(gateway string, request any) Effect {
	return Effect{kind: "call", name: gateway, value: request}
}

// Schedules is a timer that is to be set.
func Schedules(timer string, at time.Time, event any) Effect {
	return Effect{kind: "schedule", name: timer, at: at, event: event}
}

// Cancels is a timer that is to be taken back.
func Cancels(timer string) Effect { return Effect{kind: "cancel", name: timer} }

// Completes is the end of the instance.
func Completes() Effect { return Effect{kind: "complete"} }

// String writes the effect as a failure shows it.
func (e Effect) String() string {
	switch e.kind {
	case "send":
		return "send " + show(e.value)
	case "call":
		return fmt.Sprintf("call %s with %s", e.name, show(e.value))
	case "schedule":
		return fmt.Sprintf("schedule %s at %s: %s", e.name, e.at.UTC().Format(time.RFC3339Nano), show(e.event))
	}
	return strings.TrimSpace(e.kind + " " + e.name)
}

func (e Effect) is(o Effect) bool {
	return e.kind == o.kind && e.name == o.name && e.at.Equal(o.at) && alike(e.value, o.value) && alike(e.event, o.event)
}

// Then wants exactly these effects, in this order; at least one, for nothing is wanted by [Reaction.ThenNothing].
func (r *Reaction[S, E]) Then(want ...Effect) {
	r.tb.Helper()
	if len(want) == 0 {
		r.concluded = true
		r.tb.Fatalf("annalstest: Then without effects: say ThenNothing")
	}
	r.conclude(want)
}

// ThenNothing wants the manager to do nothing about the event.
func (r *Reaction[S, E]) ThenNothing() {
	r.tb.Helper()
	r.conclude(nil)
}

func (r *Reaction[S, E]) conclude(want []Effect) {
	r.tb.Helper()
	if r.concluded {
		r.tb.Fatalf("annalstest: the test of the process manager %q says its outcome twice", r.manager.Name)
	}
	r.concluded = true
	if r.at == 0 {
		r.tb.Fatalf("annalstest: the test of the process manager %q has no event: say When", r.manager.Name)
	}
	if r.key == "" {
		if len(r.keys) != 1 {
			r.tb.Fatalf("annalstest: the event concerns the keys %q of %q: say For which one", r.keys, r.manager.Name)
		}
		r.key = r.keys[0]
	}
	asked, err := process.Preview(r.tb.Context(), r.log, r.manager, r.at, r.key)
	if err != nil {
		r.tb.Errorf("the process manager %q failed: %v", r.manager.Name, err)
		return
	}
	got := make([]Effect, len(asked))
	same := len(got) == len(want)
	for i, e := range asked {
		got[i] = Effect{kind: e.Kind, name: e.Name, value: e.Value, at: e.At}
		if e.Kind == "schedule" {
			got[i].event = e.Event
		}
		same = same && got[i].is(want[i])
	}
	if !same {
		r.tb.Errorf("the process manager %q does something else:\ngot:\n%swant:\n%s", r.manager.Name, listed(got), listed(want))
	}
}

func listed(effects []Effect) string {
	if len(effects) == 0 {
		return "    nothing\n"
	}
	var b strings.Builder
	for _, e := range effects {
		fmt.Fprintf(&b, "    %s\n", e)
	}
	return b.String()
}

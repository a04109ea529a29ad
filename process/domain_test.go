package process_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/process"
)

// Orders that have to be paid in time.

type (
	Placed struct {
		Order string `json:"order" annals:"order,stream"`
		Cents int    `json:"cents"`
	}
	Paid struct {
		Order   string `json:"order" annals:"order,stream"`
		Receipt string `json:"receipt"`
	}
	Declined struct {
		Order  string `json:"order" annals:"order,stream"`
		Reason string `json:"reason"`
	}
	Overdue struct {
		Order string `json:"order" annals:"order,stream"`
	}
	Cancelled struct {
		Order string `json:"order" annals:"order,stream"`
	}
	Released struct {
		Stock string `json:"stock" annals:"stock,stream"`
		Order string `json:"order" annals:"order"`
	}
)

var schema = annals.NewSchema([]any{Placed{}, Paid{}, Declined{}, Overdue{}, Cancelled{}, Released{}})

// Order is a state of commands and of managers.
type Order struct {
	ID, Status string
	Cents      int
}

func (o Order) Boundary() annals.Query { return annals.Stream("order-" + o.ID) }

func (o Order) Evolve(e any) Order {
	switch e := e.(type) {
	case Placed:
		o.Status, o.Cents = "placed", e.Cents
	case Paid:
		o.Status = "paid"
	case Cancelled:
		o.Status = "cancelled"
	}
	return o
}

const errPaid = decider.Rule("order is paid")

// Cancel cancels an order that is not paid.
type Cancel struct{ Order string }

func (c Cancel) Initial() Order { return Order{ID: c.Order} }

func (c Cancel) Decide(o Order) ([]any, error) {
	switch o.Status {
	case "paid":
		return nil, errPaid
	case "cancelled":
		return nil, nil
	}
	return []any{Cancelled{o.ID}}, nil
}

// Stock is told of what comes back.
type Stock struct{ Released int }

func (s Stock) Boundary() annals.Query { return annals.Stream("stock-all") }
func (s Stock) Evolve(any) Stock       { s.Released++; return s }

// Release puts the goods of an order back.
type Release struct{ Order string }

func (c Release) Initial() Stock              { return Stock{} }
func (c Release) Decide(Stock) ([]any, error) { return []any{Released{"all", c.Order}}, nil }

// deadline is how long an order may wait for its money.
const deadline = time.Hour

// deadlines cancels what is not paid in time, and puts the goods back.
var deadlines = process.Manager[Order, any]{
	Name: "deadlines", By: "order",
	Query:   annals.Types("Placed", "Paid", "Overdue", "Cancelled"),
	Initial: func(key string) Order { return Order{ID: key} },
	React: func(_ Order, e annals.Entry[any], do *process.Effects[any]) {
		switch v := e.Value.(type) {
		case Placed:
			do.Schedule("payment", e.Time.Add(deadline), Overdue{v.Order})
		case Paid:
			do.Cancel("payment")
			do.Complete()
		case Overdue:
			process.Send(do, Cancel(v)).Accept(errPaid)
		case Cancelled:
			do.Cancel("payment")
			process.Send(do, Release(v))
		}
	},
}

// provider is a payment provider that somebody else runs.
type provider struct {
	mu    sync.Mutex
	fail  []error               // of the next calls
	why   func(cents int) error // which it never takes
	calls []string
	taken map[string]int // by id, so that it takes money once
}

func (p *provider) pay(_ context.Context, id string, cents int) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, id)
	if len(p.fail) > 0 {
		err := p.fail[0]
		p.fail = p.fail[1:]
		if err != nil {
			return "", err
		}
	}
	if p.why != nil {
		if err := p.why(cents); err != nil {
			return "", err
		}
	}
	if p.taken == nil {
		p.taken = map[string]int{}
	}
	p.taken[id] = cents
	return fmt.Sprint("receipt for ", cents), nil
}

func (p *provider) gateway() *process.Gateway[int, string] {
	return &process.Gateway[int, string]{Name: "payments", Call: p.pay}
}

var errDeclined = errors.New("card declined")

// payments pays what is placed.
func payments(g *process.Gateway[int, string]) process.Manager[Order, any] {
	return process.Manager[Order, any]{
		Name: "payments", By: "order",
		Query:   annals.Types("Placed"),
		Initial: func(key string) Order { return Order{ID: key} },
		React: func(o Order, _ annals.Entry[any], do *process.Effects[any]) {
			process.Call(do, g, o.Cents, func(receipt string) any { return Paid{o.ID, receipt} }).
				Else(func(err error) any { return Declined{o.ID, err.Error()} })
		},
	}
}

func newBus(store annals.Store) *cqrs.Bus[any] {
	return cqrs.New(annals.NewLog(store, schema), cqrs.Correlation())
}

func newProcess(t *testing.T, bus *cqrs.Bus[any], m process.Manager[Order, any], o process.Options) *process.Process[Order, any] {
	t.Helper()
	p, err := process.New(bus, m, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// running runs processes until the test calls stop.
func running(t *testing.T, ps ...*process.Process[Order, any]) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, p := range ps {
		all.Go(func() {
			if err := p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

func add(t *testing.T, bus *cqrs.Bus[any], events ...any) annals.Receipt {
	t.Helper()
	r, err := bus.Log().Append(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// told is the story of a store, without system events.
func told(t *testing.T, store annals.Store) (events []string) {
	t.Helper()
	for e, err := range annals.NewLog(store, schema).Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, fmt.Sprintf("%T%+v", e.Value, e.Value)[len("process_test."):])
	}
	return events
}

// pass lets time pass, in a bubble of synctest.
func pass(d time.Duration) { <-time.After(d) }

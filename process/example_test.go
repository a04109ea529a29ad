package process_test

import (
	"context"
	"fmt"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/store/memory"
)

// Orders that nobody pays in time are cancelled. That time has passed is an event like any other.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	bus := newBus(memory.New())
	deadlines := process.Manager[Order, any]{
		Name: "deadlines", By: "order",
		Query:   annals.Types("Placed", "Paid", "Overdue"),
		Initial: func(key string) Order { return Order{ID: key} },
		React: func(_ Order, e annals.Entry[any], do *process.Effects[any]) {
			switch v := e.Value.(type) {
			case Placed:
				do.Schedule("payment", e.Time.Add(time.Millisecond), Overdue{Order: v.Order})
			case Paid:
				do.Cancel("payment")
			case Overdue:
				process.Send(do, Cancel(v)).Accept(errPaid)
			}
		},
	}
	p, err := process.New(bus, deadlines, process.Options{})
	fmt.Println(err)
	ended := make(chan error)
	go func() { ended <- p.Run(ctx) }()

	_, err = bus.Log().Append(ctx, []any{Placed{Order: "42", Cents: 1200}})
	fmt.Println(err)
	for u, err := range bus.Log().Store().Subscribe(ctx, annals.Stream("order-42"), 0) {
		if u.Event == nil {
			continue
		}
		fmt.Println(u.Event.Type, u.Event.Meta().Actor, err)
		if u.Event.Type == "Cancelled" {
			break
		}
	}
	stop()
	fmt.Println(<-ended)
	// Output:
	// <nil>
	// <nil>
	// Placed  <nil>
	// Overdue process:deadlines <nil>
	// Cancelled process:deadlines <nil>
	// <nil>
}

// A gateway answers a request that it was asked before from its record, and does not call again.
func ExampleGateway() {
	ctx, store := context.Background(), memory.New()
	rates := process.Gateway[string, float64]{
		Name: "rates", Query: true,
		Call: func(_ context.Context, _, currency string) (float64, error) {
			fmt.Println("asked for", currency)
			return 1.08, nil
		},
	}
	for range 2 {
		rate, err := rates.Ask(ctx, store, "order 42", "USD")
		fmt.Println(rate, err)
	}
	rate, err := rates.Ask(process.Replaying(ctx), store, "order 42", "USD")
	fmt.Println(rate, err)
	_, err = rates.Ask(process.Replaying(ctx), store, "order 43", "USD")
	fmt.Println(err)
	// Output:
	// asked for USD
	// 1.08 <nil>
	// 1.08 <nil>
	// 1.08 <nil>
	// gateway rates, id order 43: process: no recorded response
}

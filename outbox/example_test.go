package outbox_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/outbox"
	"github.com/annalsdb/annals/store/memory"
)

// What is stored will be told, and what is not never is.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	log := annals.NewLog(memory.New(), schema)
	publisher := outbox.Func(func(_ context.Context, m outbox.Message) error { // a program publishes to a broker
		fmt.Println(m.Topic, m.Key, string(m.Data))
		return nil
	})
	relay, err := outbox.New(log, outbox.Relay[any]{
		Name: "billing", Query: annals.Types("Placed"), Publisher: publisher,
		Messages: func(e annals.Entry[any]) ([]outbox.Message, error) {
			placed, _ := e.Value.(Placed)
			return []outbox.Message{{Topic: "orders.placed", Key: placed.Order, Data: e.Data}}, nil
		},
	})
	fmt.Println(err)
	done := make(chan error)
	go func() { done <- relay.Run(ctx) }()

	receipt, err := log.Append(ctx, []any{Placed{"42", 1}, Placed{"42", 2}})
	fmt.Println(err)
	fmt.Println(relay.Wait(ctx, receipt.Last))
	stop()
	fmt.Println(errors.Is(<-done, context.Canceled))
	// Unordered output:
	// <nil>
	// <nil>
	// orders.placed 42 {"order":"42","n":1}
	// orders.placed 42 {"order":"42","n":2}
	// <nil>
	// true
}

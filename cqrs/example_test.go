package cqrs_test

import (
	"context"
	"fmt"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

func Example() {
	ctx := context.Background()
	log := annals.NewLog[any](memory.New(), schema)
	bus := cqrs.New(log, cqrs.Recover(), cqrs.Correlation())
	cqrs.Answer(bus, func(ctx context.Context, q IsOpen) (bool, error) {
		door, err := decider.Load(ctx, log, Door{ID: q.Door})
		return door.State.Open, err
	})

	_, err := cqrs.Do(ctx, bus, OpenDoor{Door: "front"})
	fmt.Println(err)
	open, err := cqrs.Ask[bool](ctx, bus, IsOpen{Door: "front"})
	fmt.Println(open, err)
	_, err = cqrs.Do(ctx, bus, OpenDoor{Door: "front"})
	fmt.Println(cqrs.OutcomeOf(err))
	// Output:
	// <nil>
	// true <nil>
	// rejected
}

func ExampleAudit() {
	audit := cqrs.Audit(func(_ context.Context, r cqrs.AuditRecord) { fmt.Println(r.Actor, r.Name, r.Outcome) })
	bus := cqrs.New(annals.NewLog[any](memory.New(), schema), audit)
	ctx := annals.WithPrincipal(context.Background(), annals.Principal{ID: "ann"})
	for range 2 {
		if _, err := cqrs.Do(ctx, bus, OpenDoor{Door: "front"}); err != nil {
			continue // recorded as well
		}
	}
	// Output:
	// ann OpenDoor ok
	// ann OpenDoor rejected
}

// A trail keeps every command in the store, and answers who did what.
func ExampleTrail() {
	log := annals.NewLog[any](memory.New(), schema)
	trail, err := cqrs.NewTrail(log, cqrs.TrailOptions{})
	fmt.Println(err)
	bus := cqrs.New(log, cqrs.Audit(trail.Record))
	ctx := annals.WithPrincipal(context.Background(), annals.Principal{ID: "ann"})
	for range 2 {
		if _, err := cqrs.Do(ctx, bus, OpenDoor{Door: "front"}); err != nil {
			continue // recorded as well
		}
	}
	for given, err := range trail.Read(ctx, cqrs.Asked{Principal: "ann"}) {
		fmt.Println(given.Command, given.Accepted, given.Reason, err)
	}
	// Output:
	// <nil>
	// OpenDoor true  <nil>
	// OpenDoor false OpenDoor rejected: door is open <nil>
}

// Commands and queries are limited apart: many readers do not keep writers from their work.
func ExampleConcurrency() {
	bus := cqrs.New(annals.NewLog[any](memory.New(), schema),
		cqrs.Commands(cqrs.Concurrency(64, time.Second)), // at once, and how long the others wait for a place
		cqrs.Queries(cqrs.Concurrency(1000, 0)),
		cqrs.Rate(1, 2, nil), // one message a second for each principal, two after a pause
	)
	for _, door := range []string{"front", "back", "side"} {
		_, err := cqrs.Do(context.Background(), bus, OpenDoor{Door: door})
		fmt.Println(door, cqrs.OutcomeOf(err))
	}
	// Output:
	// front ok
	// back ok
	// side limited
}

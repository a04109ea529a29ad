package timetravel_test

import (
	"context"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/timetravel"
)

// What happened to an order, and what each event changed.
func ExampleHistory() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), schema)
	_, err := log.Append(ctx, []any{Opened{"42"}, Added{"42", "tea", 2}, Added{"42", "tea", 1}, Paid{"42"}})
	fmt.Println(err)
	for step, err := range timetravel.History(ctx, log, Order{ID: "42"}) {
		fmt.Println(step.Entry.Revision, step.Entry.Type, step.Changes, err)
	}
	// Output:
	// <nil>
	// 0 Opened [status: null → "open"] <nil>
	// 1 Added [counts: null → {"tea":2}] <nil>
	// 2 Added [counts.tea: 2 → 3] <nil>
	// 3 Paid [status: "open" → "paid"] <nil>
}

// Why is an order paid? The event, the command and who gave it.
func ExampleWhy() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), schema)
	_, err := log.Append(ctx, []any{Opened{"42"}})
	fmt.Println(err)
	bank := annals.WithPrincipal(ctx, annals.Principal{ID: "bank"})
	_, err = decider.Update(bank, log, Order{ID: "42"}, func(o Order) ([]any, error) { return []any{Paid{o.ID}}, nil })
	fmt.Println(err)
	reason, err := timetravel.Why(ctx, log, Order{ID: "42"}, "status")
	fmt.Println(string(reason.Before), string(reason.Value), reason.Event.Type, reason.Event.Metadata.Actor, err)
	// Output:
	// <nil>
	// <nil>
	// "open" "paid" Paid bank <nil>
}

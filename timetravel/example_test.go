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

// What if there had been more of it, and nobody had paid? The branch is a store: every tool works on it, and nothing is stored.
func ExampleWhatIf() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), schema)
	_, err := log.Append(ctx, []any{Opened{"42"}, Added{"42", "tea", 2}, Paid{"42"}})
	fmt.Println(err)
	more, err := log.Encode(ctx, []any{Added{"42", "tea", 7}})
	fmt.Println(err)
	branch, err := timetravel.WhatIf(ctx, log.Store(), timetravel.Replace(2, more...), timetravel.Drop(3))
	fmt.Println(err)
	changes, err := timetravel.Compare(ctx, log, log.On(branch), Order{ID: "42"})
	fmt.Println(changes, err)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// [counts.tea: 2 → 7 status: "paid" → "open"] <nil>
}

// An event was wrong. The past stays as it is; events of today bring the state to where it would be.
func ExampleCorrect() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), schema)
	_, err := log.Append(ctx, []any{Opened{"42"}, Added{"42", "tea", 2}})
	fmt.Println(err)
	right, err := log.Encode(ctx, []any{Added{"42", "tea", 3}})
	fmt.Println(err)
	branch, err := timetravel.WhatIf(ctx, log.Store(), timetravel.Replace(2, right...))
	fmt.Println(err)
	done, err := timetravel.Correct(ctx, log, branch, "counted wrongly", timetravel.Amend(Order{ID: "42"},
		func(today, wanted Order, _ []timetravel.Change) ([]any, error) {
			return []any{Added{"42", "tea", wanted.Counts["tea"] - today.Counts["tea"]}}, nil
		}))
	fmt.Println(done.Events, done.Changes, err)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// [{42 tea 1}] [[counts.tea: 2 → 3]] <nil>
}

// Received says how it is undone.
func ExampleReverse() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), annals.NewSchema([]any{Received{}}))
	_, err := log.Append(ctx, []any{Received{"tea", 10}, Received{"tea", 5}})
	fmt.Println(err)
	done, err := timetravel.Reverse(ctx, log, Stock{ID: "tea"}, 1, "delivered to the wrong shop")
	fmt.Println(done.Events, done.Changes, err)
	// Output:
	// <nil>
	// [{tea -5}] [[n: 15 → 10]] <nil>
}

// Since when is there less than nothing?
func ExampleBisect() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), annals.NewSchema([]any{Received{}}))
	_, err := log.Append(ctx, []any{Received{"tea", 10}, Received{"tea", -8}, Received{"tea", -5}, Received{"tea", 1}})
	fmt.Println(err)
	broken, err := timetravel.Bisect(ctx, log, Stock{ID: "tea"}, func(s Stock) bool { return s.N >= 0 })
	fmt.Println(broken.Event.Value, "at revision", broken.Event.Revision, "left", broken.After.N, err)
	// Output:
	// <nil>
	// {tea -5} at revision 2 left -3 <nil>
}

package rules_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/examples/rules"
	"github.com/annalsdb/annals/store/memory"
)

func is(err, target error) bool { return errors.Is(err, target) }

// A username is unique among all accounts, and free again some days after its account was closed.
func ExampleUsername() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), rules.Schema)
	day := func(n int) time.Time { return time.Date(2026, time.March, n, 12, 0, 0, 0, time.UTC) }
	open := func(account string, at time.Time) {
		_, err := decider.Execute(ctx, log, rules.OpenAccount{Account: account, Username: "ann", At: at})
		fmt.Println(err)
	}
	open("1", day(1))
	open("2", day(2))
	_, err := decider.Execute(ctx, log, rules.CloseAccount{Account: "1", At: day(3)})
	fmt.Println(err)
	open("2", day(4))
	open("2", day(9))
	// Output:
	// <nil>
	// OpenAccount rejected: username is taken
	// <nil>
	// OpenAccount rejected: username is taken
	// <nil>
}

// Numbers follow each other without a gap, whoever issues invoices at the same time.
func ExampleSeries() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), rules.Schema)
	for _, invoice := range []string{"a", "b", "c"} {
		issued, err := decider.Execute(ctx, log, rules.IssueInvoice{Invoice: invoice, Series: "2026"})
		fmt.Println(issued.State.Last, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
}

// A token works once, and for an hour.
func ExampleToken() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), rules.Schema)
	given := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	_, err := log.Append(ctx, []rules.Event{rules.SignUpRequested{Token: "x7", User: "ann", At: given}})
	fmt.Println(err)
	for _, after := range []time.Duration{2 * time.Hour, time.Minute, time.Minute} {
		_, err := decider.Execute(ctx, log, rules.ConfirmSignUp{Token: "x7", At: given.Add(after)})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// ConfirmSignUp rejected: token has expired
	// <nil>
	// ConfirmSignUp rejected: token was used already
}

// Who was shown a price gets it for ten minutes after it has changed; an order of several products is one decision.
func ExamplePrices() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), rules.Schema)
	noon := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	_, err := log.Append(ctx, []rules.Event{
		rules.PriceSet{Product: "coffee", Cents: 890, At: noon.Add(-time.Hour)},
		rules.PriceSet{Product: "tea", Cents: 450, At: noon.Add(-time.Hour)},
		rules.PriceSet{Product: "tea", Cents: 480, At: noon},
	})
	fmt.Println(err)
	for _, after := range []time.Duration{5 * time.Minute, 15 * time.Minute} {
		_, err := decider.Execute(ctx, log, rules.OrderProducts{
			Offers: []rules.Offer{{Product: "coffee", Cents: 890}, {Product: "tea", Cents: 450}}, At: noon.Add(after),
		})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// <nil>
	// OrderProducts rejected: price has changed: tea costs 480
}

// A form is submitted once for each page that was shown.
func ExampleSubmission() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), rules.Schema)
	for range 2 {
		_, err := decider.Execute(ctx, log, rules.SubmitForm{Submission: "page-1", Text: "hello"})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// SubmitForm rejected: form was submitted already
}

// The tariff changed in July: a parcel of June still costs what it cost in June.
func ExamplePostage() {
	ctx, log := context.Background(), annals.NewLog(memory.New(), rules.Schema)
	for _, month := range []time.Month{time.June, time.July} {
		_, err := log.Append(ctx, []rules.Event{rules.ParcelWeighed{Sender: "ann", Grams: 1000, At: time.Date(2026, month, 1, 9, 0, 0, 0, time.UTC)}})
		owed, _ := decider.Load(ctx, log, rules.Postage{Sender: "ann"})
		fmt.Println(owed.State.Cents, err)
	}
	// Output:
	// 400 <nil>
	// 1150 <nil>
}

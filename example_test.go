package annals_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

// An e-mail address is taken once, across all customers: the condition is a query, not a stream.
func ExampleNoneSince() {
	ctx := context.Background()
	store := memory.New()
	register := func(customer, email string) error {
		_, err := store.Append(ctx,
			[]annals.Event{{Type: "CustomerRegistered", Stream: "customer-" + customer, Tags: []string{"email:" + email}}},
			annals.NoneSince(0, annals.Tags("email:"+email)))
		return err
	}
	fmt.Println(register("1", "ann@example.com"))
	fmt.Println(errors.Is(register("2", "ann@example.com"), annals.ErrConflict))
	fmt.Println(register("3", "bob@example.com"))
	// Output:
	// <nil>
	// true
	// <nil>
}

// A subscription yields what there is, says that it has caught up, and goes on with what comes.
func ExampleStore_subscribe() {
	ctx := context.Background()
	store := memory.New()
	if _, err := store.Append(ctx, []annals.Event{{Type: "A"}, {Type: "B"}, {Type: "A"}}); err != nil {
		fmt.Println(err)
	}
	for u, err := range store.Subscribe(ctx, annals.Types("A"), 0) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(u.Event.Type, u.Position, "caught up:", u.CaughtUp)
		if u.CaughtUp {
			break
		}
	}
	// Output:
	// A 1 caught up: false
	// A 3 caught up: true
}

// Tags are declared on the fields of an event, and queries are checked against them.
func ExampleSchema_Bind() {
	type StockReceived struct {
		Product string `json:"product" annals:"product,stream"`
	}
	schema := annals.NewSchema([]any{StockReceived{}})
	_, err := schema.Bind(annals.Tags("products:tea"))
	fmt.Println(err)
	e, err := schema.Encode(StockReceived{Product: "tea"})
	fmt.Println(e.Stream, e.Tags, string(e.Data), err)
	// Output:
	// annals: invalid query: the tag "products:tea": no event type declares `annals:"products"`
	// product-tea [product:tea] {"product":"tea"} <nil>
}

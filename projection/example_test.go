package projection_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

// A read model is declared, run, and read at least as fresh as the caller's own append.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	log := annals.NewLog(memory.New(), schema)
	views := projection.NewMemory()
	orders := projection.Of(views, Orders)

	done := make(chan error)
	go func() { done <- projection.Run(ctx, log, views, Orders) }()

	receipt, err := log.Append(ctx, []any{
		CustomerRegistered{Customer: "ann", Name: "Ann"},
		OrderPlaced{Order: "42", Customer: "ann", Total: 1200},
		OrderPlaced{Order: "43", Customer: "ann", Total: 300},
		OrderPaid{Order: "43"},
	})
	if err != nil {
		fmt.Println(err)
	}
	row, err := orders.Get(annals.WithAtLeast(ctx, receipt.Last), "42")
	fmt.Println(row.Name, row.Status, row.Total, err)

	page, err := orders.List(ctx, projection.Where("status", "paid"), projection.OrderBy("total"), projection.Limit(20))
	for _, row := range page.Rows {
		fmt.Println(row.Key, row.Value.Total, err)
	}
	stop()
	fmt.Println(errors.Is(<-done, context.Canceled))
	// Output:
	// Ann placed 1200 <nil>
	// 43 300 <nil>
	// true
}

// The row as it was needs no views: it is folded from the log.
func ExampleAsOf() {
	ctx := context.Background()
	log := annals.NewLog(memory.New(), schema)
	receipt, err := log.Append(ctx, []any{
		CustomerRegistered{Customer: "ann", Name: "Ann"},
		OrderPlaced{Order: "42", Customer: "ann", Total: 1200},
		OrderPaid{Order: "42"},
		CustomerRegistered{Customer: "ann", Name: "Ann Miller"},
	})
	if err != nil {
		fmt.Println(err)
	}
	for p := receipt.First + 1; p <= receipt.Last; p++ {
		row, err := projection.AsOf(ctx, log, Orders, "42", annals.AsOf(p))
		fmt.Println(p, row.Name, row.Status, err)
	}
	_, err = projection.AsOf(ctx, log, Orders, "42", annals.AsOf(1))
	fmt.Println(errors.Is(err, projection.ErrNotFound))
	// Output:
	// 2 Ann placed <nil>
	// 3 Ann paid <nil>
	// 4 Ann Miller paid <nil>
	// true
}

// Rebuild makes the rows anew, as after a change of what Apply does.
func ExampleRebuild() {
	ctx := context.Background()
	log := annals.NewLog(memory.New(), schema)
	views := projection.NewMemory()
	if _, err := log.Append(ctx, []any{OrderPlaced{Order: "42", Customer: "ann"}}); err != nil {
		fmt.Println(err)
	}
	if err := projection.Rebuild(ctx, log, views, Orders, Customers); err != nil {
		fmt.Println(err)
	}
	row, err := projection.Of(views, Orders).Get(ctx, "42")
	fmt.Println(row.Status, err)
	// Output: placed <nil>
}

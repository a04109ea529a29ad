package disk_test

import (
	"context"
	"fmt"
	"os"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

// What was appended is there when the store is opened again.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "annals")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nothing but the example's own

	store, err := disk.Open(ctx, dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := store.Append(ctx, []annals.Event{{Type: "OrderPlaced", Stream: "order-42", Data: []byte(`{"total":1200}`)}}, annals.NoStream("order-42"))
	fmt.Println(receipt.First, err)
	fmt.Println(store.Close())

	store, err = disk.Open(ctx, dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	for e, err := range store.Read(ctx, annals.Stream("order-42")) {
		fmt.Println(e.Position, e.Revision, e.Type, string(e.Data), err)
	}
	fmt.Println(store.Recovery().Clean, store.Close())
	// Output:
	// 1 <nil>
	// <nil>
	// 1 0 OrderPlaced {"total":1200} <nil>
	// true <nil>
}

package privacy_test

import (
	"context"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/privacy"
	"github.com/annalsdb/annals/store/memory"
)

// A program with a disk gives Protect a store/disk, and opens its keys with OpenKeys, in a directory that is backed up apart.
func ExampleProtect() {
	ctx := context.Background()
	base := memory.New()
	store, err := privacy.Protect(ctx, base, privacy.NewMemory())
	fmt.Println(err)
	log := annals.NewLog[any](store, schema)
	_, err = log.Append(ctx, []any{Registered{Customer: "7", Name: privacy.Of("customer-7", "Ann Archer")}})
	fmt.Println(err)
	for e, err := range log.Read(ctx, annals.All()) {
		if registered, ok := e.Value.(Registered); ok {
			name, known := registered.Name.Get()
			fmt.Println(registered.Name, name, known, err)
		}
	}
	// Output:
	// <nil>
	// <nil>
	// (personal) Ann Archer true <nil>
}

// Who is forgotten is forgotten in the past, too. The application's event lets read models know.
func ExampleStore_Erase() {
	ctx := context.Background()
	store, err := privacy.Protect(ctx, memory.New(), privacy.NewMemory())
	fmt.Println(err)
	log := annals.NewLog[any](store, schema)
	_, err = log.Append(ctx, []any{Registered{Customer: "7", Name: privacy.Of("customer-7", "Ann Archer")}})
	fmt.Println(err)
	forgotten, err := log.Encode(ctx, []any{Forgotten{Customer: "7"}})
	fmt.Println(err)
	_, err = store.Erase(ctx, "customer-7", "she asked for it", forgotten)
	fmt.Println(err)
	then, err := decider.Load(ctx, log, Customer{ID: "7"}, annals.AsOf(1))
	fmt.Println(then.State.Name, then.State.Name.Erased(), err)
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// <nil>
	// (erased) true <nil>
}

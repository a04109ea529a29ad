package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

type placed struct {
	Order string `json:"order" annals:"order,stream"`
	Total int    `json:"total"`
}

type paid struct {
	Order string `json:"order" annals:"order,stream"`
}

// Read what a decision depends on, decide, and append on the condition that nothing has happened meanwhile.
func Example() {
	ctx := context.Background()
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{placed{}, paid{}}))
	if _, err := log.Append(ctx, []any{placed{Order: "42", Total: 1200}}, annals.NoStream("order-42")); err != nil {
		fmt.Println(err)
	}

	var head annals.Position
	for e, err := range log.Read(ctx, annals.Stream("order-42"), annals.HeadInto(&head)) {
		fmt.Println(e.Position, e.Revision, e.Type, e.Value, err)
	}
	unchanged := annals.NoneSince(head, annals.Stream("order-42"))
	_, err := log.Append(ctx, []any{paid{Order: "42"}}, unchanged)
	fmt.Println(err)
	_, err = log.Append(ctx, []any{paid{Order: "42"}}, unchanged)
	fmt.Println(errors.Is(err, annals.ErrConflict), err)

	for e, err := range log.Read(ctx, annals.Stream("order-42"), annals.AsOfRevision(0)) {
		fmt.Println("as of revision 0:", e.Type, err)
	}
	// Output:
	// 1 0 placed {42 1200} <nil>
	// <nil>
	// true annals: conflict: wanted none of (stream order-42) after 1: there are, first at 2
	// as of revision 0: placed <nil>
}

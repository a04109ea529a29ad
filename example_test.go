package annals_test

import (
	"context"
	"errors"
	"fmt"
	"time"

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

type OrderPlaced struct {
	Order string `json:"order" annals:"order,stream"`
	Total int64  `json:"total"`
}

type OrderPaid struct {
	Order string `json:"order" annals:"order,stream"`
}

// Events are plain structs. Read, decide, append on the condition that nothing has changed: this is all there is to
// consistency.
func Example() {
	ctx := context.Background()
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{OrderPlaced{}, OrderPaid{}}))
	if _, err := log.Append(ctx, []any{OrderPlaced{Order: "42", Total: 1200}}, annals.NoStream("order-42")); err != nil {
		fmt.Println(err)
	}

	paid := false
	var head annals.Position
	for e, err := range log.Read(ctx, annals.Stream("order-42"), annals.HeadInto(&head)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		_, paid = e.Value.(OrderPaid)
		fmt.Printf("%s at revision %d: %+v\n", e.Type, e.Revision, e.Value)
	}
	if !paid {
		receipt, err := log.Append(ctx, []any{OrderPaid{Order: "42"}}, annals.NoneSince(head, annals.Stream("order-42")))
		fmt.Println("appended at", receipt.Last, err)
	}

	// Who decided on the same past as we did comes too late.
	_, err := log.Append(ctx, []any{OrderPaid{Order: "42"}}, annals.NoneSince(head, annals.Stream("order-42")))
	fmt.Println(err)
	// Output:
	// OrderPlaced at revision 0: {Order:42 Total:1200}
	// appended at 2 <nil>
	// annals: conflict: wanted none of (stream order-42) after 1: there are, first at 2
}

// A conflict says which condition failed, and on request shows the events that are in the way.
func ExampleConflictError() {
	ctx := context.Background()
	store := memory.New()
	for _, name := range []string{"A", "B"} {
		if _, err := store.Append(ctx, []annals.Event{{Type: name, Stream: "order-42"}}); err != nil {
			fmt.Println(err)
		}
	}
	_, err := store.Append(ctx, []annals.Event{{Type: "C", Stream: "order-42"}}, annals.StreamAt("order-42", 0).WithEvents())
	if conflict, ok := errors.AsType[*annals.ConflictError](err); ok {
		for _, f := range conflict.Failures {
			fmt.Println(f, "by", f.Events[0].Type)
		}
	}
	// Output:
	// stream order-42 at revision 0: it is at revision 1 by B
}

// The past is a read option.
func ExampleAsOfRevision() {
	ctx := context.Background()
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{OrderPlaced{}, OrderPaid{}}))
	if _, err := log.Append(ctx, []any{OrderPlaced{Order: "42", Total: 1200}, OrderPaid{Order: "42"}}); err != nil {
		fmt.Println(err)
	}
	for e, err := range log.Read(ctx, annals.Stream("order-42"), annals.AsOfRevision(0)) {
		fmt.Println(e.Type, err)
	}
	for e, err := range log.Read(ctx, annals.Stream("order-42"), annals.Backwards(), annals.Limit(1)) {
		fmt.Println(e.Type, err)
	}
	// Output:
	// OrderPlaced <nil>
	// OrderPaid <nil>
}

// Stored data of an older version becomes today's value when it is read.
func ExampleUpcast() {
	type orderPlaced1 struct {
		Order string
		Euros int64
	}
	schema := annals.NewSchema([]any{OrderPlaced{}},
		annals.Upcast(1, func(o orderPlaced1) OrderPlaced { return OrderPlaced{Order: o.Order, Total: o.Euros * 100} }),
		annals.Renamed[OrderPlaced]("OrderSubmitted"))
	entries, err := schema.Decode(nil, annals.Recorded{Event: annals.Event{Type: "OrderSubmitted", Data: []byte(`{"Order":"42","Euros":12}`)}})
	fmt.Printf("%+v %v\n", entries[0].Value, err)
	// Output:
	// {Order:42 Total:1200} <nil>
}

// A wrong declaration is a mistake in the program: it panics when the program starts, and names every mistake.
func ExampleNewSchema() {
	type OrderShipped struct {
		Order  string `annals:"order,stream,hash"`
		Weight int    `annals:"weight"`
	}
	defer func() { fmt.Println(recover()) }()
	annals.NewSchema([]any{OrderShipped{}, &OrderPaid{}})
	// Output:
	// annals: NewSchema:
	// event *annals_test.OrderPaid is a pointer: events are struct values
	// event annals_test.OrderShipped: field OrderShipped.Order: a stream is neither hashed nor omitted
	// event annals_test.OrderShipped: field OrderShipped.Weight: only strings can be tags, not int
}

// A query says which events, in items that are alternatives.
func ExampleQuery() {
	q := annals.Stream("order-42").Or(annals.Tags("product:tea").Types("StockReceived", "OrderPlaced"))
	fmt.Println(q)
	fmt.Println(q.MatchEvent(annals.Event{Type: "OrderPlaced", Stream: "order-7", Tags: []string{"product:tea"}}))
	fmt.Println(q.MatchEvent(annals.Event{Type: "OrderPaid", Stream: "order-7"}))
	// Output:
	// (stream order-42) or (tag product:tea, type OrderPlaced|StockReceived)
	// true
	// false
}

// What a stream no longer needs is hidden at once, from every read. Positions and revisions go on.
func ExampleRetain() {
	ctx := context.Background()
	store := memory.New()
	append3 := func(stream string) {
		if _, err := store.Append(ctx, []annals.Event{{Type: "A", Stream: stream}, {Type: "B", Stream: stream}, {Type: "C", Stream: stream}}); err != nil {
			fmt.Println(err)
		}
	}
	show := func(what string) {
		for e, err := range store.Read(ctx, annals.Category("sensor")) {
			fmt.Println(what, e.Stream, e.Revision, e.Type, err)
		}
	}
	append3("sensor-1")
	_, err := annals.Retain(ctx, store, "sensor-1", annals.Retention{MaxCount: 1, MaxAge: 30 * 24 * time.Hour})
	fmt.Println(err)
	show("counted")
	append3("sensor-1")
	show("later")
	_, err = annals.DeleteStream(ctx, store, "sensor-1", annals.StreamAt("sensor-1", 5))
	fmt.Println(err)
	append3("sensor-2")
	show("deleted")
	kept, err := annals.RetentionOf(ctx, store, "sensor-1")
	fmt.Println(kept.State, kept.Last, kept.Keep.MaxAge, err)
	// Output:
	// <nil>
	// counted sensor-1 2 C <nil>
	// later sensor-1 5 C <nil>
	// <nil>
	// deleted sensor-2 0 A <nil>
	// deleted sensor-2 1 B <nil>
	// deleted sensor-2 2 C <nil>
	// deleted 5 720h0m0s <nil>
}

// Retention is events: what belongs together happens together, and to repeat it is harmless.
func ExampleDeletionEvent() {
	ctx := context.Background()
	store := memory.New()
	if _, err := store.Append(ctx, []annals.Event{{Type: "CustomerRegistered", Stream: "customer-7"}, {Type: "CartFilled", Stream: "cart-7"}}); err != nil {
		fmt.Println(err)
	}
	system, err := annals.System(store)
	if err != nil {
		fmt.Println(err)
		return
	}
	forget := []annals.Event{
		annals.TombstoneEvent("customer-7"), annals.DeletionEvent("cart-7"),
		{ID: annals.NewID(), Type: "CustomerForgotten", Tags: []string{"customer:7"}},
	}
	for range 2 {
		receipt, err := system.Append(ctx, forget)
		fmt.Println(receipt.First, receipt.Last, receipt.Duplicate, err)
	}
	for e, err := range store.Read(ctx, annals.All().WithSystem()) {
		fmt.Println(e.Position, e.Stream, e.Type, err)
	}
	_, err = store.Append(ctx, []annals.Event{{Type: "CustomerRenamed", Stream: "customer-7"}})
	fmt.Println(err)
	// Output:
	// 3 5 false <nil>
	// 3 5 true <nil>
	// 3 $$customer-7 $tombstoned <nil>
	// 4 $$cart-7 $deleted <nil>
	// 5  CustomerForgotten <nil>
	// annals: stream customer-7 is tombstoned
}

// A consumer that appends stores how far it has come in the same append. When it is run again from an old position, or twice
// at once, nothing happens a second time.
func ExampleTrackingAt() {
	ctx := context.Background()
	store := memory.New()
	if _, err := store.Append(ctx, []annals.Event{{Type: "OrderPlaced", Stream: "order-1"}, {Type: "OrderPlaced", Stream: "order-2"}}); err != nil {
		fmt.Println(err)
	}
	bill := func(from annals.Position) {
		for e, err := range store.Read(ctx, annals.Types("OrderPlaced"), annals.After(from)) {
			if err != nil {
				fmt.Println(err)
				return
			}
			_, err := store.Append(ctx, []annals.Event{{Type: "InvoiceSent", Tags: []string{e.Stream}}}, annals.TrackingAt("billing", e.Position))
			fmt.Println(e.Stream, err)
		}
	}
	bill(0)
	bill(1) // it has forgotten where it was
	at, err := annals.Tracked(ctx, store, "billing")
	fmt.Println(at, err)
	// Output:
	// order-1 <nil>
	// order-2 <nil>
	// order-2 annals: conflict: wanted source billing before 2: it is at 2
	// 2 <nil>
}

// What one event said too much of is taken apart when it is read.
func ExampleSplit() {
	type placedAndPaid struct {
		Order string
		Total int64
	}
	schema := annals.NewSchema([]any{OrderPlaced{}, OrderPaid{}},
		annals.Split("OrderPlacedAndPaid", 1, []any{OrderPlaced{}, OrderPaid{}}, func(o placedAndPaid) []any {
			return []any{OrderPlaced(o), OrderPaid{Order: o.Order}}
		}))
	ctx, store := context.Background(), memory.New()
	_, err := store.Append(ctx, []annals.Event{{Type: "OrderPlacedAndPaid", Stream: "order-42", Tags: []string{"order:42"}, Data: []byte(`{"Order":"42","Total":1200}`)}})
	fmt.Println(err)
	for e, err := range annals.NewLog(store, schema).Read(ctx, annals.Stream("order-42")) {
		fmt.Println(e.Position, e.Part+1, "of", e.Parts, e.Type, err)
	}
	// Output:
	// <nil>
	// 1 1 of 2 OrderPlaced <nil>
	// 1 2 of 2 OrderPaid <nil>
}

// An audit must not miss what this program does not know.
func ExamplePassUnknown() {
	schema := annals.NewSchema([]any{OrderPlaced{}}, annals.PassUnknown(func(r annals.Recorded) any { return "unknown: " + r.Type }))
	ctx, store := context.Background(), memory.New()
	_, err := store.Append(ctx, []annals.Event{{Type: "OrderGiftWrapped"}})
	fmt.Println(err)
	for e, err := range annals.NewLog(store, schema).Read(ctx, annals.All()) {
		fmt.Println(e.Value, err)
	}
	// Output:
	// <nil>
	// unknown: OrderGiftWrapped <nil>
}

// counted is a codec that counts what it stores.
type counted struct {
	annals.Codec
	stored *int
}

func (c counted) Encode(v any) ([]byte, error) {
	*c.stored++
	return c.Codec.Encode(v)
}

// Another codec takes the place of the standard one.
func ExampleEncoding() {
	var stored int
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{OrderPlaced{}}, annals.Encoding(counted{annals.JSON(), &stored})))
	_, err := log.Append(context.Background(), []any{OrderPlaced{Order: "42", Total: 1200}})
	fmt.Println(stored, err)
	// Output:
	// 1 <nil>
}

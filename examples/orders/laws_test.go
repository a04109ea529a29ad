package orders_test

import (
	"math/rand/v2"
	"testing"

	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/examples/orders"
)

// The deciders keep the laws that loading and retrying rest on, over histories that nobody thought of.
func TestDecisionsKeepTheLaws(t *testing.T) {
	t.Parallel()
	pick := func(r *rand.Rand, values ...string) string { return values[r.IntN(len(values))] }
	order := func(r *rand.Rand) string { return pick(r, "1", "2") }
	product := func(r *rand.Rand) string { return pick(r, "tea", "cup") }
	annalstest.Check(t, schema,
		annalstest.Commands(func(*rand.Rand) orders.RegisterCustomer {
			return orders.RegisterCustomer{Customer: ann.ID, Name: "Ann", Email: "ann@example.com"}
		}).As(ann),
		annalstest.Commands(func(r *rand.Rand) orders.ReceiveStock {
			return orders.ReceiveStock{Product: product(r), Count: 1 + r.IntN(5), Price: eur(350)}
		}).As(clerk),
		annalstest.Commands(func(r *rand.Rand) orders.CreateOrder {
			return orders.CreateOrder{Order: order(r), Customer: ann.ID}
		}).As(ann),
		annalstest.Commands(func(r *rand.Rand) orders.AddItem {
			return orders.AddItem{Order: order(r), Product: product(r), Count: 1 + r.IntN(3)}
		}).As(ann),
		annalstest.Commands(func(r *rand.Rand) orders.RemoveItem {
			return orders.RemoveItem{Order: order(r), Product: product(r)}
		}).As(ann),
		annalstest.Commands(func(r *rand.Rand) orders.PlaceOrder {
			return orders.PlaceOrder{Order: order(r)}
		}).As(ann).InPlace(), // its stock is a map of its own
	)
}

package orders

import (
	"context"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
)

// Demo gives a new store a small history to look at, through the same commands that everybody gives: two customers,
// deliveries, orders in every status, and a cart that was checked out. It does nothing if the store has events already.
// The principals are those of [DemoTokens].
func Demo(ctx context.Context, s *Service) error {
	head, err := s.log.Store().Head(ctx)
	if err != nil {
		return fmt.Errorf("orders: demo: %w", err)
	}
	if head > 0 {
		return nil
	}
	for _, tell := range demo() {
		if err := tell(ctx, s); err != nil {
			return fmt.Errorf("orders: demo: %w", err)
		}
	}
	return nil
}

// step is a command of the demo's history.
type step func(ctx context.Context, s *Service) error

// by is a command that somebody gives.
func by[C decider.Command[S, Event], S decider.State[S, Event]](p annals.Principal, cmd C) step {
	return func(ctx context.Context, s *Service) error {
		_, err := cqrs.Do(annals.WithPrincipal(ctx, p), s.bus, cmd)
		return err
	}
}

func demo() []step {
	clerk := annals.Principal{ID: "clerk", Roles: []string{RoleClerk}}
	ann := annals.Principal{ID: "customer-1", Roles: []string{RoleCustomer}}
	bob := annals.Principal{ID: "customer-2", Roles: []string{RoleCustomer}}
	euro := func(cents int64) Money { return Money{Amount: cents, Currency: "EUR"} }
	return []step{
		by(ann, RegisterCustomer{Customer: ann.ID, Name: "Ann Archer", Email: "ann@example.com"}),
		by(bob, RegisterCustomer{Customer: bob.ID, Name: "Bob Baker", Email: "bob@example.com"}),
		by(clerk, ReceiveStock{Product: "tea", Count: 40, Price: euro(450)}),
		by(clerk, ReceiveStock{Product: "coffee", Count: 25, Price: euro(890)}),
		by(clerk, ReceiveStock{Product: "teapot", Count: 3, Price: euro(3900)}),

		// One that went well, with a change of mind.
		by(ann, CreateOrder{Order: "1001", Customer: ann.ID}),
		by(ann, AddItem{Order: "1001", Product: "tea", Count: 2}),
		by(ann, AddItem{Order: "1001", Product: "coffee", Count: 1}),
		by(ann, AddItem{Order: "1001", Product: "teapot", Count: 1}),
		by(ann, RemoveItem{Order: "1001", Product: "coffee"}),
		by(ann, PlaceOrder{Order: "1001"}),
		by(ann, PayOrder{Order: "1001"}),
		by(clerk, ShipOrder{Order: "1001"}),

		// One that was cancelled: its teapots went back, and the next order takes one.
		by(bob, CreateOrder{Order: "1002", Customer: bob.ID}),
		by(bob, AddItem{Order: "1002", Product: "teapot", Count: 2}),
		by(bob, PlaceOrder{Order: "1002"}),
		by(bob, CancelOrder{Order: "1002"}),
		by(ann, CreateOrder{Order: "1003", Customer: ann.ID}),
		by(ann, AddItem{Order: "1003", Product: "teapot", Count: 1}),
		by(ann, PlaceOrder{Order: "1003"}),
		by(ann, PayOrder{Order: "1003"}),

		// The price of tea rises, and Bob has another name now.
		by(clerk, ReceiveStock{Product: "tea", Count: 20, Price: euro(480)}),
		by(bob, UpdateProfile{Customer: bob.ID, Name: "Robert Baker"}),

		// A cart that became an order, which waits to be paid, and one that a clerk writes down for a customer.
		by(bob, AddProductToCart{Cart: "bob", Customer: bob.ID, Product: "tea", Count: 5}),
		by(bob, AddProductToCart{Cart: "bob", Customer: bob.ID, Product: "coffee", Count: 2}),
		by(bob, CheckoutCart{Cart: "bob", Order: "1004"}),
		by(bob, PlaceOrder{Order: "1004"}),
		by(clerk, CreateOrder{Order: "1005", Customer: ann.ID}),
		by(clerk, AddItem{Order: "1005", Product: "coffee", Count: 3}),
	}
}

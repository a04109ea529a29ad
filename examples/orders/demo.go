package orders

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
)

// Demo gives a new store a small history to look at, through the same commands that everybody gives: two customers,
// deliveries, orders in every status, and a cart that was checked out. The principals are those of [DemoTokens]. It reports
// whether the store has all of it.
//
// Nothing but the events says how far a Demo has come: each command has an idempotency key of its own, so what was told is
// known for as long as the store lives, and there is no second record of it that a crash could leave behind. A Demo that was
// cut off is told to its end by the next one, and one that is complete is left as it is. A store that somebody else has
// written to is left alone, whether they came before the demo or in the midst of it.
func Demo(ctx context.Context, s *Service) (whole bool, err error) {
	whole, err = HasDemo(ctx, s)
	if whole || err != nil {
		return whole, err
	}
	steps, bus := demo(), demoBus(s)
	next, end := 0, annals.Position(0)
	for ; next < len(steps); next++ {
		p, err := toldAt(ctx, bus, steps, next)
		if err != nil {
			return false, err
		}
		if p == 0 {
			break
		}
		end = p
	}
	head, err := s.log.Store().Head(ctx)
	if err != nil {
		return false, fmt.Errorf("orders: demo: %w", err)
	}
	if head > end {
		return false, nil
	}
	for i := next; i < len(steps); i++ {
		if _, err := steps[i](ctx, bus, decider.IdempotencyKey(demoKey(i))); err != nil {
			return false, notTheirs(err)
		}
	}
	return true, nil
}

// HasDemo reports whether the store has all of the history of [Demo]. It changes nothing.
func HasDemo(ctx context.Context, s *Service) (bool, error) {
	steps := demo()
	p, err := toldAt(ctx, demoBus(s), steps, len(steps)-1) // they are told in their order
	return p > 0, err
}

// demoBus is not the service's own: to ask what was told is no command of anybody, and not logged as one.
func demoBus(s *Service) *cqrs.Bus[Event] { return cqrs.New(s.log, cqrs.Correlation()) }

// toldAt is the position where the events of a step end, 0 if it was not told.
func toldAt(ctx context.Context, bus *cqrs.Bus[Event], steps []step, i int) (annals.Position, error) {
	p, err := steps[i](ctx, bus, decider.IdempotencyKey(demoKey(i)), decider.DryRun())
	return p, notTheirs(err)
}

// demoKey is the idempotency key of a step, by its place in the history.
func demoKey(i int) string { return fmt.Sprint("demo-", i+1) }

// notTheirs is err, unless it says only that somebody else made another history, or one of another kind.
func notTheirs(err error) error {
	if err == nil {
		return nil
	}
	for _, theirs := range []error{decider.ErrRejected, decider.ErrForbidden, decider.ErrKeyReused, annals.ErrUnknownType} {
		if errors.Is(err, theirs) {
			return nil
		}
	}
	return fmt.Errorf("orders: demo: %w", err)
}

// step is a command of the demo's history. If it was told before, under the same key, it gives the position where its events
// end.
type step func(ctx context.Context, bus *cqrs.Bus[Event], opts ...decider.Option) (before annals.Position, err error)

// by is a command that somebody gives.
func by[C decider.Command[S, Event], S decider.State[S, Event]](p annals.Principal, cmd C) step {
	return func(ctx context.Context, bus *cqrs.Bus[Event], opts ...decider.Option) (annals.Position, error) {
		result, err := cqrs.Do(annals.WithPrincipal(ctx, p), bus, cmd, opts...)
		if err != nil || !result.Duplicate {
			return 0, err
		}
		return result.Position, nil
	}
}

// demo is the history. New steps go to the end: a key is a place in it.
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
		by(bob, CheckoutCart{Cart: "bob", Customer: bob.ID, Order: "1004"}),
		by(bob, PlaceOrder{Order: "1004"}),
		by(clerk, CreateOrder{Order: "1005", Customer: ann.ID}),
		by(clerk, AddItem{Order: "1005", Product: "coffee", Count: 3}),
	}
}

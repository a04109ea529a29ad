package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/examples/orders"
)

// What the file demoName says: a history that was begun is told to its end, also when the program was killed meanwhile.
const (
	demoNone  = ""
	demoBegun = "begun\n"
	demoDone  = "done\n"
)

// demo is the history that a new store is given: commands, as everybody sends them. Each has an idempotency key of its own, so
// that what was stored before a kill is not stored again when the history is told once more.
type demo struct {
	dir    string // where its file is kept
	log    *annals.Log[orders.Event]
	logger *slog.Logger
}

// tell gives the history to a store that is new, and the rest of it to one that has a part. It tells whether the store has
// a history of its own, or none.
func (d *demo) tell(ctx context.Context) (told bool, err error) {
	state, err := d.state()
	if err != nil {
		return false, err
	}
	head, err := d.log.Store().Head(ctx)
	if err != nil {
		return false, err
	}
	if head > 0 && state != demoBegun {
		return state == demoDone, nil
	}
	// The intention is durable before the first event: a store with a few events and no such file is somebody's own.
	if err := d.note(demoBegun); err != nil {
		return false, err
	}
	bus := cqrs.New(d.log, cqrs.Correlation())
	for i, step := range history() {
		err := step(ctx, bus, decider.IdempotencyKey(keyOf(i)))
		if errors.Is(err, decider.ErrRejected) || errors.Is(err, decider.ErrKeyReused) {
			// Somebody used the store between the two halves. What is there is theirs now.
			d.logger.WarnContext(ctx, "the rest of the demo does not fit this store any more, and is left out", "error", err)
			break
		}
		if err != nil {
			return false, fmt.Errorf("give the store its demo: %w", err)
		}
	}
	return true, d.note(demoDone)
}

// keyOf is the idempotency key of a command, by its place in the history.
func keyOf(i int) string { return fmt.Sprintf("demo-%d", i+1) }

func (d *demo) path() string { return filepath.Join(d.dir, demoName) }

func (d *demo) state() (string, error) {
	b, err := os.ReadFile(d.path())
	if errors.Is(err, fs.ErrNotExist) {
		return demoNone, nil
	}
	if err != nil {
		return demoNone, err
	}
	return string(b), nil
}

func (d *demo) note(state string) error { return writeDurably(d.path(), []byte(state)) }

// step is a command of the history.
type step func(ctx context.Context, bus *cqrs.Bus[orders.Event], opts ...decider.Option) error

// by is a command that somebody gives.
func by[C decider.Command[S, orders.Event], S decider.State[S, orders.Event]](p annals.Principal, cmd C) step {
	return func(ctx context.Context, bus *cqrs.Bus[orders.Event], opts ...decider.Option) error {
		_, err := cqrs.Do(annals.WithPrincipal(ctx, p), bus, cmd, opts...)
		return err
	}
}

// history is two customers, deliveries, orders in every status, and a cart that was checked out. The principals are those
// of orders.DemoTokens. New commands go to the end: a key is a place in the list.
func history() []step {
	clerk := annals.Principal{ID: "clerk", Roles: []string{orders.RoleClerk}}
	ann := annals.Principal{ID: "customer-1", Roles: []string{orders.RoleCustomer}}
	bob := annals.Principal{ID: "customer-2", Roles: []string{orders.RoleCustomer}}
	euro := func(cents int64) orders.Money { return orders.Money{Amount: cents, Currency: "EUR"} }
	return []step{
		by(ann, orders.RegisterCustomer{Customer: ann.ID, Name: "Ann Archer", Email: "ann@example.com"}),
		by(bob, orders.RegisterCustomer{Customer: bob.ID, Name: "Bob Baker", Email: "bob@example.com"}),
		by(clerk, orders.ReceiveStock{Product: "tea", Count: 40, Price: euro(450)}),
		by(clerk, orders.ReceiveStock{Product: "coffee", Count: 25, Price: euro(890)}),
		by(clerk, orders.ReceiveStock{Product: "teapot", Count: 3, Price: euro(3900)}),

		// One that went well, with a change of mind.
		by(ann, orders.CreateOrder{Order: "1001", Customer: ann.ID}),
		by(ann, orders.AddItem{Order: "1001", Product: "tea", Count: 2}),
		by(ann, orders.AddItem{Order: "1001", Product: "coffee", Count: 1}),
		by(ann, orders.AddItem{Order: "1001", Product: "teapot", Count: 1}),
		by(ann, orders.RemoveItem{Order: "1001", Product: "coffee"}),
		by(ann, orders.PlaceOrder{Order: "1001"}),
		by(ann, orders.PayOrder{Order: "1001"}),
		by(clerk, orders.ShipOrder{Order: "1001"}),

		// One that was cancelled: its teapots went back, and the next order takes one.
		by(bob, orders.CreateOrder{Order: "1002", Customer: bob.ID}),
		by(bob, orders.AddItem{Order: "1002", Product: "teapot", Count: 2}),
		by(bob, orders.PlaceOrder{Order: "1002"}),
		by(bob, orders.CancelOrder{Order: "1002"}),
		by(ann, orders.CreateOrder{Order: "1003", Customer: ann.ID}),
		by(ann, orders.AddItem{Order: "1003", Product: "teapot", Count: 1}),
		by(ann, orders.PlaceOrder{Order: "1003"}),
		by(ann, orders.PayOrder{Order: "1003"}),

		// The price of tea rises, and Bob has another name now.
		by(clerk, orders.ReceiveStock{Product: "tea", Count: 20, Price: euro(480)}),
		by(bob, orders.UpdateProfile{Customer: bob.ID, Name: "Robert Baker"}),

		// A cart that became an order, which waits to be paid, and one that a clerk writes down for a customer.
		by(bob, orders.AddProductToCart{Cart: "bob", Customer: bob.ID, Product: "tea", Count: 5}),
		by(bob, orders.AddProductToCart{Cart: "bob", Customer: bob.ID, Product: "coffee", Count: 2}),
		by(bob, orders.CheckoutCart{Cart: "bob", Order: "1004"}),
		by(bob, orders.PlaceOrder{Order: "1004"}),
		by(clerk, orders.CreateOrder{Order: "1005", Customer: ann.ID}),
		by(clerk, orders.AddItem{Order: "1005", Product: "coffee", Count: 3}),
	}
}

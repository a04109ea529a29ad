// Command readme is the program of the README: an order is paid, once, and its past can be asked for.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/disk"
)

// Events: what happened. Fields say what an event is about: the stream order-42, the tag order:42.
type (
	OrderPlaced struct {
		Order string `json:"order" annals:"order,stream"`
	}
	OrderPaid struct {
		Order string `json:"order" annals:"order,stream"`
	}
)

// Order is a state: what a decision has to know.
type Order struct{ ID, Status string }

func (o Order) Boundary() annals.Query { return annals.Stream("order-" + o.ID) }
func (o Order) Evolve(e any) Order {
	switch e.(type) {
	case OrderPlaced:
		o.Status = "placed"
	case OrderPaid:
		o.Status = "paid"
	}
	return o
}

const ErrNotPlaced = decider.Rule("order is not waiting to be paid")

// PayOrder is a command: a request that a rule may refuse.
type PayOrder struct{ Order string }

func (c PayOrder) Initial() Order { return Order{ID: c.Order} }
func (c PayOrder) Decide(o Order) ([]any, error) {
	if o.Status != "placed" {
		return nil, ErrNotPlaced
	}
	return []any{OrderPaid{o.ID}}, nil
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "annals-readme-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := disk.Open(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	log := annals.NewLog(store, annals.NewSchema([]any{OrderPlaced{}, OrderPaid{}}))
	if _, err := log.Append(ctx, []any{OrderPlaced{"42"}}); err != nil {
		return err
	}
	now, err := decider.Execute(ctx, log, PayOrder{"42"})
	if err != nil {
		return err
	}
	then, err := decider.Load(ctx, log, Order{ID: "42"}, annals.AsOfRevision(0))
	if err != nil {
		return err
	}
	fmt.Println(then.State.Status, "then,", now.State.Status, "now")

	_, err = decider.Execute(ctx, log, PayOrder{"42"})
	fmt.Println(err)
	return nil
}

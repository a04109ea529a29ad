package projectiontest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// The domain of the suite: orders of customers, with products.
type (
	placed struct {
		Order    string    `json:"order" annals:"order,stream"`
		Customer string    `json:"customer" annals:"customer"`
		Products []string  `json:"products" annals:"product"`
		Total    int64     `json:"total"`
		At       time.Time `json:"at"`
	}
	paid struct {
		Order string `json:"order" annals:"order,stream"`
	}
	moved struct { // to another customer
		Order    string `json:"order" annals:"order,stream"`
		Customer string `json:"to"`
	}
	cancelled struct {
		Order string `json:"order" annals:"order,stream"`
	}
	named struct {
		Customer string `json:"customer" annals:"customer,stream"`
		Name     string `json:"name"`
	}
	forgotten struct {
		Customer string `json:"customer" annals:"customer,stream"`
	}
	poisoned struct {
		Order string `json:"order" annals:"order,stream"`
		Panic bool   `json:"panic"`
	}
)

type orderRow struct {
	Customer string         `json:"customer"`
	Name     string         `json:"name,omitempty"`
	Status   string         `json:"status"`
	Total    int64          `json:"total"`
	At       time.Time      `json:"at"`
	Seen     map[string]int `json:"seen,omitempty"`
}

type customerRow struct {
	Name string `json:"name"`
}

type productRow struct {
	Sold int `json:"sold"`
}

var errPoison = errors.New("poison")

var customers = projection.Rows[customerRow, any]{
	Name: "customers", By: "customer", Query: annals.Category("customer"),
	Apply: func(_ string, row *customerRow, e annals.Entry[any]) error {
		switch ev := e.Value.(type) {
		case named:
			row.Name = ev.Name
		case forgotten:
			return projection.Delete
		}
		return nil
	},
}

var products = projection.Rows[productRow, any]{
	Name: "products", By: "product", Query: annals.Types("placed"),
	Apply: func(_ string, row *productRow, _ annals.Entry[any]) error {
		row.Sold++
		return nil
	},
}

var orders = projection.Rows[orderRow, any]{
	Name: "orders", By: "order", Query: annals.Category("order"), Apply: applyOrder,
	Columns: []projection.Column[orderRow]{
		{Name: "status", Value: func(o orderRow) any { return o.Status }},
		{Name: "total", Value: func(o orderRow) any { return o.Total }},
		{Name: "at", Value: func(o orderRow) any { return o.At }},
		{Name: "large", Value: func(o orderRow) any { return o.Total >= 100 }},
		{Name: "name", Value: func(o orderRow) any { return o.Name }},
	},
	Joins: []projection.Joined[orderRow, any]{projection.Join(customers,
		func(o orderRow) string { return o.Customer },
		func(o *orderRow, c customerRow) { o.Name = c.Name })},
}

func applyOrder(_ string, row *orderRow, e annals.Entry[any]) error {
	if row.Seen == nil {
		row.Seen = map[string]int{}
	}
	row.Seen[e.Type]++
	switch ev := e.Value.(type) {
	case placed:
		row.Customer, row.Total, row.At, row.Status = ev.Customer, ev.Total, ev.At, "placed"
	case paid:
		row.Status = "paid"
	case moved:
		row.Customer = ev.Customer
	case cancelled:
		return projection.Delete
	case poisoned:
		if ev.Panic {
			panic("poison")
		}
		return errPoison
	}
	return nil
}

// rig is one test, its store and its views.
type rig struct {
	*testing.T
	log   *annals.Log[any]
	views projection.Views
}

func newRig(t *testing.T, store annals.Store, views projection.Views) *rig {
	t.Helper()
	schema := annals.NewSchema([]any{placed{}, paid{}, moved{}, cancelled{}, named{}, forgotten{}, poisoned{}, swapped{}})
	return &rig{T: t, log: annals.NewLog(store, schema), views: views}
}

func (r *rig) append(t *testing.T, events ...any) annals.Position {
	t.Helper()
	receipt, err := r.log.Append(t.Context(), events)
	must(t, err)
	return receipt.Last
}

func (r *rig) catchUp(t *testing.T, defs ...projection.Definition[any]) {
	t.Helper()
	must(t, projection.CatchUp(t.Context(), r.log, r.views, defs...))
}

// run runs the projections until the returned function is called, which waits for the end and gives the error.
func (r *rig) run(t *testing.T, defs ...projection.Definition[any]) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- projection.Run(ctx, r.log, r.views, defs...) }()
	var err error
	ended := false
	stop = func() error {
		cancel()
		if !ended {
			err, ended = <-done, true
		}
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

// all is every row of the view, as JSON.
func all[V any](t *testing.T, v *projection.View[V]) string {
	t.Helper()
	page, err := v.List(t.Context(), projection.Limit(1000))
	must(t, err)
	b, err := json.Marshal(page.Rows)
	must(t, err)
	return string(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("the error is %v, not %v", err, target)
	}
}

func wantEqual[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func day(n int) time.Time { return time.Date(2026, 1, n, 12, 0, 0, n, time.UTC) }

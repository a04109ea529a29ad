package decider_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

// A small shop: orders of products, and a stock that all orders share.

type event interface{ isEvent() }

type (
	stockReceived struct {
		Product string `json:"product" annals:"product"`
		Count   int    `json:"count"`
	}
	orderCreated struct {
		Order string `json:"order" annals:"order,stream"`
	}
	itemAdded struct {
		Order   string `json:"order" annals:"order,stream"`
		Product string `json:"product" annals:"product"`
	}
	orderPlaced struct {
		Order    string   `json:"order" annals:"order,stream"`
		Products []string `json:"products" annals:"product"`
	}
	orderPaid struct {
		Order string `json:"order" annals:"order,stream"`
	}
	invoiceSent struct {
		Invoice string `json:"invoice" annals:"invoice,stream"`
	}
)

func (stockReceived) isEvent() {}
func (orderCreated) isEvent()  {}
func (itemAdded) isEvent()     {}
func (orderPlaced) isEvent()   {}
func (orderPaid) isEvent()     {}
func (invoiceSent) isEvent()   {}

var schema = annals.NewSchema([]event{stockReceived{}, orderCreated{}, itemAdded{}, orderPlaced{}, orderPaid{}, invoiceSent{}})

const (
	errExists  = decider.Rule("order exists")
	errSoldOut = decider.Rule("sold out")
	errStatus  = decider.Rule("wrong status")
)

type order struct {
	ID, Status string
	Products   []string
}

func (o order) Boundary() annals.Query { return annals.Stream("order-" + o.ID) }

func (o order) Evolve(e event) order {
	switch e := e.(type) {
	case orderCreated:
		o.Status = "draft"
	case itemAdded:
		o.Products = append(o.Products, e.Product)
	case orderPlaced:
		o.Status = "placed"
	case orderPaid:
		if o.Status == "paid" {
			panic("paid twice")
		}
		o.Status = "paid"
	}
	return o
}

// placing is an order and the stock of its products: its boundary grows with the order.
type placing struct {
	Order order
	Stock map[string]int
}

func (p placing) Boundary() annals.Query {
	q := p.Order.Boundary()
	for _, product := range p.Order.Products {
		q = q.Or(annals.Tags("product:"+product).Types("stockReceived", "orderPlaced"))
	}
	return q
}

func (p placing) Evolve(e event) placing {
	switch e := e.(type) {
	case stockReceived:
		p = p.add(e.Product, e.Count)
	case orderPlaced:
		for _, product := range e.Products {
			p = p.add(product, -1)
		}
	}
	if schema.Match(p.Order.Boundary(), e) {
		p.Order = p.Order.Evolve(e)
	}
	return p
}

func (p placing) add(product string, n int) placing {
	if p.Stock == nil {
		p.Stock = map[string]int{}
	}
	p.Stock[product] += n
	return p
}

type createOrder struct{ Order string }

func (c createOrder) Initial() order { return order{ID: c.Order} }
func (c createOrder) Decide(o order) ([]event, error) {
	if o.Status != "" {
		return nil, errExists
	}
	return []event{orderCreated(c)}, nil
}

type addItem struct {
	Order   string `json:"order"`
	Product string `json:"product"`
}

func (c addItem) Initial() order { return order{ID: c.Order} }
func (c addItem) Validate() error {
	var v decider.Invalid
	v.Check(c.Order != "", "order", "is required")
	v.Check(c.Product != "", "product", "is required")
	return v.Err()
}

func (c addItem) Decide(o order) ([]event, error) {
	if o.Status != "draft" {
		return nil, fmt.Errorf("%w: %q", errStatus, o.Status)
	}
	return []event{itemAdded(c)}, nil
}

type placeOrder struct{ Order string }

// Initial holds a map on purpose: it has to be made afresh for every read.
func (c placeOrder) Initial() placing {
	return placing{Order: order{ID: c.Order}, Stock: map[string]int{}}
}

func (c placeOrder) Decide(p placing) ([]event, error) {
	if p.Order.Status != "draft" {
		return nil, errStatus
	}
	need := map[string]int{}
	for _, product := range p.Order.Products {
		if need[product]++; need[product] > p.Stock[product] {
			return nil, fmt.Errorf("%w: %s", errSoldOut, product)
		}
	}
	return []event{orderPlaced{Order: c.Order, Products: p.Order.Products}}, nil
}

// payOrder belongs to clerks. Paid orders are left alone.
type payOrder struct{ Order string }

func (c payOrder) Initial() order { return order{ID: c.Order} }
func (c payOrder) Authorize(p annals.Principal, o order) error {
	if !p.Has("clerk") {
		return fmt.Errorf("order %s is %s: clerks only", o.ID, o.Status)
	}
	return nil
}

func (c payOrder) Decide(o order) ([]event, error) {
	switch o.Status {
	case "placed":
		return []event{orderPaid(c)}, nil
	case "paid":
		return nil, nil
	}
	return nil, errStatus
}

var clerk = annals.Principal{ID: "carla", Roles: []string{"clerk"}}

// history is a log with these events.
func history(t *testing.T, events ...event) *annals.Log[event] {
	t.Helper()
	log := annals.NewLog(memory.New(), schema)
	record(t, log, events...)
	return log
}

func record(t *testing.T, log *annals.Log[event], events ...event) {
	t.Helper()
	for _, e := range events {
		if _, err := log.Append(t.Context(), []event{e}); err != nil {
			t.Fatal(err)
		}
	}
}

func head(t *testing.T, log *annals.Log[event]) annals.Position {
	t.Helper()
	p, err := log.Store().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// meddler is a store in which something happens before some of its calls.
type meddler struct {
	annals.Store
	appends      int
	beforeAppend func(n int) error // an error is the append's answer
	beforeRead   func()
	receive      func(*annals.Receipt) error // changes an append's answer
}

func (m *meddler) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	m.appends++
	if m.beforeAppend != nil {
		if err := m.beforeAppend(m.appends); err != nil {
			return annals.Receipt{}, err
		}
	}
	receipt, err := m.Store.Append(ctx, events, conds...)
	if err == nil && m.receive != nil {
		err = m.receive(&receipt)
	}
	return receipt, err
}

func (m *meddler) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		if m.beforeRead != nil {
			m.beforeRead()
		}
		m.Store.Read(ctx, q, opts...)(yield)
	}
}

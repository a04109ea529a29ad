package orders

import (
	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// ErrNoSuchItem says that the order has no line of the product.
const ErrNoSuchItem = decider.Rule("order does not have the product")

// AddItem puts pieces of a product into an open order. The price is the product's, not the sender's.
type AddItem struct {
	Order   string `json:"order"`
	Product string `json:"product"`
	Count   int    `json:"count"`
}

// Adding is an order and a product: one decision over both.
type Adding struct {
	Order   Order
	Product Product
}

// Boundary is the order and the product's deliveries.
func (a Adding) Boundary() annals.Query { return a.Order.Boundary().Or(a.Product.Boundary()) }

// Evolve folds one event in.
func (a Adding) Evolve(e Event) Adding {
	a.Order, a.Product = a.Order.Evolve(e), a.Product.Evolve(e)
	return a
}

// Validate checks the fields.
func (c AddItem) Validate() error {
	var v decider.Invalid
	checkID(&v, "order", c.Order)
	checkID(&v, "product", c.Product)
	checkCount(&v, c.Count)
	return v.Err()
}

// Authorize wants the order's customer, or a clerk.
func (c AddItem) Authorize(p annals.Principal, s Adding) error {
	return s.Order.mayBeUsedBy(p)
}

// Initial is the order and the product before anything happened.
func (c AddItem) Initial() Adding {
	return Adding{Order: Order{ID: c.Order}, Product: Product{ID: c.Product}}
}

// Decide adds the pieces at today's price.
func (c AddItem) Decide(s Adding) ([]Event, error) {
	if err := s.Order.mayChange(); err != nil {
		return nil, err
	}
	line, err := s.Product.line(c.Count)
	if err != nil {
		return nil, err
	}
	if err := s.Order.Lines.mayAdd(line); err != nil {
		return nil, err
	}
	return []Event{ItemAdded{Order: c.Order, Line: line}}, nil
}

// RemoveItem takes a product out of an open order.
type RemoveItem struct {
	Order   string `json:"order"`
	Product string `json:"product"`
}

// Validate checks the fields.
func (c RemoveItem) Validate() error {
	var v decider.Invalid
	checkID(&v, "order", c.Order)
	checkID(&v, "product", c.Product)
	return v.Err()
}

// Authorize wants the order's customer, or a clerk.
func (c RemoveItem) Authorize(p annals.Principal, o Order) error { return o.mayBeUsedBy(p) }

// Initial is the order before anything happened.
func (c RemoveItem) Initial() Order { return Order{ID: c.Order} }

// Decide removes a line that is there.
func (c RemoveItem) Decide(o Order) ([]Event, error) {
	if err := o.mayChange(); err != nil {
		return nil, err
	}
	if !o.Lines.Has(c.Product) {
		return nil, ErrNoSuchItem
	}
	return []Event{ItemRemoved(c)}, nil
}

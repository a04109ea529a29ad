package orders

import (
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// The rules of placing an order.
const (
	ErrEmptyOrder = decider.Rule("order is empty")
	ErrSoldOut    = decider.Rule("sold out")
)

// PlaceOrder takes everything in an order out of stock, or nothing.
type PlaceOrder struct {
	Order string `json:"order"`
}

// Placing is an order and the stock of all its products: one decision over them all. Which products those are is in the
// order's past, so the boundary grows when that has been read.
type Placing struct {
	Order Order
	Stock Stock
}

// Boundary is the order, and what moves the stock of its products.
func (p Placing) Boundary() annals.Query {
	q := p.Order.Boundary()
	for _, l := range p.Order.Lines {
		q = q.Or(stockMoves(l.Product))
	}
	return q
}

// Evolve folds one event in.
func (p Placing) Evolve(e Event) Placing {
	p.Order, p.Stock = p.Order.Evolve(e), p.Stock.add(e)
	return p
}

// Validate checks the fields.
func (c PlaceOrder) Validate() error { return validateOrder(c.Order) }

// Authorize wants the order's customer, or a clerk.
func (c PlaceOrder) Authorize(p annals.Principal, s Placing) error {
	return s.Order.mayBeUsedBy(p)
}

// Initial is the order before anything happened.
func (c PlaceOrder) Initial() Placing { return Placing{Order: Order{ID: c.Order}} }

// Decide places an order whose products are all there.
func (c PlaceOrder) Decide(s Placing) ([]Event, error) {
	if err := s.Order.mayChange(); err != nil {
		return nil, err
	}
	if len(s.Order.Lines) == 0 {
		return nil, ErrEmptyOrder
	}
	for _, l := range s.Order.Lines {
		if left := s.Stock[l.Product]; left < l.Count {
			return nil, fmt.Errorf("%w: %s, %d left", ErrSoldOut, l.Product, left)
		}
	}
	total, err := s.Order.Lines.Total()
	if err != nil {
		return nil, err
	}
	return []Event{OrderPlaced{Order: c.Order, Lines: s.Order.Lines, Total: total}}, nil
}

package orders

import (
	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// ErrUnknownProduct says that nothing of the product was ever received.
const ErrUnknownProduct = decider.Rule("product does not exist")

// Product is what a product costs. It exists once some of it was received.
type Product struct {
	ID    string
	Known bool
	Price Money
}

// Boundary is the product's deliveries. It names no stream, so that beside an order's the revision is the order's.
func (p Product) Boundary() annals.Query {
	return annals.Tags(annals.Tag("product", p.ID)).Types("StockReceived")
}

// Evolve folds one event in.
func (p Product) Evolve(e Event) Product {
	if e, ok := e.(StockReceived); ok && e.Product == p.ID {
		p.Known, p.Price = true, e.Price
	}
	return p
}

// line is so many pieces at today's price.
func (p Product) line(count int) (Line, error) {
	if !p.Known {
		return Line{}, ErrUnknownProduct
	}
	return Line{Product: p.ID, Count: count, Price: p.Price}, nil
}

// Stock is how many pieces there are of each product whose moves were folded in.
type Stock map[string]int

// stockMoves is what changes the stock of a product.
func stockMoves(product string) annals.Query {
	return annals.Tags(annals.Tag("product", product)).Types("StockReceived", "OrderPlaced", "OrderCancelled")
}

func (s Stock) add(e Event) Stock {
	if s == nil {
		s = Stock{}
	}
	switch e := e.(type) {
	case StockReceived:
		s[e.Product] += e.Count
	case OrderPlaced:
		for _, l := range e.Lines {
			s[l.Product] -= l.Count
		}
	case OrderCancelled:
		for _, l := range e.Returned {
			s[l.Product] += l.Count
		}
	}
	return s
}

// ReceiveStock puts pieces of a product into stock and sets its price.
type ReceiveStock struct {
	Product string `json:"product"`
	Count   int    `json:"count"`
	Price   Money  `json:"price"`
}

// Validate checks the fields.
func (c ReceiveStock) Validate() error {
	var v decider.Invalid
	checkID(&v, "product", c.Product)
	checkCount(&v, c.Count)
	c.Price.check(&v, "price")
	return v.Err()
}

// Authorize wants a clerk.
func (c ReceiveStock) Authorize(p annals.Principal, _ Product) error { return staffOnly(p) }

// Initial is the product before anything happened.
func (c ReceiveStock) Initial() Product { return Product{ID: c.Product} }

// Decide takes the delivery. A product keeps its currency.
func (c ReceiveStock) Decide(p Product) ([]Event, error) {
	if _, err := p.Price.Add(c.Price); err != nil {
		return nil, err
	}
	return []Event{StockReceived(c)}, nil
}

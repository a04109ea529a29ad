package rules

import (
	"fmt"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// PriceHonoured is for how long after a change the price before it is still good.
const PriceHonoured = 10 * time.Minute

// The rules of prices.
const (
	ErrUnknownProduct = decider.Rule("product is not sold here")
	ErrOtherPrice     = decider.Rule("price has changed")
)

// Offer is a product and the price that was shown, in cents.
type Offer struct {
	Product string `json:"product" annals:"product"`
	Cents   int64  `json:"cents"`
}

// The events of prices.
type (
	// PriceSet says what a product costs from now on.
	PriceSet struct {
		Product string    `json:"product" annals:"product"`
		Cents   int64     `json:"cents"`
		At      time.Time `json:"at"`
	}
	// ProductsOrdered is an order at the prices that were shown.
	ProductsOrdered struct {
		Offers []Offer `json:"offers"`
	}
)

func (PriceSet) isEvent()        {}
func (ProductsOrdered) isEvent() {}

// Price is what a product costs, and what it cost before.
type Price struct {
	Product string
	Known   bool
	Cents   int64
	Before  int64
	Since   time.Time
}

// Boundary is the product's prices. Orders do not matter: those of one product do not get in each other's way.
func (p Price) Boundary() annals.Query { return annals.Tags("product:" + p.Product).Types("PriceSet") }

// Evolve folds one event in.
func (p Price) Evolve(e Event) Price {
	if e, ok := e.(PriceSet); ok {
		before := p.Cents
		if !p.Known {
			before = e.Cents
		}
		p.Known, p.Before, p.Cents, p.Since = true, before, e.Cents, e.At
	}
	return p
}

// good says whether somebody who was shown a price gets it.
func (p Price) good(cents int64, at time.Time) bool {
	return cents == p.Cents || cents == p.Before && within(at, p.Since, PriceHonoured)
}

// Prices are those of the products of an order: as many parts as the order has.
type Prices []Price

// Boundary joins those of the products.
func (ps Prices) Boundary() annals.Query {
	var items []annals.Item
	for _, p := range ps {
		items = append(items, p.Boundary().Items()...)
	}
	return annals.QueryOf(items...)
}

// Evolve hands an event to the product that it is about.
func (ps Prices) Evolve(e Event) Prices {
	for i, p := range ps {
		if Schema.Match(p.Boundary(), e) {
			ps[i] = p.Evolve(e)
		}
	}
	return ps
}

// OrderProducts orders products at the prices that were shown.
type OrderProducts struct {
	Offers []Offer
	At     time.Time
}

// Validate checks the fields.
func (c OrderProducts) Validate() error {
	var v decider.Invalid
	v.Check(len(c.Offers) > 0, "offers", "are required")
	return v.Err()
}

// Initial is the prices before any was set.
func (c OrderProducts) Initial() Prices {
	ps := make(Prices, len(c.Offers))
	for i, o := range c.Offers {
		ps[i].Product = o.Product
	}
	return ps
}

// Decide accepts the order if each price is good still.
func (c OrderProducts) Decide(ps Prices) ([]Event, error) {
	for i, p := range ps {
		switch {
		case !p.Known:
			return nil, fmt.Errorf("%w: %s", ErrUnknownProduct, p.Product)
		case !p.good(c.Offers[i].Cents, c.At):
			return nil, fmt.Errorf("%w: %s costs %d", ErrOtherPrice, p.Product, p.Cents)
		}
	}
	return []Event{ProductsOrdered{Offers: c.Offers}}, nil
}

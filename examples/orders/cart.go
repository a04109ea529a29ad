package orders

import (
	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// The rules of carts.
const (
	ErrCheckedOut = decider.Rule("cart is checked out already")
	ErrEmptyCart  = decider.Rule("cart is empty")
)

// Cart is what the rules of one cart need to know. Customers name their carts as they like: the name is one among the
// carts of the customer, so nobody comes upon another's.
type Cart struct {
	Customer, Name string
	Lines          Lines
	CheckedOut     bool
}

// ID is the cart's among all carts. Neither part of it has a colon in it.
func (c Cart) ID() string { return c.Customer + ":" + c.Name }

// Boundary is the cart's own stream.
func (c Cart) Boundary() annals.Query { return annals.Stream(annals.StreamName("cart", c.ID())) }

// Evolve folds one event in.
func (c Cart) Evolve(e Event) Cart {
	switch e := e.(type) {
	case ProductAddedToCart:
		if e.Cart == c.ID() {
			c.Lines = c.Lines.Add(e.Line)
		}
	case CartCheckedOut:
		if e.Cart == c.ID() {
			c.CheckedOut = true
		}
	}
	return c
}

// AddProductToCart puts pieces of a product into the customer's cart of this name.
type AddProductToCart struct {
	Cart     string `json:"cart"`
	Customer string `json:"customer"`
	Product  string `json:"product"`
	Count    int    `json:"count"`
}

// Filling is a cart, a product and the customer: one decision over all three.
type Filling struct {
	Cart     Cart
	Product  Product
	Customer Customer
}

// Boundary joins those of the parts.
func (f Filling) Boundary() annals.Query {
	return f.Cart.Boundary().Or(f.Product.Boundary(), f.Customer.registration())
}

// Evolve folds one event in.
func (f Filling) Evolve(e Event) Filling {
	f.Cart, f.Product, f.Customer = f.Cart.Evolve(e), f.Product.Evolve(e), f.Customer.Evolve(e)
	return f
}

// Validate checks the fields.
func (c AddProductToCart) Validate() error {
	var v decider.Invalid
	checkID(&v, "cart", c.Cart)
	checkID(&v, "customer", c.Customer)
	checkID(&v, "product", c.Product)
	checkCount(&v, c.Count)
	return v.Err()
}

// Authorize wants the cart's customer, or a clerk.
func (c AddProductToCart) Authorize(p annals.Principal, _ Filling) error {
	return ownerOrStaff(p, c.Customer)
}

// Initial is cart, product and customer before anything happened.
func (c AddProductToCart) Initial() Filling {
	return Filling{Cart: Cart{Customer: c.Customer, Name: c.Cart}, Product: Product{ID: c.Product}, Customer: Customer{ID: c.Customer}}
}

// Decide adds the pieces at today's price.
func (c AddProductToCart) Decide(s Filling) ([]Event, error) {
	switch {
	case !s.Customer.Registered:
		return nil, ErrUnknownCustomer
	case s.Cart.CheckedOut:
		return nil, ErrCheckedOut
	}
	line, err := s.Product.line(c.Count)
	if err != nil {
		return nil, err
	}
	if err := s.Cart.Lines.mayAdd(line); err != nil {
		return nil, err
	}
	return []Event{ProductAddedToCart{Cart: s.Cart.ID(), Customer: c.Customer, Line: line}}, nil
}

// CheckoutCart makes a new, open order of the customer's cart of this name.
type CheckoutCart struct {
	Cart     string `json:"cart"`
	Customer string `json:"customer"`
	Order    string `json:"order"`
}

// Checkout is a cart and the order to be: one decision over both.
type Checkout struct {
	Cart  Cart
	Order Order
}

// Boundary is the cart and the order.
func (c Checkout) Boundary() annals.Query { return c.Order.Boundary().Or(c.Cart.Boundary()) }

// Evolve folds one event in.
func (c Checkout) Evolve(e Event) Checkout {
	c.Cart, c.Order = c.Cart.Evolve(e), c.Order.Evolve(e)
	return c
}

// Validate checks the fields.
func (c CheckoutCart) Validate() error {
	var v decider.Invalid
	checkID(&v, "cart", c.Cart)
	checkID(&v, "customer", c.Customer)
	checkID(&v, "order", c.Order)
	return v.Err()
}

// Authorize wants the cart's customer, or a clerk.
func (c CheckoutCart) Authorize(p annals.Principal, _ Checkout) error {
	return ownerOrStaff(p, c.Customer)
}

// Initial is the cart and the order before anything happened.
func (c CheckoutCart) Initial() Checkout {
	return Checkout{Cart: Cart{Customer: c.Customer, Name: c.Cart}, Order: Order{ID: c.Order}}
}

// Decide moves the lines into an order, at the prices that the cart showed, and closes the cart.
func (c CheckoutCart) Decide(s Checkout) ([]Event, error) {
	switch {
	case s.Cart.CheckedOut:
		return nil, ErrCheckedOut
	case len(s.Cart.Lines) == 0:
		return nil, ErrEmptyCart
	case s.Order.Status != "":
		return nil, ErrOrderExists
	}
	// The order comes first: it is what the answer is about.
	events := []Event{OrderCreated{Order: c.Order, Customer: s.Cart.Customer}}
	for _, l := range s.Cart.Lines {
		events = append(events, ItemAdded{Order: c.Order, Line: l})
	}
	return append(events, CartCheckedOut{Cart: s.Cart.ID(), Order: c.Order}), nil
}

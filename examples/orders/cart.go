package orders

import (
	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// The rules of carts.
const (
	ErrForeignCart = decider.Rule("cart is another customer's")
	ErrCheckedOut  = decider.Rule("cart is checked out already")
	ErrEmptyCart   = decider.Rule("cart is empty")
)

// Cart is what the rules of one cart need to know. It is that of the customer who puts the first product in.
type Cart struct {
	ID, Customer string // no Customer: nothing was put in yet
	Lines        Lines
	CheckedOut   bool
}

// Boundary is the cart's own stream.
func (c Cart) Boundary() annals.Query { return annals.Stream(annals.StreamName("cart", c.ID)) }

// Evolve folds one event in.
func (c Cart) Evolve(e Event) Cart {
	switch e := e.(type) {
	case ProductAddedToCart:
		if e.Cart == c.ID {
			c.Customer, c.Lines = e.Customer, c.Lines.Add(e.Line)
		}
	case CartCheckedOut:
		if e.Cart == c.ID {
			c.CheckedOut = true
		}
	}
	return c
}

// mayBeUsedBy is the rule of who may check a cart out: its customer, and clerks.
func (c Cart) mayBeUsedBy(p annals.Principal) error {
	if c.Customer == "" {
		return customerOrStaff(p)
	}
	return ownerOrStaff(p, c.Customer)
}

// AddProductToCart puts pieces of a product into a customer's cart.
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

// Authorize wants the cart's customer, or a clerk. A cart that nobody uses is for whom the command says.
func (c AddProductToCart) Authorize(p annals.Principal, s Filling) error {
	if s.Cart.Customer == "" {
		return ownerOrStaff(p, c.Customer)
	}
	return ownerOrStaff(p, s.Cart.Customer)
}

// Initial is cart, product and customer before anything happened.
func (c AddProductToCart) Initial() Filling {
	return Filling{Cart: Cart{ID: c.Cart}, Product: Product{ID: c.Product}, Customer: Customer{ID: c.Customer}}
}

// Decide adds the pieces at today's price.
func (c AddProductToCart) Decide(s Filling) ([]Event, error) {
	switch {
	case !s.Customer.Registered:
		return nil, ErrUnknownCustomer
	case s.Cart.Customer != "" && s.Cart.Customer != c.Customer:
		return nil, ErrForeignCart
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
	return []Event{ProductAddedToCart{Cart: c.Cart, Customer: c.Customer, Line: line}}, nil
}

// CheckoutCart makes a new, open order of a cart.
type CheckoutCart struct {
	Cart  string `json:"cart"`
	Order string `json:"order"`
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
	checkID(&v, "order", c.Order)
	return v.Err()
}

// Authorize wants the cart's customer, or a clerk.
func (c CheckoutCart) Authorize(p annals.Principal, s Checkout) error { return s.Cart.mayBeUsedBy(p) }

// Initial is the cart and the order before anything happened.
func (c CheckoutCart) Initial() Checkout {
	return Checkout{Cart: Cart{ID: c.Cart}, Order: Order{ID: c.Order}}
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
	return append(events, CartCheckedOut(c)), nil
}

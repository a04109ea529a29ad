package orders

import (
	"slices"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// Status is what an order is waiting for.
type Status string

// The statuses, in the order in which they are reached. [StatusCancelled] follows the first two.
const (
	StatusOpen      Status = "open"
	StatusPlaced    Status = "placed"
	StatusPaid      Status = "paid"
	StatusShipped   Status = "shipped"
	StatusCancelled Status = "cancelled"
)

var statuses = []Status{StatusOpen, StatusPlaced, StatusPaid, StatusShipped, StatusCancelled}

// The rules of orders.
const (
	ErrOrderExists    = decider.Rule("order exists already")
	ErrUnknownOrder   = decider.Rule("order does not exist")
	ErrNotOpen        = decider.Rule("order is not open any more")
	ErrNotPlaced      = decider.Rule("order is not waiting to be paid")
	ErrNotPaid        = decider.Rule("order is not paid")
	ErrNotCancellable = decider.Rule("order is too far to be cancelled")
	ErrBeingPaid      = decider.Rule("order is being paid already")
)

// Order is what the rules of one order need to know.
type Order struct {
	ID       string `json:"id"`
	Customer string `json:"customer"`
	Status   Status `json:"status"` // "" if there is no such order
	Lines    Lines  `json:"lines"`
	// BeingPaid says that the payment provider is asked for the money.
	BeingPaid bool `json:"beingPaid"`
}

// SnapshotVersion says that orders may be kept in snapshots. It changes whenever Evolve does.
func (o Order) SnapshotVersion() int { return 1 }

// Boundary is the order's own stream.
func (o Order) Boundary() annals.Query { return annals.Stream(annals.StreamName("order", o.ID)) }

// Evolve folds one event in. Those of other orders, which larger boundaries deliver, are none of its business.
func (o Order) Evolve(e Event) Order {
	about, ok := e.(interface{ order() string })
	if !ok || about.order() != o.ID {
		return o
	}
	switch e := e.(type) {
	case OrderCreated:
		o.Customer, o.Status = e.Customer, StatusOpen
	case ItemAdded:
		o.Lines = o.Lines.Add(e.Line)
	case ItemRemoved:
		o.Lines = o.Lines.Without(e.Product)
	case OrderPlaced:
		o.Status = StatusPlaced
	case PaymentRequested:
		o.BeingPaid = true
	case PaymentDeclined:
		o.BeingPaid = false
	case OrderPaid:
		o.Status, o.BeingPaid = StatusPaid, false
	case OrderShipped:
		o.Status = StatusShipped
	case OrderCancelled:
		o.Status = StatusCancelled
	}
	return o
}

func (e OrderCreated) order() string   { return e.Order }
func (e ItemAdded) order() string      { return e.Order }
func (e ItemRemoved) order() string    { return e.Order }
func (e OrderPlaced) order() string    { return e.Order }
func (e OrderPaid) order() string      { return e.Order }
func (e OrderShipped) order() string   { return e.Order }
func (e OrderCancelled) order() string { return e.Order }

func (e PaymentRequested) order() string { return e.Order }
func (e PaymentTaken) order() string     { return e.Order }
func (e PaymentDeclined) order() string  { return e.Order }
func (e RefundDue) order() string        { return e.Order }
func (e PaymentRefunded) order() string  { return e.Order }
func (e PaymentOverdue) order() string   { return e.Order }

// mayBeUsedBy is the rule of who may see and change an order: its customer, and clerks.
func (o Order) mayBeUsedBy(p annals.Principal) error {
	if o.Status == "" {
		return customerOrStaff(p)
	}
	return ownerOrStaff(p, o.Customer)
}

// mayChange says what is against another item.
func (o Order) mayChange() error { return o.in(ErrNotOpen, StatusOpen) }

// in wants the order to exist and have one of the statuses.
func (o Order) in(otherwise decider.Rule, statuses ...Status) error {
	if o.Status == "" {
		return ErrUnknownOrder
	}
	if slices.Contains(statuses, o.Status) {
		return nil
	}
	return otherwise
}

// validateOrder checks a command that has no other field.
func validateOrder(id string) error {
	var v decider.Invalid
	checkID(&v, "order", id)
	return v.Err()
}

// CreateOrder begins an order for a registered customer.
type CreateOrder struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
}

// Creating is a new order and the customer it is for: one decision over both.
type Creating struct {
	Order    Order
	Customer Customer
}

// Boundary is the order, and whether the customer was registered.
func (c Creating) Boundary() annals.Query { return c.Order.Boundary().Or(c.Customer.registration()) }

// Evolve folds one event in.
func (c Creating) Evolve(e Event) Creating {
	c.Order, c.Customer = c.Order.Evolve(e), c.Customer.Evolve(e)
	return c
}

// Validate checks the fields.
func (c CreateOrder) Validate() error {
	var v decider.Invalid
	checkID(&v, "order", c.Order)
	checkID(&v, "customer", c.Customer)
	return v.Err()
}

// Authorize wants the customer it is for, or a clerk.
func (c CreateOrder) Authorize(p annals.Principal, _ Creating) error {
	return ownerOrStaff(p, c.Customer)
}

// Initial is the order and the customer before anything happened.
func (c CreateOrder) Initial() Creating {
	return Creating{Order: Order{ID: c.Order}, Customer: Customer{ID: c.Customer}}
}

// Decide creates an order once.
func (c CreateOrder) Decide(s Creating) ([]Event, error) {
	switch {
	case s.Order.Status != "":
		return nil, ErrOrderExists
	case !s.Customer.Registered:
		return nil, ErrUnknownCustomer
	}
	return []Event{OrderCreated(c)}, nil
}

package orders

import "github.com/annalsdb/annals"

// PayOrder says that a placed order was paid.
type PayOrder struct {
	Order string `json:"order"`
}

// Validate checks the fields.
func (c PayOrder) Validate() error { return validateOrder(c.Order) }

// Authorize wants the order's customer, or a clerk.
func (c PayOrder) Authorize(p annals.Principal, o Order) error { return o.mayBeUsedBy(p) }

// Initial is the order before anything happened.
func (c PayOrder) Initial() Order { return Order{ID: c.Order} }

// Decide takes the total of a placed order.
func (c PayOrder) Decide(o Order) ([]Event, error) {
	if err := o.in(ErrNotPlaced, StatusPlaced); err != nil {
		return nil, err
	}
	total, err := o.Lines.Total()
	if err != nil {
		return nil, err
	}
	return []Event{OrderPaid{Order: c.Order, Amount: total}}, nil
}

// ShipOrder says that a paid order left the house.
type ShipOrder struct {
	Order string `json:"order"`
}

// Validate checks the fields.
func (c ShipOrder) Validate() error { return validateOrder(c.Order) }

// Authorize wants a clerk.
func (c ShipOrder) Authorize(p annals.Principal, _ Order) error { return staffOnly(p) }

// Initial is the order before anything happened.
func (c ShipOrder) Initial() Order { return Order{ID: c.Order} }

// Decide ships what is paid.
func (c ShipOrder) Decide(o Order) ([]Event, error) {
	if err := o.in(ErrNotPaid, StatusPaid); err != nil {
		return nil, err
	}
	return []Event{OrderShipped(c)}, nil
}

// CancelOrder ends an order that is not paid yet. A placed one gives its stock back.
type CancelOrder struct {
	Order string `json:"order"`
}

// Validate checks the fields.
func (c CancelOrder) Validate() error { return validateOrder(c.Order) }

// Authorize wants the order's customer, or a clerk.
func (c CancelOrder) Authorize(p annals.Principal, o Order) error { return o.mayBeUsedBy(p) }

// Initial is the order before anything happened.
func (c CancelOrder) Initial() Order { return Order{ID: c.Order} }

// Decide cancels an open or a placed order.
func (c CancelOrder) Decide(o Order) ([]Event, error) {
	if err := o.in(ErrNotCancellable, StatusOpen, StatusPlaced); err != nil {
		return nil, err
	}
	cancelled := OrderCancelled{Order: c.Order}
	if o.Status == StatusPlaced {
		cancelled.Returned = o.Lines
	}
	return []Event{cancelled}, nil
}

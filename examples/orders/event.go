package orders

import "github.com/annalsdb/annals"

// Event is what can happen here.
type Event interface{ isEvent() }

// The events of an order.
type (
	// OrderCreated says that a customer has a new, empty order.
	OrderCreated struct {
		Order    string `json:"order" annals:"order,stream"`
		Customer string `json:"customer" annals:"customer"`
	}
	// ItemAdded puts pieces of a product into an order, at the price of that moment.
	ItemAdded struct {
		Order string `json:"order" annals:"order,stream"`
		Line
	}
	// ItemRemoved takes a product out of an order.
	ItemRemoved struct {
		Order   string `json:"order" annals:"order,stream"`
		Product string `json:"product" annals:"product"`
	}
	// OrderPlaced takes the lines out of stock.
	OrderPlaced struct {
		Order string `json:"order" annals:"order,stream"`
		Lines Lines  `json:"lines"`
		Total Money  `json:"total"`
	}
	// OrderPaid says that the total was paid.
	OrderPaid struct {
		Order  string `json:"order" annals:"order,stream"`
		Amount Money  `json:"amount"`
	}
	// OrderShipped says that the order left the house.
	OrderShipped struct {
		Order string `json:"order" annals:"order,stream"`
	}
	// OrderCancelled ends an order, and gives what it had taken back to stock.
	OrderCancelled struct {
		Order    string `json:"order" annals:"order,stream"`
		Returned Lines  `json:"returned,omitempty"`
	}
)

// The events of paying, and of not paying.
type (
	// PaymentRequested says that the customer wants to pay, by a card that only the payment provider knows.
	PaymentRequested struct {
		Order  string `json:"order" annals:"order,stream"`
		Card   string `json:"card"`
		Amount Money  `json:"amount"`
	}
	// PaymentTaken says that the provider has taken the money.
	PaymentTaken struct {
		Order   string `json:"order" annals:"order,stream"`
		Receipt string `json:"receipt"`
		Amount  Money  `json:"amount"`
	}
	// PaymentDeclined says that the provider will not take it.
	PaymentDeclined struct {
		Order  string `json:"order" annals:"order,stream"`
		Reason string `json:"reason"`
	}
	// RefundDue says that money was taken for an order that cannot be paid any more.
	RefundDue struct {
		Order   string `json:"order" annals:"order,stream"`
		Receipt string `json:"receipt"`
	}
	// PaymentRefunded says that the provider has given it back.
	PaymentRefunded struct {
		Order   string `json:"order" annals:"order,stream"`
		Receipt string `json:"receipt"`
	}
	// PaymentOverdue says that the time is over which a placed order has to be paid in.
	PaymentOverdue struct {
		Order string `json:"order" annals:"order,stream"`
	}
)

// The events of everything else.
type (
	// StockReceived puts pieces of a product into stock, and says what one costs from now on.
	StockReceived struct {
		Product string `json:"product" annals:"product,stream"`
		Count   int    `json:"count"`
		Price   Money  `json:"price"`
	}
	// CustomerRegistered says who a customer is. The address is personal, so the tag that makes it unique is a hash.
	CustomerRegistered struct {
		Customer string `json:"customer" annals:"customer,stream"`
		Name     string `json:"name"`
		Email    string `json:"email" annals:"email,hash"`
	}
	// ProfileUpdated gives a customer another name.
	ProfileUpdated struct {
		Customer string `json:"customer" annals:"customer,stream"`
		Name     string `json:"name"`
	}
	// ProductAddedToCart puts pieces of a product into a customer's cart, at the price of that moment.
	ProductAddedToCart struct {
		Cart     string `json:"cart" annals:"cart,stream"`
		Customer string `json:"customer" annals:"customer"`
		Line
	}
	// CartCheckedOut says that a cart became an order.
	CartCheckedOut struct {
		Cart  string `json:"cart" annals:"cart,stream"`
		Order string `json:"order" annals:"order"`
	}
)

func (OrderCreated) isEvent()       {}
func (ItemAdded) isEvent()          {}
func (ItemRemoved) isEvent()        {}
func (OrderPlaced) isEvent()        {}
func (OrderPaid) isEvent()          {}
func (OrderShipped) isEvent()       {}
func (OrderCancelled) isEvent()     {}
func (PaymentRequested) isEvent()   {}
func (PaymentTaken) isEvent()       {}
func (PaymentDeclined) isEvent()    {}
func (RefundDue) isEvent()          {}
func (PaymentRefunded) isEvent()    {}
func (PaymentOverdue) isEvent()     {}
func (StockReceived) isEvent()      {}
func (CustomerRegistered) isEvent() {}
func (ProfileUpdated) isEvent()     {}
func (ProductAddedToCart) isEvent() {}
func (CartCheckedOut) isEvent()     {}

// NewSchema lists the events. The key hashes e-mail addresses in tags: at least 16 bytes, and the same for as long as
// the store lives. A shorter one panics, see [annals.HashKey].
func NewSchema(hashKey []byte) *annals.Schema[Event] {
	return annals.NewSchema([]Event{
		OrderCreated{},
		ItemAdded{},
		ItemRemoved{},
		OrderPlaced{},
		OrderPaid{},
		OrderShipped{},
		OrderCancelled{},
		PaymentRequested{},
		PaymentTaken{},
		PaymentDeclined{},
		RefundDue{},
		PaymentRefunded{},
		PaymentOverdue{},
		StockReceived{},
		CustomerRegistered{},
		ProfileUpdated{},
		ProductAddedToCart{},
		CartCheckedOut{},
	}, append(oldEvents(), annals.HashKey(hashKey))...)
}

// NewLog is the store in the words of this service. Every command on it has to say who may give it.
func NewLog(store annals.Store, hashKey []byte, opts ...annals.LogOption) *annals.Log[Event] {
	return annals.NewLog(store, NewSchema(hashKey), append(opts, annals.RequireAuthorize())...)
}

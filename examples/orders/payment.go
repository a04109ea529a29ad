package orders

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/process"
)

// ChargeOrder has the payment provider asked for the total of a placed order.
type ChargeOrder struct {
	Order string `json:"order"`
	// Card is what the provider calls the card: no number of one.
	Card string `json:"card"`
}

// Validate checks the fields.
func (c ChargeOrder) Validate() error {
	var v decider.Invalid
	checkID(&v, "order", c.Order)
	checkID(&v, "card", c.Card)
	return v.Err()
}

// Authorize wants the order's customer, or a clerk.
func (c ChargeOrder) Authorize(p annals.Principal, o Order) error { return o.mayBeUsedBy(p) }

// Initial is the order before anything happened.
func (c ChargeOrder) Initial() Order { return Order{ID: c.Order} }

// Decide notes the wish. What becomes of it is for the provider to say.
func (c ChargeOrder) Decide(o Order) ([]Event, error) {
	if err := o.in(ErrNotPlaced, StatusPlaced); err != nil {
		return nil, err
	}
	if o.BeingPaid {
		return nil, ErrBeingPaid
	}
	total, err := o.Lines.Total()
	if err != nil {
		return nil, err
	}
	return []Event{PaymentRequested{Order: c.Order, Card: c.Card, Amount: total}}, nil
}

// Payments is a payment provider. It may be called again with an id, and must then do nothing again. A refusal that is no use
// to try again is a process.Permanent error.
type Payments interface {
	Charge(ctx context.Context, id string, c Charge) (receipt string, err error)
	Refund(ctx context.Context, id, receipt string) error
}

// Charge is what a provider is asked for.
type Charge struct {
	Order, Card string
	Amount      Money
}

// paying has the provider asked, says what it answered, and gives back what was taken for an order that cannot be paid.
func paying(provider Payments) process.Manager[Order, Event] {
	charges := &process.Gateway[Charge, string]{Name: "charges", Call: provider.Charge}
	refunds := &process.Gateway[string, string]{Name: "refunds", Call: func(ctx context.Context, id, receipt string) (string, error) {
		return receipt, provider.Refund(ctx, id, receipt)
	}}
	return process.Manager[Order, Event]{
		Name: "paying", By: "order",
		Query:   annals.Types("PaymentRequested", "PaymentTaken", "RefundDue"),
		Initial: func(key string) Order { return Order{ID: key} },
		React: func(_ Order, e annals.Entry[Event], do *process.Effects[Event]) {
			switch v := e.Value.(type) {
			case PaymentRequested:
				process.Call(do, charges, Charge(v), func(receipt string) Event {
					return PaymentTaken{Order: v.Order, Receipt: receipt, Amount: v.Amount}
				}).Else(func(err error) Event { return PaymentDeclined{Order: v.Order, Reason: reason(err)} })
			case PaymentTaken:
				process.Send(do, PayOrder{Order: v.Order}).
					Else(func(error) Event { return RefundDue{Order: v.Order, Receipt: v.Receipt} })
			case RefundDue:
				process.Call(do, refunds, v.Receipt, func(receipt string) Event { return PaymentRefunded{Order: v.Order, Receipt: receipt} })
			}
		},
	}
}

// reason is what customers are told.
func reason(err error) string {
	if errors.Is(err, ErrCardDeclined) {
		return ErrCardDeclined.Error()
	}
	return "the payment provider cannot be reached"
}

// waiting cancels a placed order that is not paid in time, which gives its stock back.
func waiting(deadline time.Duration) process.Manager[Order, Event] {
	const timer = "payment"
	return process.Manager[Order, Event]{
		Name: "waiting", By: "order",
		Query:   annals.Types("OrderPlaced", "OrderPaid", "OrderCancelled", "PaymentOverdue"),
		Initial: func(key string) Order { return Order{ID: key} },
		React: func(_ Order, e annals.Entry[Event], do *process.Effects[Event]) {
			switch v := e.Value.(type) {
			case OrderPlaced:
				do.Schedule(timer, e.Time.Add(deadline), PaymentOverdue{Order: v.Order})
			case PaymentOverdue:
				process.Send(do, CancelOrder(v)).Accept(ErrNotCancellable)
			case OrderPaid, OrderCancelled:
				do.Cancel(timer)
			}
		},
	}
}

// newProcesses are what the service does by itself.
func newProcesses(bus *cqrs.Bus[Event], c Config) (ps []*process.Process[Order, Event], err error) {
	if c.Payments == nil {
		return nil, nil
	}
	for _, m := range []process.Manager[Order, Event]{paying(c.Payments), waiting(c.PayWithin)} {
		p, err := process.New(bus, m, process.Options{
			Principal: annals.Principal{ID: m.Name, Roles: []string{roleProcess}}, Logger: c.Logger, Backoff: c.PayBackoff,
		})
		if err != nil {
			return nil, fmt.Errorf("orders: %w", err)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// ErrCardDeclined is what a provider says of a card that it will not take money from.
var ErrCardDeclined = errors.New("card declined")

// errSlow is how [FakePayments] fails.
var errSlow = errors.New("the provider did not answer in time")

// FakePayments is a provider for demonstrations. It takes the money of every card but "declined"; "slow" times out, and then
// works; "dead" times out for ever. Make one with new.
type FakePayments struct {
	mu    sync.Mutex
	calls map[string]int // by id
}

var _ Payments = (*FakePayments)(nil)

// Charge implements [Payments].
func (f *FakePayments) Charge(_ context.Context, id string, c Charge) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls == nil {
		f.calls = map[string]int{}
	}
	f.calls[id]++
	switch {
	case c.Card == "declined":
		return "", process.Permanent(ErrCardDeclined)
	case c.Card == "dead", c.Card == "slow" && f.calls[id] == 1:
		return "", errSlow
	}
	return "receipt-" + c.Order, nil
}

// Refund implements [Payments].
func (f *FakePayments) Refund(context.Context, string, string) error { return nil }

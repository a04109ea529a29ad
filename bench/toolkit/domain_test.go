package toolkit

import (
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
)

// Event is what happens to an account.
type Event interface{ isEvent() }

// Deposited is a small event, as most are.
type Deposited struct {
	Account string `json:"account" annals:"account,stream"`
	Cents   int64  `json:"cents"`
}

func (Deposited) isEvent() {}

// Account is a state with little in it.
type Account struct {
	ID    string
	Cents int64
	Count int
}

func (a Account) Boundary() annals.Query { return annals.Stream("account-" + a.ID) }

func (a Account) Evolve(e Event) Account {
	if e, ok := e.(Deposited); ok {
		a.Cents += e.Cents
		a.Count++
	}
	return a
}

// Deposit is a command that is never refused.
type Deposit struct {
	Account string
	Cents   int64
}

func (c Deposit) Initial() Account { return Account{ID: c.Account} }

func (c Deposit) Decide(Account) ([]Event, error) { return []Event{Deposited(c)}, nil }

// free is a codec that costs nothing: it knows the only account, and reads one byte.
type free struct{}

var errNotDeposited = errors.New("not a Deposited")

func (free) ContentType() string { return "application/x-free" }

func (free) Encode(v any) ([]byte, error) {
	d, ok := v.(Deposited)
	if !ok {
		return nil, fmt.Errorf("%T: %w", v, errNotDeposited)
	}
	return []byte{byte(d.Cents)}, nil
}

func (free) Decode(data []byte, v any) error {
	d, ok := v.(*Deposited)
	if !ok {
		return fmt.Errorf("%T: %w", v, errNotDeposited)
	}
	d.Account, d.Cents = "1", int64(data[0])
	return nil
}

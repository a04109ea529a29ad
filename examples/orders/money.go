package orders

import (
	"fmt"
	"math"
	"regexp"

	"github.com/annalsdb/annals/decider"
)

// The rules of money.
const (
	// ErrCurrency: amounts of different currencies cannot be added.
	ErrCurrency = decider.Rule("amounts are of different currencies")
	// ErrAmount: an amount is beyond what can be counted.
	ErrAmount = decider.Rule("amount is too large")
)

// AmountMax is the highest price of one piece, in minor units.
const AmountMax = 1_000_000_000_000

var currencyRule = regexp.MustCompile(`^[A-Z]{3}$`)

// Money is an amount in the minor units of a currency: 1250 EUR is 12.50 €. The zero Money is nothing, of any currency.
type Money struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

// Add is the sum, or [ErrCurrency] if the two are of different currencies.
func (m Money) Add(o Money) (Money, error) {
	switch {
	case m == Money{}:
		return o, nil
	case o == Money{}:
		return m, nil
	case m.Currency != o.Currency:
		return Money{}, fmt.Errorf("%w: %s and %s", ErrCurrency, m.Currency, o.Currency)
	case o.Amount > 0 && m.Amount > math.MaxInt64-o.Amount, o.Amount < 0 && m.Amount < math.MinInt64-o.Amount:
		return Money{}, ErrAmount
	}
	return Money{m.Amount + o.Amount, m.Currency}, nil
}

// Times is the price of several pieces; count must not be negative.
func (m Money) Times(count int) (Money, error) {
	if count > 0 && (m.Amount > math.MaxInt64/int64(count) || m.Amount < math.MinInt64/int64(count)) {
		return Money{}, ErrAmount
	}
	return Money{m.Amount * int64(count), m.Currency}, nil
}

// check notes what is wrong with a price.
func (m Money) check(v *decider.Invalid, field string) {
	v.Check(m.Amount >= 0 && m.Amount <= AmountMax, field+".amount", fmt.Sprintf("must be from 0 to %d minor units", int64(AmountMax)))
	v.Check(currencyRule.MatchString(m.Currency), field+".currency", "must be three capital letters, such as EUR")
}

// Package rules has the rules that people think an event store cannot keep, each in a file of its own: a name that is unique
// among all accounts, and free again some days after it was given up; invoice numbers without gaps; a token that works once
// and expires; a price that is honoured for a while after it has changed; a form that is submitted once; and a rule that
// changed on a date. They are the examples of dcb.events, and one of Fowler's.
//
// None needs a lock, a saga or a table on the side: each is a state whose boundary takes in what the rule is about. Time is
// a field of commands and events, for a decision is a pure function; whoever takes a command in fills it in.
package rules

import (
	"time"

	"github.com/annalsdb/annals"
)

// Event is what can happen here.
type Event interface{ isEvent() }

// Schema lists the events of all the rules.
var Schema = annals.NewSchema([]Event{
	AccountOpened{},
	UsernameChanged{},
	AccountClosed{},
	InvoiceIssued{},
	SignUpRequested{},
	SignUpConfirmed{},
	PriceSet{},
	ProductsOrdered{},
	FormSubmitted{},
	ParcelWeighed{},
})

// within says whether t is at most d after since. Nothing is within reach of a time that is not set.
func within(t, since time.Time, d time.Duration) bool {
	return !since.IsZero() && !t.After(since.Add(d))
}

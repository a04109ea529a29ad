package rules

import (
	"time"

	"github.com/annalsdb/annals"
)

// ParcelWeighed is a parcel on the scales.
type ParcelWeighed struct {
	Sender string    `json:"sender" annals:"sender"`
	Grams  int       `json:"grams"`
	At     time.Time `json:"at"`
}

func (ParcelWeighed) isEvent() {}

// tariff is what a parcel costs, in cents, from a day on.
type tariff struct {
	from  time.Time
	cents func(grams int) int
}

// tariffs are never changed, only added to, the latest first: a rule that changed on a date stays in the program for as long
// as there are events from before it, or the past would come out otherwise than it was.
var tariffs = []tariff{
	{time.Date(2026, time.July, 1, 0, 0, 0, 0, time.UTC), func(grams int) int { return 250 + grams/2 }},
	{time.Time{}, func(int) int { return 400 }},
}

// Postage is what a sender owes for parcels.
type Postage struct {
	Sender string
	Cents  int
}

// Boundary is the sender's parcels.
func (p Postage) Boundary() annals.Query { return annals.Tags("sender:" + p.Sender) }

// Evolve counts a parcel by the rule of the day when it was weighed, and not by that of the day when it is read.
func (p Postage) Evolve(e Event) Postage {
	if e, ok := e.(ParcelWeighed); ok {
		for _, t := range tariffs {
			if !e.At.Before(t.from) {
				p.Cents += t.cents(e.Grams)
				break
			}
		}
	}
	return p
}

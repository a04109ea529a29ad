package orders

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// The rules of customers.
const (
	ErrCustomerExists  = decider.Rule("customer is registered already")
	ErrUnknownCustomer = decider.Rule("customer is not registered")
	ErrEmailTaken      = decider.Rule("e-mail address is taken")
)

const (
	nameMax  = 200
	emailMax = 254
)

// Customer is what the rules of one customer need to know.
type Customer struct {
	ID, Name   string
	Registered bool
}

// Boundary is the customer's own stream.
func (c Customer) Boundary() annals.Query { return annals.Stream(annals.StreamName("customer", c.ID)) }

// registration is whether the customer exists, for decisions that are about something else. It names no stream, so that
// beside an order's the revision is the order's.
func (c Customer) registration() annals.Query {
	return annals.Tags(annals.Tag("customer", c.ID)).Types("CustomerRegistered")
}

// Evolve folds one event in.
func (c Customer) Evolve(e Event) Customer {
	switch e := e.(type) {
	case CustomerRegistered:
		if e.Customer == c.ID {
			c.Registered, c.Name = true, e.Name
		}
	case ProfileUpdated:
		if e.Customer == c.ID {
			c.Name = e.Name
		}
	}
	return c
}

// RegisterCustomer makes somebody a customer.
type RegisterCustomer struct {
	Customer string `json:"customer"`
	Name     string `json:"name"`
	Email    string `json:"email"`
}

// Registration is a new customer, and whether anybody has the address: one decision over all customers.
type Registration struct {
	Customer Customer
	Email    string
	Taken    bool
}

// Boundary is the customer, and whoever has the address. The log turns the tag into its keyed hash.
func (r Registration) Boundary() annals.Query {
	return r.Customer.Boundary().Or(annals.Tags(annals.Tag("email", r.Email)))
}

// Evolve folds one event in.
func (r Registration) Evolve(e Event) Registration {
	r.Customer = r.Customer.Evolve(e)
	if e, ok := e.(CustomerRegistered); ok && e.Email == r.Email {
		r.Taken = true
	}
	return r
}

// Validate checks the fields.
func (c RegisterCustomer) Validate() error {
	var v decider.Invalid
	checkID(&v, "customer", c.Customer)
	checkName(&v, c.Name)
	a, err := mail.ParseAddress(c.Email)
	v.Check(err == nil && a.Address == c.Email && len(c.Email) <= emailMax, "email", "must be an e-mail address")
	return v.Err()
}

// Authorize wants the customer it is for, or a clerk.
func (c RegisterCustomer) Authorize(p annals.Principal, _ Registration) error {
	return ownerOrStaff(p, c.Customer)
}

// Initial is the customer and the address before anything happened.
func (c RegisterCustomer) Initial() Registration {
	return Registration{Customer: Customer{ID: c.Customer}, Email: canonicalEmail(c.Email)}
}

// Decide registers a customer once, under an address that nobody else has.
func (c RegisterCustomer) Decide(s Registration) ([]Event, error) {
	switch {
	case s.Customer.Registered:
		return nil, ErrCustomerExists
	case s.Taken:
		return nil, ErrEmailTaken
	}
	return []Event{CustomerRegistered{Customer: c.Customer, Name: c.Name, Email: s.Email}}, nil
}

// canonicalEmail is the form in which addresses are compared: nobody tells theirs from another by the case of letters.
func canonicalEmail(address string) string { return strings.ToLower(address) }

// UpdateProfile gives a customer another name.
type UpdateProfile struct {
	Customer string `json:"customer"`
	Name     string `json:"name"`
}

// Validate checks the fields.
func (c UpdateProfile) Validate() error {
	var v decider.Invalid
	checkID(&v, "customer", c.Customer)
	checkName(&v, c.Name)
	return v.Err()
}

// Authorize wants the customer, or a clerk.
func (c UpdateProfile) Authorize(p annals.Principal, _ Customer) error {
	return ownerOrStaff(p, c.Customer)
}

// Initial is the customer before anything happened.
func (c UpdateProfile) Initial() Customer { return Customer{ID: c.Customer} }

// Decide changes a name that is another.
func (c UpdateProfile) Decide(s Customer) ([]Event, error) {
	switch {
	case !s.Registered:
		return nil, ErrUnknownCustomer
	case s.Name == c.Name:
		return nil, nil
	}
	return []Event{ProfileUpdated(c)}, nil
}

func checkName(v *decider.Invalid, name string) {
	v.Check(strings.TrimSpace(name) != "", "name", "is required")
	v.Check(utf8.RuneCountInString(name) <= nameMax, "name", "is too long")
	v.Check(!strings.ContainsFunc(name, unicode.IsControl), "name", "must not hold control characters")
}

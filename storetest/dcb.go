package storetest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/annalsdb/annals"
)

// dcbPromises are the examples of dcb.events, on the bare store: what people will do with it.
func dcbPromises() []promise {
	return []promise{
		{"course subscriptions: one decision guards a course's capacity and a student's number of courses", courseSubscriptions},
		{"unique username: a name can be claimed once, and again after it was given up", uniqueUsername},
		{"invoice number: numbers have no gaps however many write them", invoiceNumber},
		{"opt-in token: a token works once, and only before it expires", optInToken},
		{"dynamic product price: an order is accepted at a price that was shown", dynamicPrice},
		{"record duplication: an order with a token that was used is not recorded again", recordDuplication},
		{"event-sourced aggregate: a tag's events are guarded as a stream is", aggregateByTag},
	}
}

// triesMax bounds read, decide, append: enough for every race here, and an end if the store always says conflict.
const triesMax = 1000

var (
	errRejected   = errors.New("storetest: the decision was no")
	errStillRaced = errors.New("storetest: raced too often")
)

// decide reads a boundary, asks for the event to append, and appends it on the condition that the boundary has not
// changed; on a conflict it begins again. It is safe in goroutines.
func (r *rig) decide(ctx context.Context, boundary annals.Query, decision func(past []annals.Recorded) (annals.Event, error)) error {
	for range triesMax {
		var head annals.Position
		past, err := r.drainQuietly(r.store.Read(ctx, boundary, annals.HeadInto(&head)))
		if err != nil {
			return err
		}
		e, err := decision(past)
		if err != nil {
			return err
		}
		if _, err = r.store.Append(ctx, events(e), annals.NoneSince(head, boundary)); !errors.Is(err, annals.ErrConflict) {
			return err
		}
	}
	return errStillRaced
}

// decided wants the outcome of a decision to be yes or no.
func (r *rig) decided(what string, err error, yes bool) {
	r.Helper()
	if yes && err != nil || !yes && !errors.Is(err, errRejected) {
		r.Errorf("%s: got %v, want yes: %t", what, err, yes)
	}
}

func count(es []annals.Recorded, kind, tag string) int {
	n := 0
	for _, e := range es {
		if e.Type == kind && annals.Tags(tag).Match(e) {
			n++
		}
	}
	return n
}

func courseSubscriptions(r *rig) {
	subscribe := func(student, course string) error {
		s, c := annals.Tag("student", student), annals.Tag("course", course)
		boundary := annals.Tags(c).Types("CourseDefined", "CapacityChanged", "StudentSubscribed").Or(annals.Tags(s).Types("StudentSubscribed"))
		return r.decide(r.Context(), boundary, func(past []annals.Recorded) (annals.Event, error) {
			capacity := 0
			for _, e := range past {
				if e.Type == "CourseDefined" || e.Type == "CapacityChanged" {
					capacity, _ = strconv.Atoi(string(e.Data))
				}
			}
			again := false
			for _, e := range past {
				again = again || annals.Tags(s, c).Match(e)
			}
			if again || count(past, "StudentSubscribed", c) >= capacity || count(past, "StudentSubscribed", s) >= 2 {
				return annals.Event{}, errRejected
			}
			return event("StudentSubscribed", "", s, c), nil
		})
	}
	define := func(kind, course, capacity string) {
		e := event(kind, "", annals.Tag("course", course))
		e.Data = []byte(capacity)
		r.append(events(e))
	}
	define("CourseDefined", "c1", "3")
	define("CourseDefined", "c2", "10")
	define("CourseDefined", "c3", "10")
	race(10, func(i int) {
		if err := subscribe("s"+decimal(i), "c1"); err != nil && !errors.Is(err, errRejected) {
			r.Errorf("a subscription failed: %v", err)
		}
	})
	r.equal("students in the course of three places", count(r.read(annals.All()), "StudentSubscribed", "course:c1"), 3)
	define("CapacityChanged", "c1", "4")
	r.decided("one more place", subscribe("new", "c1"), true)
	r.decided("no more place", subscribe("newer", "c1"), false)
	r.decided("the same course again", subscribe("new", "c1"), false)
	r.decided("a second course", subscribe("new", "c2"), true)
	r.decided("a third course", subscribe("new", "c3"), false)
	r.decided("a course that was never defined", subscribe("other", "c9"), false)
}

func uniqueUsername(r *rig) {
	change := func(user, name, kind string) error {
		tag := annals.Tag("username", name)
		return r.decide(r.Context(), annals.Tags(tag), func(past []annals.Recorded) (annals.Event, error) {
			owner := ""
			for _, e := range past {
				if owner = e.TagValues("user")[0]; e.Type == "Released" {
					owner = ""
				}
			}
			if kind == "Claimed" && owner != "" || kind == "Released" && owner != user {
				return annals.Event{}, errRejected
			}
			return event(kind, "", tag, annals.Tag("user", user)), nil
		})
	}
	race(8, func(i int) {
		if err := change("u"+decimal(i), "ann", "Claimed"); err != nil && !errors.Is(err, errRejected) {
			r.Errorf("a claim failed: %v", err)
		}
	})
	claims := r.read(annals.Tags("username:ann"))
	r.equal("claims of a name that eight wanted", len(claims), 1)
	owner := claims[0].TagValues("user")[0]
	r.decided("a name that is taken", change("other", "ann", "Claimed"), false)
	r.decided("another name", change("other", "bob", "Claimed"), true)
	r.decided("giving up another's name", change("other", "ann", "Released"), false)
	r.decided("giving up one's own", change(owner, "ann", "Released"), true)
	r.decided("a name that was given up", change("other", "ann", "Claimed"), true)
}

func invoiceNumber(r *rig) {
	invoices := annals.Types("InvoiceCreated")
	create := func() error {
		for range triesMax {
			next, after := 1, annals.Position(0)
			for e, err := range r.store.Read(r.Context(), invoices, annals.Backwards(), annals.Limit(1)) {
				if err != nil {
					return err
				}
				last, _ := strconv.Atoi(string(e.Data))
				next, after = last+1, e.Position
			}
			e := event("InvoiceCreated", "", annals.Tag("invoice", decimal(next)))
			e.Data = []byte(decimal(next))
			if _, err := r.store.Append(r.Context(), events(e), annals.NoneSince(after, invoices)); !errors.Is(err, annals.ErrConflict) {
				return err
			}
		}
		return errStillRaced
	}
	race(5, func(int) {
		for range 5 {
			if err := create(); err != nil {
				r.Errorf("creating an invoice failed: %v", err)
			}
			r.put("OrderPlaced", "")
		}
	})
	for i, e := range r.read(invoices) {
		r.equal("the number of an invoice", string(e.Data), decimal(i+1))
	}
	r.equal("the number of invoices", len(r.read(invoices)), 25)
}

func optInToken(r *rig) {
	confirm := func(email, token string, within time.Duration) error {
		address, key := annals.Tag("email", email), annals.Tag("token", token)
		return r.decide(r.Context(), annals.Tags(address, key), func(past []annals.Recorded) (annals.Event, error) {
			open := false
			for _, e := range past {
				open = e.Type == "SignUpStarted" && e.Time.Add(within).After(past[0].Time.Add(time.Minute))
			}
			if !open {
				return annals.Event{}, errRejected
			}
			return event("SignUpConfirmed", "", address, key), nil
		})
	}
	r.append(events(event("SignUpStarted", "", "email:ann", "token:1"), event("SignUpStarted", "", "email:bob", "token:2"), event("SignUpStarted", "", "email:eve", "token:3")))
	r.decided("another's token", confirm("ann", "2", time.Hour), false)
	r.decided("no token", confirm("ann", "none", time.Hour), false)
	r.decided("the right token", confirm("ann", "1", time.Hour), true)
	r.decided("a token that was used", confirm("ann", "1", time.Hour), false)
	r.decided("a token that has expired", confirm("bob", "2", time.Second), false)
	race(6, func(int) {
		if err := confirm("eve", "3", time.Hour); err != nil && !errors.Is(err, errRejected) {
			r.Errorf("a confirmation failed: %v", err)
		}
	})
	r.equal("confirmations of a token that was sent six times", len(r.read(annals.Tags("email:eve").Types("SignUpConfirmed"))), 1)
}

func dynamicPrice(r *rig) {
	price := func(product, cents string) {
		e := event("PriceChanged", "", annals.Tag("product", product))
		e.Data = []byte(cents)
		r.append(events(e))
	}
	order := func(shown map[string]string) error {
		boundary := annals.Query{}
		tags := []string{}
		for product := range shown {
			tags = append(tags, annals.Tag("product", product))
			if boundary.IsZero() {
				boundary = annals.Tags(annals.Tag("product", product)).Types("PriceChanged")
				continue
			}
			boundary = boundary.Or(annals.Tags(annals.Tag("product", product)).Types("PriceChanged"))
		}
		return r.decide(r.Context(), boundary, func(past []annals.Recorded) (annals.Event, error) {
			actual := map[string]string{}
			for _, e := range past {
				actual[e.TagValues("product")[0]] = string(e.Data)
			}
			for product, cents := range shown {
				if actual[product] != cents {
					return annals.Event{}, errRejected
				}
			}
			return event("ProductsOrdered", "", tags...), nil
		})
	}
	price("tea", "400")
	price("cup", "900")
	r.decided("at the prices shown", order(map[string]string{"tea": "400", "cup": "900"}), true)
	r.decided("at another price", order(map[string]string{"tea": "399"}), false)
	var seen annals.Position
	r.at(annals.Tags("product:tea").Types("PriceChanged"), annals.HeadInto(&seen))
	price("cup", "950")
	r.append(events(event("ProductsOrdered", "", "product:tea")), annals.NoneSince(seen, annals.Tags("product:tea").Types("PriceChanged")))
	price("tea", "450")
	r.refused("a price that changed after the decision", annals.ErrConflict, events(event("ProductsOrdered", "", "product:tea")),
		annals.NoneSince(seen, annals.Tags("product:tea").Types("PriceChanged")))
	r.decided("one of the prices is an old one", order(map[string]string{"tea": "450", "cup": "900"}), false)
	r.decided("at the new prices", order(map[string]string{"tea": "450", "cup": "950"}), true)
}

func recordDuplication(r *rig) {
	place := func(order, token string) error {
		used := annals.Tags(annals.Tag("idempotency", token))
		_, err := r.store.Append(r.Context(), events(event("OrderPlaced", "", annals.Tag("order", order), annals.Tag("idempotency", token))), annals.NoneSince(0, used))
		if errors.Is(err, annals.ErrConflict) {
			return errRejected
		}
		return err
	}
	r.decided("a first order", place("o1", "t1"), true)
	r.decided("the same token again", place("o1", "t1"), false)
	r.decided("another order with the same token", place("o2", "t1"), false)
	r.decided("another token", place("o2", "t2"), true)
	race(6, func(i int) {
		if err := place("r"+decimal(i), "t3"); err != nil && !errors.Is(err, errRejected) {
			r.Errorf("an order failed: %v", err)
		}
	})
	r.equal("orders recorded for one token that was sent six times", len(r.read(annals.Tags("idempotency:t3"))), 1)
}

func aggregateByTag(r *rig) {
	const course = "course:c1"
	change := func(kind string) error {
		return r.decide(r.Context(), annals.Tags(course), func(past []annals.Recorded) (annals.Event, error) {
			var kinds []string
			for _, e := range past {
				kinds = append(kinds, e.Type)
			}
			exists := strings.Contains(strings.Join(kinds, " "), "CourseDefined")
			if exists == (kind == "CourseDefined") || count(past, "StudentSubscribed", course) >= 3 {
				return annals.Event{}, errRejected
			}
			return event(kind, "", course), nil
		})
	}
	r.decided("a subscription to a course that is not defined", change("StudentSubscribed"), false)
	r.decided("defining it", change("CourseDefined"), true)
	r.decided("defining it again", change("CourseDefined"), false)
	race(8, func(int) {
		if err := change("StudentSubscribed"); err != nil && !errors.Is(err, errRejected) {
			r.Errorf("a subscription failed: %v", err)
		}
	})
	r.equal("subscriptions to a course of three places", count(r.read(annals.All()), "StudentSubscribed", course), 3)
	r.put("CourseDefined", "", "course:c2")
	r.append(events(event("CourseArchived", "", course)), annals.NoneSince(r.read(annals.Tags(course), annals.Backwards(), annals.Limit(1))[0].Position, annals.Tags(course)))
}

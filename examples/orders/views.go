package orders

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

// OrderView is an order as it is shown: everything on one page.
type OrderView struct {
	ID           string          `json:"id"`
	Customer     string          `json:"customer"`
	CustomerName string          `json:"customerName"`
	Status       Status          `json:"status"`
	Lines        Lines           `json:"lines"`
	Total        Money           `json:"total,omitzero"`
	Revision     annals.Revision `json:"revision"` // what If-Match wants
	CreatedAt    time.Time       `json:"createdAt"`
}

// CustomerView is what is shown of a customer.
type CustomerView struct {
	Name string `json:"name"`
}

// Orders is the read model: one row for each order, with the customer's name of today.
var Orders = projection.Rows[OrderView, Event]{
	Name: "orders", By: "order",
	Query: annals.Category("order"),
	Apply: applyOrder,
	Columns: []projection.Column[OrderView]{
		{Name: "customer", Value: func(o OrderView) any { return o.Customer }},
		{Name: "status", Value: func(o OrderView) any { return o.Status }},
		{Name: "created", Value: func(o OrderView) any { return o.CreatedAt }},
	},
	Joins: []projection.Joined[OrderView, Event]{projection.Join(Customers,
		func(o OrderView) string { return o.Customer },
		func(o *OrderView, c CustomerView) { o.CustomerName = c.Name })},
}

// Customers is joined into [Orders].
var Customers = projection.Rows[CustomerView, Event]{
	Name: "customers", By: "customer",
	Query: annals.Category("customer"),
	Apply: func(_ string, row *CustomerView, e annals.Entry[Event]) error {
		switch e := e.Value.(type) {
		case CustomerRegistered:
			row.Name = e.Name
		case ProfileUpdated:
			row.Name = e.Name
		}
		return nil
	},
}

// applyOrder shows what the rules see: an order is folded in one way.
func applyOrder(key string, row *OrderView, e annals.Entry[Event]) error {
	o := Order{ID: key, Customer: row.Customer, Status: row.Status, Lines: row.Lines}.Evolve(e.Value)
	total, err := o.Lines.Total()
	if err != nil {
		return err
	}
	if row.ID == "" {
		row.ID, row.CreatedAt = key, e.Time
	}
	row.Customer, row.Status, row.Lines, row.Total, row.Revision = o.Customer, o.Status, o.Lines, total, e.Revision
	if row.Lines == nil {
		row.Lines = Lines{} // [] in JSON, not null
	}
	return nil
}

// GetOrder asks for one order, as it is or as it was.
type GetOrder struct {
	Order    string           `json:"order"`
	Revision *annals.Revision `json:"revision"`
	At       *time.Time       `json:"at"`
}

// Validate checks the parameters.
func (q GetOrder) Validate() error {
	var v decider.Invalid
	checkID(&v, "order", q.Order)
	v.Check(q.Revision == nil || *q.Revision != annals.NoRevision, "revision", "is too large")
	v.Check(q.At == nil || !q.At.IsZero(), "at", "is no time at all") // to the log it means: now
	v.Check(q.Revision == nil || q.At == nil, "at", "cannot be given together with revision")
	return v.Err()
}

// Authorize wants the order's customer, or a clerk. If the order was not there yet, the answer says whose it became, so
// that others do not learn how far it has come.
func (q GetOrder) Authorize(p annals.Principal, o OrderView) error {
	return Order{ID: q.Order, Customer: o.Customer, Status: o.Status}.mayBeUsedBy(p)
}

const (
	pageDefault = 20
	pageMax     = 100
)

// ListOrders asks for a page of orders, the newest first. Customers get their own.
type ListOrders struct {
	Customer string `json:"customer"`
	Status   Status `json:"status"`
	Limit    *int   `json:"limit"`
	Cursor   string `json:"cursor"`
}

// OrderPage is a part of a list.
type OrderPage struct {
	Orders []OrderSummary `json:"orders"`
	// Next is the cursor of the page that follows; "" if this is the last.
	Next string `json:"next,omitempty"`
	// Position is one up to which every event is in the list.
	Position annals.Position `json:"position"`
}

// OrderSummary is an order in a list.
type OrderSummary struct {
	ID           string    `json:"id"`
	Customer     string    `json:"customer"`
	CustomerName string    `json:"customerName"`
	Status       Status    `json:"status"`
	Products     int       `json:"products"`
	Total        Money     `json:"total,omitzero"`
	CreatedAt    time.Time `json:"createdAt"`
}

// Validate checks the parameters.
func (q ListOrders) Validate() error {
	var v decider.Invalid
	v.Check(q.Status == "" || slices.Contains(statuses, q.Status), "status", "must be open, placed, paid, shipped or cancelled")
	v.Check(q.Limit == nil || *q.Limit >= 1 && *q.Limit <= pageMax, "limit", fmt.Sprintf("must be from 1 to %d", pageMax))
	return v.Err()
}

// Authorize lets customers neither ask for others' orders nor see one.
func (q ListOrders) Authorize(p annals.Principal, page OrderPage) error {
	if err := ownerOrStaff(p, cmp.Or(q.Customer, p.ID)); err != nil {
		return err
	}
	for _, o := range page.Orders {
		if err := ownerOrStaff(p, o.Customer); err != nil {
			return err
		}
	}
	return nil
}

// answerList answers ListOrders from the read model.
func (s *Service) answerList(ctx context.Context, q ListOrders) (OrderPage, error) {
	if p := annals.PrincipalFrom(ctx); q.Customer == "" && !isStaff(p) {
		q.Customer = p.ID
	}
	limit := pageDefault
	if q.Limit != nil {
		limit = *q.Limit
	}
	opts := []projection.ListOption{projection.OrderBy("created"), projection.Descending(), projection.Limit(limit), projection.Cursor(q.Cursor)}
	if q.Customer != "" {
		opts = append(opts, projection.Where("customer", q.Customer))
	}
	if q.Status != "" {
		opts = append(opts, projection.Where("status", q.Status))
	}
	rows, err := s.orders.List(ctx, opts...)
	if err != nil {
		return OrderPage{}, err
	}
	page := OrderPage{Orders: make([]OrderSummary, len(rows.Rows)), Next: rows.Next, Position: rows.Position}
	for i, row := range rows.Rows {
		page.Orders[i] = row.Value.summary()
	}
	return page, nil
}

func (o OrderView) summary() OrderSummary {
	return OrderSummary{
		ID: o.ID, Customer: o.Customer, CustomerName: o.CustomerName, Status: o.Status,
		Products: len(o.Lines), Total: o.Total, CreatedAt: o.CreatedAt,
	}
}

package orders

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

// Spending is a read model in SQL: what each customer has paid for. Payments do not say whose they are, so the owners of orders are kept beside.
var Spending = projection.Custom[*sql.Tx, Event]{
	Name: "spending", Query: annals.Types("OrderCreated", "OrderPaid"),
	Setup: `CREATE TABLE {owners} (order_id TEXT PRIMARY KEY, customer TEXT NOT NULL) WITHOUT ROWID;
		CREATE TABLE {paid} (customer TEXT NOT NULL, position INTEGER NOT NULL, order_id TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL,
			at TEXT NOT NULL, PRIMARY KEY (customer, position)) WITHOUT ROWID;`,
	Apply: func(ctx context.Context, in projection.In[*sql.Tx], e annals.Entry[Event]) error {
		var err error
		switch ev := e.Value.(type) {
		case OrderCreated:
			_, err = in.Tx.ExecContext(ctx, in.SQL(`INSERT INTO {owners} VALUES (?, ?) ON CONFLICT DO NOTHING`), ev.Order, ev.Customer)
		case OrderPaid:
			_, err = in.Tx.ExecContext(ctx, in.SQL(`INSERT INTO {paid} SELECT customer, ?, order_id, ?, ?, ? FROM {owners} WHERE order_id = ?`),
				int64(e.Position), ev.Amount.Amount, ev.Amount.Currency, e.Time.UTC().Format(time.RFC3339Nano), ev.Order)
		}
		return err
	},
}

// Revenue is a read model in SQL: what was paid on each day, by UTC.
var Revenue = projection.Custom[*sql.Tx, Event]{
	Name: "revenue", Query: annals.Types("OrderPaid"),
	Setup: `CREATE TABLE {daily} (day TEXT NOT NULL, currency TEXT NOT NULL, orders INTEGER NOT NULL, amount INTEGER NOT NULL,
			PRIMARY KEY (day, currency)) WITHOUT ROWID;`,
	Apply: func(ctx context.Context, in projection.In[*sql.Tx], e annals.Entry[Event]) error {
		paid, ok := e.Value.(OrderPaid)
		if !ok {
			return nil
		}
		_, err := in.Tx.ExecContext(ctx, in.SQL(`INSERT INTO {daily} VALUES (?, ?, 1, ?)
			ON CONFLICT (day, currency) DO UPDATE SET orders = orders + 1, amount = amount + excluded.amount`),
			e.Time.UTC().Format(time.DateOnly), paid.Amount.Currency, paid.Amount.Amount)
		return err
	},
}

// GetSpending asks what a customer has paid for, the newest first.
type GetSpending struct {
	Customer string `json:"customer"`
	Limit    *int   `json:"limit"`
}

// SpendingView is what a customer has paid for.
type SpendingView struct {
	Customer string    `json:"customer"`
	Paid     []Payment `json:"paid"`
}

// Payment is a paid order, and what the customer had spent by then, in its currency.
type Payment struct {
	Order  string    `json:"order"`
	At     time.Time `json:"at"`
	Amount Money     `json:"amount"`
	Total  Money     `json:"total"`
}

// Validate checks the parameters.
func (q GetSpending) Validate() error {
	var v decider.Invalid
	checkID(&v, "customer", q.Customer)
	v.Check(q.Limit == nil || *q.Limit >= 1 && *q.Limit <= pageMax, "limit", fmt.Sprintf("must be from 1 to %d", pageMax))
	return v.Err()
}

// Authorize wants the customer, or a clerk.
func (q GetSpending) Authorize(p annals.Principal, _ SpendingView) error {
	return ownerOrStaff(p, q.Customer)
}

func (s *Service) answerSpending(ctx context.Context, q GetSpending) (SpendingView, error) {
	limit := pageDefault
	if q.Limit != nil {
		limit = *q.Limit
	}
	var view SpendingView
	err := s.spending.Read(ctx, func(in projection.In[*sql.Tx]) error {
		view = SpendingView{Customer: q.Customer, Paid: []Payment{}}
		rows, err := in.Tx.QueryContext(ctx, in.SQL(`SELECT order_id, at, amount, currency, SUM(amount) OVER (PARTITION BY currency ORDER BY position)
			FROM {paid} WHERE customer = ? ORDER BY position DESC LIMIT ?`), q.Customer, limit)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // Err has told all there is
		for rows.Next() {
			var p Payment
			var at string
			if err := rows.Scan(&p.Order, &at, &p.Amount.Amount, &p.Amount.Currency, &p.Total.Amount); err != nil {
				return err
			}
			if p.At, err = time.Parse(time.RFC3339Nano, at); err != nil {
				return err
			}
			p.Total.Currency = p.Amount.Currency
			view.Paid = append(view.Paid, p)
		}
		return rows.Err()
	})
	return view, err
}

// GetRevenue asks what was paid on each day, the newest first. From and To are days such as 2026-03-31; empty is no limit.
type GetRevenue struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Limit *int   `json:"limit"`
}

// RevenueView is the revenue of some days.
type RevenueView struct {
	Days []Day `json:"days"`
}

// Day is what was paid on a day, in one currency.
type Day struct {
	Day    string `json:"day"`
	Orders int    `json:"orders"`
	Amount Money  `json:"amount"`
}

// Validate checks the parameters.
func (q GetRevenue) Validate() error {
	var v decider.Invalid
	for field, day := range map[string]string{"from": q.From, "to": q.To} {
		_, err := time.Parse(time.DateOnly, day)
		v.Check(day == "" || err == nil, field, "must be a day, such as 2026-03-31")
	}
	v.Check(q.Limit == nil || *q.Limit >= 1 && *q.Limit <= pageMax, "limit", fmt.Sprintf("must be from 1 to %d", pageMax))
	return v.Err()
}

// Authorize is for clerks.
func (q GetRevenue) Authorize(p annals.Principal, _ RevenueView) error { return staffOnly(p) }

func (s *Service) answerRevenue(ctx context.Context, q GetRevenue) (RevenueView, error) {
	limit, to := pageDefault, q.To
	if q.Limit != nil {
		limit = *q.Limit
	}
	if to == "" {
		to = "9999-12-31"
	}
	var view RevenueView
	err := s.revenue.Read(ctx, func(in projection.In[*sql.Tx]) error {
		view = RevenueView{Days: []Day{}}
		rows, err := in.Tx.QueryContext(ctx, in.SQL(`SELECT day, orders, amount, currency FROM {daily} WHERE day BETWEEN ? AND ? ORDER BY day DESC, currency LIMIT ?`),
			q.From, to, limit)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }() // Err has told all there is
		for rows.Next() {
			var d Day
			if err := rows.Scan(&d.Day, &d.Orders, &d.Amount.Amount, &d.Amount.Currency); err != nil {
				return err
			}
			view.Days = append(view.Days, d)
		}
		return rows.Err()
	})
	return view, err
}

// ListProjections asks how the read models do.
type ListProjections struct{}

// ProjectionPage is how the read models do.
type ProjectionPage struct {
	Projections []projection.Report `json:"projections"`
}

// Authorize is for clerks.
func (q ListProjections) Authorize(p annals.Principal, _ ProjectionPage) error { return staffOnly(p) }

func (s *Service) answerProjections(ctx context.Context, _ ListProjections) (ProjectionPage, error) {
	page := ProjectionPage{Projections: []projection.Report{}}
	reports, err := projection.Reports(ctx, s.views)
	if err != nil {
		return page, err
	}
	page.Projections = append(page.Projections, reports...)
	if s.sales != nil && s.sales != s.views {
		reports, err = projection.Reports(ctx, s.sales)
		page.Projections = append(page.Projections, reports...)
	}
	return page, err
}

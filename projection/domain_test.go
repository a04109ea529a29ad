package projection_test

import (
	"errors"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// The events and read models of this package's tests.
type (
	OrderPlaced struct {
		Order    string `json:"order" annals:"order,stream"`
		Customer string `json:"customer" annals:"customer"`
		Total    int64  `json:"total"`
	}
	OrderPaid struct {
		Order string `json:"order" annals:"order,stream"`
	}
	OrderCancelled struct {
		Order string `json:"order" annals:"order,stream"`
	}
	CustomerRegistered struct {
		Customer string `json:"customer" annals:"customer,stream"`
		Name     string `json:"name"`
	}
	MailConfirmed struct {
		Mail string `json:"mail" annals:"mail,hash"`
	}
)

var events = []any{OrderPlaced{}, OrderPaid{}, OrderCancelled{}, CustomerRegistered{}, MailConfirmed{}}

var schema = annals.NewSchema(events, annals.HashKey([]byte("sixteen bytes, or more")))

type OrderRow struct {
	Customer string `json:"customer"`
	Name     string `json:"name"`
	Status   string `json:"status"`
	Total    int64  `json:"total"`
}

type CustomerRow struct {
	Name string `json:"name"`
}

var Customers = projection.Rows[CustomerRow, any]{
	Name: "customers", By: "customer", Query: annals.Category("customer"),
	Apply: func(_ string, row *CustomerRow, e annals.Entry[any]) error {
		if ev, ok := e.Value.(CustomerRegistered); ok {
			row.Name = ev.Name
		}
		return nil
	},
}

var Orders = projection.Rows[OrderRow, any]{
	Name: "orders", By: "order", Query: annals.Category("order"),
	Apply: func(_ string, row *OrderRow, e annals.Entry[any]) error {
		switch ev := e.Value.(type) {
		case OrderPlaced:
			row.Customer, row.Total, row.Status = ev.Customer, ev.Total, "placed"
		case OrderPaid:
			row.Status = "paid"
		case OrderCancelled:
			return projection.Delete
		}
		return nil
	},
	Columns: []projection.Column[OrderRow]{
		{Name: "status", Value: func(o OrderRow) any { return o.Status }},
		{Name: "total", Value: func(o OrderRow) any { return o.Total }},
	},
	Joins: []projection.Joined[OrderRow, any]{projection.Join(Customers,
		func(o OrderRow) string { return o.Customer },
		func(o *OrderRow, c CustomerRow) { o.Name = c.Name })},
}

var errDisk = errors.New("the disk is on fire")

package orders_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

// paid is the position at which an order of customer 1 with these many teas was paid.
func (a *api) paid(teas int) *answer {
	a.t.Helper()
	order := "/orders/" + a.order(teas)
	a.customer1("POST", order+"/place", "").is(200)
	return a.customer1("POST", order+"/pay", "").is(200)
}

func TestSpendingAndRevenueAddUp(t *testing.T) {
	t.Parallel()
	a := newAPI(t, memory.New())
	a.prepare(20)
	a.paid(1)
	a.paid(2)
	last := a.paid(3)
	a.customer1("POST", "/orders", `{}`).is(201) // is not paid
	var spending orders.SpendingView
	a.customer1("GET", "/customers/customer-1/spending?limit=2", "", last.after()).is(200).into(&spending)
	if len(spending.Paid) != 2 || spending.Paid[0].Amount.Amount != 3*450 || spending.Paid[0].Total.Amount != 6*450 || spending.Paid[1].Total.Amount != 3*450 {
		t.Errorf("customer 1 has spent %+v", spending)
	}
	a.customer2("GET", "/customers/customer-2/spending", "", last.after()).is(200).into(&spending)
	if len(spending.Paid) != 0 {
		t.Errorf("customer 2 has spent %+v", spending)
	}
	var revenue orders.RevenueView
	a.clerk("GET", "/revenue", "", last.after()).is(200).into(&revenue)
	if len(revenue.Days) == 0 || revenue.Days[0].Amount.Currency != "EUR" {
		t.Fatalf("the revenue is %+v", revenue)
	}
	sum, n := int64(0), 0
	for _, d := range revenue.Days { // it may have become midnight
		sum, n = sum+d.Amount.Amount, n+d.Orders
	}
	if sum != 6*450 || n != 3 {
		t.Errorf("the revenue is %+v", revenue)
	}
	a.clerk("GET", "/revenue?to=2001-01-01", "", last.after()).is(200).into(&revenue)
	if len(revenue.Days) != 0 {
		t.Errorf("the revenue of long ago is %+v", revenue)
	}
	var page orders.ProjectionPage
	a.clerk("GET", "/projections", "").is(200).into(&page)
	if len(page.Projections) != 3 || page.Projections[0].Name != "orders" || page.Projections[1].Name != "revenue" || !page.Projections[2].Serving {
		t.Errorf("the projections are %+v", page)
	}
}

// What a deployment of a changed read model goes through.
func TestAChangedReadModelIsBuiltBesideComparedAndGoneBackFrom(t *testing.T) {
	t.Parallel()
	store, views := memory.New(), newViews(t)
	a := runAPI(t, store, views)
	a.prepare(20)
	order := a.order(3)
	last := a.customer1("POST", "/orders/"+order+"/place", "").is(200)
	a.customer1("GET", "/orders/"+order, "", last.after()).is(200)

	changed := orders.Orders // shows cents of cents
	changed.Version = 2
	changed.Apply = func(key string, row *orders.OrderView, e annals.Entry[orders.Event]) error {
		err := orders.Orders.Apply(key, row, e)
		row.Total.Amount *= 100
		return err
	}
	runner := projection.Runner[orders.Event]{Log: orders.NewLog(store, hashKey), Views: views, Hold: true}
	ctx := t.Context()
	if err := runner.CatchUp(ctx, changed); err != nil {
		t.Fatal(err)
	}
	wantServing := func(version int) {
		t.Helper()
		s, err := projection.ServingOf(ctx, views, "orders")
		if err != nil || s.Version != version {
			t.Fatalf("version %d serves, %v", s.Version, err)
		}
	}
	wantServing(1)
	one, err := projection.OfStored(ctx, views, "orders", 1)
	if err != nil {
		t.Fatal(err)
	}
	two, err := projection.OfStored(ctx, views, "orders", 2)
	if err != nil {
		t.Fatal(err)
	}
	difference, err := projection.Compare[json.RawMessage](ctx, one, two, 1)
	if err != nil || difference.Same != 0 || difference.Differ != 1 {
		t.Errorf("the versions compare as %v, %v", difference, err)
	}
	if err := projection.Switch(ctx, views, "orders", 2); err != nil {
		t.Fatal(err)
	}
	wantServing(2)
	row, err := projection.OfServing(views, changed).Get(ctx, order)
	if err != nil || row.Total.Amount != 3*450*100 {
		t.Errorf("the new row is %+v, %v", row, err)
	}
	var shown orders.OrderView // by a service of the old version, which goes on meanwhile
	a.customer1("GET", "/orders/"+order, "").is(200).into(&shown)
	if shown.Total.Amount != 3*450 {
		t.Errorf("the old service shows %+v", shown)
	}
	if err := projection.Rollback(ctx, views, "orders"); err != nil {
		t.Fatal(err)
	}
	row, err = projection.OfServing(views, changed).Get(ctx, order)
	if err != nil || row.Total.Amount != 3*450 {
		t.Errorf("after going back the row is %+v, %v", row, err)
	}
	if err := projection.Drop(ctx, views, "orders", 1); !errors.Is(err, projection.ErrServing) {
		t.Errorf("the version that serves is dropped: %v", err)
	}
	if err := projection.Drop(ctx, views, "orders", 2); err != nil {
		t.Error(err)
	}
}

// Rows and tables that were lost are made again, the same.
func TestSalesAreTheSameAfterARebuild(t *testing.T) {
	t.Parallel()
	store := memory.New()
	a := newAPI(t, store)
	a.prepare(20)
	a.paid(1)
	last := a.paid(2)
	answer := func(a *api) string {
		var s orders.SpendingView
		var r orders.RevenueView
		a.clerk("GET", "/customers/customer-1/spending", "", last.after()).is(200).into(&s)
		a.clerk("GET", "/revenue", "", last.after()).is(200).into(&r)
		return fmt.Sprint(s, r)
	}
	was := answer(a)
	if now := answer(newAPI(t, store)); now != was {
		t.Errorf("after a rebuild it is\n%s, and was\n%s", now, was)
	}
}

package orders_test

import (
	"slices"
	"testing"
)

func TestTheAuditTrailTellsWhoWasRefusedWhat(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	id := a.customer1("POST", "/orders", "{}").is(201).accepted().ID
	a.customer2("POST", "/orders/"+id+"/place", "").is(403)
	a.customer1("POST", "/orders/"+id+"/place", "", header{"Annals-Correlation-Id", "trip 7"}).is(409) // there is nothing in it
	type given struct{ Command, Principal, Subject, Outcome, Reason, CorrelationID string }
	type page struct {
		Commands []given
		Next     string
	}
	ask := func(parameters string) (p page) {
		t.Helper()
		a.clerk("GET", "/audit?"+parameters, "").is(200).into(&p)
		return p
	}
	got := ask("subject=order-" + id)
	for i := range got.Commands {
		if got.Commands[i].CorrelationID == "" {
			t.Errorf("%+v belongs to nothing", got.Commands[i])
		}
		if i > 0 {
			got.Commands[i].CorrelationID = ""
		}
	}
	subject := "order-" + id
	want := []given{
		{"PlaceOrder", "customer-1", subject, "rejected", "PlaceOrder rejected: order is empty", "trip 7"},
		{"PlaceOrder", "customer-2", subject, "forbidden", "PlaceOrder forbidden: this belongs to another customer", ""},
		{"CreateOrder", "customer-1", subject, "ok", "", ""},
	}
	if !slices.Equal(got.Commands, want) || got.Next != "" {
		t.Errorf("got %+v", got)
	}
	first := ask("limit=1&principal=customer-1")
	second := ask("limit=1&principal=customer-1&before=" + first.Next)
	if first.Commands[0].Outcome != "rejected" || second.Commands[0].Command != "CreateOrder" {
		t.Errorf("got %+v, then %+v", first, second)
	}
	if later := ask("before=999999"); len(later.Commands) < 3 {
		t.Errorf("got %+v", later)
	}
	a.clerk("GET", "/audit?outcome=nonsense", "").is(422)
	if ok := ask("outcome=forbidden"); len(ok.Commands) != 1 {
		t.Errorf("got %+v", ok)
	}
}

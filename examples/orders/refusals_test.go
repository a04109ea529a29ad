package orders_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/store/memory"
)

// refused sends what need not be described, and wants a problem of this status.
func (a *api) refused(status int, token, method, path, body string, headers ...header) problem {
	a.t.Helper()
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		r.Header.Add(h.name, h.value)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer response.Body.Close()
	got := &answer{t: a.t, request: fmt.Sprintf("%s %.80s %.80s", method, path, body), status: response.StatusCode}
	if got.body, err = io.ReadAll(response.Body); err != nil {
		a.t.Error(err)
	}
	if kind := response.Header.Get("Content-Type"); kind != "application/problem+json" {
		a.t.Errorf("%s: answered %q", got.request, kind)
	}
	return got.is(status).problem()
}

func TestABodyThatIsNoCommandChangesNothing(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	id := a.order(1)
	before := events(t, a)
	for body, status := range map[string]int{
		`{`: 400, `}`: 400, `[]`: 400, `null`: 400, `true`: 400, `"tea"`: 400, `7`: 400, ` `: 400, "\x00": 400, "\ufeff{}": 400,
		`{"product":"tea","count":1}{}`:                                 400,
		`{"product":"tea","count":1,"count":2}`:                         400,
		`{"product":"tea","Count":1}`:                                   400,
		`{"product":"tea","count":1,"admin":true}`:                      400,
		`{"product":"tea","count":1.5}`:                                 400,
		`{"product":"tea","count":1e400}`:                               400,
		`{"product":"tea","count":9223372036854775808}`:                 400,
		`{"product":["tea"],"count":1}`:                                 400,
		`{"product":{"id":"tea"},"count":1}`:                            400,
		"{\"product\":\"t\xffa\",\"count\":1}":                          400,
		`{"order":"other","product":"tea","count":1}`:                   400,
		strings.Repeat(`[`, 100_000):                                    400,
		strings.Repeat(`{"product":`, 50_000):                           400,
		`{"product":"tea","count":9223372036854775807}`:                 422,
		`{"product":"tea","count":-1}`:                                  422,
		`{"product":"tea","count":0}`:                                   422,
		`{"product":"tea","count":null}`:                                400,
		`{"product":null,"count":1}`:                                    400,
		`{"product":"","count":1}`:                                      422,
		`{"product":"$tea","count":1}`:                                  422,
		`{"product":"-tea","count":1}`:                                  422,
		`{"product":"tea\n","count":1}`:                                 422,
		`{"product":"tea\u0000","count":1}`:                             422,
		`{"product":"\ud800","count":1}`:                                400,
		`{"product":"` + strings.Repeat("t", 65) + `","count":1}`:       422,
		`{"product":"tea","count":1,"x":"` + strings.Repeat("x", 1<<20): 413,
	} {
		a.refused(status, "demo-customer-1", "POST", "/orders/"+id+"/items", body)
	}
	if now := events(t, a); now != before {
		t.Errorf("there were %d events, and are %d", before, now)
	}
}

func TestAnIDThatIsNoneIsAnsweredAsAProblem(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	for id, status := range map[string]int{
		"$all": 422, "%24all": 422, "-": 422, "-1": 422, "a%20b": 422, "a%0Ab": 422, "a%00b": 422, "a%2Fb": 422, "%C3%A9": 422, "a:b": 422,
		strings.Repeat("x", 65): 422, strings.Repeat("x", 20_000): 422, "%FF": 400, "order-1": 404, "a.b": 404, "1-2-3": 404,
	} {
		for _, token := range []string{"demo-customer-1", "demo-clerk"} {
			a.refused(status, token, "GET", "/orders/"+id, "")
			a.refused(status, token, "GET", "/orders/"+id+"?revision=0", "")
			a.refused(status, token, "POST", "/orders/"+id+"/place", "")
		}
	}
	for _, c := range []struct {
		body   string
		fields string
	}{
		{`{"customer":"$all","name":"A","email":"a@example.com"}`, "[{customer}]"},
		{`{"customer":"a b","name":"A","email":"a@example.com"}`, "[{customer}]"},
		{`{"customer":"a","name":"A\nB","email":"a@example.com"}`, "[{name}]"},
		{`{"customer":"a","name":"` + strings.Repeat("é", 201) + `","email":"a@example.com"}`, "[{name}]"},
		{`{"customer":"a","name":"A","email":"a@example.com\n"}`, "[{email}]"},
		{`{"customer":"a","name":"A","email":"A <a@example.com>"}`, "[{email}]"},
		{`{"customer":"a","name":"A","email":"` + strings.Repeat("a", 255) + `@example.com"}`, "[{email}]"},
		{`{}`, "[{customer} {name} {email}]"},
	} {
		if p := a.refused(422, "demo-clerk", "POST", "/customers", c.body); fmt.Sprint(p.Fields) != c.fields {
			t.Errorf("%s: got %v", c.body, p.Fields)
		}
	}
	a.refused(422, "demo-clerk", "POST", "/stock", `{"product":"tea","count":1,"price":{"amount":9223372036854775807,"currency":"EUR"}}`)
	a.refused(400, "demo-clerk", "POST", "/stock", `{"product":"tea","count":1,"price":{"amount":4.5,"currency":"EUR"}}`)
	a.refused(400, "demo-clerk", "POST", "/stock", `{"product":"tea","count":1,"price":{"amount":1,"amount":2,"currency":"EUR"}}`)
}

func TestParametersAreHeldToTheirRanges(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	order := "/orders/" + a.order(1)
	for query, status := range map[string]int{
		"revision=-1": 400, "revision=x": 400, "revision=": 400, "revision=1.0": 400, "revision=18446744073709551616": 400, "revision=1&revision=2": 400,
		"revision=18446744073709551615": 422, "revision=18446744073709551614": 404, "revision=2": 404,
		"at=": 400, "at=today": 400, "at=0001-01-01T00:00:00Z": 422, "at=0002-01-01T00:00:00Z": 404, "at=1969-12-31T23:59:59Z": 404,
		"at=2026-01-01T00:00:00Z&revision=0": 422, "rev=1": 400, "%FF=1": 400,
	} {
		a.refused(status, "demo-customer-1", "GET", order+"?"+query, "")
	}
	a.customer1("GET", order+"?at=9999-12-31T23:59:59Z", "").is(200)
	for query, status := range map[string]int{
		"limit=0": 422, "limit=101": 422, "limit=-1": 422, "limit=99999999999999999999": 400, "limit=ten": 400, "status=Open": 422,
		"status=open&status=paid": 400, "cursor=%00": 422, "cursor=" + strings.Repeat("A", 9000): 422, "customer=customer-2": 403, "order=1": 400,
	} {
		a.refused(status, "demo-customer-1", "GET", "/orders?"+query, "")
	}
	for query, status := range map[string]int{"from=-1": 400, "limit=0": 400, "limit=1001": 400} {
		a.refused(status, "demo-customer-1", "GET", order+"/history?"+query, "")
	}
	for _, h := range []header{{"Annals-At-Least", "-1"}, {"Annals-At-Least", "18446744073709551616"}} {
		a.refused(400, "demo-customer-1", "GET", order, "", h)
	}
}

func TestWhatIsNotThereIsAProblem(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	a.refused(404, "demo-customer-1", "GET", "/", "")
	a.refused(404, "demo-customer-1", "POST", "/orders/1/teleport", "")
	a.refused(405, "demo-customer-1", "DELETE", "/orders/1", "")
	a.refused(405, "demo-customer-1", "GET", "/stock", "")
	a.refused(401, "demo-customer-3", "GET", "/", "")
	a.refused(405, "demo-customer-3", "POST", "/livez", "") // for whoever asks
	a.refused(405, "demo-customer-3", "DELETE", "/readyz", "")
}

func TestWhatIsNotDescribedIsRefused(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	before := events(t, a)
	for _, c := range []struct{ path, body, place string }{
		{"/orders?dryRun=true", "{}", "parameter dryRun"},
		{"/orders", `{"customer":null}`, "body member customer"},
		{"/customers", `{"name":null,"email":"a@example.com"}`, "body member name"},
	} {
		if p := a.refused(400, "demo-customer-1", "POST", c.path, c.body); p.Place != c.place {
			t.Errorf("%s %s: got %+v", c.path, c.body, p)
		}
	}
	for _, path := range []string{"/orders", "/customers", "/carts/c/checkout"} { // what they create is at no revision yet
		if p := a.refused(400, "demo-customer-1", "POST", path, "{}", header{"If-Match", `"0"`}); p.Place != "header If-Match" {
			t.Errorf("%s: got %+v", path, p)
		}
	}
	if now := events(t, a); now != before {
		t.Errorf("there were %d events, and are %d", before, now)
	}
}

func TestAKeyStandsForOneRequest(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	key := header{"Idempotency-Key", "k"}
	first := a.clerk("POST", "/orders", `{"customer":"customer-1"}`, key).is(201)
	if p := a.clerk("POST", "/orders", `{"customer":"customer-2"}`, key).is(422).problem(); !strings.HasSuffix(p.Type, "/key-reused") {
		t.Errorf("got %+v", p)
	}
	other := a.order(1)
	a.clerk("POST", "/orders/"+first.accepted().ID+"/items", `{"product":"tea","count":1}`, key).is(200)
	a.clerk("POST", "/orders/"+other+"/items", `{"product":"tea","count":1}`, key).is(422)
	for _, bad := range []header{{"Idempotency-Key", ""}, {"Idempotency-Key", strings.Repeat("k", 256)}, {"Idempotency-Key", "ké"}} {
		a.refused(400, "demo-clerk", "POST", "/orders", `{"customer":"customer-1"}`, bad)
	}
	// A command that was refused keeps nothing: the same key does, once the reason is gone.
	mine := "/orders/" + a.order(6) + "/place"
	a.customer1("POST", mine, "", key).is(409)
	a.clerk("POST", "/stock", `{"product":"tea","count":1,"price":{"amount":450,"currency":"EUR"}}`).is(200)
	a.customer1("POST", mine, "", key).is(200)
	if g := a.customer1("POST", mine, "", key).is(200); g.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %v", g.header)
	}
}

func TestManyWhoSendOneKeyAtOnceCreateOneOrder(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	before := events(t, a)
	ids := map[string]bool{}
	for _, g := range race(20, func(int) *answer { return a.customer1("POST", "/orders", `{}`, header{"Idempotency-Key", "k"}) }) {
		ids[g.is(201).accepted().ID] = true
	}
	if now := events(t, a); len(ids) != 1 || now != before+1 {
		t.Errorf("%d orders, there were %d events, and are %d", len(ids), before, now)
	}
}

func TestOneOfManyWhoSawTheSameRevisionChangesIt(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	id := a.order(1)
	won := 0
	for _, g := range race(20, func(int) *answer {
		return a.customer1("POST", "/orders/"+id+"/items", `{"product":"tea","count":1}`, header{"If-Match", `"1"`})
	}) {
		if g.status == 200 {
			won++
		} else if p := g.is(412).problem(); p.ActualRevision == nil || *p.ActualRevision != 2 || len(p.ConflictingEvents) != 1 {
			t.Errorf("got %s", g.body)
		}
	}
	if won != 1 {
		t.Errorf("%d changed it", won)
	}
	p := a.customer1("POST", "/orders/"+id+"/items", `{"product":"tea","count":1}`, header{"If-Match", `"99"`}).is(412).problem()
	if p.ActualRevision == nil || *p.ActualRevision != 2 {
		t.Errorf("got %+v", p)
	}
}

// Orders of two products each, in a ring: whoever places one stands in the way of both neighbours. However they race,
// no product is oversold, and none is refused for stock that is there.
func TestOrdersOfSeveralProductsThatRaceNeverOversell(t *testing.T) {
	t.Parallel()
	const products, racers, pieces = 4, 24, 5
	a := newAPI(t, memory.New())
	a.prepare(5)
	name := func(i int) string { return fmt.Sprint("p", i%products) }
	for i := range products {
		a.clerk("POST", "/stock", fmt.Sprintf(`{"product":%q,"count":%d,"price":{"amount":100,"currency":"EUR"}}`, name(i), pieces)).is(200)
	}
	ids := make([]string, racers)
	for i := range ids {
		ids[i] = a.customer1("POST", "/orders", `{}`).is(201).accepted().ID
		for _, p := range []string{name(i), name(i + 1)} {
			a.customer1("POST", "/orders/"+ids[i]+"/items", fmt.Sprintf(`{"product":%q,"count":1}`, p)).is(200)
		}
	}
	answers := race(racers, func(i int) *answer { return a.customer1("POST", "/orders/"+ids[i]+"/place", "") })
	left := map[string]int{}
	log := orders.NewLog(a.store, hashKey)
	for e, err := range log.Read(t.Context(), annals.Types("StockReceived", "OrderPlaced")) {
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.Value.(type) {
		case orders.StockReceived:
			left[e.Product] += e.Count
		case orders.OrderPlaced:
			for _, l := range e.Lines {
				left[l.Product] -= l.Count
			}
		}
		for p, n := range left {
			if n < 0 {
				t.Errorf("position %d: %s is oversold by %d", e.Position, p, -n)
			}
		}
	}
	for i, g := range answers {
		if g.status == 200 {
			continue
		}
		if p := g.is(409).problem(); p.Rule != string(orders.ErrSoldOut) || left[name(i)] > 0 && left[name(i+1)] > 0 {
			t.Errorf("order %d was refused with %v left: %s", i, left, g.body)
		}
	}
}

// What one customer calls a cart is nothing to another: neither comes upon the other's, or learns that it is there.
func TestCartsOfTwoCustomersDoNotMeet(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	a.customer2("POST", "/carts/mine/products", `{"product":"tea","count":1}`).is(200)
	for _, cart := range []string{"mine", "other"} {
		if p := a.customer1("POST", "/carts/"+cart+"/checkout", "").is(409).problem(); p.Rule != string(orders.ErrEmptyCart) {
			t.Errorf("%s: got %+v", cart, p)
		}
	}
	if id := a.customer1("POST", "/carts/mine/products", `{"product":"pot","count":1}`).is(200).accepted().ID; id != "customer-1:mine" {
		t.Errorf("the cart is %q", id)
	}
	a.clerk("POST", "/carts/mine/products", `{"customer":"customer-1","product":"tea","count":2}`).is(200)
	if p := a.clerk("POST", "/carts/mine/checkout", "").is(422).problem(); fmt.Sprint(p.Fields) != "[{customer}]" {
		t.Errorf("a clerk who names nobody: %+v", p)
	}
	a.customer2("POST", "/carts/mine/checkout", `{"customer":"customer-1"}`).is(403)
	for token, want := range map[string]orders.Lines{"demo-clerk": {pot(1), tea(2)}, "demo-customer-2": {tea(1)}} {
		body := ""
		if token == "demo-clerk" {
			body = `{"customer":"customer-1"}`
		}
		made := a.send(token, "POST", "/carts/mine/checkout", body).is(201)
		if got := a.send(token, "GET", made.header.Get("Location"), "", made.after()).is(200).order(); !slices.Equal(got.Lines, want) {
			t.Errorf("%s has %+v", token, got)
		}
	}
}

// Whoever guesses the key that somebody used cannot compute the order's id from it, and so not ask whether it is there.
func TestNobodyCanTellWhichKeysAnotherUsed(t *testing.T) {
	t.Parallel()
	a, other := stocked(t), newAPI(t, memory.New())
	key := header{"Idempotency-Key", "order-1"}
	id := a.customer1("POST", "/orders", `{}`, key).is(201).accepted().ID
	service := config(other.store, nil)
	service.HashKey = []byte("another key, as long as that")
	elsewhere, err := orders.New(service)
	if err != nil {
		t.Fatal(err)
	}
	other.prepare(1)
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/orders", nil)
	r.Header.Set("Authorization", "Bearer demo-customer-1")
	r.Header.Set(key.name, key.value)
	w := httptest.NewRecorder()
	elsewhere.Handler().ServeHTTP(w, r)
	if location := w.Header().Get("Location"); w.Code != 201 || location == "/orders/"+id {
		t.Errorf("a service with another secret answers %d, %s", w.Code, location)
	}
}

func TestNobodyLearnsWhatBelongsToAnother(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	id := a.order(1)
	a.customer1("GET", "/orders", "", header{"Annals-At-Least", head(t, a).String()}).is(200) // the read model knows the order
	secrets := []string{"tea", "Ann", "customer-1", "example.com", "450"}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/orders/" + id, ""},
		{"GET", "/orders/" + id + "?revision=0", ""},
		{"GET", "/orders/" + id + "?revision=99", ""},
		{"GET", "/orders/" + id + "?at=2001-01-01T00:00:00Z", ""},
		{"GET", "/orders/" + id + "/history", ""},
		{"GET", "/orders/" + id + "/history?from=99", ""},
		{"POST", "/orders/" + id + "/items", `{"product":"pot","count":1}`},
		{"DELETE", "/orders/" + id + "/items/pot", ""},
		{"POST", "/orders/" + id + "/place", ""},
		{"POST", "/orders/" + id + "/pay", ""},
		{"POST", "/orders/" + id + "/charge", `{"card":"mine"}`},
		{"POST", "/orders/" + id + "/ship", ""},
		{"POST", "/orders/" + id + "/cancel", ""},
		{"POST", "/carts/c/products", `{"customer":"customer-1","product":"pot","count":1}`},
		{"PUT", "/customers/customer-1/profile", `{"name":"Bob"}`},
	} {
		for _, h := range []header{{"If-None-Match", "*"}, {"If-Match", `"0"`}, {"If-Match", `"99"`}} {
			if (h.name == "If-None-Match") != (c.method == "GET") {
				continue
			}
			g := a.send("demo-customer-2", c.method, c.path, c.body, h).is(403)
			if slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(string(g.body), s) }) || g.header.Get("ETag") != "" {
				t.Errorf("%s %s: bob learns %s, %v", c.method, c.path, g.body, g.header)
			}
		}
	}
	page := a.customer2("GET", "/orders", "", header{"Annals-At-Least", head(t, a).String()}).is(200).page()
	if len(page.Orders) != 0 {
		t.Errorf("bob sees %+v", page.Orders)
	}
}

// events is how many there are, the records of the audit trail aside.
func events(t *testing.T, a *api) (n int) {
	t.Helper()
	for _, err := range a.store.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func head(t *testing.T, a *api) annals.Position {
	t.Helper()
	p, err := a.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

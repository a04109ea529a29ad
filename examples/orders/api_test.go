package orders_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/sqliteviews"
	"github.com/annalsdb/annals/store/memory"
)

// document is openapi.yaml, read once.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

func config(store annals.Store, views projection.Views) orders.Config {
	if views == nil {
		views = projection.NewMemory()
	}
	c := orders.Config{Store: store, Views: views, HashKey: hashKey, Authenticate: orders.DemoTokens()}
	if _, ok := views.(*projection.Memory); !ok {
		c.Sales = views // they are in SQL
	}
	if _, err := annals.System(store); err == nil {
		c.Payments, c.PayBackoff = new(orders.FakePayments), time.Millisecond
		c.PayWithin = 100 * 365 * 24 * time.Hour // stores of tests may be in another year
	}
	return c
}

// api is a running service and a client that holds it to its description.
type api struct {
	t       *testing.T
	store   annals.Store
	service *orders.Service
	url     string
	doc     *openapi3.T
	router  routers.Router

	mu   sync.Mutex
	seen map[string]map[int]bool // by operation id: the statuses that were answered
}

// newAPI runs the service on a store until the test ends, with a fresh file of views.
func newAPI(t *testing.T, store annals.Store) *api {
	t.Helper()
	return runAPI(t, store, newViews(t))
}

// newViews are in a fresh file.
func newViews(t *testing.T) *sqliteviews.Views {
	t.Helper()
	views, err := sqliteviews.Open(t.Context(), filepath.Join(t.TempDir(), "views.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // after the run has ended: cleanups are called last to first
		if err := views.Close(); err != nil {
			t.Error(err)
		}
	})
	return views
}

// runAPI runs the service on a store and views until the test ends.
func runAPI(t *testing.T, store annals.Store, views projection.Views) *api {
	t.Helper()
	a := idleAPI(t, store, views)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.service.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return a
}

// idleAPI serves without running the projections.
func idleAPI(t *testing.T, store annals.Store, views projection.Views) *api {
	t.Helper()
	service, err := orders.New(config(store, views))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service.Handler())
	t.Cleanup(server.Close)
	return &api{t: t, store: store, service: service, url: server.URL, doc: doc, router: router, seen: map[string]map[int]bool{}}
}

// stocked is a service with two customers and five pieces of tea at 4.50, and one pot at 39.00.
func stocked(t *testing.T) *api {
	t.Helper()
	a := newAPI(t, memory.New())
	a.prepare(5)
	return a
}

func (a *api) prepare(teas int) {
	a.t.Helper()
	a.customer1("POST", "/customers", `{"name":"Ann","email":"ann@example.com"}`).is(201)
	a.customer2("POST", "/customers", `{"name":"Bob","email":"bob@example.com"}`).is(201)
	a.clerk("POST", "/stock", fmt.Sprintf(`{"product":"tea","count":%d,"price":{"amount":450,"currency":"EUR"}}`, teas)).is(200)
	a.clerk("POST", "/stock", `{"product":"pot","count":1,"price":{"amount":3900,"currency":"EUR"}}`).is(200)
}

// order is the id of a new order of customer 1 with these many teas.
func (a *api) order(teas int) string {
	a.t.Helper()
	id := a.customer1("POST", "/orders", `{}`).is(201).accepted().ID
	a.customer1("POST", "/orders/"+id+"/items", fmt.Sprintf(`{"product":"tea","count":%d}`, teas)).is(200)
	return id
}

// header is a header of a request.
type header struct{ name, value string }

func (a *api) customer1(method, path, body string, headers ...header) *answer {
	a.t.Helper()
	return a.send("demo-customer-1", method, path, body, headers...)
}

func (a *api) customer2(method, path, body string, headers ...header) *answer {
	a.t.Helper()
	return a.send("demo-customer-2", method, path, body, headers...)
}

func (a *api) clerk(method, path, body string, headers ...header) *answer {
	a.t.Helper()
	return a.send("demo-clerk", method, path, body, headers...)
}

// send sends a request and holds it, and the answer, to openapi.yaml. It may be called concurrently.
func (a *api) send(token, method, path, body string, headers ...header) *answer {
	a.t.Helper()
	request := func() *http.Request {
		r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, bytes.NewBufferString(body))
		if err != nil {
			a.t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		for _, h := range headers {
			r.Header.Set(h.name, h.value)
		}
		return r
	}
	response, err := http.DefaultClient.Do(request())
	if err != nil {
		a.t.Error(err)
		return &answer{t: a.t}
	}
	defer response.Body.Close()
	got := &answer{t: a.t, request: method + " " + path, status: response.StatusCode, header: response.Header}
	if got.body, err = io.ReadAll(response.Body); err != nil {
		a.t.Error(err)
	}
	a.check(request(), got)
	return got
}

// check holds an exchange to the description. Requests that were refused for their form are not described.
func (a *api) check(r *http.Request, got *answer) {
	a.t.Helper()
	r.URL.Scheme, r.URL.Host = "", ""
	route, path, err := a.router.FindRoute(r)
	if err != nil {
		a.t.Errorf("%s: not in openapi.yaml: %v", got.request, err)
		return
	}
	a.mu.Lock()
	if a.seen[route.Operation.OperationID] == nil {
		a.seen[route.Operation.OperationID] = map[int]bool{}
	}
	a.seen[route.Operation.OperationID][got.status] = true
	a.mu.Unlock()
	input := &openapi3filter.RequestValidationInput{Request: r, PathParams: path, Route: route, Options: &openapi3filter.Options{
		AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, RejectWhenRequestBodyNotSpecified: true,
	}}
	switch got.status {
	case 400, 401, 413, 415, 422:
	default:
		if err := openapi3filter.ValidateRequest(a.t.Context(), input); err != nil {
			a.t.Errorf("%s: the request is not as described: %v", got.request, err)
		}
	}
	output := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: got.status, Header: got.header, Options: input.Options}
	output.SetBodyBytes(got.body)
	if err := openapi3filter.ValidateResponse(a.t.Context(), output); err != nil {
		a.t.Errorf("%s: the answer %d is not as described: %v\n%s", got.request, got.status, err, got.body)
	}
}

// answer is what came back.
type answer struct {
	t       *testing.T
	request string
	status  int
	header  http.Header
	body    []byte
}

// is wants a status.
func (g *answer) is(status int) *answer {
	g.t.Helper()
	if g.status != status {
		g.t.Errorf("%s: answered %d, want %d: %s", g.request, g.status, status, g.body)
	}
	return g
}

// accepted is the answer of a command.
type accepted struct {
	ID       string          `json:"id"`
	Revision annals.Revision `json:"revision"`
	Position annals.Position `json:"position"`
}

func (g *answer) accepted() (v accepted) { g.into(&v); return v }

func (g *answer) order() (v orders.OrderView) { g.into(&v); return v }

func (g *answer) page() (v orders.OrderPage) { g.into(&v); return v }

// problem is what the tests look at of a problem.
type problem struct {
	Type, Rule, Place string
	Fields            []struct{ Name string }
	ActualRevision    *annals.Revision
	ConflictingEvents []struct{ Type string }
}

func (g *answer) problem() (v problem) { g.into(&v); return v }

func (g *answer) into(v any) {
	g.t.Helper()
	if err := json.Unmarshal(g.body, v); err != nil {
		g.t.Errorf("%s: %v: %s", g.request, err, g.body)
	}
}

// after demands that a read has seen what the answered command wrote.
func (g *answer) after() header { return header{"Annals-At-Least", g.header.Get("Annals-Position")} }

func is(err, target error) bool { return errors.Is(err, target) }

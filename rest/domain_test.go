package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/rest"
	"github.com/annalsdb/annals/store/memory"
)

type (
	OrderID  string
	Customer string
)

type OrderCreated struct {
	Order    OrderID  `json:"order" annals:"order,stream"`
	Customer Customer `json:"customer"`
}

type ItemAdded struct {
	Order   OrderID `json:"order" annals:"order,stream"`
	Product string  `json:"product"`
	Count   int     `json:"count"`
}

type Rang struct {
	Note string `json:"note"` // belongs to no stream
}

var schema = annals.NewSchema([]any{OrderCreated{}, ItemAdded{}, Rang{}})

type Order struct {
	ID       OrderID        `json:"id"`
	Customer Customer       `json:"customer"`
	Items    map[string]int `json:"items"`
}

func (o Order) Boundary() annals.Query { return annals.Stream(annals.StreamName("order", o.ID)) }

func (o Order) Evolve(e any) Order {
	switch e := e.(type) {
	case OrderCreated:
		o.Customer, o.Items = e.Customer, map[string]int{}
	case ItemAdded:
		o.Items[e.Product] += e.Count
	}
	return o
}

func mine(p annals.Principal, o Order) error {
	if p.Has("clerk") || p.ID == string(o.Customer) {
		return nil
	}
	return errors.New("not your order")
}

const (
	errExists  = decider.Rule("order exists")
	errMissing = decider.Rule("no such order")
)

type CreateOrder struct {
	Order    OrderID  `json:"order"`
	Customer Customer `json:"customer"`
}

func (c CreateOrder) Initial() Order { return Order{ID: c.Order} }

func (c CreateOrder) Decide(o Order) ([]any, error) {
	if o.Customer != "" {
		return nil, errExists
	}
	return []any{OrderCreated(c)}, nil
}

func (c CreateOrder) Authorize(p annals.Principal, _ Order) error {
	return mine(p, Order{Customer: c.Customer})
}

// ref is embedded by commands on an order.
type ref struct {
	Order OrderID `json:"order"`
}

func (r ref) Initial() Order { return Order{ID: r.Order} }

type AddItem struct {
	ref
	Product string `json:"product"`
	Count   int    `json:"count"`
}

func (c AddItem) Validate() error {
	var v decider.Invalid
	v.Check(c.Product != "", "product", "is empty")
	v.Check(c.Count > 0, "count", "must be positive")
	return v.Err()
}

func (c AddItem) Decide(o Order) ([]any, error) {
	if o.Customer == "" {
		return nil, fmt.Errorf("%w: %s", errMissing, c.Order)
	}
	return []any{ItemAdded{Order: c.Order, Product: c.Product, Count: c.Count}}, nil
}

func (c AddItem) Authorize(p annals.Principal, o Order) error { return mine(p, o) }

// Ring decides an event without a stream.
type Ring struct {
	Note string `json:"note"`
}

type Bell struct{}

func (Bell) Boundary() annals.Query { return annals.Types("Rang") }
func (b Bell) Evolve(any) Bell      { return b }

func (Ring) Initial() Bell                          { return Bell{} }
func (Ring) Authorize(annals.Principal, Bell) error { return nil }
func (c Ring) Decide(Bell) ([]any, error) {
	if c.Note == "" {
		return nil, nil
	}
	return []any{Rang(c)}, nil
}

type GetOrder struct {
	Order OrderID `json:"order"`
}

func (GetOrder) Authorize(p annals.Principal, o Order) error { return mine(p, o) }

type FindOrders struct {
	Customer Customer        `json:"customer"`
	Limit    int             `json:"limit"`
	Open     bool            `json:"open"`
	Tags     []string        `json:"tags"`
	After    annals.Position `json:"after"`
	Share    *float64        `json:"share"`
}

type FailWith struct{}

// app is the whole, over HTTP.
type app struct {
	*httptest.Server
	store *memory.Store
	log   *annals.Log[any]
	// applied is how far the read model has come; fail is what FailWith answers.
	applied annals.Position
	fail    error
}

const clerk, ann = "clerk", "ann"

var secret = []byte("sixteen bytes, or more")

func newApp(t *testing.T, opts ...rest.Option) *app {
	t.Helper()
	a := &app{store: memory.New(), applied: 1000}
	a.log = annals.NewLog[any](a.store, schema)
	bus := cqrs.New(a.log, cqrs.Recover(), cqrs.Correlation())
	cqrs.Answer(bus, a.getOrder)
	cqrs.Answer(bus, func(_ context.Context, q FindOrders) (FindOrders, error) { return q, nil })
	cqrs.Answer(bus, func(context.Context, FailWith) (string, error) { return "", a.fail })

	var read []rest.ReadOption
	for _, o := range opts {
		read = append(read, o)
	}
	command := func(more ...rest.CommandOption) []rest.CommandOption {
		for _, o := range opts {
			more = append(more, o)
		}
		return more
	}
	orderOf := func(r *http.Request) Order { return Order{ID: OrderID(r.PathValue("order"))} }
	mux := http.NewServeMux()
	mux.Handle("POST /orders", rest.Command[CreateOrder](bus, command(rest.NewID("order", secret), rest.Fill("customer", customer), rest.Created("/orders/{order}"))...))
	mux.Handle("POST /orders/{order}/items", rest.Command[AddItem](bus, command(rest.MaxBody(200))...))
	mux.Handle("POST /ring", rest.Command[Ring](bus, command(rest.Created("/rings/{note}"))...))
	mux.Handle("POST /bell", rest.Command[Ring](bus, command()...))
	mux.Handle("GET /orders/{order}", rest.Query[GetOrder, Order](bus, read...))
	mux.Handle("GET /orders", rest.Query[FindOrders, FindOrders](bus, read...))
	mux.Handle("GET /fail", rest.Query[FailWith, string](bus, read...))
	mux.Handle("GET /orders/{order}/state", rest.State(a.log, orderOf, mine, read...))
	mux.Handle("GET /bell", rest.State(a.log, func(*http.Request) Bell { return Bell{} }, rest.Anyone[Bell], read...))
	mux.Handle("GET /orders/{order}/history", rest.History(a.log, orderOf, mine, read...))
	a.Server = httptest.NewServer(rest.Authenticate(principal)(mux))
	t.Cleanup(a.Close)
	return a
}

// customer is the principal, unless a clerk names somebody.
func customer(r *http.Request, sent string) (string, error) {
	p := annals.PrincipalFrom(r.Context())
	switch {
	case p.Has("clerk"):
		return sent, nil
	case sent != "" && sent != p.ID:
		return "", decider.ErrForbidden
	}
	return p.ID, nil
}

func principal(r *http.Request) (annals.Principal, error) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !ok:
		return annals.Principal{}, fmt.Errorf("no token: %w", rest.ErrUnauthenticated)
	case name == "unreachable":
		return annals.Principal{}, errors.New("the directory at 10.0.0.1 is down")
	case name == clerk:
		return annals.Principal{ID: clerk, Roles: []string{"clerk"}}, nil
	}
	return annals.Principal{ID: name}, nil
}

// getOrder is a read model that waits for what is demanded until ctx ends.
func (a *app) getOrder(ctx context.Context, q GetOrder) (Order, error) {
	if p := annals.AtLeastFrom(ctx); p > a.applied {
		<-ctx.Done()
		return Order{}, &projection.LaggingError{Projection: "orders", Applied: a.applied, Wanted: p}
	}
	order, err := decider.Load(ctx, a.log, Order{ID: q.Order})
	if err == nil && !order.Found {
		err = projection.ErrNotFound
	}
	return order.State, err
}

// response is what came back, the body read.
type response struct {
	status int
	header http.Header
	body   string
	json   map[string]any
}

// do sends a request as somebody; headers are given as "Name: value".
func (a *app) do(t *testing.T, who, method, path, body string, headers ...string) response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, a.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if who != "" {
		r.Header.Set("Authorization", "Bearer "+who)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Content-Type" {
			r.Header.Del(name)
		}
		r.Header.Add(name, value)
	}
	res, err := a.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := response{status: res.StatusCode, header: res.Header, body: strings.TrimSpace(string(b))}
	_ = json.Unmarshal(b, &got.json)
	return got
}

// create makes an order for ann and returns its id.
func (a *app) create(t *testing.T) string {
	t.Helper()
	r := a.do(t, ann, "POST", "/orders", "")
	id, ok := r.json["id"].(string)
	if r.status != http.StatusCreated || !ok {
		t.Fatalf("create: %d %s", r.status, r.body)
	}
	return id
}

// problem checks that r is the problem of this name, and well-formed.
func (r response) problem(t *testing.T, status int, name string) response {
	t.Helper()
	switch {
	case r.status != status || r.json["type"] != "https://annals.dev/problems/"+name:
		t.Fatalf("want %d %s, got %d %s", status, name, r.status, r.body)
	case r.header.Get("Content-Type") != "application/problem+json":
		t.Fatalf("content type %q", r.header.Get("Content-Type"))
	case r.json["status"] != float64(status) || r.json["title"] == "" || r.json["title"] == nil:
		t.Fatalf("malformed problem: %s", r.body)
	}
	return r
}

// expect checks a status.
func (r response) expect(t *testing.T, status int) response {
	t.Helper()
	if r.status != status {
		t.Fatalf("want %d, got %d %s", status, r.status, r.body)
	}
	return r
}

package orders_test

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

var errBurns = errors.New("it burns")

// faulty is a store, with its views, that fails on demand.
type faulty struct {
	annals.Store
	projection.Views
	fault *atomic.Pointer[error]
}

func newFaulty(t *testing.T) *faulty {
	t.Helper()
	return &faulty{Store: memory.New(), Views: newViews(t), fault: new(atomic.Pointer[error])}
}

// System implements annals.SystemStore: the audit trail fails with the rest.
func (f *faulty) System() annals.Store {
	system, err := annals.System(f.Store)
	if err != nil {
		panic(err)
	}
	return &faulty{Store: system, fault: f.fault}
}

// Tracked implements annals.Tracker.
func (f *faulty) Tracked(ctx context.Context, source string) (annals.Position, error) {
	return annals.Tracked(ctx, f.Store, source)
}

// Limits implements annals.Limiter.
func (f *faulty) Limits() annals.Limits { return annals.LimitsOf(f.Store) }

func (f *faulty) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	if err := f.fault.Load(); err != nil {
		return annals.Receipt{}, *err
	}
	return f.Store.Append(ctx, events, conds...)
}

func (f *faulty) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	if err := f.fault.Load(); is(errOf(err), errBurns) {
		return func(yield func(annals.Recorded, error) bool) { yield(annals.Recorded{}, *err) }
	}
	return f.Store.Read(ctx, q, opts...)
}

func (f *faulty) Head(ctx context.Context) (annals.Position, error) {
	if err := f.fault.Load(); err != nil {
		return 0, *err
	}
	return f.Store.Head(ctx)
}

func (f *faulty) Table(ctx context.Context, shape projection.Shape) (projection.Table, error) {
	if err := f.fault.Load(); err != nil {
		return nil, *err
	}
	return f.Views.Table(ctx, shape)
}

func (f *faulty) Stored(ctx context.Context) ([]projection.Shape, error) {
	if err := f.fault.Load(); err != nil {
		return nil, *err
	}
	return f.Views.Stored(ctx)
}

func errOf(err *error) error {
	if err == nil {
		return nil
	}
	return *err
}

// during runs f while the store fails.
func (f *faulty) during(fault error, run func()) {
	f.fault.Store(&fault)
	defer f.fault.Store(nil)
	run()
}

// described is a command that is accepted, and how to break it.
type described struct {
	method, path, body, token string
	status                    int
	brokenPath, brokenBody    string // 422; "" is the path or the body above
	refusedPath, refusedBody  string // 409, after it was accepted
	repeatable                bool   // is accepted again instead
	missingPath               string // 404; "" if nothing has to be there
	match                     bool   // takes If-Match
}

// with is c with another path or body, where they are not "".
func (c described) with(path, body string) described {
	c.path, c.body = cmp.Or(path, c.path), cmp.Or(body, c.body)
	return c
}

func (c described) send(a *api, status int, headers ...header) {
	a.t.Helper()
	a.send(c.token, c.method, c.path, c.body, headers...).is(status)
}

// Every answer in these tests is held to the description. This one makes sure that nothing in the description goes
// without an answer: each route is asked, well and wrongly, and each of its statuses is seen.
func TestTheServiceIsAsDescribed(t *testing.T) {
	t.Parallel()
	store := newFaulty(t)
	a := runAPI(t, store, store)
	a.prepare(5)
	last := a.customer1("POST", "/orders", `{}`).is(201)
	a.customer1("GET", "/orders", "", last.after()).is(200) // the projection runs, and will not open its table under a fault
	for _, c := range commandsOf(a) {
		checkCommand(t, a, store, c)
	}
	checkReads(t, a, store)
	for path, item := range a.doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if n, err := strconv.Atoi(status); err != nil || !a.seen[op.OperationID][n] {
					t.Errorf("%s %s was never answered with %s: %v", method, path, status, err)
				}
			}
		}
	}
}

var routeRule = regexp.MustCompile(`"([A-Z]+ /[^" ]*)", `)

// A mux cannot be asked for its routes, so they are read where they are declared.
func TestEachRouteIsDescribedAndEachDescriptionIsARoute(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("routes.go")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	var routes, described []string
	for _, m := range routeRule.FindAllSubmatch(source, -1) {
		routes = append(routes, string(m[1]))
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			described = append(described, method+" "+path)
		}
	}
	slices.Sort(routes)
	if slices.Sort(described); !slices.Equal(routes, described) || len(routes) == 0 {
		t.Errorf("routes.go has\n%q, openapi.yaml has\n%q", routes, described)
	}
}

func commandsOf(a *api) []described {
	const ann, clerk, tea = "demo-customer-1", "demo-clerk", `{"product":"tea","count":1}`
	order, other, placed := "/orders/"+a.order(1), "/orders/"+a.order(1), "/orders/"+a.order(1)
	a.customer1("POST", placed+"/place", "").is(200)
	return []described{
		{
			method: "POST", path: "/stock", token: clerk, status: 200, match: true,
			body:        `{"product":"tea","count":1,"price":{"amount":500,"currency":"EUR"}}`,
			brokenBody:  `{"product":"tea","count":0,"price":{"amount":-1,"currency":"euro"}}`,
			refusedBody: `{"product":"tea","count":1,"price":{"amount":500,"currency":"USD"}}`,
		},
		{
			method: "POST", path: "/customers", token: clerk, status: 201,
			body:       `{"customer":"customer-3","name":"Cid","email":"cid@example.com"}`,
			brokenBody: `{"customer":"customer-3","name":"","email":"cid"}`,
		},
		{
			method: "PUT", path: "/customers/customer-1/profile", token: clerk, status: 200, match: true,
			body: `{"name":"Anna"}`, brokenBody: `{}`, repeatable: true, missingPath: "/customers/nobody/profile",
		},
		{
			method: "POST", path: "/carts/c/products", token: ann, status: 200, match: true,
			body:       `{"customer":"customer-1","product":"tea","count":1}`,
			brokenBody: `{"product":"tea"}`, refusedBody: `{"product":"gold","count":1}`,
		},
		{method: "POST", path: "/carts/c/checkout", token: ann, status: 201, body: `{"customer":"customer-1"}`, brokenPath: "/carts/a%20b/checkout"},
		{
			method: "POST", path: "/orders", token: clerk, status: 201,
			body: `{"customer":"customer-3"}`, brokenBody: `{}`, refusedBody: `{"customer":"customer-4"}`,
		},
		{
			method: "POST", path: order + "/items", token: ann, status: 200, match: true, missingPath: "/orders/none/items",
			body: tea, brokenBody: `{"product":"tea"}`, refusedBody: `{"product":"gold","count":1}`,
		},
		{
			method: "DELETE", path: order + "/items/tea", token: ann, status: 200, match: true,
			brokenPath: order + "/items/a%20b", refusedPath: placed + "/items/tea", missingPath: order + "/items/tea",
		},
		{method: "POST", path: other + "/place", token: ann, status: 200, match: true, brokenPath: "/orders/a%20b/place", missingPath: "/orders/none/place"},
		{
			method: "POST", path: placed + "/charge", token: ann, status: 200, match: true, body: `{"card":"mine"}`,
			brokenBody: `{"card":"a b"}`, missingPath: "/orders/none/charge",
		},
		{method: "POST", path: other + "/pay", token: ann, status: 200, match: true, brokenPath: "/orders/a%20b/pay", missingPath: "/orders/none/pay"},
		{method: "POST", path: other + "/ship", token: clerk, status: 200, match: true, brokenPath: "/orders/a%20b/ship", missingPath: "/orders/none/ship"},
		{method: "POST", path: order + "/cancel", token: ann, status: 200, match: true, brokenPath: "/orders/a%20b/cancel", missingPath: "/orders/none/cancel"},
	}
}

func checkCommand(t *testing.T, a *api, store *faulty, c described) {
	t.Helper()
	unknown := &annals.OutcomeError{Unknown: true, Cause: context.DeadlineExceeded}
	store.during(errBurns, func() { c.send(a, 500) })
	store.during(annals.ErrOverloaded, func() { c.send(a, 503) })
	store.during(unknown, func() { c.send(a, 504) })
	if c.repeatable { // no rule is against it; others may be in its way
		store.during(annals.ErrConflict, func() { c.send(a, 409) })
	}
	if c.match {
		c.send(a, 412, header{"If-Match", `"99"`})
	}
	c.send(a, c.status)
	if c.repeatable {
		c.send(a, c.status)
	} else {
		c.with(c.refusedPath, c.refusedBody).send(a, 409)
	}
	if c.missingPath != "" {
		c.with(c.missingPath, "").send(a, 404)
	}
	a.send("demo-customer-2", c.method, c.path, c.body).is(403)
	a.send("", c.method, c.path, c.body).is(401)
	a.send("demo-nobody", c.method, c.path, c.body).is(401)
	c.with("", `{"nonsense":1}`).send(a, 400)
	c.with("", strings.Repeat(" ", 1<<20)+"{}").send(a, 413)
	c.with("", `{}`).send(a, 415, header{"Content-Type", "text/plain"})
	c.with(c.brokenPath, c.brokenBody).send(a, 422)
}

func checkSales(a *api, store *faulty) {
	a.t.Helper()
	const spending = "/customers/customer-1/spending"
	for path, token := range map[string]string{spending: "demo-customer-1", "/revenue": "demo-clerk"} {
		a.send(token, "GET", path, "").is(200)
		a.send(token, "GET", path+"?nonsense=1", "").is(400)
		a.send(token, "GET", path+"?limit=0", "").is(422)
		a.send("", "GET", path, "").is(401)
		a.customer2("GET", path, "").is(403)
		a.send(token, "GET", path, "", header{"Annals-At-Least", "99999"}, header{"Prefer", "wait=0"}).is(503)
		store.during(errBurns, func() { a.send(token, "GET", path, "").is(500) })
	}
	a.clerk("GET", "/revenue?from=today", "").is(422)
	a.clerk("GET", "/projections", "").is(200)
	a.clerk("GET", "/projections?nonsense=1", "").is(400)
	a.customer1("GET", "/projections", "").is(403)
	a.send("", "GET", "/projections", "").is(401)
	store.during(errBurns, func() { a.clerk("GET", "/projections", "").is(500) })
	store.during(annals.ErrClosed, func() { a.clerk("GET", "/projections", "").is(503) })
}

func checkReads(t *testing.T, a *api, store *faulty) {
	t.Helper()
	order := "/orders/" + a.order(1)
	history := order + "/history"
	last := a.customer1("POST", order+"/place", "").is(200)
	for _, path := range []string{"/orders", order, history} {
		a.customer1("GET", path, "", last.after()).is(200)
		a.customer1("GET", path+"?nonsense=1", "").is(400)
		a.send("", "GET", path, "").is(401)
		a.customer1("GET", path, "", header{"Annals-At-Least", "99999"}, header{"Prefer", "wait=0"}).is(503)
		store.during(errBurns, func() { a.customer1("GET", path, "").is(500) })
	}
	a.clerk("GET", "/audit", "", last.after()).is(200)
	a.clerk("GET", "/audit?limit=0", "").is(422)
	a.clerk("GET", "/audit?before=x", "").is(400)
	a.customer1("GET", "/audit", "").is(403)
	a.send("", "GET", "/audit", "").is(401)
	a.clerk("GET", "/audit", "", header{"Annals-At-Least", "99999"}, header{"Prefer", "wait=0"}).is(503)
	store.during(errBurns, func() { a.clerk("GET", "/audit", "").is(500) })
	checkSales(a, store)
	a.customer2("GET", "/orders?customer=customer-1", "").is(403)
	a.customer2("GET", order, "").is(403)
	a.customer2("GET", history, "").is(403)
	for _, token := range []string{"demo-customer-1", "demo-clerk"} {
		a.send(token, "GET", "/orders/none", "").is(404)
		a.send(token, "GET", "/orders/none/history", "").is(404)
	}
	a.customer1("GET", order, "", header{"If-None-Match", a.customer1("GET", order, "", last.after()).header.Get("ETag")}).is(304)
	a.customer1("GET", "/orders/a%0Ab/history", "").is(422)
	a.customer1("GET", "/orders?limit=0", "").is(422)
	a.customer1("GET", order+"?revision=1&at=2026-01-01T00:00:00Z", "").is(422)

	a.send("", "GET", "/livez", "").is(204)
	a.send("", "GET", "/readyz", "").is(204)
	store.during(errBurns, func() { a.send("", "GET", "/readyz", "").is(500) })
	store.during(annals.ErrClosed, func() { a.send("", "GET", "/readyz", "").is(503) })
}

package orders_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/examples/orders"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

func TestAnOrderGoesFromACartToTheCustomer(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	a.customer1("POST", "/carts/mine/products", `{"product":"tea","count":2}`).is(200)
	a.customer1("POST", "/carts/mine/products", `{"product":"pot","count":1}`).is(200)
	made := a.customer1("POST", "/carts/mine/checkout", "").is(201)
	order := made.header.Get("Location")
	if id := made.accepted().ID; id == "" || order != "/orders/"+id {
		t.Errorf("order %q is at %q", id, order)
	}
	a.customer1("DELETE", order+"/items/pot", "").is(200)
	a.customer1("POST", order+"/place", "").is(200)
	a.customer1("POST", order+"/pay", "").is(200)
	done := a.clerk("POST", order+"/ship", `{}`).is(200)
	got := a.customer1("GET", order, "", done.after()).is(200).order()
	want := orders.OrderView{
		ID: made.accepted().ID, Customer: ann.ID, CustomerName: "Ann", Status: orders.StatusShipped,
		Lines: orders.Lines{tea(2)}, Total: eur(900), Revision: done.accepted().Revision, CreatedAt: got.CreatedAt,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if etag := done.header.Get("ETag"); etag != fmt.Sprintf("%q", fmt.Sprint(got.Revision)) {
		t.Errorf("ETag %s at revision %d", etag, got.Revision)
	}
}

func TestACustomerIsTakenFromThePrincipalAndAClerkNamesOne(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	id := a.clerk("POST", "/orders", `{"customer":"customer-2"}`).is(201).accepted().ID
	a.customer2("POST", "/orders/"+id+"/items", `{"product":"tea","count":1}`).is(200)
	if p := a.clerk("POST", "/orders", `{}`).is(422).problem(); len(p.Fields) != 1 || p.Fields[0].Name != "customer" {
		t.Errorf("got %+v", p)
	}
	a.customer1("POST", "/orders", `{"customer":"customer-2"}`).is(403)
	a.customer1("POST", "/orders", `{"customer":"customer-1"}`).is(201)
}

func TestACommandSentAgainUnderItsKeyTakesEffectOnce(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	key := header{"Idempotency-Key", "k1"}
	first := a.customer1("POST", "/orders", `{}`, key).is(201)
	again := a.customer1("POST", "/orders", `{}`, key).is(201)
	if again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("first %v, again %v", first.header, again.header)
	}
	if first.accepted() != again.accepted() || first.header.Get("Location") != again.header.Get("Location") {
		t.Errorf("first %s, again %s", first.body, again.body)
	}
	// The key is that of one principal.
	if other := a.customer2("POST", "/orders", `{}`, key).is(201).accepted(); other.ID == first.accepted().ID {
		t.Error("two customers share an order")
	}
	items := "/orders/" + first.accepted().ID + "/items"
	a.customer1("POST", items, `{"product":"tea","count":1}`, key).is(200)
	a.customer1("POST", items, `{"product":"tea","count":1}`, key).is(200)
	if p := a.customer1("POST", items, `{"product":"tea","count":2}`, key).is(422).problem(); !strings.HasSuffix(p.Type, "/key-reused") {
		t.Errorf("got %+v", p)
	}
	place := a.customer1("POST", "/orders/"+first.accepted().ID+"/place", "").is(200)
	if got := a.customer1("GET", "/orders/"+first.accepted().ID, "", place.after()).order(); got.Total != eur(450) {
		t.Errorf("got %+v", got)
	}
}

func TestAStaleIfMatchIsToldWhatHappenedSince(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	id := a.order(1)
	seen := a.customer1("POST", "/orders/"+id+"/items", `{"product":"tea","count":1}`).is(200).header.Get("ETag")
	a.clerk("POST", "/orders/"+id+"/items", `{"product":"pot","count":1}`, header{"If-Match", seen}).is(200)
	p := a.customer1("POST", "/orders/"+id+"/place", "", header{"If-Match", seen}).is(412).problem()
	if p.ActualRevision == nil || *p.ActualRevision != 3 || len(p.ConflictingEvents) != 1 || p.ConflictingEvents[0].Type != "ItemAdded" {
		t.Errorf("got %+v", p)
	}
	a.customer1("POST", "/orders/"+id+"/place", "", header{"If-Match", `"3"`}).is(200)
}

func TestTheETagOfAnOrderGuardsACommandAndSparesAnAnswer(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	order := "/orders/" + a.order(1)
	placed := a.customer1("POST", order+"/place", "").is(200)
	seen := a.customer1("GET", order, "", placed.after()).is(200).header.Get("ETag")
	a.customer1("GET", order, "", header{"If-None-Match", seen}).is(304)
	renamed := a.customer1("PUT", "/customers/customer-1/profile", `{"name":"Anna"}`).is(200)
	if now := a.customer1("GET", order, "", renamed.after(), header{"If-None-Match", seen}).is(200); now.header.Get("ETag") == seen {
		t.Errorf("another name under the same ETag %s", seen)
	}
	a.customer1("POST", order+"/pay", "", header{"If-Match", seen}).is(200) // the order is at the revision that was seen
	a.customer1("POST", order+"/pay", "", header{"If-Match", seen}).is(412)
}

func TestAnETagIsARevisionOrAbsent(t *testing.T) {
	t.Parallel()
	store := &forgetful{Store: memory.New()}
	a := runAPI(t, store, projection.NewMemory())
	a.prepare(5)
	a.customer1("POST", "/carts/c/products", `{"product":"tea","count":1}`).is(200)
	store.forgets.Store(true)
	made := a.customer1("POST", "/carts/c/checkout", "").is(201)
	if etag, given := made.header["Etag"]; given || bytes.Contains(made.body, []byte("revision")) {
		t.Errorf("a revision that cannot be read is %s: %s", etag, made.body)
	}
}

// forgetful cannot tell the last revision of a stream once it is told to.
type forgetful struct {
	*memory.Store
	forgets atomic.Bool
}

func (f *forgetful) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	if f.forgets.Load() && q.Stream() != "" && annals.NewReadOptions(opts...).Backwards {
		return func(yield func(annals.Recorded, error) bool) { yield(annals.Recorded{}, errBurns) }
	}
	return f.Store.Read(ctx, q, opts...)
}

func TestAReadThatDemandsAPositionHasSeenItOrSaysThatItLags(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	id := a.order(1)
	for i := range 20 {
		wrote := a.customer1("POST", "/orders/"+id+"/items", `{"product":"tea","count":1}`).is(200)
		if got := a.customer1("GET", "/orders/"+id, "", wrote.after()).is(200).order(); got.Lines[0].Count != i+2 || got.Revision != wrote.accepted().Revision {
			t.Fatalf("after %d: %+v", i+2, got)
		}
	}
	future, hurry := header{"Annals-At-Least", "100000"}, header{"Prefer", "wait=0"}
	for _, path := range []string{"/orders/" + id, "/orders"} {
		if p := a.customer1("GET", path, "", future, hurry).is(503).problem(); !strings.HasSuffix(p.Type, "/projection-lagging") {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for _, path := range []string{"/orders/" + id + "?revision=0", "/orders/" + id + "/history"} {
		a.customer1("GET", path, "", future, hurry).is(503)
	}
}

func TestAnOrderIsShownAsItWasInTheShapeOfToday(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := newAPI(t, memory.New(memory.Clock(func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Minute)
		return now
	})))
	a.prepare(5)
	id := a.order(1)
	var live []orders.OrderView
	var times []string
	look := func(g *answer) {
		t.Helper()
		live = append(live, a.customer1("GET", "/orders/"+id, "", g.is(200).after()).is(200).order())
		mu.Lock()
		times = append(times, now.Format(time.RFC3339Nano))
		mu.Unlock()
	}
	look(a.customer1("POST", "/orders/"+id+"/items", `{"product":"tea","count":1}`))
	look(a.customer1("PUT", "/customers/customer-1/profile", `{"name":"Anna"}`))
	look(a.customer1("POST", "/orders/"+id+"/place", ""))
	look(a.customer1("POST", "/orders/"+id+"/cancel", ""))
	for i, want := range live {
		if got := a.customer1("GET", "/orders/"+id+"?at="+times[i], "").is(200).order(); !reflect.DeepEqual(got, want) {
			t.Errorf("at %s: got %+v, want %+v", times[i], got, want)
		}
	}
	// Revision 2 is as of the moment when it was written: Ann had her first name still.
	for revision, want := range map[int]orders.OrderView{2: live[0], 3: live[2], 4: live[3]} {
		if got := a.clerk("GET", fmt.Sprintf("/orders/%s?revision=%d", id, revision), "").is(200).order(); !reflect.DeepEqual(got, want) {
			t.Errorf("at revision %d: got %+v, want %+v", revision, got, want)
		}
	}
	a.customer1("GET", "/orders/"+id+"?revision=5", "").is(404)
	a.customer1("GET", "/orders/"+id+"?at=2026-01-01T00:00:00Z", "").is(404)
	a.customer1("GET", "/orders/"+id+"?at=2026-01-01T00:00:00Z&revision=1", "").is(422)
	a.customer1("GET", "/orders/"+id+"?at=yesterday", "").is(400)
	a.customer2("GET", "/orders/"+id+"?revision=1", "").is(403)
	a.customer2("GET", "/orders/"+id+"?revision=5", "").is(403)
	a.clerk("GET", "/orders/none?revision=0", "").is(404)
}

func TestTheHistoryOfAnOrderIsShownInPages(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	id := a.order(1)
	a.clerk("POST", "/orders/"+id+"/place", "").is(200)
	var events []struct {
		Type     string
		Revision annals.Revision
		Metadata annals.Metadata
	}
	first := a.customer1("GET", "/orders/"+id+"/history?limit=2", "").is(200)
	first.into(&events)
	if len(events) != 2 || events[1].Type != "ItemAdded" || events[1].Metadata.Actor != ann.ID || !strings.Contains(first.header.Get("Link"), "from=2") {
		t.Errorf("got %+v, %v", events, first.header)
	}
	a.customer1("GET", "/orders/"+id+"/history?from=2", "").is(200).into(&events)
	if len(events) != 1 || events[0].Type != "OrderPlaced" || events[0].Metadata.Command != "PlaceOrder" || events[0].Metadata.Actor != clerk.ID {
		t.Errorf("got %+v", events)
	}
	a.customer2("GET", "/orders/"+id+"/history", "").is(403)
}

func TestTheListShowsNamesTotalsAndOnlyWhatOneMaySee(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	var anns []string
	for range 5 {
		anns = append(anns, a.order(1))
	}
	bobs := a.customer2("POST", "/orders", `{}`).is(201).accepted().ID
	a.customer1("POST", "/orders/"+anns[0]+"/place", "").is(200)
	renamed := a.customer1("PUT", "/customers/customer-1/profile", `{"name":"Anna"}`).is(200)

	page := a.customer1("GET", "/orders", "", renamed.after()).is(200).page()
	if len(page.Orders) != 5 || page.Next != "" {
		t.Errorf("got %+v", page)
	}
	for _, o := range page.Orders {
		if !slices.Contains(anns, o.ID) || o.CustomerName != "Anna" || o.Total != eur(450) || o.Products != 1 {
			t.Errorf("got %+v", o)
		}
	}
	if all := a.clerk("GET", "/orders?limit=100", "").is(200).page(); len(all.Orders) != 6 {
		t.Errorf("a clerk sees %d orders", len(all.Orders))
	}
	if got := a.clerk("GET", "/orders?customer=customer-2&status=open", "").is(200).page(); len(got.Orders) != 1 || got.Orders[0].ID != bobs || got.Orders[0].CustomerName != "Bob" {
		t.Errorf("got %+v", got)
	}
	if got := a.customer1("GET", "/orders?status=placed", "").is(200).page(); len(got.Orders) != 1 || got.Orders[0].ID != anns[0] {
		t.Errorf("got %+v", got)
	}
	var paged []string
	for next := ""; ; {
		page := a.customer1("GET", "/orders?limit=2&cursor="+next, "").is(200).page()
		for _, o := range page.Orders {
			paged = append(paged, o.ID)
		}
		if next = page.Next; next == "" {
			break
		}
	}
	slices.Reverse(paged)
	if slices.Sort(anns); !slices.Equal(slices.Sorted(slices.Values(paged)), anns) {
		t.Errorf("the pages have %v, want %v", paged, anns)
	}
	a.customer1("GET", "/orders?customer=customer-2", "").is(403)
	a.customer2("GET", "/orders/"+anns[0], "").is(403)
	a.customer2("POST", "/orders/"+anns[0]+"/cancel", "").is(403)
	a.clerk("GET", "/orders?cursor=nonsense", "").is(422)
	if p := a.clerk("GET", "/orders?status=lost&limit=0", "").is(422).problem(); len(p.Fields) != 2 {
		t.Errorf("got %+v", p)
	}
}

func TestOneOfManyWhoRaceForAnAddressGetsIt(t *testing.T) {
	t.Parallel()
	const racers = 20
	a := newAPI(t, memory.New())
	answers := race(racers, func(i int) *answer {
		return a.clerk("POST", "/customers", fmt.Sprintf(`{"customer":"c%d","name":"Ann","email":"Ann@example.com"}`, i))
	})
	won := 0
	for _, g := range answers {
		if g.status == 201 {
			won++
			continue
		}
		if p := g.is(409).problem(); p.Rule != string(orders.ErrEmailTaken) {
			t.Errorf("got %s", g.body)
		}
	}
	if won != 1 {
		t.Errorf("%d customers have one address", won)
	}
}

func TestThirtyWhoRaceForSevenPiecesGetSeven(t *testing.T) {
	t.Parallel()
	const racers, pieces = 30, 7
	a := newAPI(t, memory.New())
	a.prepare(pieces)
	ids := make([]string, racers)
	for i := range ids {
		ids[i] = a.order(1)
	}
	answers := race(racers, func(i int) *answer { return a.customer1("POST", "/orders/"+ids[i]+"/place", "") })
	won, last := 0, answers[0]
	for _, g := range answers {
		if g.status == 200 {
			won, last = won+1, g
			continue
		}
		if p := g.is(409).problem(); p.Rule != string(orders.ErrSoldOut) {
			t.Errorf("got %s", g.body)
		}
	}
	if won != pieces {
		t.Errorf("%d orders were placed, of %d pieces", won, pieces)
	}
	a.clerk("POST", "/orders/"+last.accepted().ID+"/cancel", "").is(200)
	open := a.clerk("GET", "/orders?status=open&limit=1", "", last.after()).is(200).page().Orders[0].ID
	a.customer1("POST", "/orders/"+open+"/place", "").is(200)
}

func race(racers int, run func(i int) *answer) []*answer {
	answers := make([]*answer, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			<-start
			answers[i] = run(i)
		})
	}
	close(start)
	wg.Wait()
	return answers
}

func TestAFreshFileOfViewsGivesTheSameAnswers(t *testing.T) {
	t.Parallel()
	store := memory.New()
	first := newAPI(t, store)
	if told, err := orders.Demo(t.Context(), first.service); err != nil || !told {
		t.Fatal(told, err)
	}
	head, err := store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second := newAPI(t, store)
	all := header{"Annals-At-Least", head.String()}
	statuses := map[orders.Status]int{}
	for _, o := range first.clerk("GET", "/orders", "", all).is(200).page().Orders {
		statuses[o.Status]++
	}
	want := map[orders.Status]int{orders.StatusShipped: 1, orders.StatusCancelled: 1, orders.StatusPaid: 1, orders.StatusPlaced: 1, orders.StatusOpen: 1}
	if !reflect.DeepEqual(statuses, want) {
		t.Errorf("the demo has %v", statuses)
	}
	for _, path := range []string{"/orders", "/orders?customer=customer-2", "/orders/1001", "/orders/1002", "/orders/1004", "/orders/1001/history", "/orders/1001?revision=3"} {
		a, b := first.clerk("GET", path, "", all).is(200), second.clerk("GET", path, "", all).is(200)
		if string(a.body) != string(b.body) {
			t.Errorf("%s: %s and %s", path, a.body, b.body)
		}
	}
}

func TestWhatIsPersonalIsNotInATag(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	for e, err := range a.store.Read(t.Context(), annals.All()) {
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(e.Tags, func(tag string) bool { return strings.Contains(tag, "example.com") }) {
			t.Errorf("%s has tags %v", e.Type, e.Tags)
		}
	}
}

func TestAServiceIsReadyOnceItsReadModelRuns(t *testing.T) {
	t.Parallel()
	idle := idleAPI(t, memory.New(), projection.NewMemory())
	idle.send("", "GET", "/livez", "").is(204)
	idle.send("", "GET", "/readyz", "").is(503)
	a := stocked(t)
	wrote := a.customer1("POST", "/orders", `{}`).is(201)
	a.customer1("GET", "/orders", "", wrote.after()).is(200)
	a.send("", "GET", "/readyz", "").is(204)
	if err := a.service.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAServiceWithoutWhatItNeedsIsNotMade(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*orders.Config){
		"store":    func(c *orders.Config) { c.Store = nil },
		"views":    func(c *orders.Config) { c.Views = nil },
		"key":      func(c *orders.Config) { c.HashKey = []byte("short") },
		"identity": func(c *orders.Config) { c.Authenticate = nil },
	} {
		c := config(memory.New(), nil)
		spoil(&c)
		if _, err := orders.New(c); err == nil {
			t.Errorf("no error without %s", name)
		}
	}
}

func TestAProblemNamesRuleFieldOrPlace(t *testing.T) {
	t.Parallel()
	a := stocked(t)
	id := a.order(6)
	if p := a.customer1("POST", "/orders/"+id+"/place", "").is(409).problem(); p.Rule != "sold out" {
		t.Errorf("got %+v", p)
	}
	p := a.customer1("POST", "/orders/"+id+"/items", `{"product":"a b","count":0}`).is(422).problem()
	if names := fmt.Sprint(p.Fields); names != "[{product} {count}]" {
		t.Errorf("got %s", names)
	}
	for body, place := range map[string]string{
		`{"product":"tea","count":1,"price":1}`: "body member price",
		`{"product":"tea","count":"1"}`:         "body member count",
		`{"order":"7","product":"tea"}`:         "body member order",
	} {
		if p := a.customer1("POST", "/orders/"+id+"/items", body).is(400).problem(); p.Place != place {
			t.Errorf("%s: %+v", body, p)
		}
	}
	a.customer1("POST", "/orders", `{"order":"mine"}`).is(400)
	var detail struct{ Detail string }
	if err := json.Unmarshal(a.customer1("POST", "/orders/"+id+"/ship", "").is(403).body, &detail); err != nil || detail.Detail == "" {
		t.Errorf("got %+v, %v", detail, err)
	}
}

func TestNobodyHasNoOrders(t *testing.T) {
	t.Parallel()
	c := config(memory.New(), nil)
	c.Authenticate = func(*http.Request) (annals.Principal, error) { return annals.Principal{}, nil }
	service, err := orders.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{"/orders": 401, "/customers": 401, "/stock": 422, "/orders/1/place": 403} {
		w := httptest.NewRecorder()
		service.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", path, nil))
		if w.Code != status {
			t.Errorf("%s: answered %d, want %d: %s", path, w.Code, status, w.Body)
		}
	}
}

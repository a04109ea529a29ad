package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/rest"
	"github.com/annalsdb/annals/store/memory"
)

func panicText(t *testing.T, f func()) (text string) {
	t.Helper()
	defer func() { text = fmt.Sprint(recover()) }()
	f()
	return ""
}

func TestAQueryIsAnsweredAsJSONThatNobodyKeeps(t *testing.T) {
	a := newApp(t)
	id := a.create(t)
	r := a.do(t, ann, "GET", "/orders/"+id, "").expect(t, http.StatusOK)
	if r.body != `{"id":"`+id+`","customer":"ann","items":{}}` || r.header.Get("Cache-Control") != "no-store" || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("got %s %v", r.body, r.header)
	}
	a.do(t, "bob", "GET", "/orders/"+id, "").problem(t, http.StatusForbidden, "forbidden")
	a.do(t, clerk, "GET", "/orders/none", "").problem(t, http.StatusNotFound, "not-found")
}

func TestParametersFillTheFieldsOfAQuery(t *testing.T) {
	a := newApp(t)
	r := a.do(t, ann, "GET", "/orders?customer=ann&limit=-3&open=true&tags=a&tags=b&after=18446744073709551615&share=0.5", "").expect(t, http.StatusOK)
	if r.body != `{"customer":"ann","limit":-3,"open":true,"tags":["a","b"],"after":"18446744073709551615","share":0.5}` {
		t.Errorf("got %s", r.body)
	}
	a.do(t, ann, "GET", "/orders", "").expect(t, http.StatusOK)
}

// Paging is embedded by reference.
type Paging struct {
	Page int `json:"page"`
}

type FindPage struct {
	*Paging
	Hidden  string `json:"-"`
	Unnamed string
	hidden  string
}

func TestEmbeddedAndUnnamedFieldsAreKnownByTheirNamesInJSON(t *testing.T) {
	bus := cqrs.New(annals.NewLog[any](memory.New(), schema))
	cqrs.Answer(bus, func(_ context.Context, q FindPage) (string, error) {
		return fmt.Sprint(q.Paging != nil, q.Unnamed, q.Hidden, q.hidden), nil
	})
	h := rest.Query[FindPage, string](bus)
	for query, want := range map[string]string{
		"?page=3&Unnamed=u": `"trueu"`, "": `"false"`, "?Hidden=h": "", "?hidden=h": "", "?Paging=1": "",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/"+query, nil))
		if got := strings.TrimSpace(w.Body.String()); w.Code == http.StatusOK && got != want || w.Code != http.StatusOK && want != "" {
			t.Errorf("%s: got %d %s", query, w.Code, got)
		}
	}
}

func TestParametersThatDoNotFitAreRefusedWithThePlace(t *testing.T) {
	a := newApp(t)
	for query, place := range map[string]string{
		"limti=3": "parameter limti", "Limit=3": "parameter Limit", "limit=many": "parameter limit", "limit=": "parameter limit",
		"limit=99999999999999999999": "parameter limit", "open=1": "parameter open", "limit=1&limit=2": "parameter limit",
		"share=NaN": "parameter share", "share=0x1p-2": "parameter share", "limit=%2B3": "parameter limit",
		"after=-1": "parameter after", "share=x": "parameter share", "a=%zz": "parameters", "a;b": "parameters",
	} {
		r := a.do(t, ann, "GET", "/orders?"+query, "").problem(t, http.StatusBadRequest, "malformed")
		if r.json["place"] != place {
			t.Errorf("%s: got %s", query, r.body)
		}
	}
	id := a.create(t)
	a.do(t, ann, "GET", "/orders/"+id+"?order="+id, "").expect(t, http.StatusOK)
	a.do(t, ann, "GET", "/orders/"+id+"?order=other", "").problem(t, http.StatusBadRequest, "malformed")
}

func TestAReadSeesThePositionItDemandsOrSaysThatItLags(t *testing.T) {
	a := newApp(t)
	r := a.do(t, ann, "POST", "/orders", "").expect(t, http.StatusCreated)
	url := r.header.Get("Location")
	a.do(t, ann, "GET", url, "", "Annals-At-Least: "+r.header.Get("Annals-Position")).expect(t, http.StatusOK)

	r = a.do(t, ann, "GET", url, "", "Annals-At-Least: 1001", "Prefer: respond-async, wait=0").problem(t, http.StatusServiceUnavailable, "projection-lagging")
	if r.json["applied"] != "1000" || r.json["wanted"] != "1001" || r.json["projection"] != "orders" || r.json["retryable"] != true {
		t.Errorf("got %s", r.body)
	}
	if r.header.Get("Retry-After") != "1" || r.header.Get("Preference-Applied") != "wait=0" {
		t.Errorf("got %v", r.header)
	}
	r = a.do(t, ann, "GET", url, "", "Annals-At-Least: 1", "Prefer: wait=999").expect(t, http.StatusOK)
	if r.header.Get("Preference-Applied") != "wait=30" {
		t.Errorf("got %v", r.header)
	}
	for _, prefer := range []string{"wait=soon", "wait", "handling=strict", "wait=-1"} {
		r = a.do(t, ann, "GET", url, "", "Annals-At-Least: 1", "Prefer: "+prefer).expect(t, http.StatusOK)
		if r.header.Get("Preference-Applied") != "" {
			t.Errorf("%s: got %v", prefer, r.header)
		}
	}
	for _, position := range []string{"x", "-1", "", `"1"`, "1.5"} {
		a.do(t, ann, "GET", url, "", "Annals-At-Least: "+position).problem(t, http.StatusBadRequest, "malformed")
	}
	a.do(t, ann, "GET", url, "", "Annals-At-Least: 1", "Annals-At-Least: 2").problem(t, http.StatusBadRequest, "malformed")
}

func TestALogThatIsNotThereYetLagsForThoseWhoMaySee(t *testing.T) {
	a := newApp(t)
	url := "/orders/" + a.create(t)
	bus := cqrs.New(a.log)
	cqrs.Answer(bus, func(ctx context.Context, q FailWith) (annals.Position, error) {
		var head annals.Position
		for _, err := range a.store.Read(ctx, annals.All(), annals.AtLeast(annals.AtLeastFrom(ctx)), annals.HeadInto(&head)) {
			if err != nil {
				return 0, err
			}
		}
		return head, nil
	})
	mux := http.NewServeMux()
	mux.Handle("GET /head", rest.Query[FailWith, annals.Position](bus, rest.Position(func(p annals.Position) annals.Position { return p })))
	head := func(headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/head", nil)
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	const future, hurry = "Annals-At-Least: 2", "Prefer: wait=0"
	if w := head(future, hurry); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"projection":"log","applied":"1","wanted":"2"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	for _, path := range []string{url + "/state", url + "/state?revision=7", url + "/history"} {
		if r := a.do(t, ann, "GET", path, "", future, hurry).problem(t, http.StatusServiceUnavailable, "projection-lagging"); r.json["projection"] != "log" {
			t.Errorf("%s: got %s", path, r.body)
		}
		a.do(t, "bob", "GET", path, "", future, hurry).problem(t, http.StatusForbidden, "forbidden")
	}
	waiting := make(chan *httptest.ResponseRecorder)
	go func() { waiting <- head(future, "Prefer: wait=30") }()
	a.create(t)
	if w := <-waiting; w.Code != http.StatusOK || w.Header().Get("Annals-Position") != "2" {
		t.Errorf("got %d %s %v", w.Code, w.Body, w.Header())
	}
}

// page is an answer into which something is joined.
type page struct {
	Revision annals.Revision `json:"revision"`
	Name     string          `json:"name"`
}

func TestTheETagOfAnAnswerTellsItFromOthersOfItsRevision(t *testing.T) {
	a := newApp(t)
	id := a.create(t)
	bus := cqrs.New(a.log)
	shown := page{Revision: 0, Name: "Ann"}
	cqrs.Answer(bus, func(context.Context, FailWith) (page, error) { return shown, nil })
	h := rest.Query[FailWith, page](bus, rest.Revision(func(p page) annals.Revision { return p.Revision }), rest.Position(func(page) annals.Position { return 0 }))
	get := func(have string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		if have != "" {
			r.Header.Set("If-None-Match", have)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	first := get("")
	tag := first.Header().Get("ETag")
	if first.Code != http.StatusOK || !strings.HasPrefix(tag, `"0-`) || first.Header().Get("Annals-Position") != "" {
		t.Fatalf("got %d %v", first.Code, first.Header())
	}
	for _, have := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
		if w := get(have); w.Code != http.StatusNotModified || w.Body.Len() != 0 || w.Header().Get("ETag") != tag || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: got %d %s %v", have, w.Code, w.Body, w.Header())
		}
	}
	shown.Name = "Anna"
	if w := get(tag); w.Code != http.StatusOK || w.Header().Get("ETag") == tag {
		t.Errorf("after a change: got %d %v", w.Code, w.Header())
	}
	// It stands for the revision.
	body := `{"product":"tea","count":1}`
	a.do(t, ann, "POST", "/orders/"+id+"/items", body, "If-Match: "+tag).expect(t, http.StatusOK)
	a.do(t, ann, "POST", "/orders/"+id+"/items", body, "If-Match: "+tag).problem(t, http.StatusPreconditionFailed, "revision-conflict")
	shown.Revision = annals.NoRevision
	if w := get(tag); w.Code != http.StatusOK || w.Header().Get("ETag") != "" {
		t.Errorf("without a revision: got %d %v", w.Code, w.Header())
	}
}

// orderWithThreeItems makes an order with revisions 0 to 3.
func orderWithThreeItems(t *testing.T, a *app) (url string) {
	t.Helper()
	url = "/orders/" + a.create(t)
	for _, product := range []string{"tea", "milk", "tea"} {
		a.do(t, ann, "POST", url+"/items", `{"product":"`+product+`","count":1}`).expect(t, http.StatusOK)
	}
	return url
}

func TestAStateIsReadAsOfNowAndAsOfThePast(t *testing.T) {
	a := newApp(t)
	url := orderWithThreeItems(t, a) + "/state"
	for parameters, want := range map[string]string{
		"":            `"items":{"milk":1,"tea":2}}`,
		"?revision=3": `"items":{"milk":1,"tea":2}}`,
		"?revision=1": `"items":{"tea":1}}`,
		"?revision=0": `"items":{}}`,
		"?position=3": `"items":{"milk":1,"tea":1}}`,
		"?at=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339): `"items":{"milk":1,"tea":2}}`,
	} {
		r := a.do(t, ann, "GET", url+parameters, "").expect(t, http.StatusOK)
		if !strings.HasSuffix(r.body, want) {
			t.Errorf("%s: got %s", parameters, r.body)
		}
	}
	r := a.do(t, ann, "GET", url+"?revision=1", "", "Annals-At-Least: 4")
	if tag := r.header.Get("ETag"); !strings.HasPrefix(tag, `"1-`) || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %v", r.header)
	}
}

func TestAStateThatTheClientHasIsNotSentAgain(t *testing.T) {
	a := newApp(t)
	url := orderWithThreeItems(t, a)
	seen := a.do(t, ann, "GET", url+"/state", "").expect(t, http.StatusOK).header.Get("ETag")
	if r := a.do(t, ann, "GET", url+"/state", "", "If-None-Match: "+seen).expect(t, http.StatusNotModified); r.body != "" || r.header.Get("ETag") != seen {
		t.Errorf("got %s %v", r.body, r.header)
	}
	a.do(t, ann, "GET", url+"/state?revision=1", "", "If-None-Match: "+seen).expect(t, http.StatusOK)
	a.do(t, ann, "POST", url+"/items", `{"product":"tea","count":1}`, "If-Match: "+seen).expect(t, http.StatusOK)
	a.do(t, ann, "GET", url+"/state", "", "If-None-Match: "+seen).expect(t, http.StatusOK)
	a.do(t, "bob", "GET", url+"/state", "", "If-None-Match: *").problem(t, http.StatusForbidden, "forbidden")

	a.do(t, ann, "POST", "/ring", `{"note":"n"}`).expect(t, http.StatusCreated)
	r := a.do(t, ann, "GET", "/bell", "").expect(t, http.StatusOK)
	if tag := r.header.Get("ETag"); tag != `"`+r.header.Get("Annals-Position")+`"` {
		t.Errorf("without a stream: got %v", r.header)
	}
	a.do(t, ann, "GET", "/bell", "", "If-None-Match: "+r.header.Get("ETag")).expect(t, http.StatusNotModified)
}

func TestAStateThatIsNotThereOrNotYours(t *testing.T) {
	a := newApp(t)
	url := orderWithThreeItems(t, a) + "/state"
	a.do(t, ann, "GET", url+"?revision=4", "").problem(t, http.StatusNotFound, "not-found")
	a.do(t, ann, "GET", url+"?at=2001-01-01T00:00:00Z", "").problem(t, http.StatusForbidden, "forbidden") // it was nobody's then
	a.do(t, clerk, "GET", url+"?at=2001-01-01T00:00:00Z", "").problem(t, http.StatusNotFound, "not-found")
	a.do(t, clerk, "GET", "/orders/none/state", "").problem(t, http.StatusNotFound, "not-found")
	for _, who := range []string{"bob", "eve"} {
		for _, path := range []string{url, url + "?revision=0", url + "?revision=9", "/orders/none/state", "/orders/none/state?revision=0"} {
			r := a.do(t, who, "GET", path, "").problem(t, http.StatusForbidden, "forbidden")
			if r.header.Get("ETag") != "" {
				t.Errorf("%s: an ETag for whom it does not concern", path)
			}
		}
	}
	for _, parameters := range []string{
		"revision=x", "revision=-1", "revision=", "revision=18446744073709551615", "at=yesterday", "at=", "at=2026-11-24", "revision=1&at=2026-11-24T00:00:00Z", "rev=1", "revision=1&revision=2", "position=x", "position=-1", "position=18446744073709551615", "position=1&revision=1",
	} {
		a.do(t, ann, "GET", url+"?"+parameters, "").problem(t, http.StatusBadRequest, "malformed")
	}
}

func TestAHistoryHasEveryEventAsItIsStored(t *testing.T) {
	a := newApp(t)
	url := orderWithThreeItems(t, a) + "/history"
	r := a.do(t, ann, "GET", url, "").expect(t, http.StatusOK)
	events := parse[[]struct {
		Position annals.Position
		Revision annals.Revision
		Type     string
		Time     time.Time
		Data     map[string]any
		Metadata annals.Metadata
	}](t, r.body)
	if len(events) != 4 {
		t.Fatalf("got %s", r.body)
	}
	last := events[3]
	if last.Position != 4 || last.Revision != 3 || last.Type != "ItemAdded" || last.Time.IsZero() || last.Data["product"] != "tea" || last.Metadata.Actor != "ann" {
		t.Errorf("got %+v", last)
	}
	if !strings.Contains(r.body, `"position":"4","revision":3,`) {
		t.Errorf("positions are strings and revisions numbers: %s", r.body)
	}
	a.do(t, "bob", "GET", url, "").problem(t, http.StatusForbidden, "forbidden")
	a.do(t, clerk, "GET", "/orders/none/history", "").problem(t, http.StatusNotFound, "not-found")
}

func TestAHistoryShowsTheStatesAndWhatChanged(t *testing.T) {
	a := newApp(t)
	url := orderWithThreeItems(t, a) // of revisions 0 to 3
	id := OrderID(url[len("/orders/"):])
	h := rest.History(a.log, func(*http.Request) Order { return Order{ID: id} }, rest.Anyone[Order], rest.ShowStates())
	get := func(parameters string) (events []struct {
		Revision annals.Revision
		State    Order
		Changes  []struct {
			Path          string
			Before, After any
		}
	},
	) {
		t.Helper()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?"+parameters, nil))
		if err := json.Unmarshal(w.Body.Bytes(), &events); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%v: %d %s", err, w.Code, w.Body)
		}
		return events
	}
	all := get("")
	if len(all) != 4 || all[1].State.Items["tea"] != 1 || len(all[1].State.Items) != 1 || all[3].State.Items["tea"] != 2 {
		t.Errorf("got %+v", all)
	}
	if got, want := fmt.Sprint(all[3].Changes, all[2].Changes), "[{items.tea 1 2}] [{items.milk <nil> 1}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if page := get("from=2&limit=1"); len(page) != 1 || !reflect.DeepEqual(page[0], all[2]) {
		t.Errorf("a page: got %+v", page)
	}
	if none := get("from=9"); len(none) != 0 {
		t.Errorf("got %+v", none)
	}
}

func TestAHistoryKeepsWhatIsBetweenTheServers(t *testing.T) {
	a := newApp(t)
	ctx := annals.WithPrincipal(t.Context(), annals.Principal{ID: ann})
	ctx = annals.WithMetadata(ctx, annals.Metadata{Traceparent: "00-trace-01", CausationID: "cause", CorrelationID: "request"})
	if _, err := decider.Execute(ctx, a.log, CreateOrder{Order: "1", Customer: ann}, decider.IdempotencyKey("k")); err != nil {
		t.Fatal(err)
	}
	r := a.do(t, ann, "GET", "/orders/1/history", "").expect(t, http.StatusOK)
	if !strings.HasSuffix(r.body, `"metadata":{"actor":"ann","command":"CreateOrder","correlationId":"request"}}]`) {
		t.Errorf("got %s", r.body)
	}
}

func TestAHistoryIsReadPageByPage(t *testing.T) {
	a := newApp(t)
	url := orderWithThreeItems(t, a) + "/history"
	var revisions []annals.Revision
	for next := "?limit=3"; next != ""; {
		r := a.do(t, ann, "GET", url+next, "").expect(t, http.StatusOK)
		for _, e := range parse[[]struct{ Revision annals.Revision }](t, r.body) {
			revisions = append(revisions, e.Revision)
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(r.header.Get("Link"), "<"), ">")
	}
	if fmt.Sprint(revisions) != "[0 1 2 3]" {
		t.Errorf("got %v", revisions)
	}
	if r := a.do(t, ann, "GET", url+"?from=9", "").expect(t, http.StatusOK); r.body != "[]" {
		t.Errorf("got %s", r.body)
	}
	for _, parameters := range []string{"limit=0", "limit=1001", "limit=x", "from=-1", "form=1"} {
		a.do(t, ann, "GET", url+"?"+parameters, "").problem(t, http.StatusBadRequest, "malformed")
	}
}

func TestAHistoryIsNotShownWhereTheStateCannotBeFolded(t *testing.T) {
	a := newApp(t)
	url := orderWithThreeItems(t, a)
	scan(t, a.store, "order-"+strings.TrimPrefix(url, "/orders/"))
	// Who may see it depends on a state that nobody knows any more.
	a.do(t, ann, "GET", url+"/history", "").problem(t, http.StatusInternalServerError, "internal")
}

func TestAHistoryShowsForeignEventsWithoutDataThatIsNotJSON(t *testing.T) {
	store := memory.New()
	scan(t, store, "order-1")
	lenient := annals.NewSchema([]any{OrderCreated{}, ItemAdded{}}, annals.UnknownTypes(annals.UnknownSkip))
	log := annals.NewLog[any](store, lenient)
	if _, err := log.Append(t.Context(), []any{OrderCreated{Order: "1", Customer: ann}}); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	rest.History(log, func(*http.Request) Order { return Order{ID: "1"} }, rest.Anyone[Order]).
		ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"type":"Scanned","version":1,`) || !strings.Contains(w.Body.String(), `"data":null}`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// scan appends an event that no schema lists and that is no JSON.
func scan(t *testing.T, s annals.Store, stream string) {
	t.Helper()
	noJSON := []byte{0xff}
	if _, err := s.Append(t.Context(), []annals.Event{{Type: "Scanned", Stream: stream, ContentType: "image/png", Data: noJSON, Metadata: noJSON}}); err != nil {
		t.Fatal(err)
	}
}

package rest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/rest"
	"github.com/annalsdb/annals/store/memory"
)

func TestACreatedThingHasALocationAnETagAndAPosition(t *testing.T) {
	a := newApp(t)
	r := a.do(t, ann, "POST", "/orders", "").expect(t, http.StatusCreated)
	id, _ := r.json["id"].(string)
	if _, err := annals.ParseID(id); err != nil {
		t.Fatalf("no id in %s", r.body)
	}
	if r.body != `{"id":"`+id+`","revision":0,"position":"1"}` {
		t.Errorf("body %s", r.body)
	}
	for name, want := range map[string]string{
		"Location": "/orders/" + id, "ETag": `"0"`, "Annals-Position": "1", "Content-Type": "application/json", "Cache-Control": "no-store", "Idempotency-Replayed": "",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	r = a.do(t, ann, "POST", "/orders/"+id+"/items", `{"product":"tea","count":2}`).expect(t, http.StatusOK)
	if r.header.Get("ETag") != `"1"` || r.header.Get("Location") != "" {
		t.Errorf("headers %v", r.header)
	}
}

func TestARepeatedCreateNamesWhatTheFirstCreated(t *testing.T) {
	a := newApp(t)
	first := a.do(t, ann, "POST", "/orders", "", "Idempotency-Key: k1").expect(t, http.StatusCreated)
	again := a.do(t, ann, "POST", "/orders", "", `Idempotency-Key: "k1"`).expect(t, http.StatusCreated)
	if again.body != first.body || again.header.Get("Location") != first.header.Get("Location") || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("first %s, again %s %v", first.body, again.body, again.header)
	}
	for who, key := range map[string]string{ann: "k2", "bob": "k1"} {
		other := a.do(t, who, "POST", "/orders", "", "Idempotency-Key: "+key).expect(t, http.StatusCreated)
		if other.json["id"] == first.json["id"] || other.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s with %s: got %s", who, key, other.body)
		}
	}
}

func TestAnIDMadeOfAKeyFollowsFromTheSecret(t *testing.T) {
	idUnder := func(secret string) string {
		mux := http.NewServeMux()
		mux.Handle("POST /orders", rest.Command[CreateOrder](cqrs.New(annals.NewLog[any](memory.New(), schema)), rest.NewID("order", []byte(secret))))
		r := httptest.NewRequestWithContext(annals.WithPrincipal(t.Context(), annals.Principal{Roles: []string{clerk}}), "POST", "/orders", strings.NewReader(`{"customer":"ann"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return parse[struct{ ID string }](t, w.Body.String()).ID
	}
	first, again, other := idUnder("sixteen bytes: 1"), idUnder("sixteen bytes: 1"), idUnder("sixteen bytes: 2")
	if _, err := annals.ParseID(first); err != nil || first != again || first == other {
		t.Errorf("%q, again %q, under another secret %q", first, again, other)
	}
}

func TestARepeatedCommandIsMarkedAndHasNoSecondEffect(t *testing.T) {
	a := newApp(t)
	id := a.create(t)
	path, body := "/orders/"+id+"/items", `{"product":"tea","count":2}`
	first := a.do(t, ann, "POST", path, body, "Idempotency-Key: k").expect(t, http.StatusOK)
	again := a.do(t, ann, "POST", path, body, "Idempotency-Key: k").expect(t, http.StatusOK)
	if again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("first %s, again %s %v", first.body, again.body, again.header)
	}
	if head, err := a.store.Head(t.Context()); err != nil || head != 2 {
		t.Errorf("head %v, %v", head, err)
	}
	a.do(t, ann, "POST", path, `{"product":"tea","count":3}`, "Idempotency-Key: k").problem(t, http.StatusUnprocessableEntity, "key-reused")
}

func TestIfMatchLetsOnlyTheNamedRevisionPass(t *testing.T) {
	a := newApp(t)
	path, body := "/orders/"+a.create(t)+"/items", `{"product":"tea","count":1}`
	a.do(t, ann, "POST", path, body, `If-Match: "0"`).expect(t, http.StatusOK)
	r := a.do(t, ann, "POST", path, body, `If-Match: "0"`).problem(t, http.StatusPreconditionFailed, "revision-conflict")
	if r.json["actualRevision"] != float64(1) {
		t.Errorf("got %s", r.body)
	}
	a.do(t, ann, "POST", path, body, `If-Match: "1"`).expect(t, http.StatusOK)
}

func TestAConflictNamesTheEventsInTheWay(t *testing.T) {
	a := newApp(t)
	path, body := "/orders/"+a.create(t)+"/items", `{"product":"tea","count":1}`
	a.do(t, ann, "POST", path, body).expect(t, http.StatusOK)
	r := a.do(t, ann, "POST", path, body, `If-Match: "0"`).problem(t, http.StatusPreconditionFailed, "revision-conflict")
	events, _ := r.json["conflictingEvents"].([]any)
	if len(events) != 1 {
		t.Fatalf("got %s", r.body)
	}
	e, _ := events[0].(map[string]any)
	if e["position"] != "2" {
		t.Errorf("got %v", e)
	}
}

func TestConditionsThatCannotBeReadAreRefused(t *testing.T) {
	a := newApp(t)
	path, body := "/orders/"+a.create(t)+"/items", `{"product":"tea","count":1}`
	for _, h := range []string{
		"If-Match: *", `If-Match: W/"0"`, `If-Match: 0`, `If-Match: "0", "1"`, `If-Match: "00"`, `If-Match: "-1"`, `If-Match: ""`, `If-Match: "18446744073709551615"`,
		"If-None-Match: *", `If-None-Match: "1"`,
		"Idempotency-Key: ", `Idempotency-Key: ""`, "Idempotency-Key: café", "Idempotency-Key: " + strings.Repeat("k", 256),
	} {
		r := a.do(t, ann, "POST", path, body, h).problem(t, http.StatusBadRequest, "malformed")
		name, _, _ := strings.Cut(h, ":")
		if r.json["place"] != "header "+name {
			t.Errorf("%s: place %v", h, r.json["place"])
		}
	}
	a.do(t, ann, "POST", path, body, "Idempotency-Key: a", "Idempotency-Key: b").problem(t, http.StatusBadRequest, "malformed")
	a.do(t, ann, "POST", path, body, `If-Match: "0"`, `If-Match: "1"`).problem(t, http.StatusBadRequest, "malformed")
	a.do(t, ann, "POST", path, body, "Idempotency-Key: "+strings.Repeat("k", 255)).expect(t, http.StatusOK)
}

func TestABodyThatDoesNotFitIsRefusedWithThePlace(t *testing.T) {
	a := newApp(t)
	path := "/orders/" + a.create(t) + "/items"
	for body, place := range map[string]string{
		`{"product":"tea","count":1`:              "body byte 26",
		`{"product":tea}`:                         "body byte 13",
		`{"product":"tea","count":"two"}`:         "body member count",
		`{"product":"tea","count":1.5}`:           "body member count",
		`{"product":"tea","count":1,"price":3}`:   "body member price",
		`{"product":"tea","Count":1}`:             "body member Count",
		`{"product":"tea","count":1,"count":2}`:   "body member count",
		`{"product":"tea","count":1} {}`:          "body byte 29",
		`{"product":"tea","count":1}]`:            "body byte 28",
		`[1]`:                                     "body",
		`null`:                                    "body",
		` `:                                       "body byte 1",
		`{"product":"tea","count":1,"order":"x"}`: "body member order",
		`{"product":"tea","count":1,"order":""}`:  "body member order",
	} {
		r := a.do(t, ann, "POST", path, body).problem(t, http.StatusBadRequest, "malformed")
		if r.json["place"] != place {
			t.Errorf("%s: got %s", body, r.body)
		}
	}
}

func TestWhatIsNotUTF8IsRefusedWithThePlace(t *testing.T) {
	a := newApp(t)
	path := "/orders/" + a.create(t)
	for place, send := range map[string]func() response{
		"body":       func() response { return a.do(t, ann, "POST", path+"/items", "{\"product\":\"\xff\",\"count\":1}") },
		"path":       func() response { return a.do(t, ann, "POST", "/orders/%ff/items", `{"product":"tea","count":1}`) },
		"parameters": func() response { return a.do(t, ann, "GET", "/orders?customer=%ff", "") },
	} {
		if r := send().problem(t, http.StatusBadRequest, "malformed"); r.json["place"] != place {
			t.Errorf("%s: got %s", place, r.body)
		}
	}
}

// Pack has structs in it, at all depths that a body can have them.
type Pack struct {
	Order OrderID `json:"order"`
	Box   Box     `json:"box"`
	Boxes []*Box  `json:"boxes"`
	Named map[string]Box
	At    time.Time `json:"at"`
	Own   own       `json:"own"`
}

type Box struct {
	Label struct {
		Text string `json:"text"`
	} `json:"label"`
	Size int `json:"size"`
}

// own reads its own JSON.
type own struct {
	Size int `json:"size"`
}

func (o *own) UnmarshalJSON(b []byte) error {
	if string(b) == `{"fail":1}` {
		return errors.New("an internal matter")
	}
	return nil
}

func (p Pack) Initial() Order                        { return Order{ID: p.Order} }
func (Pack) Decide(Order) ([]any, error)             { return nil, nil }
func (Pack) Authorize(annals.Principal, Order) error { return nil }

// pack sends a Pack, which decides nothing, and is the status and the problem that came back.
func pack(t *testing.T, body string) (status int, problem rest.Problem, text string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("POST /{order}", rest.Command[Pack](cqrs.New(annals.NewLog[any](memory.New(), schema))))
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/1", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Code, parse[rest.Problem](t, w.Body.String()), w.Body.String()
}

func TestMembersAreCheckedAtEveryDepth(t *testing.T) {
	for body, place := range map[string]string{
		`{"box":{"label":{"text":"a"},"size":1},"boxes":[{"size":1},null,{"label":{}}],"Named":{"a":{},"A":{}},"at":"2026-11-24T09:30:00Z","own":{"x":1,"y":{"z":2}}}`: "",
		`{"box":{"size":1,"size":2}}`:                      "body member box.size",
		`{"box":{"Size":1}}`:                               "body member box.Size",
		`{"box":{"label":{"text":"a","text":"b"}}}`:        "body member box.label.text",
		`{"box":{"label":{"text":1}}}`:                     "body member box.label.text",
		`{"box":{"colour":1}}`:                             "body member box.colour",
		`{"boxes":[{},{"size":1,"size":1}]}`:               "body member boxes.size",
		`{"boxes":[{"size":"big"}]}`:                       "body member boxes.size",
		`{"Named":{"a":{},"a":{}}}`:                        "body member Named.a",
		`{"named":{}}`:                                     "body member named",
		`{"at":"yesterday"}`:                               "body",
		`{"at":7}`:                                         "body",
		`{"own":{"x":1,"x":2}}`:                            "body member own.x",
		`{"own":{"SIZE":1}}`:                               "body member own.SIZE",
		`{"own":{"fail":1}}`:                               "body",
		strings.Repeat(`{"box":`, 20_000):                  "body byte 70001",
		`{"box":{"size":123456789012345678901234567890}}`:  "body member box.size",
		`{"boxes":null,"Named":null,"at":null,"own":null}`: "",
		`{"order":null}`:                                   "body member order",
		`{"box":null}`:                                     "body member box",
		`{"box":{"label":{"text":null}}}`:                  "body member box.label.text",
		`{"boxes":[null,{"size":null}]}`:                   "body member boxes.size",
		`{"Named":{"a":null}}`:                             "body member Named.a",
	} {
		status, problem, text := pack(t, body)
		if refused := status == http.StatusBadRequest; refused != (place != "") || problem.Place != place || strings.Contains(text, "internal") {
			t.Errorf("%.200s: got %d %s", body, status, text)
		}
	}
}

func TestABodyIsAtMostAHundredLevelsDeep(t *testing.T) {
	for level, end := range map[string]string{`{"a":`: "}", "[": "]", `[{"a":`: "}]"} {
		inOne := len(end)
		for depth, want := range map[int]int{98: http.StatusOK, 100: http.StatusBadRequest, 9000: http.StatusBadRequest} { // and two around it
			levels := depth / inOne
			body := `{"own":{"in":` + strings.Repeat(level, levels) + "1" + strings.Repeat(end, levels) + `}}`
			status, problem, text := pack(t, body)
			if status != want || want != http.StatusOK && (problem.Place != "body" || !strings.Contains(problem.Detail, "100 levels")) {
				t.Errorf("%d levels of %s: got %d %s", depth+2, level, status, text)
			}
		}
	}
}

// What is kept of a body while it is read grows with its size, and not with its size times its depth or its members.
func TestABodyTakesNoMoreThanAFewTimesItsSize(t *testing.T) {
	const size = 1 << 20
	long := `{"own":{"` + strings.Repeat("n", size/2) + `":`
	for name, body := range map[string]string{
		"deep":          long + strings.Repeat(`{"a":`, 90) + "1" + strings.Repeat("}", 90) + "}}",
		"too deep":      long + strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000) + "}}",
		"long and deep": `{"own":` + strings.Repeat(`{"`+strings.Repeat("n", size/98-8)+`":`, 98) + "1" + strings.Repeat("}", 98) + "}",
		"wide":          long + "[{}" + strings.Repeat(`,{"a":1}`, 50_000) + "]}}",
		"unknown":       `{"` + strings.Repeat(`\n`, size/3) + `":1}`,
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		status, problem, text := pack(t, body)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; len(body) > size || got > 64*size || status > http.StatusBadRequest {
			t.Errorf("%s: %d bytes were answered with %d, and took %d", name, len(body), status, got)
		}
		if len(text) > 5000 || len(problem.Place) > 400 {
			t.Errorf("%s: the answer has %d bytes", name, len(text))
		}
	}
}

func TestHalfACharacterIsRefusedWithThePlace(t *testing.T) {
	const none = -1
	for text, at := range map[string]int{
		`\ud83d\ude00`: none, `\uD83D\uDE00\u00e9`: none, `\\ud800`: none, `\\\\ud800`: none, `\ufffd`: none,
		`\ud800`: 0, `x\uDC00`: 1, `\ud800\ud800`: 0, `\ude00\ud83d`: 0, `\ud83d\u0041`: 0, `\ud83d\\ude00`: 0, `\ud83d\n`: 0, `\\\ud800`: 2, `\ud83d\ude00\ude00`: 12,
	} {
		for before, after := range map[string]string{`{"own":{"`: `":1}}`, `{"own":{"a":["`: `"]}}`} {
			status, problem, answer := pack(t, before+text+after)
			if at == none && status != http.StatusOK || at != none && problem.Place != fmt.Sprintf("body byte %d", len(before)+at+1) {
				t.Errorf("%s: got %d %s", text, status, answer)
			}
		}
	}
}

func TestACommandHasNoParameters(t *testing.T) {
	a := newApp(t)
	path, body := "/orders/"+a.create(t)+"/items", `{"product":"tea","count":1}`
	for query, place := range map[string]string{"dryRun=true": "parameter dryRun", "count=2": "parameter count", "order=1": "parameter order", "a=%zz": "parameters"} {
		if r := a.do(t, ann, "POST", path+"?"+query, body).problem(t, http.StatusBadRequest, "malformed"); r.json["place"] != place {
			t.Errorf("%s: got %s", query, r.body)
		}
	}
	a.do(t, ann, "POST", path+"?", body).expect(t, http.StatusOK)
}

func TestABodyMayRepeatWhatThePathSays(t *testing.T) {
	a := newApp(t)
	id := a.create(t)
	a.do(t, ann, "POST", "/orders/"+id+"/items", `{"order":"`+id+`","product":"tea","count":1}`).expect(t, http.StatusOK)
}

func TestABodyOfAnotherMediaTypeIsRefused(t *testing.T) {
	a := newApp(t)
	path, body := "/orders/"+a.create(t)+"/items", `{"product":"tea","count":1}`
	for _, h := range []string{"Content-Type: text/plain", "Content-Type: ", "Content-Type: application/json; charset=latin1", "Content-Encoding: gzip"} {
		a.do(t, ann, "POST", path, body, h).problem(t, http.StatusUnsupportedMediaType, "unsupported-media-type")
	}
	a.do(t, ann, "POST", path, body, "Content-Type: application/json; charset=UTF-8").expect(t, http.StatusOK)
}

func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	a := newApp(t)
	a.do(t, ann, "POST", "/orders/1/items", `{"product":"`+strings.Repeat("t", 200)+`"}`).problem(t, http.StatusRequestEntityTooLarge, "too-large")
	a.do(t, ann, "POST", "/orders", `{"customer":"`+strings.Repeat("t", 1<<20)+`"}`).problem(t, http.StatusRequestEntityTooLarge, "too-large")
}

func TestFieldsFilledByTheServer(t *testing.T) {
	a := newApp(t)
	a.do(t, ann, "POST", "/orders", `{"order":"mine"}`).problem(t, http.StatusBadRequest, "malformed")
	a.do(t, ann, "POST", "/orders", `{"customer":"bob"}`).problem(t, http.StatusForbidden, "forbidden")
	a.do(t, ann, "POST", "/orders", `{"customer":"ann"}`).expect(t, http.StatusCreated)
	r := a.do(t, clerk, "POST", "/orders", `{"customer":"bob"}`).expect(t, http.StatusCreated)
	got := a.do(t, "bob", "GET", r.header.Get("Location"), "").expect(t, http.StatusOK)
	if got.json["customer"] != "bob" {
		t.Errorf("got %s", got.body)
	}
}

func TestWhatTheDomainSaysNo(t *testing.T) {
	a := newApp(t)
	path := "/orders/" + a.create(t) + "/items"
	r := a.do(t, ann, "POST", path, `{"product":"","count":0}`).problem(t, http.StatusUnprocessableEntity, "invalid")
	if !strings.Contains(r.body, `"fields":[{"name":"product","problem":"is empty"},{"name":"count","problem":"must be positive"}]`) {
		t.Errorf("got %s", r.body)
	}
	r = a.do(t, clerk, "POST", "/orders/none/items", `{"product":"tea","count":1}`).problem(t, http.StatusConflict, "rule-broken")
	if r.json["rule"] != "no such order" || r.json["detail"] != "no such order: none" {
		t.Errorf("got %s", r.body)
	}
	r = a.do(t, "bob", "POST", path, `{"product":"tea","count":1}`).problem(t, http.StatusForbidden, "forbidden")
	if r.json["detail"] != "not your order" {
		t.Errorf("got %s", r.body)
	}
}

func TestWithoutARevisionThePositionIsTheETag(t *testing.T) {
	a := newApp(t)
	a.create(t)
	r := a.do(t, ann, "POST", "/ring", `{"note":"a/b c"}`).expect(t, http.StatusCreated)
	if r.header.Get("ETag") != `"2"` || r.header.Get("Location") != "/rings/a%2Fb%20c" || r.body != `{"position":"2"}` {
		t.Errorf("got %s %v", r.body, r.header)
	}
	r = a.do(t, ann, "POST", "/ring", "").expect(t, http.StatusOK)
	if r.header.Get("Location") != "" || r.header.Get("ETag") != "" || r.body != `{"position":"2"}` {
		t.Errorf("a command that decides nothing creates nothing: %s %v", r.body, r.header)
	}
}

func TestALocationThatWouldLeadElsewhereIsLeftOut(t *testing.T) {
	var log bytes.Buffer
	a := newApp(t, rest.Logger(slog.New(slog.NewTextHandler(&log, nil))))
	for note, location := range map[string]string{"..": "", ".": "", "...": "/rings/...", "?a=1&b=2#c": "/rings/%3Fa%3D1%26b%3D2%23c", "é\\n": "/rings/%C3%A9%0A"} {
		log.Reset()
		r := a.do(t, ann, "POST", "/ring", `{"note":"`+note+`"}`).expect(t, http.StatusCreated)
		if r.header.Get("Location") != location || strings.Contains(log.String(), "no location") != (location == "") {
			t.Errorf("%q: got %q, logged %q", note, r.header.Get("Location"), log.String())
		}
	}
}

func TestARuleThatSaysThatNothingIsThereIsNotFound(t *testing.T) {
	bus := cqrs.New(annals.NewLog[any](memory.New(), schema))
	mux := http.NewServeMux()
	mux.Handle("POST /orders/{order}/items", rest.Command[AddItem](bus, rest.NotFound(errMissing)))
	mux.Handle("POST /orders", rest.Command[CreateOrder](bus, rest.NotFound(errMissing)))
	send := func(path, body string) *httptest.ResponseRecorder {
		ctx := annals.WithPrincipal(t.Context(), annals.Principal{ID: clerk, Roles: []string{clerk}})
		r := httptest.NewRequestWithContext(ctx, "POST", path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	if w := send("/orders/7/items", `{"product":"tea","count":1}`); w.Code != http.StatusNotFound ||
		!strings.Contains(w.Body.String(), `"status":404,"detail":"no such order: 7","rule":"no such order"`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	for _, want := range []int{http.StatusOK, http.StatusConflict} { // another rule is broken as ever
		if w := send("/orders", `{"order":"7","customer":"ann"}`); w.Code != want {
			t.Errorf("got %d, want %d: %s", w.Code, want, w.Body)
		}
	}
}

func TestAWildcardThatFillsNothingIsAMistakeOfTheProgram(t *testing.T) {
	var log bytes.Buffer
	logger := rest.Logger(slog.New(slog.NewTextHandler(&log, nil)))
	bus := cqrs.New(annals.NewLog[any](memory.New(), schema))
	mux := http.NewServeMux()
	mux.Handle("POST /a/{odrer}/items", rest.Command[AddItem](bus, logger))
	mux.Handle("POST /b/{tenant}/{order}/items/{$}", rest.Command[AddItem](bus, logger, rest.Wildcards("tenant")))
	for path, want := range map[string]int{"/a/1/items": http.StatusInternalServerError, "/b/1/2/items/": http.StatusConflict} {
		log.Reset()
		w := httptest.NewRecorder()
		ctx := annals.WithPrincipal(t.Context(), annals.Principal{ID: clerk, Roles: []string{clerk}})
		r := httptest.NewRequestWithContext(ctx, "POST", path, strings.NewReader(`{"product":"tea","count":1}`))
		r.Header.Set("Content-Type", "application/json")
		mux.ServeHTTP(w, r)
		if w.Code != want || strings.Contains(log.String(), "odrer") != (want == http.StatusInternalServerError) || strings.Contains(w.Body.String(), "odrer") {
			t.Errorf("%s: got %d %s, logged %q", path, w.Code, w.Body, log.String())
		}
	}
}

func TestIfMatchOnWhatHasNoRevisionIsRefused(t *testing.T) {
	a := newApp(t)
	for path, body := range map[string]string{"/bell": `{"note":"n"}`, "/ring": `{"note":"n"}`, "/orders": `{}`} {
		r := a.do(t, ann, "POST", path, body, `If-Match: "0"`).problem(t, http.StatusBadRequest, "malformed")
		if r.json["place"] != "header If-Match" {
			t.Errorf("%s: got %s", path, r.body)
		}
	}
}

func TestWhatNoRouteTakesIsAProblemToo(t *testing.T) {
	mux := http.NewServeMux()
	mux.Handle("GET /orders/{order}", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Order", r.PathValue("order"))
	}))
	for _, c := range []struct {
		method, path string
		status       int
		order, allow string
		problem      string
	}{
		{"GET", "/orders/1", 200, "1", "", ""},
		{"PUT", "/orders/1", 405, "", "GET, HEAD", "method-not-allowed"},
		{"GET", "/order/1", 404, "", "", "not-found"},
		{"GET", "/orders//1", 307, "", "", ""},
		{"GET", "//nowhere", 404, "", "", "not-found"},
	} {
		w := httptest.NewRecorder()
		rest.Routes(mux).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, "http://example.com"+c.path, nil))
		problem := strings.Contains(w.Body.String(), `"https://annals.dev/problems/`+c.problem+`"`)
		if w.Code != c.status || w.Header().Get("Order") != c.order || w.Header().Get("Allow") != c.allow || c.problem != "" && !problem {
			t.Errorf("%s %s: got %d %v %s", c.method, c.path, w.Code, w.Header(), w.Body)
		}
	}
}

func TestMethodsAreTheMuxsBusiness(t *testing.T) {
	a := newApp(t)
	id := a.create(t)
	if r := a.do(t, ann, "DELETE", "/orders/"+id, ""); r.status != http.StatusMethodNotAllowed || r.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("got %d %v", r.status, r.header)
	}
	if r := a.do(t, ann, "HEAD", "/orders/"+id, "").expect(t, http.StatusOK); r.body != "" || r.header.Get("Content-Length") == "0" {
		t.Errorf("got %q %v", r.body, r.header)
	}
}

// laggard is a view that never gets there.
type laggard struct{}

func (laggard) Wait(context.Context, annals.Position) error {
	return &projection.LaggingError{Projection: "orders", Applied: 0, Wanted: 1}
}

func TestACommandThatWasAcceptedIsNoErrorWhenAViewLags(t *testing.T) {
	log := annals.NewLog[any](memory.New(), schema)
	h := rest.Command[CreateOrder](cqrs.New(log), rest.NewID("order", secret), rest.Created("/orders/{order}"), rest.WaitFor(laggard{}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "POST", "/orders", nil))
	if w.Code != http.StatusAccepted || w.Header().Get("Location") == "" || w.Header().Get("Annals-Position") != "1" {
		t.Errorf("got %d %s %v", w.Code, w.Body, w.Header())
	}
}

// Unguarded is a command without Authorize.
type Unguarded struct{ ref }

func (Unguarded) Decide(Order) ([]any, error) { return nil, nil }

func TestWrongDeclarationsPanicWhenTheRouteIsMade(t *testing.T) {
	newBus := func() *cqrs.Bus[any] { return cqrs.New(annals.NewLog[any](memory.New(), schema)) }
	fill := func(*http.Request, string) (string, error) { return "", nil }
	for want, f := range map[string]func(){
		"Unguarded: AddItem has it": func() {
			bus := newBus()
			rest.Command[AddItem](bus)
			rest.Command[Unguarded](bus)
		},
		"Unguarded: CreateOrder has it": func() {
			bus := newBus()
			rest.Command[Unguarded](bus)
			rest.Command[CreateOrder](bus)
		},
		`no string field that JSON calls "odrer"`: func() { rest.Command[CreateOrder](newBus(), rest.NewID("odrer", secret)) },
		`no string field that JSON calls "count"`: func() { rest.Command[AddItem](newBus(), rest.Fill("count", fill)) },
		`"order" is filled twice`:                 func() { rest.Command[CreateOrder](newBus(), rest.NewID("order", secret), rest.Fill("order", fill)) },
		"is filled by a nil function":             func() { rest.Command[CreateOrder](newBus(), rest.Fill("order", nil)) },
		"nothing on the bus answers":              func() { rest.Query[GetOrder, Order](newBus()) },
		"each pair of braces":                     func() { rest.Created("/orders/{order") },
		"closed that was not opened":              func() { rest.Created("/orders/order}") },
		"*rest_test.AddItem is a pointer":         func() { rest.Command[*AddItem](newBus()) },
		"rest: NotFound: no rule is named":        func() { rest.NotFound() },
		"rest: Revision: the function is nil":     func() { rest.Revision[Order](nil) },
		"rest: Position: the function is nil":     func() { rest.Position[Order](nil) },
		"Position is for the answers of a Query": func() {
			position := rest.Position(func(Order) annals.Position { return 1 })
			rest.State(annals.NewLog[any](memory.New(), schema), func(*http.Request) Order { return Order{} }, mine, position)
		},
		"Revision is of string, but the answer is rest_test.Order": func() {
			bus := newBus()
			cqrs.Answer(bus, func(context.Context, GetOrder) (Order, error) { return Order{}, nil })
			rest.Query[GetOrder, Order](bus, rest.Revision(func(string) annals.Revision { return 1 }))
		},
		"a secret of 5 bytes is too short": func() { rest.NewID("order", []byte("short")) },
		"MaxBody":                          func() { rest.MaxBody(0) },
		"MaxWait":                          func() { rest.MaxWait(0) },
		"Timeout":                          func() { rest.Timeout(0) },
		"initial and allow are required":   func() { rest.State[Order](annals.NewLog[any](memory.New(), schema), nil, nil) },
	} {
		if text := panicText(t, f); !strings.Contains(text, want) {
			t.Errorf("want a panic with %q, got %q", want, text)
		}
	}
}

func TestEveryOptionOfADeciderIsTakenFromItsHeader(t *testing.T) {
	var seen []string
	bus := cqrs.New(annals.NewLog[any](memory.New(), schema), func(next cqrs.Handler) cqrs.Handler {
		return func(ctx context.Context, m cqrs.Message) (any, error) {
			seen = append(seen, m.Name)
			v, err := next(ctx, m)
			if res, ok := v.(decider.Result[Order, any]); ok && res.Duplicate {
				seen = append(seen, "duplicate")
			}
			return v, err
		}
	})
	h := rest.Command[CreateOrder](bus)
	for range 2 {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(`{"order":"1"}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k")
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	if !slices.Equal(seen, []string{"CreateOrder", "CreateOrder", "duplicate"}) {
		t.Errorf("got %v", seen)
	}
}

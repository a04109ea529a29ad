package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

func parse[T any](t *testing.T, body string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

func TestEveryErrorHasItsProblem(t *testing.T) {
	a := newApp(t)
	for _, c := range []struct {
		err    error
		status int
		name   string
	}{
		{&rest.MalformedError{Place: "here", Problem: "is wrong"}, 400, "malformed"},
		{rest.ErrUnauthenticated, 401, "unauthenticated"},
		{decider.ErrForbidden, 403, "forbidden"},
		{projection.ErrNotFound, 404, "not-found"},
		{&annals.AheadError{Position: 9, Head: 1}, 404, "not-found"},
		{&decider.RejectedError{Command: "Pay", Err: errExists}, 409, "rule-broken"},
		{&decider.RejectedError{Command: "Pay", Err: annals.ErrConflict}, 409, "rule-broken"},
		{&annals.ConflictError{Failures: []annals.Failure{{Condition: annals.NoneSince(0, annals.All()), Actual: annals.NoRevision, Positions: []annals.Position{3}}}}, 409, "conflict"},
		{&http.MaxBytesError{Limit: 7}, 413, "too-large"},
		{&annals.LimitError{What: "append", Unit: "events", Limit: 1, Actual: 2}, 413, "too-large"},
		{&annals.InvalidError{What: "query", Problem: `the stream "order-" has no id`}, 422, "invalid"},
		{&decider.InvalidError{Fields: []decider.Field{{Name: "count", Problem: "is odd"}}}, 422, "invalid"},
		{decider.ErrKeyReused, 422, "key-reused"},
		{projection.ErrLagging, 503, "projection-lagging"},
		{&projection.LaggingError{Projection: "orders", Cause: projection.ErrNotFound}, 503, "projection-lagging"},
		{&decider.RejectedError{Command: "Pay", Err: projection.ErrNotFound}, 409, "rule-broken"},
		{&decider.ForbiddenError{Command: "Pay", Err: projection.ErrNotFound}, 403, "forbidden"},
		{&decider.PanicError{Method: "Order.Evolve", Value: projection.ErrNotFound}, 500, "internal"},
		{projection.ErrReset, 503, "unavailable"},
		{projection.ErrClosed, 503, "unavailable"},
		{annals.ErrOverloaded, 503, "overloaded"},
		{&cqrs.BusyError{Message: "Pay", Places: 4}, 503, "overloaded"},
		{&cqrs.TooManyError{Message: "Pay", Wait: 2100 * time.Millisecond}, 429, "too-many-requests"},
		{annals.ErrReadOnly, 503, "unavailable"},
		{annals.ErrFull, 503, "unavailable"},
		{annals.ErrClosed, 503, "unavailable"},
		{context.DeadlineExceeded, 503, "timeout"},
		{context.Canceled, 503, "timeout"},
		{&annals.OutcomeError{Cause: context.DeadlineExceeded}, 503, "timeout"},
		{&annals.OutcomeError{Unknown: true, Cause: context.DeadlineExceeded}, 504, "timeout"},
		{&cqrs.PanicError{Message: "FailWith", Value: projection.ErrNotFound}, 500, "internal"},
		{annals.ErrDataLoss, 500, "internal"},
		{errors.New("dial tcp 10.0.0.1: refused"), 500, "internal"},
	} {
		t.Run(fmt.Sprint(c.status, " ", c.err), func(t *testing.T) {
			a.fail = fmt.Errorf("wrapped: %w", c.err)
			r := a.do(t, ann, "GET", "/fail", "").problem(t, c.status, c.name)
			for _, secret := range []string{"wrapped", "10.0.0.1", "order-", "tcp"} {
				if strings.Contains(r.body, secret) {
					t.Errorf("the client learns %q: %s", secret, r.body)
				}
			}
			if challenged := r.header.Get("WWW-Authenticate") == "Bearer"; challenged != (c.status == 401) {
				t.Errorf("headers %v", r.header)
			}
		})
	}
}

func TestAConflictWithoutIfMatchIsRetryableAndListsEvents(t *testing.T) {
	id := annals.NewID()
	at := time.Date(2026, 11, 24, 9, 30, 0, 0, time.UTC)
	conflict := &annals.ConflictError{Failures: []annals.Failure{
		{Condition: annals.NoneSince(0, annals.All()), Actual: annals.NoRevision, Positions: []annals.Position{7}},
		{Condition: annals.StreamAt("order-1", 2), Actual: 3, Positions: []annals.Position{5, 7}, Events: []annals.Recorded{
			{Event: annals.Event{ID: id, Type: "ItemAdded", Stream: "order-1"}, Position: 7, Revision: 3, Time: at},
		}},
	}}
	w := httptest.NewRecorder()
	rest.WriteProblem(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", nil), conflict)
	want := `"retryable":true,"actualRevision":3,"conflictingEvents":[{"position":"5"},{"position":"7","revision":3,"type":"ItemAdded","id":"` +
		id.String() + `","time":"2026-11-24T09:30:00Z"}]}`
	if !strings.HasSuffix(strings.TrimSpace(w.Body.String()), want) {
		t.Errorf("got %s", w.Body)
	}
	if strings.Contains(w.Body.String(), "order-1") {
		t.Error("names of streams are the server's own")
	}
}

func TestAConflictTellsNothingOfOtherEntities(t *testing.T) {
	foreign := annals.Recorded{Event: annals.Event{ID: annals.NewID(), Type: "OrderPlaced", Stream: "order-2"}, Position: 9}
	boundary := annals.Stream("order-1").Or(annals.Tags("product:tea"))
	conflict := &annals.ConflictError{Failures: []annals.Failure{{
		Condition: annals.NoneSince(3, boundary), Actual: annals.NoRevision, Positions: []annals.Position{9}, Events: []annals.Recorded{foreign},
	}}}
	for _, ifMatch := range []string{"", `"3"`} { // the revision is as it was named: it is not a conflict of that
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
		r.Header.Set("If-Match", ifMatch)
		if p := rest.ProblemOf(r, conflict); p.Status != http.StatusConflict || !p.Retryable || p.ConflictingEvents != nil || p.ActualRevision != nil {
			t.Errorf("If-Match %s: got %+v", ifMatch, p)
		}
	}
}

func TestAProblemSpeaksOfNoAnswer(t *testing.T) {
	w := httptest.NewRecorder()
	for _, name := range []string{"ETag", "Location", "Link", "Annals-Position", "Idempotency-Replayed"} {
		w.Header().Set(name, "1")
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="orders"`)
	rest.WriteProblem(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil), rest.ErrUnauthenticated)
	if len(w.Header()) != 4 || w.Header().Get("WWW-Authenticate") != `Basic realm="orders"` {
		t.Errorf("got %v", w.Header())
	}
}

func TestANameThatIsTooLongIsNotARequestThatIsTooLarge(t *testing.T) {
	a := newApp(t)
	a.do(t, clerk, "GET", "/orders/"+strings.Repeat("o", 5000)+"/state", "").problem(t, http.StatusUnprocessableEntity, "invalid")
}

func TestAnUnknownOutcomeIsRetryableUnderAKeyOnly(t *testing.T) {
	for key, want := range map[string]bool{"": false, "k": true} {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		if p := rest.ProblemOf(r, annals.ErrUnknownOutcome); p.Retryable != want || p.Status != http.StatusGatewayTimeout {
			t.Errorf("key %q: got %+v", key, p)
		}
	}
}

func TestWhatClientsDoNotLearnIsLogged(t *testing.T) {
	for name, serve := range map[string]func(l *slog.Logger, w http.ResponseWriter, r *http.Request){
		"by an option": func(l *slog.Logger, _ http.ResponseWriter, _ *http.Request) {
			a := newApp(t, rest.Logger(l), rest.Timeout(time.Hour))
			a.fail = errors.New("the cause")
			a.do(t, ann, "GET", "/fail", "").problem(t, http.StatusInternalServerError, "internal")
		},
		"by the context": func(l *slog.Logger, w http.ResponseWriter, r *http.Request) {
			rest.WriteProblem(w, r.WithContext(rest.WithLogger(r.Context(), l)), &cqrs.PanicError{Value: "the cause", Stack: []byte("at main.go")})
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			serve(slog.New(slog.NewTextHandler(&out, nil)), httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
			if !strings.Contains(out.String(), "the cause") || !strings.Contains(out.String(), "status=500") {
				t.Errorf("got %q", out.String())
			}
		})
	}
}

func TestAPanicAnywhereIsAProblemAndIsLoggedWithItsStack(t *testing.T) {
	log := annals.NewLog[any](memory.New(), schema)
	panics := func(*http.Request) Order { panic("the cause") }
	fill := rest.Fill("customer", func(*http.Request, string) (string, error) { panic("the cause") })
	nobody := func(*http.Request) (annals.Principal, error) { panic("the cause") }
	for name, h := range map[string]http.Handler{
		"in a state's initial": rest.State(log, panics, rest.Anyone[Order]),
		"in a history's allow": rest.History(log, func(*http.Request) Order { return Order{ID: "1"} }, func(annals.Principal, Order) error { panic("the cause") }),
		"in a fill":            rest.Command[CreateOrder](cqrs.New(log), fill),
		"in authentication":    rest.Authenticate(nobody)(http.NotFoundHandler()),
	} {
		var out bytes.Buffer
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(rest.WithLogger(r.Context(), slog.New(slog.NewTextHandler(&out, nil)))))
		if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "cause") {
			t.Errorf("%s: answered %d %s", name, w.Code, w.Body)
		}
		if !strings.Contains(out.String(), "the cause") || !strings.Contains(out.String(), "problem_test.go") {
			t.Errorf("%s: logged %q", name, out.String())
		}
	}
}

func TestWhoAbortsAHandlerGetsNoAnswer(t *testing.T) {
	log := annals.NewLog[any](memory.New(), schema)
	w := httptest.NewRecorder()
	defer func() {
		if p, _ := recover().(error); !errors.Is(p, http.ErrAbortHandler) || w.Body.Len() > 0 {
			t.Errorf("panicked with %v, answered %s", p, w.Body)
		}
	}()
	rest.State(log, func(*http.Request) Order { panic(http.ErrAbortHandler) }, rest.Anyone[Order]).
		ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
}

func TestWhyACredentialWasRefusedIsLoggedAsInformation(t *testing.T) {
	var out bytes.Buffer
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r = r.WithContext(rest.WithLogger(r.Context(), slog.New(slog.NewTextHandler(&out, nil))))
	w := httptest.NewRecorder()
	rest.WriteProblem(w, r, fmt.Errorf("%w: the token has expired", rest.ErrUnauthenticated))
	if !strings.Contains(out.String(), "level=INFO") || !strings.Contains(out.String(), "expired") || strings.Contains(w.Body.String(), "expired") {
		t.Errorf("logged %q, answered %s", out.String(), w.Body)
	}
}

func TestAuthenticateKnowsWhoAsksOrRefuses(t *testing.T) {
	a := newApp(t)
	r := a.do(t, "", "POST", "/orders", "").problem(t, http.StatusUnauthorized, "unauthenticated")
	if r.header.Get("WWW-Authenticate") != "Bearer" || strings.Contains(r.body, "token") {
		t.Errorf("got %s %v", r.body, r.header)
	}
	r = a.do(t, "unreachable", "POST", "/orders", "").problem(t, http.StatusInternalServerError, "internal")
	if strings.Contains(r.body, "10.0.0.1") {
		t.Errorf("got %s", r.body)
	}
	a.create(t)
	for e, err := range a.log.Read(t.Context(), annals.All()) {
		if err != nil || e.Meta().Actor != "ann" || e.Meta().Command != "CreateOrder" || e.Meta().CorrelationID == "" {
			t.Errorf("got %+v, %v", e.Meta(), err)
		}
	}
}

func TestATimeoutEndsTheRequest(t *testing.T) {
	a := newApp(t, rest.Timeout(time.Nanosecond))
	r := a.do(t, ann, "POST", "/orders", "").problem(t, http.StatusServiceUnavailable, "timeout")
	if r.header.Get("Retry-After") != "1" {
		t.Errorf("got %v", r.header)
	}
}

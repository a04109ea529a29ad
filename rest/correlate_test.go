package rest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/rest"
)

func TestWhatARequestBelongsToIsWrittenBesideItsEvents(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	a := newApp(t)
	handler := rest.Correlate(a.Config.Handler)
	send := func(headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/orders", strings.NewReader(`{}`))
		r.Header.Set("Authorization", "Bearer ann")
		r.Header.Set("Content-Type", "application/json")
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Add(name, value)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	last := func() annals.Metadata {
		for e, err := range a.store.Read(t.Context(), annals.All(), annals.Backwards(), annals.Limit(1)) {
			if err != nil {
				t.Fatal(err)
			}
			return e.Meta()
		}
		return annals.Metadata{}
	}
	if w := send("Annals-Correlation-Id: trip 7", "traceparent: "+parent); w.Code != http.StatusCreated || w.Header().Get("Annals-Correlation-Id") != "trip 7" {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
	if m := last(); m.CorrelationID != "trip 7" || m.Traceparent != parent || m.Actor != "ann" {
		t.Errorf("got %+v", m)
	}
	if send("traceparent: cc" + parent[2:] + "-what-may-come"); !strings.HasPrefix(last().Traceparent, "cc-") {
		t.Error("a later version is refused")
	}
	for _, bad := range []string{
		"", "nonsense", strings.ToUpper(parent), "ff" + parent[2:], parent + "-00", "cc" + parent[2:20], parent[:len(parent)-1] + "g",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01", "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
	} {
		w := send("traceparent: " + bad)
		if m := last(); w.Code != http.StatusCreated || m.Traceparent != "" || m.CorrelationID == "" || m.CorrelationID != w.Header().Get("Annals-Correlation-Id") {
			t.Errorf("%q: got %d, %+v", bad, w.Code, m)
		}
	}
	if send("traceparent: "+parent, "traceparent: "+parent); last().Traceparent != "" {
		t.Error("one of two parents is taken")
	}
	for _, bad := range [][]string{{"Annals-Correlation-Id: "}, {"Annals-Correlation-Id: ü"}, {"Annals-Correlation-Id: " + strings.Repeat("x", 129)}, {"Annals-Correlation-Id: a", "Annals-Correlation-Id: b"}} {
		if w := send(bad...); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "header Annals-Correlation-Id") {
			t.Errorf("%q: got %d %s", bad, w.Code, w.Body)
		}
	}
}

func TestWhoIsLimitedIsToldWhenToComeAgain(t *testing.T) {
	t.Parallel()
	a := newApp(t)
	a.fail = &cqrs.TooManyError{Message: "FailWith", Wait: 2100 * time.Millisecond}
	if r := a.do(t, ann, "GET", "/fail", "").problem(t, 429, "too-many-requests"); r.header.Get("Retry-After") != "3" || r.json["retryable"] != true {
		t.Errorf("got %v %s", r.header, r.body)
	}
}

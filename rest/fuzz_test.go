package rest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/rest"
	"github.com/annalsdb/annals/store/memory"
)

// FuzzCommand sends anything at all: the server never fails, and never lets a body speak for another entity than the
// path.
func FuzzCommand(f *testing.F) {
	for _, body := range []string{"", "{}", `{"product":"tea","count":1}`, `{"order":"2","product":"tea","count":1}`, `{"Order":"2"}`, `{"a":{"b":[1,2]}}`, `{"count":1e999}`, `{"product":"$\n-","count":1}`, "[", "null", "\xff"} {
		f.Add(body, "", `"0"`)
		f.Add(body, "key", "")
	}
	f.Fuzz(func(t *testing.T, body, key, ifMatch string) {
		log := annals.NewLog[any](memory.New(), schema)
		if _, err := log.Append(t.Context(), []any{OrderCreated{Order: "1", Customer: ann}}); err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle("POST /orders/{order}", rest.Command[AddItem](cqrs.New(log)))
		r := httptest.NewRequestWithContext(annals.WithPrincipal(t.Context(), annals.Principal{ID: ann, Roles: []string{"clerk"}}), "POST", "/orders/1", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		for name, value := range map[string]string{"Idempotency-Key": key, "If-Match": ifMatch} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for e, err := range log.Read(t.Context(), annals.All()) {
			if err != nil || e.Stream != "order-1" {
				t.Errorf("stream %q, %v", e.Stream, err)
			}
		}
	})
}

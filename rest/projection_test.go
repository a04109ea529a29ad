package rest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/rest"
	"github.com/annalsdb/annals/store/memory"
)

type orderRow struct {
	Customer Customer `json:"customer"`
	Lines    int      `json:"lines"`
}

func (GetRow) Authorize(p annals.Principal, row orderRow) error {
	return mine(p, Order{Customer: row.Customer})
}

// GetRow asks for a row of the read model.
type GetRow struct {
	Order string `json:"order"`
}

func TestWhatAClientWroteIsInWhatItReads(t *testing.T) {
	log := annals.NewLog[any](memory.New(), schema)
	rows := projection.Rows[orderRow, any]{
		Name: "orders", By: "order", Query: annals.Category("order"),
		Apply: func(_ string, row *orderRow, e annals.Entry[any]) error {
			switch v := e.Value.(type) {
			case OrderCreated:
				row.Customer = v.Customer
			case ItemAdded:
				row.Lines++
			}
			return nil
		},
	}
	views := projection.NewMemory()
	view := projection.Of(views, rows)
	bus := cqrs.New(log)
	cqrs.Answer(bus, func(ctx context.Context, q GetRow) (orderRow, error) { return view.Get(ctx, q.Order) })
	mux := http.NewServeMux()
	mux.Handle("POST /orders", rest.Command[CreateOrder](bus, rest.Created("/orders/{order}")))
	mux.Handle("GET /orders/{order}", rest.Query[GetRow, orderRow](bus))
	sendAs := func(p annals.Principal, method, url, body string, headers ...string) *httptest.ResponseRecorder {
		ctx := annals.WithPrincipal(t.Context(), p)
		r := httptest.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w
	}
	send := func(method, url, body string, headers ...string) *httptest.ResponseRecorder {
		return sendAs(annals.Principal{ID: ann}, method, url, body, headers...)
	}
	created := send("POST", "/orders", `{"order":"1","customer":"ann"}`)
	url, written := created.Header().Get("Location"), "Annals-At-Least: "+created.Header().Get("Annals-Position")

	if w := send("GET", url, "", written, "Prefer: wait=0"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"applied":"0","wanted":"1"`) {
		t.Errorf("before: got %d %s", w.Code, w.Body)
	}
	if err := projection.CatchUp(t.Context(), log, views, rows); err != nil {
		t.Fatal(err)
	}
	if w := send("GET", url, "", written); w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"customer":"ann","lines":0}` {
		t.Errorf("after: got %d %s", w.Code, w.Body)
	}
	// An order that is not there is nobody's, and by the rule of GetRow so not ann's: she does not learn that it is free.
	if w := send("GET", "/orders/2", ""); w.Code != http.StatusForbidden {
		t.Errorf("another: got %d %s", w.Code, w.Body)
	}
	if w := sendAs(annals.Principal{ID: clerk, Roles: []string{"clerk"}}, "GET", "/orders/2", ""); w.Code != http.StatusNotFound {
		t.Errorf("another, for a clerk: got %d %s", w.Code, w.Body)
	}
}

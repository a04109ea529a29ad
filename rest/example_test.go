package rest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/rest"
	"github.com/annalsdb/annals/store/memory"
)

func Example() {
	log := annals.NewLog[any](memory.New(), schema)
	bus := cqrs.New(log)
	orderOf := func(r *http.Request) Order { return Order{ID: OrderID(r.PathValue("order"))} }

	mux := http.NewServeMux()
	mux.Handle("POST /orders", rest.Command[CreateOrder](bus, rest.Fill("customer", customer), rest.Created("/orders/{order}")))
	mux.Handle("POST /orders/{order}/items", rest.Command[AddItem](bus))
	mux.Handle("GET /orders/{order}", rest.State(log, orderOf, mine))
	handler := rest.Authenticate(principal)(mux)

	send := func(method, url, body string, headers ...string) {
		r := httptest.NewRequest(method, url, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer ann")
		r.Header.Set("Content-Type", "application/json")
		if len(headers) == 2 {
			r.Header.Set(headers[0], headers[1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Header().Get("Location"), strings.TrimSpace(w.Body.String()))
	}
	send("POST", "/orders", `{"order":"42"}`)
	send("POST", "/orders/42/items", `{"product":"tea","count":2}`, "If-Match", `"0"`)
	send("GET", "/orders/42", "")
	send("GET", "/orders/42?revision=0", "")
	// Output:
	// 201 /orders/42 {"id":"42","revision":0,"position":"1"}
	// 200  {"id":"42","revision":1,"position":"2"}
	// 200  {"id":"42","customer":"ann","items":{"tea":2}}
	// 200  {"id":"42","customer":"ann","items":{}}
}

// A history tells who did what, and with ShowStates what each event changed.
func ExampleHistory() {
	log := annals.NewLog[any](memory.New(), schema)
	bus := cqrs.New(log)
	orderOf := func(r *http.Request) Order { return Order{ID: OrderID(r.PathValue("order"))} }

	mux := http.NewServeMux()
	mux.Handle("POST /orders/{order}/items", rest.Command[AddItem](bus))
	mux.Handle("POST /orders", rest.Command[CreateOrder](bus, rest.Fill("customer", customer)))
	mux.Handle("GET /orders/{order}/history", rest.History(log, orderOf, mine, rest.ShowStates()))
	mux.Handle("GET /orders/{order}/state", rest.State(log, orderOf, mine))
	handler := rest.Authenticate(principal)(mux)

	send := func(method, url, body string) []byte {
		r := httptest.NewRequest(method, url, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer ann")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Body.Bytes()
	}
	send("POST", "/orders", `{"order":"42"}`)
	send("POST", "/orders/42/items", `{"product":"tea","count":2}`)
	var history []struct {
		Type     string
		Metadata struct{ Actor, Command string }
		Changes  json.RawMessage
	}
	fmt.Println(json.Unmarshal(send("GET", "/orders/42/history", ""), &history))
	for _, e := range history {
		fmt.Printf("%s by %s, %s: %s\n", e.Type, e.Metadata.Actor, e.Metadata.Command, e.Changes)
	}
	fmt.Printf("%s", send("GET", "/orders/42/state?revision=0", ""))
	// Output:
	// <nil>
	// OrderCreated by ann, CreateOrder: [{"path":"customer","before":"","after":"ann"},{"path":"items","before":null,"after":{}}]
	// ItemAdded by ann, AddItem: [{"path":"items.tea","before":null,"after":2}]
	// {"id":"42","customer":"ann","items":{}}
}

func ExampleWriteProblem() {
	handler := rest.Authenticate(func(*http.Request) (annals.Principal, error) {
		return annals.Principal{}, errors.Join(rest.ErrUnauthenticated, errors.New("the token is from yesterday"))
	})(http.NotFoundHandler())
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Println(w.Header().Get("Content-Type"))
	fmt.Print(w.Body)
	// Output:
	// application/problem+json
	// {"type":"https://annals.dev/problems/unauthenticated","title":"Unauthenticated","status":401,"detail":"Say who you are, with credentials that hold."}
}

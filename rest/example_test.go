package rest_test

import (
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

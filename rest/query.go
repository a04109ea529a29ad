package rest

import (
	"fmt"
	"net/http"
	"reflect"

	"github.com/annalsdb/annals/cqrs"
)

// Query is a handler that reads a Q from path and parameters, asks the bus and writes the R as JSON. A field that is a
// slice takes a parameter several times.
//
// With nothing on the bus to answer Q by an R it panics when the route is made: call cqrs.Answer before.
func Query[Q, R, E any](b *cqrs.Bus[E], opts ...ReadOption) http.Handler {
	d := newDecoder[Q]()
	if !cqrs.Answers[Q, R](b) {
		panic(fmt.Sprintf("rest: Query: nothing on the bus answers %s by %s: give cqrs.Answer before", d.typ, reflect.TypeFor[R]()))
	}
	o := newReadOptions(opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, cancel := o.start(r)
		defer cancel()
		var q Q
		if err := d.query(r, reflect.ValueOf(&q).Elem()); err != nil {
			WriteProblem(w, r, err)
			return
		}
		ctx, done, err := fresh(w, r, o.maxWait)
		if err != nil {
			WriteProblem(w, r, err)
			return
		}
		defer done()
		answer, err := cqrs.Ask[R](ctx, b, q)
		if err != nil {
			WriteProblem(w, r, err)
			return
		}
		writeJSON(w, r, http.StatusOK, answer)
	})
}

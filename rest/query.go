package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
)

// Query is a handler that reads a Q from path and parameters, asks the bus and writes the R as JSON. A field that is a
// slice takes a parameter several times. A position that the client demands is one of the bus's log.
//
// What is wrong with the declaration is a mistake in the program, and panics when the route is made: nothing on the bus
// answers Q by an R (call cqrs.Answer before), Q is a pointer, an option speaks of another answer. For wildcards that
// fill no field see [Command].
func Query[Q, R, E any](b *cqrs.Bus[E], opts ...ReadOption) http.Handler {
	d := newDecoder[Q]("Query")
	if !cqrs.Answers[Q, R](b) {
		panic(fmt.Sprintf("rest: Query: nothing on the bus answers %s by %s: give cqrs.Answer before", d.typ, reflect.TypeFor[R]()))
	}
	o := newReadOptions("Query", reflect.TypeFor[R](), opts)
	return o.handler(func(w http.ResponseWriter, r *http.Request) error {
		var q Q
		if err := d.query(r, reflect.ValueOf(&q).Elem(), &o.routeOptions); err != nil {
			return err
		}
		ctx, f, err := fresh(w, r, b.Log().Store(), o.maxWait)
		if err != nil {
			return err
		}
		defer f.cancel()
		answer, err := cqrs.Ask[R](ctx, b, q)
		if err != nil {
			return f.reason(r, err)
		}
		return o.write(w, r, answer)
	})
}

// write answers with what the bus did, or that the client has it.
func (o *readOptions) write(w http.ResponseWriter, r *http.Request, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return fmt.Errorf("rest: answer: %w", err)
	}
	h := w.Header()
	if o.position != nil {
		if p := annals.Position(o.position.get(answer)); p > 0 {
			h.Set(headerPosition, p.String())
		}
	}
	if o.revision != nil {
		if revision := annals.Revision(o.revision.get(answer)); revision != annals.NoRevision {
			writeTagged(w, r, answerTag(revision, body), body)
			return nil
		}
	}
	writeBody(w, http.StatusOK, body)
	return nil
}

// writeTagged answers with JSON and its entity tag, or that the client has it.
func writeTagged(w http.ResponseWriter, r *http.Request, tag string, body []byte) {
	h := w.Header()
	h.Set("ETag", tag)
	if noneMatch(r, tag) {
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	writeBody(w, http.StatusOK, body)
}

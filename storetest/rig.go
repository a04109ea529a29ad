package storetest

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
)

// rig is one test: an empty store, and short ways to speak to it. It takes the place of the *testing.T, so that every
// failure begins with the promise that was broken.
type rig struct {
	*testing.T
	store   annals.Store
	rule    string
	options options
}

// Errorf reports that the promise is broken, and how.
func (r *rig) Errorf(format string, args ...any) {
	r.Helper()
	r.T.Errorf("broken promise: "+r.rule+".\n\t"+format, args...)
}

// Fatalf is Errorf for when there is no way to go on.
func (r *rig) Fatalf(format string, args ...any) {
	r.Helper()
	r.T.Fatalf("broken promise: "+r.rule+".\n\t"+format, args...)
}

// patient is a context that ends if the store does not do in time what it must.
func (r *rig) patient() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), r.options.patience)
	r.Cleanup(cancel)
	return ctx
}

// event makes an event with an id of its own.
func event(kind, stream string, tags ...string) annals.Event {
	return annals.Event{ID: annals.NewID(), Type: kind, Stream: stream, Tags: tags, Data: []byte(`{}`)}
}

func events(es ...annals.Event) []annals.Event { return es }

// many makes so many events of one kind in one stream.
func many(n int) []annals.Event {
	es := make([]annals.Event, n)
	for i := range es {
		es[i] = event("A", "s-1")
	}
	return es
}

// bury appends a few thousand events on top of what there is.
func (r *rig) bury() {
	r.Helper()
	for range 3 {
		r.append(many(900))
	}
}

// append is an append that must be accepted.
func (r *rig) append(es []annals.Event, conds ...annals.Condition) annals.Receipt {
	r.Helper()
	receipt, err := r.store.Append(r.Context(), es, conds...)
	if err != nil {
		r.Fatalf("an append of %d events that must be accepted was not: %v", len(es), err)
	}
	return receipt
}

// put appends one event of this kind.
func (r *rig) put(kind, stream string, tags ...string) annals.Receipt {
	r.Helper()
	return r.append(events(event(kind, stream, tags...)))
}

// refused is an append that must fail with want, and leave nothing behind.
func (r *rig) refused(what string, want error, es []annals.Event, conds ...annals.Condition) {
	r.Helper()
	_ = r.refusal(what, want, es, conds...) // has been looked at
}

// refusal is refused, and gives the error.
func (r *rig) refusal(what string, want error, es []annals.Event, conds ...annals.Condition) error {
	r.Helper()
	before := r.head()
	receipt, err := r.store.Append(r.Context(), es, conds...)
	if !errors.Is(err, want) {
		r.Errorf("%s: the append answered %+v, %v; it must fail with: %v", what, receipt, err, want)
	}
	if after := r.head(); after != before {
		r.Errorf("%s: a refused append moved the head from %d to %d", what, before, after)
	}
	return err
}

// duplicate is an append that must be recognised as a retry.
func (r *rig) duplicate(what string, es []annals.Event, conds ...annals.Condition) annals.Receipt {
	r.Helper()
	before := r.head()
	receipt, err := r.store.Append(r.Context(), es, conds...)
	if err != nil || !receipt.Duplicate {
		r.Errorf("%s: it must be answered as a duplicate, not by %+v, %v", what, receipt, err)
	}
	if after := r.head(); after != before {
		r.Errorf("%s: a duplicate moved the head from %d to %d", what, before, after)
	}
	return receipt
}

func (r *rig) head() annals.Position {
	r.Helper()
	p, err := r.store.Head(r.Context())
	if err != nil {
		r.Fatalf("Head failed: %v", err)
	}
	return p
}

// read is a read that must succeed.
func (r *rig) read(q annals.Query, opts ...annals.ReadOption) []annals.Recorded {
	r.Helper()
	got, err := r.drain(r.store.Read(r.patient(), q, opts...))
	if err != nil {
		r.Fatalf("reading %s must succeed, not fail with: %v", q, err)
	}
	return got
}

// unreadable is a read that must fail with want, and yield nothing before.
func (r *rig) unreadable(what string, want error, q annals.Query, opts ...annals.ReadOption) {
	r.Helper()
	_ = r.readError(what, want, q, opts...) // has been looked at
}

// readError is unreadable, and gives the error.
func (r *rig) readError(what string, want error, q annals.Query, opts ...annals.ReadOption) error {
	r.Helper()
	got, err := r.drain(r.store.Read(r.patient(), q, opts...))
	if !errors.Is(err, want) || len(got) > 0 {
		r.Errorf("%s: reading %s answered %d events and %v; it must fail with: %v", what, q, len(got), err, want)
	}
	return err
}

// drain ranges to the end and watches over the rules for errors.
func (r *rig) drain(seq iter.Seq2[annals.Recorded, error]) (got []annals.Recorded, failed error) {
	r.Helper()
	for e, err := range seq {
		if failed != nil {
			r.Fatalf("an iterator yields at most one error, last; here %v was followed by %+v, %v", failed, e, err)
		}
		if err == nil {
			got = append(got, e)
			continue
		}
		failed = err
		if !same(e, annals.Recorded{}) {
			r.Errorf("an error comes with the zero event, not with %+v", e)
		}
	}
	return got, failed
}

// at reads positions only.
func (r *rig) at(q annals.Query, opts ...annals.ReadOption) []annals.Position {
	r.Helper()
	return positionsOf(r.read(q, opts...))
}

func positionsOf(es []annals.Recorded) []annals.Position {
	ps := []annals.Position{}
	for _, e := range es {
		ps = append(ps, e.Position)
	}
	return ps
}

func positions(ps ...annals.Position) []annals.Position { return append([]annals.Position{}, ps...) }

// equal wants what was got to be what was wanted.
func (r *rig) equal(what string, got, want any) {
	r.Helper()
	if !reflect.DeepEqual(got, want) {
		r.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// same reports whether two recorded events are equal in everything.
func same(a, b annals.Recorded) bool {
	return a.Position == b.Position && a.Revision == b.Revision && a.Time.Equal(b.Time) &&
		a.ID == b.ID && a.Stream == b.Stream && a.SameContent(b.Event) && bytes.Equal(a.Metadata, b.Metadata)
}

// sameAll wants two lists of recorded events to be equal in everything.
func (r *rig) sameAll(what string, got, want []annals.Recorded) {
	r.Helper()
	if !slices.EqualFunc(got, want, same) {
		r.Errorf("%s:\n\tgot  %+v\n\twant %+v", what, got, want)
	}
}

// conflict is the ConflictError in err.
func (r *rig) conflict(err error) []annals.Failure {
	r.Helper()
	var conflict *annals.ConflictError
	if !errors.As(err, &conflict) {
		r.Fatalf("a conflict is a *ConflictError, not: %v", err)
	}
	return conflict.Failures
}

// race starts n calls of f together and waits for all of them.
func race(n int, f func(i int)) {
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}

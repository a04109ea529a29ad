package storetest

import (
	"errors"
	"io"
	"iter"

	"github.com/annalsdb/annals"
)

func closePromises() []promise {
	return []promise{
		{"a closed store answers ErrClosed, and may be closed again", closedIsClosed},
		{"closing ends subscriptions and waiting reads with ErrClosed", closingEndsWaiting},
		{"values that were read stay valid after closing", valuesOutliveTheStore},
	}
}

// closer is the store's Close; a store without one has nothing to close, and nothing to prove.
func (r *rig) closer() (io.Closer, bool) {
	c, ok := r.store.(io.Closer)
	if !ok {
		r.Logf("the store has no Close")
	}
	return c, ok
}

func closedIsClosed(r *rig) {
	c, ok := r.closer()
	if !ok {
		return
	}
	e := event("A", "s-1")
	r.append(events(e))
	for i := range 2 {
		if err := c.Close(); err != nil {
			r.Errorf("closing, time %d: %v", i+1, err)
		}
	}
	answers := map[string]error{}
	_, answers["Append"] = r.store.Append(r.Context(), events(event("A", "s-1")))
	_, answers["Append of a duplicate"] = r.store.Append(r.Context(), events(e))
	_, answers["Head"] = r.store.Head(r.Context())
	_, answers["Read"] = r.drain(r.store.Read(r.Context(), annals.All()))
	for _, err := range r.store.Subscribe(r.patient(), annals.All(), 0) {
		answers["Subscribe"] = err
		break
	}
	for what, err := range answers {
		if !errors.Is(err, annals.ErrClosed) {
			r.Errorf("%s of a closed store answered %v; want ErrClosed", what, err)
		}
	}
}

func closingEndsWaiting(r *rig) {
	c, ok := r.closer()
	if !ok {
		return
	}
	ten(r)
	next, stop := iter.Pull2(r.store.Subscribe(r.patient(), annals.All(), 10))
	defer stop()
	if u, err, _ := next(); err != nil || !u.CaughtUp {
		r.Fatalf("a subscription at the head began with %+v, %v", u, err)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := r.drainQuietly(r.store.Read(r.patient(), annals.All(), annals.AtLeast(1000)))
		waited <- err
	}()
	if err := c.Close(); err != nil {
		r.Errorf("closing: %v", err)
	}
	if u, err, _ := next(); !errors.Is(err, annals.ErrClosed) {
		r.Errorf("the subscription went on with %+v, %v; want ErrClosed", u, err)
	}
	if err := <-waited; !errors.Is(err, annals.ErrClosed) {
		r.Errorf("a read that waited for its position ended with %v; want ErrClosed", err)
	}
}

func valuesOutliveTheStore(r *rig) {
	c, ok := r.closer()
	if !ok {
		return
	}
	want := ten(r)
	copies := make([]annals.Recorded, len(want))
	for i, e := range want {
		copies[i] = e
		copies[i].Event = e.Clone()
	}
	if err := c.Close(); err != nil {
		r.Errorf("closing: %v", err)
	}
	r.sameAll("values that were kept", want, copies)
}

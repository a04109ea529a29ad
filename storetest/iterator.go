package storetest

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/annalsdb/annals"
)

func iteratorPromises() []promise {
	return []promise{
		{"nothing is read before ranging", nothingBeforeRanging},
		{"ranging twice reads twice", rangingTwice},
		{"a read is pinned to the head at which its ranging began", readsArePinned},
		{"break ends a read, and the store goes on", breakEnds},
		{"the end of the context is an error, and never a quiet end", cancellationIsAnError},
		{"Head fails once its context has ended", headFailsWithItsContext},
		{"an error about a context that ended for a reason matches the context's error and the reason", contextErrorsTellBoth},
		{"yielded values stay valid", valuesStayValid},
		{"many reads may run inside each other", readsInsideReads},
	}
}

// drainQuietly is for goroutines: it reports nothing itself.
func (r *rig) drainQuietly(seq iter.Seq2[annals.Recorded, error]) (got []annals.Recorded, failed error) {
	for e, err := range seq {
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		got = append(got, e)
	}
	return got, failed
}

func nothingBeforeRanging(r *rig) {
	seq := r.store.Read(r.Context(), annals.All())
	sub := r.store.Subscribe(r.patient(), annals.All(), 1)
	r.put("A", "s-1")
	got, err := r.drain(seq)
	if err != nil || len(got) != 1 {
		r.Errorf("an event that came between Read and ranging is part of the read: got %v, %v", positionsOf(got), err)
	}
	for u, err := range sub {
		if err != nil || u.Position != 1 || !u.CaughtUp {
			r.Errorf("position 1 did not exist at Subscribe but does when ranging begins: got %+v, %v", u, err)
		}
		break
	}
	ctx, cancel := context.WithCancel(r.Context())
	_, _ = r.store.Read(ctx, annals.All()), r.store.Subscribe(ctx, annals.All(), 0) // never ranged over
	cancel()
}

func rangingTwice(r *rig) {
	ten(r)
	var head annals.Position
	seq := r.store.Read(r.Context(), annals.Stream("s-0"), annals.Limit(7), annals.HeadInto(&head))
	first, err := r.drain(seq)
	if err != nil || head != 10 {
		r.Fatalf("the first time: head %d, %v", head, err)
	}
	r.put("A", "s-0")
	second, err := r.drain(seq)
	if err != nil || head != 11 {
		r.Fatalf("the second time: head %d, %v", head, err)
	}
	r.equal("the first time", positionsOf(first), positions(1, 3, 5, 7, 9))
	r.equal("the second time, with what came between", positionsOf(second), positions(1, 3, 5, 7, 9, 11))
}

func readsArePinned(r *rig) {
	ten(r)
	for _, q := range []annals.Query{annals.All(), annals.Types("T0", "T1", "T2"), annals.Stream("s-0"), annals.Tags("n:1").Or(annals.Category("s"))} {
		for _, opts := range [][]annals.ReadOption{nil, {annals.Backwards()}} {
			want := r.at(q, opts...)
			got := positions()
			for e, err := range r.store.Read(r.Context(), q, opts...) {
				if err != nil {
					r.Fatalf("the read failed: %v", err)
				}
				if got = append(got, e.Position); len(got) > len(want) {
					break // or it would go on for ever
				}
				r.put("T0", "s-0", "n:1")
			}
			r.equal(q.String()+", while each event brings another append", got, want)
		}
	}
}

func breakEnds(r *rig) {
	ten(r)
	for i := range 300 {
		for e, err := range r.store.Read(r.Context(), annals.All()) {
			if err != nil || e.Position != 1 {
				r.Fatalf("read %d began with %+v, %v", i, e, err)
			}
			break
		}
		for u, err := range r.store.Subscribe(r.patient(), annals.All(), 9) {
			if err != nil || u.Position != 10 {
				r.Fatalf("subscription %d began with %+v, %v", i, u, err)
			}
			break
		}
	}
	r.put("A", "s-0")
	r.equal("the head", r.head(), annals.Position(11))
}

func cancellationIsAnError(r *rig) {
	ten(r)
	ended, cancel := context.WithCancel(r.Context())
	cancel()
	for _, q := range []annals.Query{annals.All(), annals.Tags("none"), annals.Stream("s-0")} {
		got, err := r.drain(r.store.Read(ended, q))
		if !errors.Is(err, context.Canceled) || len(got) != 0 {
			r.Errorf("reading %s in a context that has ended answered %v, %v; want only context.Canceled", q, positionsOf(got), err)
		}
	}
	r.bury()
	head := r.head()
	for _, opts := range [][]annals.ReadOption{nil, {annals.Backwards()}} {
		running, cancel := context.WithCancel(r.Context())
		n, failed := 0, error(nil)
		for e, err := range r.store.Read(running, annals.All(), opts...) {
			if n++; n == 3 {
				cancel()
			}
			if failed = err; err != nil && !same(e, annals.Recorded{}) {
				r.Errorf("an error comes with the zero event, not with %+v", e)
			}
		}
		cancel()
		if !errors.Is(failed, context.Canceled) {
			r.Errorf("the context ended at event 3 of %d; the read went on for %d and answered %v", head, n, failed)
		}
	}
}

func headFailsWithItsContext(r *rig) {
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	if _, err := r.store.Head(ctx); !errors.Is(err, context.Canceled) {
		r.Errorf("Head answered %v; want context.Canceled", err)
	}
}

func contextErrorsTellBoth(r *rig) {
	r.put("A", "s-1")
	why := errors.New("the user went away")
	ended, end := context.WithCancelCause(r.patient())
	end(why)
	errs := map[string]error{}
	_, errs["Append"] = r.store.Append(ended, events(event("A", "s-1")))
	_, errs["Head"] = r.store.Head(ended)
	_, errs["Read"] = r.drain(r.store.Read(ended, annals.All()))
	for _, err := range r.store.Subscribe(ended, annals.All(), 0) {
		errs["Subscribe"] = err
		break
	}
	waiting, end := context.WithCancelCause(r.patient())
	began, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		close(began)
		_, err := r.drainQuietly(r.store.Read(waiting, annals.All(), annals.AtLeast(1000)))
		stopped <- err
	}()
	<-began
	for u, err := range r.store.Subscribe(waiting, annals.All(), 0) {
		if errs["a subscription that waits"] = err; err == nil && u.CaughtUp {
			end(why)
		}
	}
	end(why)
	errs["a read that waits"] = <-stopped
	for what, err := range errs {
		if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
			r.Errorf("%s answered %v; it must match context.Canceled and %q", what, err, why)
		}
	}
}

func valuesStayValid(r *rig) {
	for i := range 50 {
		e := event("A", "s-"+decimal(i%5), annals.Tag("n", decimal(i)))
		e.Data, e.Metadata = []byte("data "+decimal(i)), []byte("meta "+decimal(i))
		r.append(events(e))
	}
	kept := r.read(annals.All())
	detached := make([]annals.Recorded, len(kept))
	for i, e := range kept {
		detached[i] = e
		detached[i].Event = e.Clone()
	}
	for range 3 {
		slices.Reverse(r.read(annals.All(), annals.Backwards()))
		for i := range 50 {
			r.put("B", "s-"+decimal(i%5), annals.Tag("m", decimal(i)))
		}
	}
	r.sameAll("values that were kept while the store went on", kept, detached)
	r.sameAll("the same events read again", r.read(annals.Types("A")), detached)
}

func readsInsideReads(r *rig) {
	ten(r)
	n := 0
	for _, err := range r.store.Read(r.Context(), annals.All()) {
		if err != nil {
			r.Fatalf("the outer read failed: %v", err)
		}
		for _, err := range r.store.Read(r.Context(), annals.All(), annals.Backwards()) {
			if err != nil {
				r.Fatalf("the inner read failed: %v", err)
			}
			n += len(r.at(annals.Stream("s-1"), annals.Limit(1)))
		}
	}
	r.equal("events of the innermost reads", n, 100)
}

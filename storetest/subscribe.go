package storetest

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/annalsdb/annals"
)

func subscribePromises() []promise {
	return []promise{
		{"a subscription yields what there is, and then what comes", subscriptionsGoOn},
		{"a subscription misses nothing and doubles nothing while others write", subscriptionsHaveNoGap},
		{"a filtered subscription yields only what matches, and tells how far it is", subscriptionsFilter},
		{"a subscription at the head is caught up at once", subscriptionsBeginAtTheHead},
		{"caught up is said again each time the head is reached", caughtUpAgain},
		{"progress comes when nothing matches for many positions", progressWhileCatchingUp},
		{"progress comes when idle", progressWhenIdle},
		{"More says that a further update is ready", moreIsSaid},
		{"a subscription ends with its context, while it yields and while it waits", subscriptionsEndWithTheContext},
		{"a subscription whose context ends while it catches up does not go on to the head", subscriptionsEndWhileCatchingUp},
		{"an event that a subscription yielded stays valid", subscribedEventsStayValid},
		{"a subscription past the head is ahead", subscriptionsAhead},
		{"a subscription's options are checked", subscriptionOptions},
		{"many subscribers each see everything", manySubscribers},
		{"many idle subscribers each learn of the head soon", manyIdleSubscribers},
		{"a subscription goes on from any update of another, while others write", subscriptionsResume},
		{"a slow consumer delays nobody else", slowConsumers},
		{"a subscription does not begin before ranging, and may be ranged over twice", subscribeTwice},
	}
}

// follower steps through a subscription and watches over the rules that hold for every update.
type follower struct {
	r    *rig
	next func() (annals.Update, error, bool)
	last annals.Update
	past annals.Position // everything up to here is done
}

func (r *rig) follow(q annals.Query, after annals.Position, opts ...annals.SubscribeOption) *follower {
	r.Helper()
	next, stop := iter.Pull2(r.store.Subscribe(r.patient(), q, after, opts...))
	r.Cleanup(stop)
	return &follower{r: r, next: next, past: after}
}

// update is the next one.
func (f *follower) update() annals.Update {
	f.r.Helper()
	u, err, ok := f.next()
	if err != nil || !ok {
		f.r.Fatalf("after position %d the subscription must go on, but it ended with %v (waiting %s for it)", f.past, err, f.r.options.patience)
	}
	switch {
	case u.Event != nil && u.Event.Position != u.Position:
		f.r.Errorf("an update with the event %d has position %d", u.Event.Position, u.Position)
	case u.Event != nil && u.Position <= f.past:
		f.r.Errorf("position %d was yielded when everything up to %d was done already", u.Position, f.past)
	case u.Position < f.past:
		f.r.Errorf("progress goes back from %d to %d", f.past, u.Position)
	case u.CaughtUp && u.More:
		f.r.Errorf("an update says caught up and more at once: %+v", u)
	}
	f.past, f.last = u.Position, u
	return u
}

// event is the next event, whatever progress comes before it.
func (f *follower) event() annals.Recorded {
	f.r.Helper()
	for {
		if u := f.update(); u.Event != nil {
			return *u.Event
		}
	}
}

// caughtUp reads until the subscription says that it is caught up.
func (f *follower) caughtUp() ([]annals.Recorded, annals.Update) {
	f.r.Helper()
	var got []annals.Recorded
	for {
		u := f.update()
		if u.Event != nil {
			got = append(got, *u.Event)
		}
		if u.CaughtUp {
			return got, u
		}
	}
}

// reaches reads until the subscription has done everything up to p.
func (f *follower) reaches(p annals.Position) []annals.Recorded {
	f.r.Helper()
	var got []annals.Recorded
	for f.past < p {
		if u := f.update(); u.Event != nil {
			got = append(got, *u.Event)
		}
	}
	return got
}

func subscriptionsGoOn(r *rig) {
	all := ten(r)
	f := r.follow(annals.All(), 4)
	got, last := f.caughtUp()
	r.sameAll("what there is after 4", got, all[4:])
	r.equal("where it is caught up", last.Position, annals.Position(10))
	for range 5 {
		want := r.put("Z", "s-1")
		if e := f.event(); e.Position != want.First || e.Type != "Z" || !e.Time.Equal(want.Time) || e.Stream != "s-1" {
			r.Errorf("the event that came is %+v, want that of %+v", e, want)
		}
	}
	r.append(events(event("A", "s-1"), event("B", ""), event("C", "s-2")))
	r.sameAll("an append of several events", f.reaches(18), r.read(annals.All(), annals.After(15)))
}

func subscriptionsHaveNoGap(r *rig) {
	const writers, appends = 4, 40
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range appends {
				es := events(event("A", "s-"+decimal(w), annals.Tag("w", decimal(w))))
				for range i % 3 {
					es = append(es, event("B", "", annals.Tag("w", decimal(w))))
				}
				if _, err := r.store.Append(r.Context(), es); err != nil {
					r.Errorf("an append failed: %v", err)
				}
			}
		})
	}
	r.Cleanup(writing.Wait)
	queries := []annals.Query{annals.All(), annals.Types("B"), annals.Tags("w:1"), annals.Stream("s-2").Or(annals.Tags("w:3").Types("B"))}
	got := make([][]annals.Recorded, len(queries))
	seen := make([]annals.Position, len(queries))
	total := annals.Position(writers * appends * 2) // 1, 2, 3, 1, … events an append: 79 of 40
	total -= writers
	race(len(queries), func(i int) {
		for u, err := range r.store.Subscribe(r.patient(), queries[i], 0) {
			if err != nil {
				r.Errorf("subscribing to %s failed after position %d: %v", queries[i], seen[i], err)
				return
			}
			if u.Event != nil {
				got[i] = append(got[i], *u.Event)
			}
			if seen[i] = u.Position; seen[i] >= total {
				return
			}
		}
	})
	writing.Wait()
	r.equal("the head", r.head(), total)
	for i, q := range queries {
		r.sameAll(q.String()+", followed while others wrote", got[i], r.read(q))
	}
}

func subscriptionsFilter(r *rig) {
	ten(r)
	f := r.follow(annals.Tags("n:3").Or(annals.Tags("n:5")), 1)
	got, last := f.caughtUp()
	r.equal("what matches", positionsOf(got), positions(4, 6))
	r.equal("how far it is", last.Position, annals.Position(10))
	r.put("Z", "", "n:4")
	r.put("Z", "", "n:5")
	r.equal("what matches of what comes", f.event().Position, annals.Position(12))
}

func subscriptionsBeginAtTheHead(r *rig) {
	u := r.follow(annals.All(), 0).update()
	if u.Event != nil || u.Position != 0 || !u.CaughtUp || u.More {
		r.Errorf("in an empty store the first update is progress at 0, caught up: got %+v", u)
	}
	ten(r)
	f := r.follow(annals.Types("none"), 10)
	if u := f.update(); u.Event != nil || u.Position != 10 || !u.CaughtUp || u.More {
		r.Errorf("at the head the first update is progress at 10, caught up: got %+v", u)
	}
	r.put("none", "")
	r.equal("what comes then", f.event().Position, annals.Position(11))
}

func caughtUpAgain(r *rig) {
	f := r.follow(annals.All(), 0)
	f.caughtUp()
	for i := range 5 {
		last := r.append(events(event("A", "s-1"), event("B", "s-2"))).Last
		got, u := f.caughtUp()
		if len(got) != 2 || u.Position != last {
			r.Errorf("round %d: two events came up to %d; the subscription was caught up at %d with %v", i, last, u.Position, positionsOf(got))
		}
	}
}

func progressWhileCatchingUp(r *rig) {
	es := make([]annals.Event, 95)
	for i := range es {
		es[i] = event("A", "")
	}
	es[40].Type = "B"
	r.append(es)
	f := r.follow(annals.Types("B"), 0, annals.ProgressEvery(10))
	var found []annals.Position
	for !f.last.CaughtUp {
		before := f.past
		if u := f.update(); u.Position > before+10 {
			r.Errorf("progress was wanted every 10 positions, and went from %d to %d", before, u.Position)
		}
		if f.last.Event != nil {
			found = append(found, f.last.Position)
		}
	}
	r.equal("what matched", found, positions(41))
	r.equal("where it is caught up", f.past, annals.Position(95))
}

func progressWhenIdle(r *rig) {
	f := r.follow(annals.Types("never"), 0)
	f.caughtUp()
	for range 3 {
		last := r.append(events(event("A", "s-1"), event("B", ""))).Last
		if got := f.reaches(last); len(got) > 0 {
			r.Errorf("nothing matched, and yet it yielded %v", positionsOf(got))
		}
	}
}

func moreIsSaid(r *rig) {
	ten(r)
	f := r.follow(annals.Stream("s-0"), 0)
	for !f.last.CaughtUp {
		u := f.update()
		if u.CaughtUp == u.More {
			r.Errorf("while nobody writes there is more exactly until it is caught up: got position %d, CaughtUp %t, More %t", u.Position, u.CaughtUp, u.More)
		}
	}
	f = r.follow(annals.All(), 10)
	if u := f.update(); u.More {
		r.Errorf("at the head nothing more is ready: %+v", u)
	}
}

func subscriptionsEndWithTheContext(r *rig) {
	ten(r)
	for what, stopAt := range map[string]func(annals.Update) bool{
		"while it yields": func(u annals.Update) bool { return u.Position == 3 },
		"while it waits":  func(u annals.Update) bool { return u.CaughtUp },
	} {
		ctx, cancel := context.WithCancel(r.patient())
		var failed error
		for u, err := range r.store.Subscribe(ctx, annals.All(), 0) {
			if failed != nil {
				r.Fatalf("%s: the error %v was followed by %+v, %v", what, failed, u, err)
			}
			if failed = err; err == nil && stopAt(u) {
				cancel()
			}
			if err != nil && u != (annals.Update{}) {
				r.Errorf("%s: an error comes with the zero update, not %+v", what, u)
			}
		}
		cancel()
		if !errors.Is(failed, context.Canceled) {
			r.Errorf("%s: the subscription ended with %v; want context.Canceled", what, failed)
		}
	}
}

func subscriptionsEndWhileCatchingUp(r *rig) {
	r.bury()
	head := r.head()
	for _, q := range []annals.Query{annals.All(), annals.Stream("s-1").Types("A")} {
		ctx, cancel := context.WithCancel(r.patient())
		var last annals.Position
		var failed error
		for u, err := range r.store.Subscribe(ctx, q, 0) {
			if failed = err; err != nil {
				break
			}
			if last = u.Position; last == 2 {
				cancel()
			}
			if last == head {
				break
			}
		}
		cancel()
		if !errors.Is(failed, context.Canceled) {
			r.Errorf("following %s, the context ended at position 2 of %d; the subscription went on to %d, and answered %v", q, head, last, failed)
		}
	}
}

func subscribedEventsStayValid(r *rig) {
	all := ten(r)
	var kept []*annals.Recorded
	for u, err := range r.store.Subscribe(r.patient(), annals.All(), 0) {
		if err != nil {
			r.Fatalf("the subscription failed after %d events: %v", len(kept), err)
		}
		if u.Event != nil {
			kept = append(kept, u.Event)
		}
		if u.CaughtUp && len(kept) == 10 {
			r.put("Z", "s-1")
		}
		if len(kept) > 10 {
			break
		}
	}
	var got []annals.Recorded
	for _, e := range kept[:10] {
		got = append(got, *e)
	}
	r.sameAll("what was yielded, looked at when the subscription had gone on", got, all)
}

func subscriptionsAhead(r *rig) {
	ten(r)
	for _, after := range []annals.Position{11, 1000, annals.NoPosition} {
		var ahead *annals.AheadError
		for u, err := range r.store.Subscribe(r.patient(), annals.All(), after) {
			if !errors.Is(err, annals.ErrAhead) || !errors.As(err, &ahead) || ahead.Position != after || ahead.Head != 10 {
				r.Errorf("a subscription after %d yielded %+v, %v; the head is 10", after, u, err)
			}
			break
		}
	}
}

func subscriptionOptions(r *rig) {
	for u, err := range r.store.Subscribe(r.patient(), annals.All(), 0, annals.ProgressEvery(0)) {
		if !errors.Is(err, annals.ErrInvalid) {
			r.Errorf("progress every 0 positions yielded %+v, %v; want ErrInvalid", u, err)
		}
		break
	}
}

func manySubscribers(r *rig) {
	followers := make([]*follower, 12)
	for i := range followers {
		followers[i] = r.follow(annals.All(), 0)
		followers[i].caughtUp()
	}
	all := ten(r)
	for i, f := range followers {
		r.sameAll("subscriber "+decimal(i), f.reaches(10), all)
	}
}

func manyIdleSubscribers(r *rig) {
	followers := make([]*follower, 200)
	for i := range followers {
		followers[i] = r.follow(annals.Tags(annals.Tag("never", decimal(i))), 0)
		followers[i].caughtUp()
	}
	for range 3 {
		last := r.append(events(event("A", "s-1"), event("B", "", "x:1"))).Last
		for i, f := range followers {
			if got := f.reaches(last); len(got) > 0 {
				r.Errorf("nothing matched, and yet subscriber %d was given %v", i, positionsOf(got))
			}
		}
	}
}

func subscriptionsResume(r *rig) {
	const appends = 120
	var writing sync.WaitGroup
	writing.Go(func() {
		for i := range appends {
			if _, err := r.store.Append(r.Context(), events(event("A", "s-"+decimal(i%3)), event("B", "", annals.Tag("n", decimal(i%7))))); err != nil {
				r.Errorf("an append failed: %v", err)
			}
		}
	})
	r.Cleanup(writing.Wait)
	queries := []annals.Query{annals.All(), annals.Tags("n:3"), annals.Stream("s-1").Or(annals.Tags("n:5"))}
	got := make([][]annals.Recorded, len(queries))
	race(len(queries), func(i int) {
		checkpoint := annals.Position(0)
		for life := 1; checkpoint < 2*appends; life++ {
			updates := 0
			for u, err := range r.store.Subscribe(r.patient(), queries[i], checkpoint, annals.ProgressEvery(5)) {
				if err != nil {
					r.Errorf("subscribing to %s failed after position %d: %v", queries[i], checkpoint, err)
					return
				}
				checkpoint = u.Position
				if u.Event != nil {
					got[i] = append(got[i], *u.Event)
				}
				if updates++; updates > life%5 || checkpoint == 2*appends { // at an event, at progress, caught up or not
					break
				}
			}
		}
	})
	writing.Wait()
	for i, q := range queries {
		r.sameAll(q.String()+", followed from checkpoint to checkpoint while others wrote", got[i], r.read(q))
	}
}

func slowConsumers(r *rig) {
	ten(r)
	slow, stuck := r.follow(annals.All(), 0), r.follow(annals.Types("A"), 10)
	slow.event()
	stuck.caughtUp()
	fast := r.follow(annals.All(), 0)
	fast.caughtUp()
	const rounds, size = 20, 100
	for range rounds {
		es := make([]annals.Event, size)
		for i := range es {
			es[i] = event("A", "")
		}
		last := r.append(es).Last
		r.equal("events that reach the fast subscriber", len(fast.reaches(last)), size)
	}
	r.equal("events that wait for the slow one", len(slow.reaches(10+rounds*size)), 9+rounds*size)
	r.equal("events that wait for the one that had been caught up", len(stuck.reaches(10+rounds*size)), rounds*size)
}

func subscribeTwice(r *rig) {
	ten(r)
	seq := r.store.Subscribe(r.patient(), annals.Stream("s-1"), 3)
	for i := range 2 {
		var got []annals.Position
		for u, err := range seq {
			if err != nil {
				r.Fatalf("time %d failed: %v", i, err)
			}
			if u.Event != nil {
				got = append(got, u.Position)
			}
			if u.CaughtUp {
				break
			}
		}
		r.equal("time "+decimal(i), got, positions(4, 6, 8, 10))
	}
}

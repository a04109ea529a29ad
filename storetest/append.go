package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annalsdb/annals"
)

func appendPromises() []promise {
	return []promise{
		{"positions begin at 1 and have no gaps, and revisions begin at 0 in each stream", placesAreDense},
		{"a receipt tells where the events are", receiptsTellPlaces},
		{"events come back as they were given, in canonical form", eventsComeBack},
		{"an event needs no stream, tags, data, metadata or content type", eventsMayBeBare},
		{"data and metadata are opaque bytes", bytesAreOpaque},
		{"all events of an append have one time, in UTC, that never decreases", timesNeverDecrease},
		{"an event without an id is given a UUIDv7, and is not idempotent", idsAreMade},
		{"a store keeps none of the arguments of an append", argumentsAreNotKept},
		{"every read that begins after an append was acknowledged sees it", acknowledgedIsVisible},
		{"an append is seen whole or not at all, while it is written too", appendsAreSeenWhole},
		{"an append whose context had ended says that nothing was written, and why", endedContextIsNotWritten},
		{"an append that was cut off can be sent again with the same ids", cutOffIsRetried},
		{"an append without events only checks its conditions", emptyAppendChecks},
		{"an append of neither events nor conditions is invalid", nothingIsInvalid},
		{"an empty store has head 0 and nothing to read", emptyStoreIsEmpty},
	}
}

func placesAreDense(r *rig) {
	r.append(events(event("A", "s-1"), event("B", ""), event("A", "s-2"), event("C", "s-1")))
	r.append(events(event("A", "s-2"), event("B", "")))
	want := []annals.Revision{0, annals.NoRevision, 0, 1, 1, annals.NoRevision}
	got := r.read(annals.All())
	if len(got) != len(want) {
		r.Fatalf("%d events were appended and %d read", len(want), len(got))
	}
	for i, e := range got {
		if e.Position != annals.Position(i+1) || e.Revision != want[i] {
			r.Errorf("event %d is at position %d with revision %d; want position %d and revision %d", i, e.Position, e.Revision, i+1, want[i])
		}
	}
	r.refused("a conflict between appends", annals.ErrConflict, events(event("A", "s-1")), annals.NoStream("s-1"))
	if next := r.put("A", "s-1"); next.First != 7 || next.Revision != 2 {
		r.Errorf("a refused append must leave no gap: the next is at %d with revision %d, want 7 and 2", next.First, next.Revision)
	}
}

func receiptsTellPlaces(r *rig) {
	r.put("A", "s-1")
	got := r.append(events(event("B", "s-1"), event("C", "s-2"), event("D", "")))
	r.equal("the first position", got.First, annals.Position(2))
	r.equal("the last position", got.Last, annals.Position(4))
	r.equal("the revision of the last event that has a stream", got.Revision, annals.Revision(0))
	r.equal("Duplicate", got.Duplicate, false)
	if got.Head < got.Last {
		r.Errorf("Head is at least Last: %+v", got)
	}
	if last := r.read(annals.All(), annals.After(3)); len(last) != 1 || !last[0].Time.Equal(got.Time) {
		r.Errorf("the receipt's time %v is that of the events: %+v", got.Time, last)
	}
	if got := r.put("E", ""); got.Revision != annals.NoRevision {
		r.Errorf("no event of the append has a stream, so its revision is NoRevision, not %d", got.Revision)
	}
}

func eventsComeBack(r *rig) {
	given := annals.Event{
		ID: annals.NewID(), Type: "Größe geändert", Stream: "order-42-ü", Version: 7,
		Tags: []string{"z:1", "a:2", "m:3"}, ContentType: "text/plain; charset=utf-8",
		Data: []byte("content"), Metadata: []byte(`{"actor":"ann"}`),
	}
	plain := annals.Event{ID: annals.NewID(), Type: "A", ContentType: annals.ContentTypeJSON, Data: []byte(`{"a":1}`)}
	r.append(events(given, plain))
	got := r.read(annals.All())
	if len(got) != 2 {
		r.Fatalf("two events were appended and %d read", len(got))
	}
	given.Tags = []string{"a:2", "m:3", "z:1"}
	r.equal("an event with everything, its tags sorted", got[0].Event, given)
	if got[1].Version != 1 || got[1].ContentType != "" || len(got[1].Tags) != 0 {
		r.Errorf("version 0 is stored as 1 and %q as \"\": got %+v", annals.ContentTypeJSON, got[1].Event)
	}
}

func eventsMayBeBare(r *rig) {
	r.append(events(annals.Event{Type: "A"}))
	got := r.read(annals.All())
	if len(got) != 1 || got[0].Type != "A" || got[0].Stream != "" || len(got[0].Data)+len(got[0].Metadata)+len(got[0].Tags) != 0 {
		r.Errorf("an event of nothing but a type came back as %+v", got)
	}
}

func bytesAreOpaque(r *rig) {
	e := event("A", "s-1")
	e.Data, e.Metadata = make([]byte, 512), []byte("not { JSON \x00\xff")
	for i := range e.Data {
		e.Data[i] = byte(i)
	}
	r.append(events(e))
	if got := r.read(annals.All()); len(got) != 1 || string(got[0].Data) != string(e.Data) || string(got[0].Metadata) != string(e.Metadata) {
		r.Errorf("the bytes of data and metadata were not kept as they are: %+v", got)
	}
}

func timesNeverDecrease(r *rig) {
	for range 20 {
		r.append(events(event("A", "s-1"), event("B", ""), event("C", "s-2")))
	}
	var last time.Time
	for i, e := range r.read(annals.All()) {
		if e.Time.IsZero() || e.Time.Location() != time.UTC {
			r.Errorf("the time of position %d is %v; want one in UTC", e.Position, e.Time)
		}
		if e.Time.Before(last) {
			r.Errorf("position %d is at %v, before its predecessor at %v", e.Position, e.Time, last)
		}
		if i%3 != 0 && !e.Time.Equal(last) {
			r.Errorf("position %d is at %v, but its append is at %v", e.Position, e.Time, last)
		}
		last = e.Time
	}
}

func idsAreMade(r *rig) {
	bare := annals.Event{Type: "A", Stream: "s-1"}
	r.append(events(bare, bare))
	if again := r.append(events(bare, bare)); again.Duplicate || again.Last != 4 {
		r.Errorf("events without ids cannot be recognised, so each append of them is a new one: %+v", again)
	}
	seen := map[annals.ID]bool{}
	for _, e := range r.read(annals.All()) {
		if e.ID.IsZero() || seen[e.ID] {
			r.Errorf("position %d has the id %s; want one of its own", e.Position, e.ID)
		}
		if e.ID.Time().IsZero() {
			r.Errorf("position %d has the id %s, which is no UUIDv7", e.Position, e.ID)
		}
		seen[e.ID] = true
	}
}

func argumentsAreNotKept(r *rig) {
	e := event("A", "s-1", "b:2", "a:1")
	e.Metadata = []byte("meta")
	es := events(e)
	conds := []annals.Condition{annals.NoStream("s-1")}
	r.append(es, conds...)
	if es[0].Tags[0] != "b:2" || es[0].Version != 0 {
		r.Errorf("an append must not write to its arguments: the caller's event is now %+v", es[0])
	}
	want := r.read(annals.All())
	e.Data[0], e.Metadata[0], e.Tags[0] = 'x', 'x', "changed"
	es[0], conds[0] = annals.Event{Type: "B"}, annals.Condition{}
	got := r.read(annals.All())
	if len(got) != 1 || string(got[0].Data) != "{}" || string(got[0].Metadata) != "meta" || fmt.Sprint(got[0].Tags) != "[a:1 b:2]" {
		r.Errorf("the caller wrote to the slices of an append that had returned, and the store changed: %+v", got)
	}
	if string(want[0].Data) != "{}" {
		r.Errorf("a value that was read before changed as well: %+v", want[0])
	}
	r.equal("the query by a tag that was changed after the append", r.at(annals.Tags("b:2")), positions(1))
}

func acknowledgedIsVisible(r *rig) {
	race(6, func(i int) {
		for range 15 {
			e := event("A", fmt.Sprintf("s-%d", i), fmt.Sprintf("w:%d", i))
			receipt, err := r.store.Append(r.Context(), events(e))
			if err != nil {
				r.Errorf("the append failed: %v", err)
				return
			}
			if h, err := r.store.Head(r.Context()); err != nil || h < receipt.Last {
				r.Errorf("position %d was acknowledged, and then Head answered %d, %v", receipt.Last, h, err)
			}
			for _, q := range []annals.Query{annals.ByID(e.ID), annals.Stream(e.Stream), annals.Tags(e.Tags...), annals.Types("A"), annals.All()} {
				found := annals.Position(0)
				for got, err := range r.store.Read(r.Context(), q, annals.After(receipt.First-1), annals.Limit(1)) {
					if err != nil {
						r.Errorf("the read failed: %v", err)
					}
					found = got.Position
				}
				if found != receipt.First {
					r.Errorf("position %d was acknowledged, and then a read of %s began with %d", receipt.First, q, found)
				}
			}
		}
	})
}

func appendsAreSeenWhole(r *rig) {
	const size, end = 5, 600
	whole := func(what string, n uint64) {
		if n%size != 0 {
			r.Errorf("all appends are of %d events, and %s was %d while they were written", size, what, n)
		}
	}
	race(3, func(i int) {
		switch i {
		case 0:
			for range end / size {
				if _, err := r.store.Append(r.Context(), many(size)); err != nil {
					r.Errorf("an append failed: %v", err)
					return
				}
			}
		case 1:
			lookAtWhole(r, end, whole)
		case 2:
			followWhole(r, end, whole)
		}
	})
}

// lookAtWhole reads, again and again, what came since.
func lookAtWhole(r *rig, end annals.Position, whole func(what string, n uint64)) {
	for after := annals.Position(0); after < end && !r.Failed(); {
		h, headErr := r.store.Head(r.Context())
		last, lastErr := r.drainQuietly(r.store.Read(r.Context(), annals.All(), annals.Backwards(), annals.Limit(1)))
		got, err := r.drainQuietly(r.store.Read(r.Context(), annals.All(), annals.After(after), annals.HeadInto(&after)))
		if err := errors.Join(headErr, lastErr, err); err != nil {
			r.Errorf("reading failed: %v", err)
		}
		whole("the head", uint64(h))
		whole("the number of events read", uint64(len(got)))
		whole("the head of a read", uint64(after))
		for _, e := range last {
			whole("the last position", uint64(e.Position))
		}
	}
}

// followWhole looks at where a subscription is caught up.
func followWhole(r *rig, end annals.Position, whole func(what string, n uint64)) {
	for u, err := range r.store.Subscribe(r.patient(), annals.All(), 0) {
		if err != nil {
			r.Errorf("the subscription failed: %v", err)
		}
		if u.CaughtUp {
			whole("the position at which a subscription was caught up", uint64(u.Position))
		}
		if u.Position >= end || r.Failed() {
			return
		}
	}
}

func endedContextIsNotWritten(r *rig) {
	why := errors.New("the user went away")
	for name, c := range map[string]struct {
		end  func(context.CancelCauseFunc)
		want error
	}{
		"cancelled":              {func(cancel context.CancelCauseFunc) { cancel(nil) }, context.Canceled},
		"cancelled for a reason": {func(cancel context.CancelCauseFunc) { cancel(why) }, why},
	} {
		ctx, cancel := context.WithCancelCause(r.Context())
		c.end(cancel)
		e := event("A", "s-1")
		_, err := r.store.Append(ctx, events(e))
		if !errors.Is(err, annals.ErrNotWritten) || !errors.Is(err, c.want) {
			r.Errorf("%s: the append answered %v; it must match ErrNotWritten and %v", name, err, c.want)
		}
		r.equal(name+": what was written", r.at(annals.ByID(e.ID)), positions())
	}
}

func cutOffIsRetried(r *rig) {
	race(8, func(i int) {
		for j := range 8 {
			e := event("A", fmt.Sprintf("s-%d", i), fmt.Sprintf("try:%d.%d", i, j))
			ctx, cancel := context.WithCancel(r.Context())
			cut := make(chan struct{})
			go func() {
				defer close(cut)
				cancel()
			}()
			_, err := r.store.Append(ctx, events(e))
			<-cut
			if err != nil && !errors.Is(err, annals.ErrNotWritten) && !errors.Is(err, annals.ErrUnknownOutcome) {
				r.Errorf("an append that was cut off answered: %v", err)
			}
			again, retryErr := r.store.Append(r.Context(), events(e))
			if retryErr != nil {
				r.Errorf("an append that was cut off (%v) was sent again, and that answered: %v", err, retryErr)
			}
			if err == nil && !again.Duplicate {
				r.Errorf("an acknowledged append was sent again and was no duplicate: %+v", again)
			}
			if errors.Is(err, annals.ErrNotWritten) && again.Duplicate {
				r.Errorf("an append said ErrNotWritten, and was written: %+v", again)
			}
		}
	})
	for i := range 8 {
		for j := range 8 {
			if got := r.at(annals.Tags(fmt.Sprintf("try:%d.%d", i, j))); len(got) != 1 {
				r.Errorf("an append that was cut off and sent again is stored at %v; want exactly one place", got)
			}
		}
	}
}

func emptyAppendChecks(r *rig) {
	r.put("A", "s-1", "x:1")
	r.put("A", "s-1")
	got := r.append(nil, annals.StreamAt("s-1", 1), annals.NoneSince(1, annals.Tags("x:1")), annals.NoStream("s-2"))
	if got.First != 0 || got.Last != 0 || got.Head != 2 || got.Duplicate || got.Revision != annals.NoRevision {
		r.Errorf("no event and conditions that hold: got %+v; want no positions and Head 2, at which they were checked", got)
	}
	r.equal("the head after an append without events", r.head(), annals.Position(2))
	err := r.refusal("no event and a condition that does not hold", annals.ErrConflict, nil, annals.NoStream("s-1"))
	r.equal("its failures", len(r.conflict(err)), 1)
	r.refused("no event and a condition past the head", annals.ErrAhead, nil, annals.NoneSince(3, annals.All()))
}

func nothingIsInvalid(r *rig) {
	r.refused("nil events, no condition", annals.ErrInvalid, nil)
	r.refused("empty events, no condition", annals.ErrInvalid, events())
}

func emptyStoreIsEmpty(r *rig) {
	r.equal("the head", r.head(), annals.Position(0))
	head := annals.Position(99)
	r.equal("what All reads", r.at(annals.All(), annals.HeadInto(&head)), positions())
	r.equal("the head that the read tells", head, annals.Position(0))
	r.append(nil, annals.NoneSince(0, annals.All()), annals.NoStream("s-1"))
}

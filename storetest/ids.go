package storetest

import (
	"errors"
	"slices"

	"github.com/annalsdb/annals"
)

func idPromises() []promise {
	return []promise{
		{"an append sent again has no second effect and the first receipt", retryIsDuplicate},
		{"a retry is recognised before its conditions are looked at", retryBeforeConditions},
		{"a part of an earlier append, in ascending order, is a duplicate", partIsDuplicate},
		{"a retry is recognised however much was appended since", oldRetryIsDuplicate},
		{"known events in another order are an id reused", otherOrderIsReuse},
		{"some events known and some new is a partial duplicate, whatever the conditions say", someKnownIsPartial},
		{"a known id with other content is an id reused, whatever the conditions say", otherContentIsReuse},
		{"other content weighs more than an event that is missing", otherContentBeforePartial},
		{"an id reused names the ids whose content differs, and no others", reuseNamesItsIDs},
		{"metadata is never compared, and stays as it was first", metadataIsNotCompared},
		{"content is compared in canonical form", contentIsCanonical},
		{"the same id in another stream is another event", otherStreamIsOther},
		{"an id may not occur twice in one stream of an append", idTwiceIsInvalid},
		{"a refused append leaves its ids free", refusedLeavesIDsFree},
		{"the same append sent many times at once is written once", racingRetriesAreOne},
	}
}

func retryIsDuplicate(r *rig) {
	es := events(event("A", "s-1"), event("B", ""), event("C", "s-2"), event("D", ""))
	first := r.append(es)
	r.put("Z", "s-1")
	again := r.duplicate("the same append", es)
	if again.First != first.First || again.Last != first.Last || again.Revision != first.Revision || !again.Time.Equal(first.Time) {
		r.Errorf("the first receipt was %+v, that of the retry is %+v", first, again)
	}
	if again.Head < again.Last {
		r.Errorf("Head is at least Last: %+v", again)
	}
}

func retryBeforeConditions(r *rig) {
	es := events(event("A", "s-1", "x:1"))
	conds := []annals.Condition{annals.NoStream("s-1"), annals.NoneSince(0, annals.Tags("x:1"))}
	r.append(es, conds...)
	r.duplicate("a success sent again, whose conditions are false by its own effect", es, conds...)
	r.put("B", "s-1", "x:1")
	r.duplicate("and again, after others wrote", es, conds...)
	r.duplicate("and with a condition past the head", es, annals.NoneSince(1000, annals.All()))
}

func partIsDuplicate(r *rig) {
	a, b, c := event("A", "s-1"), event("B", "s-1"), event("C", "s-1")
	first := r.append(events(a, b, c))
	got := r.duplicate("the middle", events(b))
	if got.First != 2 || got.Last != 2 || got.Revision != 1 || !got.Time.Equal(first.Time) {
		r.Errorf("the receipt of a part is that of its own events: got %+v", got)
	}
	got = r.duplicate("first and last", events(a, c))
	if got.First != 1 || got.Last != 3 || got.Revision != 2 {
		r.Errorf("the receipt spans from the first to the last of the given events: got %+v", got)
	}
	d := event("D", "s-2")
	r.append(events(d))
	got = r.duplicate("events of two appends, ascending", events(b, d))
	if got.First != 2 || got.Last != 4 || got.Revision != 0 {
		r.Errorf("the receipt spans from the first to the last of the given events: got %+v", got)
	}
}

func oldRetryIsDuplicate(r *rig) {
	es := events(event("A", "s-1"), event("B", ""))
	first := r.append(es, annals.NoStream("s-1"))
	r.bury()
	again := r.duplicate("an append that lies thousands of events back", es, annals.NoStream("s-1"))
	if again.First != first.First || again.Last != first.Last || again.Revision != first.Revision || !again.Time.Equal(first.Time) {
		r.Errorf("the first receipt was %+v, that of the retry is %+v", first, again)
	}
	r.refused("the same with other content", annals.ErrIDReused, events(annals.Event{ID: es[0].ID, Type: "Z", Stream: "s-1"}))
	r.refused("the same and a new event", annals.ErrPartialDuplicate, events(es[0], event("A", "s-1")))
}

func otherOrderIsReuse(r *rig) {
	a, b, c := event("A", "s-1"), event("B", "s-1"), event("C", "s-1")
	r.append(events(a, b, c))
	for what, es := range map[string][]annals.Event{
		"two in the wrong order":                    events(b, a),
		"the last two of three in the wrong order":  events(a, c, b),
		"the first two of three in the wrong order": events(b, a, c),
		"three, the last one first":                 events(c, a, b),
	} {
		err := r.refusal(what, annals.ErrIDReused, es)
		var reused *annals.IDReusedError
		if !errors.As(err, &reused) || len(reused.IDs) == 0 {
			r.Errorf("%s: the error names the ids: %v", what, err)
		}
	}
}

func someKnownIsPartial(r *rig) {
	a, b := event("A", "s-1"), event("B", "s-1")
	r.append(events(a))
	for name, conds := range map[string][]annals.Condition{
		"no condition":               nil,
		"a condition that fails":     {annals.NoStream("s-1")},
		"a condition past the head":  {annals.NoneSince(1000, annals.All())},
		"a condition that does hold": {annals.StreamAt("s-1", 0)},
	} {
		for _, es := range [][]annals.Event{events(a, b), events(b, a)} {
			err := r.refusal(name, annals.ErrPartialDuplicate, es, conds...)
			var partial *annals.PartialDuplicateError
			if !errors.As(err, &partial) {
				r.Fatalf("it is a *PartialDuplicateError, not: %v", err)
			}
			if !slices.Equal(partial.Known, []annals.ID{a.ID}) || !slices.Equal(partial.New, []annals.ID{b.ID}) {
				r.Errorf("%s: the error names as known %v and as new %v", name, partial.Known, partial.New)
			}
		}
	}
	r.equal("the new event, which is never written alone", r.at(annals.ByID(b.ID)), positions())
	r.refused("a known event and one without an id", annals.ErrPartialDuplicate, events(a, annals.Event{Type: "C", Stream: "s-1"}))
	c := event("C", "s-1")
	r.append(events(c))
	r.refused("known events in another order, and a new one", annals.ErrPartialDuplicate, events(c, a, b))
}

func otherContentIsReuse(r *rig) {
	a := event("A", "s-1", "x:1")
	r.append(events(a))
	for name, change := range map[string]func(*annals.Event){
		"another type":         func(e *annals.Event) { e.Type = "B" },
		"another version":      func(e *annals.Event) { e.Version = 2 },
		"another tag":          func(e *annals.Event) { e.Tags = []string{"x:2"} },
		"one more tag":         func(e *annals.Event) { e.Tags = []string{"x:1", "x:2"} },
		"no tag":               func(e *annals.Event) { e.Tags = nil },
		"another content type": func(e *annals.Event) { e.ContentType = "text/plain" },
		"other data":           func(e *annals.Event) { e.Data = []byte(`{"a":1}`) },
		"no data":              func(e *annals.Event) { e.Data = nil },
	} {
		changed := a
		change(&changed)
		err := r.refusal(name, annals.ErrIDReused, events(changed))
		var reused *annals.IDReusedError
		if !errors.As(err, &reused) || !slices.Contains(reused.IDs, a.ID) {
			r.Errorf("%s: the error names the id %s: %v", name, a.ID, err)
		}
		r.refused(name+", and a condition that fails", annals.ErrIDReused, events(changed), annals.NoStream("s-1"))
	}
}

func otherContentBeforePartial(r *rig) {
	a := event("A", "s-1")
	r.append(events(a))
	a.Data = []byte(`{"a":1}`)
	r.refused("a known id with other content, and a new event", annals.ErrIDReused, events(a, event("B", "s-1")))
	r.refused("a new event, and a known id with other content", annals.ErrIDReused, events(event("B", "s-1"), a))
}

func reuseNamesItsIDs(r *rig) {
	a, b, c := event("A", "s-1"), event("B", "s-1"), event("C", "s-1")
	r.append(events(a, b, c))
	changed := func(e annals.Event) annals.Event {
		e.Type = "Z"
		return e
	}
	for what, t := range map[string]struct {
		es   []annals.Event
		want []annals.ID
	}{
		"the first of three":     {events(changed(a), b, c), []annals.ID{a.ID}},
		"the one in the middle":  {events(a, changed(b), c), []annals.ID{b.ID}},
		"two of three":           {events(changed(a), b, changed(c)), []annals.ID{a.ID, c.ID}},
		"one, beside a new one":  {events(a, changed(b), event("D", "s-1")), []annals.ID{b.ID}},
		"one, behind a new one":  {events(event("D", "s-1"), changed(b)), []annals.ID{b.ID}},
		"all of those presented": {events(changed(b), changed(c)), []annals.ID{b.ID, c.ID}},
	} {
		err := r.refusal(what, annals.ErrIDReused, t.es)
		var reused *annals.IDReusedError
		if !errors.As(err, &reused) || !slices.Equal(reused.IDs, t.want) {
			r.Errorf("%s has other content: the error must name %v: %v", what, t.want, err)
		}
	}
}

func metadataIsNotCompared(r *rig) {
	a := event("A", "s-1")
	a.Metadata = []byte(`{"traceparent":"first"}`)
	r.append(events(a))
	a.Metadata = []byte(`{"traceparent":"second"}`)
	r.duplicate("a retry with a new trace", events(a))
	a.Metadata = nil
	r.duplicate("a retry without metadata", events(a))
	if got := r.read(annals.All()); len(got) != 1 || string(got[0].Metadata) != `{"traceparent":"first"}` {
		r.Errorf("a retry must not change the stored metadata: %+v", got)
	}
}

func contentIsCanonical(r *rig) {
	a := event("A", "s-1", "b:1", "a:1")
	r.append(events(a))
	for name, change := range map[string]func(*annals.Event){
		"tags in another order":         func(e *annals.Event) { e.Tags = []string{"a:1", "b:1"} },
		"version 1 written out":         func(e *annals.Event) { e.Version = 1 },
		"application/json written out":  func(e *annals.Event) { e.ContentType = annals.ContentTypeJSON },
		"empty metadata instead of nil": func(e *annals.Event) { e.Metadata = []byte{} },
	} {
		again := a
		change(&again)
		r.duplicate(name, events(again))
	}
	bare := annals.Event{ID: annals.NewID(), Type: "A"}
	r.append(events(bare))
	bare.Data, bare.Tags = []byte{}, []string{}
	r.duplicate("empty data and tags instead of nil", events(bare))
}

func otherStreamIsOther(r *rig) {
	a := event("A", "s-1")
	r.append(events(a))
	b, c := a, a
	b.Stream, c.Stream = "s-2", ""
	if got := r.append(events(b)); got.Duplicate || got.First != 2 || got.Revision != 0 {
		r.Errorf("the key is stream and id together: got %+v, want a new event at position 2", got)
	}
	if got := r.append(events(c)); got.Duplicate || got.First != 3 {
		r.Errorf("events without a stream share the stream \"\", which is one of its own: got %+v, want a new event at 3", got)
	}
	r.duplicate("the event without a stream", events(c))
	changed := c
	changed.Type = "B"
	r.refused("another event without a stream, with the same id", annals.ErrIDReused, events(changed))
	r.equal("what ByID reads", r.at(annals.ByID(a.ID)), positions(1, 2, 3))
	d := event("D", "s-1")
	e := d
	e.Stream = "s-2"
	if got := r.append(events(d, e)); got.Duplicate || got.First != 4 || got.Last != 5 {
		r.Errorf("one id in two streams of one append is two events: got %+v", got)
	}
	r.duplicate("one id in two streams, sent again", events(d, e))
}

func idTwiceIsInvalid(r *rig) {
	a := event("A", "s-1")
	r.refused("the same event twice", annals.ErrInvalid, events(a, a))
	a.Stream = ""
	r.refused("the same event without a stream twice", annals.ErrInvalid, events(a, event("B", "s-1"), a))
	r.append(events(a))
	r.refused("the same event twice, though it is known", annals.ErrInvalid, events(a, a))
}

func refusedLeavesIDsFree(r *rig) {
	r.put("A", "s-1")
	a := event("B", "s-1")
	r.refused("a conflict", annals.ErrConflict, events(a), annals.NoStream("s-1"))
	a.Type = "C"
	if got := r.append(events(a), annals.StreamAt("s-1", 0)); got.Duplicate || got.First != 2 {
		r.Errorf("an id whose append was refused is free for any content: got %+v", got)
	}
}

func racingRetriesAreOne(r *rig) {
	for range 5 {
		es := events(event("A", "s-1"), event("B", ""), event("C", "s-2"))
		head := r.head()
		got := make([]annals.Receipt, 12)
		race(len(got), func(i int) {
			receipt, err := r.store.Append(r.Context(), slices.Clone(es), annals.NoneSince(head, annals.All()))
			if err != nil {
				r.Errorf("one of many identical appends failed: %v", err)
			}
			got[i] = receipt
		})
		written := 0
		for _, receipt := range got {
			if !receipt.Duplicate {
				written++
			}
			if receipt.First != head+1 || receipt.Last != head+3 || receipt.Revision != got[0].Revision || !receipt.Time.Equal(got[0].Time) {
				r.Errorf("identical appends were answered with different places: %+v and %+v", got[0], receipt)
			}
		}
		if written != 1 || r.head() != head+3 {
			r.Errorf("of many identical appends %d said that they wrote, and the head went from %d to %d; want 1 and 3 positions", written, head, r.head())
		}
	}
}

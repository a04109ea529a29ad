package storetest

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/annalsdb/annals"
)

func decimal(i int) string { return strconv.Itoa(i) }

func longName(bytes int) string { return strings.Repeat("n", bytes) }

func invalidPromises() []promise {
	return []promise{
		{"a malformed event is invalid, and nothing of its append is written", malformedEvents},
		{"a malformed condition is invalid, and nothing of its append is written", malformedConditions},
		{"names that begin with a dollar sign are reserved", reservedNames},
		{"the shape of a call is checked before ids and conditions", shapeComesFirst},
		{"the shape of an append is checked before its context", shapeBeforeContext},
	}
}

func malformedEvents(r *rig) {
	for what, change := range map[string]func(*annals.Event){
		"an empty type":                    func(e *annals.Event) { e.Type = "" },
		"a control character in a type":    func(e *annals.Event) { e.Type = "A\n" },
		"a control character in a stream":  func(e *annals.Event) { e.Stream = "s\x00-1" },
		"a control character in a tag":     func(e *annals.Event) { e.Tags = []string{"x:\t1"} },
		"C1 control characters in a tag":   func(e *annals.Event) { e.Tags = []string{"x:\u0085"} },
		"invalid UTF-8 in a type":          func(e *annals.Event) { e.Type = "A\xff" },
		"invalid UTF-8 in a stream":        func(e *annals.Event) { e.Stream = "s-\xc3\x28" },
		"invalid UTF-8 in a tag":           func(e *annals.Event) { e.Tags = []string{"\xed\xa0\x80"} },
		"invalid UTF-8 in a content type":  func(e *annals.Event) { e.ContentType = "\xff" },
		"an empty tag":                     func(e *annals.Event) { e.Tags = []string{"x:1", ""} },
		"a tag twice":                      func(e *annals.Event) { e.Tags = []string{"x:1", "y:1", "x:1"} },
		"a control character in a content": func(e *annals.Event) { e.ContentType = "text/plain\r\n" },
	} {
		bad := event("A", "s-1")
		change(&bad)
		err := r.refusal(what, annals.ErrInvalid, events(event("A", "s-1"), bad))
		if errors.Is(err, annals.ErrReserved) || errors.Is(err, annals.ErrTooLarge) {
			r.Errorf("%s is neither reserved nor too large: %v", what, err)
		}
	}
	r.equal("what was written", r.at(annals.All()), positions())
}

func malformedConditions(r *rig) {
	for what, conds := range map[string][]annals.Condition{
		"the zero condition":                       {{}},
		"the zero query":                           {annals.NoneSince(0, annals.Query{})},
		"a malformed query":                        {annals.NoneSince(0, annals.Tags())},
		"StreamAt on no stream":                    {annals.StreamAt("", 0)},
		"NoStream on no stream":                    {annals.NoStream("")},
		"StreamExists on no stream":                {annals.StreamExists("")},
		"a revision that is none":                  {annals.StreamAt("s-1", annals.NoRevision)},
		"a control character in a stream":          {annals.NoStream("s\n")},
		"invalid UTF-8 in a stream":                {annals.NoStream("\xff")},
		"two revision conditions for one stream":   {annals.NoStream("s-1"), annals.NoStream("s-2"), annals.StreamAt("s-1", 0)},
		"a good one and a malformed one":           {annals.NoStream("s-1"), {}},
		"the same revision condition given twice":  {annals.NoStream("s-1"), annals.NoStream("s-1")},
		"a condition and its opposite on a stream": {annals.StreamExists("s-1"), annals.NoStream("s-1")},
	} {
		r.refused(what, annals.ErrInvalid, events(event("A", "s-1")), conds...)
		r.refused(what+", without events", annals.ErrInvalid, nil, conds...)
	}
}

func reservedNames(r *rig) {
	for what, e := range map[string]annals.Event{
		"a type": event("$A", "s-1"), "a stream": event("A", "$s-1"), "a tag": event("A", "s-1", "x:1", "$x"),
	} {
		err := r.refusal(what, annals.ErrReserved, events(event("A", "s-1"), e))
		if !errors.Is(err, annals.ErrInvalid) {
			r.Errorf("%s: a reserved name is invalid too: %v", what, err)
		}
	}
	r.append(events(event("A$", "s-$1", "x:$1")))
}

func shapeComesFirst(r *rig) {
	known := event("A", "s-1")
	r.append(events(known))
	r.refused("a known event and a malformed one", annals.ErrInvalid, events(known, annals.Event{}))
	r.refused("a known event and a malformed condition", annals.ErrInvalid, events(known), annals.Condition{})
	r.refused("a condition that fails and a malformed one", annals.ErrInvalid, events(event("A", "s-1")), annals.NoStream("s-1"), annals.Condition{})
	r.refused("a condition past the head and a malformed event", annals.ErrInvalid, events(annals.Event{}), annals.NoneSince(99, annals.All()))
}

func shapeBeforeContext(r *rig) {
	ctx, cancel := context.WithCancel(r.Context())
	cancel()
	for what, call := range map[string]struct {
		es    []annals.Event
		conds []annals.Condition
		want  error
	}{
		"nothing at all":        {nil, nil, annals.ErrInvalid},
		"a malformed event":     {events(annals.Event{}), nil, annals.ErrInvalid},
		"a malformed condition": {events(event("A", "s-1")), []annals.Condition{{}}, annals.ErrInvalid},
		"a reserved name":       {events(event("$A", "s-1")), nil, annals.ErrReserved},
		"a type too long":       {events(event(longName(annals.LimitsOf(r.store).TypeBytes+1), "s-1")), nil, annals.ErrTooLarge},
	} {
		_, err := r.store.Append(ctx, call.es, call.conds...)
		if !errors.Is(err, call.want) || errors.Is(err, annals.ErrNotWritten) {
			r.Errorf("%s, in a context that has ended: the append answered %v; want %v, for it would never be accepted", what, err, call.want)
		}
	}
}

func limitPromises() []promise {
	return []promise{
		{"a store's limits are at least those that every store guarantees", limitsAreSufficient},
		{"an event of the guaranteed size is accepted", guaranteedEvent},
		{"an append of the guaranteed number of events is accepted", guaranteedEvents},
		{"an append of the guaranteed number of bytes is accepted", guaranteedBytes},
		{"names of the guaranteed length, and so many tags, are accepted", guaranteedNames},
		{"the guaranteed number of conditions is evaluated", guaranteedConditions},
		{"what is over a limit of the store is too large, and nothing is written", overLimits},
		{"a query over a limit of the store is too large", queriesOverLimits},
	}
}

func limitsAreSufficient(r *rig) {
	got, least := annals.LimitsOf(r.store), annals.MinLimits()
	for what, ok := range map[string]bool{
		"EventBytes": got.EventBytes >= least.EventBytes, "AppendBytes": got.AppendBytes >= least.AppendBytes,
		"AppendEvents": got.AppendEvents >= least.AppendEvents, "TypeBytes": got.TypeBytes >= least.TypeBytes,
		"StreamBytes": got.StreamBytes >= least.StreamBytes, "TagBytes": got.TagBytes >= least.TagBytes,
		"EventTags": got.EventTags >= least.EventTags, "QueryItems": got.QueryItems >= least.QueryItems,
		"QueryTerms": got.QueryTerms >= least.QueryTerms, "Conditions": got.Conditions >= least.Conditions,
	} {
		if !ok {
			r.Errorf("%s is below the guaranteed minimum: %+v", what, got)
		}
	}
}

// filled is so many bytes that are not all alike.
func filled(bytes int) []byte {
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

func guaranteedEvent(r *rig) {
	e := event("A", "s-1", "x:1")
	e.Data, e.Metadata = filled(annals.MinLimits().EventBytes-1000), filled(1000)
	r.append(events(e))
	got := r.read(annals.Tags("x:1"))
	if len(got) != 1 || string(got[0].Data) != string(e.Data) || string(got[0].Metadata) != string(e.Metadata) {
		r.Errorf("an event of %d bytes did not come back as it was", annals.MinLimits().EventBytes)
	}
	r.duplicate("the same large event", events(e))
	e.Data = filled(len(e.Data))
	e.Data[len(e.Data)-1]++
	r.refused("a large event that differs in its last byte", annals.ErrIDReused, events(e))
}

func guaranteedEvents(r *rig) {
	n := annals.MinLimits().AppendEvents
	es := make([]annals.Event, n)
	for i := range es {
		es[i] = event("A", "s-"+decimal(i%7), annals.Tag("n", decimal(i)))
	}
	if got := r.append(es, annals.NoneSince(0, annals.All())); got.First != 1 || got.Last != annals.Position(n) {
		r.Errorf("%d events went to %d … %d", n, got.First, got.Last)
	}
	r.equal("the events that are read", len(r.at(annals.All())), n)
	r.equal("one of them", r.at(annals.Tags("n:700")), positions(701))
	r.duplicate("all of them again", es)
}

func guaranteedBytes(r *rig) {
	limits := annals.MinLimits()
	a, b, c := event("A", ""), event("B", ""), event("C", "")
	a.Data, b.Data = filled(limits.EventBytes), filled(limits.EventBytes-1024)
	c.Data = filled(512)
	r.append(events(a, b, c))
	r.equal("what is read", r.at(annals.All()), positions(1, 2, 3))
}

func guaranteedNames(r *rig) {
	limits := annals.MinLimits()
	e := annals.Event{
		ID: annals.NewID(), Type: longName(limits.TypeBytes), Stream: longName(limits.StreamBytes), Data: []byte("{}"),
		ContentType: longName(limits.TypeBytes),
	}
	for i := range limits.EventTags {
		tag := annals.Tag("n", decimal(i)) + ":"
		e.Tags = append(e.Tags, tag+longName(limits.TagBytes-len(tag)))
	}
	r.append(events(e))
	for _, q := range []annals.Query{annals.Types(e.Type), annals.Stream(e.Stream), annals.Category(e.Stream), annals.Tags(e.Tags...), annals.Tags(e.Tags[63])} {
		if got := r.read(q); len(got) != 1 || len(got[0].Tags) != limits.EventTags || got[0].ContentType != e.ContentType {
			r.Errorf("an event with the longest names was not found by one of them")
		}
	}
	r.duplicate("the event with the longest names", events(e))
}

func guaranteedConditions(r *rig) {
	r.put("A", "s-77", "x:99")
	var conds []annals.Condition
	for i := range annals.MinLimits().Conditions {
		if i%2 == 0 {
			conds = append(conds, annals.NoneSince(0, annals.Tags(annals.Tag("x", decimal(i+1)))))
		} else {
			conds = append(conds, annals.NoStream("s-"+decimal(i)))
		}
	}
	failures := r.conflict(r.refusal("many conditions, of which two fail", annals.ErrConflict, events(event("A", "")), conds...))
	if len(failures) != 2 || failures[0].Index != 77 || failures[1].Index != 98 {
		r.Errorf("conditions 77 and 98 fail; listed are %v", failures)
	}
}

func overLimits(r *rig) {
	limits := annals.LimitsOf(r.store)
	large := make([]byte, limits.EventBytes+1)
	big := event("A", "s-1")
	big.Data = large[:limits.EventBytes]
	bigger := big
	bigger.Metadata = large[:1]
	tooManyBytes := make([]annals.Event, limits.AppendBytes/limits.EventBytes+1)
	for i := range tooManyBytes {
		tooManyBytes[i] = annals.Event{Type: "A", Data: big.Data}
	}
	tooManyEvents := make([]annals.Event, limits.AppendEvents+1)
	for i := range tooManyEvents {
		tooManyEvents[i].Type = "A"
	}
	tags := make([]string, limits.EventTags+1)
	for i := range tags {
		tags[i] = annals.Tag("n", decimal(i))
	}
	conds := make([]annals.Condition, limits.Conditions+1)
	for i := range conds {
		conds[i] = annals.NoStream("s-" + decimal(i))
	}
	for what, c := range map[string]struct {
		events []annals.Event
		conds  []annals.Condition
	}{
		"an event's data and metadata":  {events: events(bigger)},
		"an append's bytes":             {events: tooManyBytes},
		"an append's events":            {events: tooManyEvents},
		"a type":                        {events: events(event(longName(limits.TypeBytes+1), ""))},
		"a stream":                      {events: events(event("A", longName(limits.StreamBytes+1)))},
		"a tag":                         {events: events(event("A", "", longName(limits.TagBytes+1)))},
		"an event's tags":               {events: events(event("A", "", tags...))},
		"the stream of a condition":     {events: events(event("A", "")), conds: []annals.Condition{annals.NoStream(longName(limits.StreamBytes + 1))}},
		"the number of conditions":      {events: events(event("A", "")), conds: conds},
		"the number, without an event":  {conds: conds},
		"a name in a condition's query": {conds: []annals.Condition{annals.NoneSince(0, annals.Tags(longName(limits.TagBytes+1)))}},
	} {
		err := r.refusal(what, annals.ErrTooLarge, c.events, c.conds...)
		var limit *annals.LimitError
		if !errors.As(err, &limit) || limit.Actual <= limit.Limit || !errors.Is(err, annals.ErrInvalid) {
			r.Errorf("%s: it is a *LimitError that tells limit and size, and an ErrInvalid too: %v", what, err)
		}
	}
}

func queriesOverLimits(r *rig) {
	limits := annals.LimitsOf(r.store)
	items := make([]annals.Item, limits.QueryItems+1)
	for i := range items {
		items[i].Stream = "s-" + decimal(i)
	}
	types := make([]string, limits.QueryTerms+1)
	for i := range types {
		types[i] = "T" + decimal(i)
	}
	for what, q := range map[string]annals.Query{"items": annals.QueryOf(items...), "terms": annals.Types(types...)} {
		r.unreadable("too many "+what, annals.ErrTooLarge, q)
		r.refused("too many "+what, annals.ErrTooLarge, events(event("A", "")), annals.NoneSince(0, q))
		for u, err := range r.store.Subscribe(r.patient(), q, 0) {
			if !errors.Is(err, annals.ErrTooLarge) {
				r.Errorf("a subscription to too many %s yielded %+v, %v", what, u, err)
			}
			break
		}
	}
}

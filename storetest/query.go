package storetest

import (
	"errors"
	"slices"

	"github.com/annalsdb/annals"
)

func queryPromises() []promise {
	return []promise{
		{"a query reads exactly what Query.Match says, in both directions", queriesAreMatch},
		{"the types of an item are alternatives", typesAreAlternatives},
		{"the tags of an item must all be there", tagsMustAllBeThere},
		{"names are compared whole and exactly", namesAreExact},
		{"a category is the part of a stream's name before the first dash", categories},
		{"ByID reads the events with this id in every stream", byID},
		{"Or reads each event once, however many items match it", orReadsOnce},
		{"narrowing a query narrows each of its items", narrowing},
		{"the zero Query and malformed queries are invalid everywhere", malformedQueries},
		{"a query over many items and terms is answered", manyItems},
	}
}

// mixedEvents fills the store with a little of everything.
func mixedEvents(r *rig) {
	r.Helper()
	r.append(events(
		event("A", "order-1", "x:1"),
		event("B", "order-1", "x:1", "y:1"),
		event("A", "order-2", "x:2"),
		event("C", "", "x:1", "y:1", "z:1"),
		event("A", ""),
		event("B", "order", "y:1"),
		event("A", "orders-1", "x:1"),
		event("D", "stock-7-8", "x:2", "y:2"),
	))
	r.append(events(event("A", "order-1", "y:2"), event("C", "stock-7", "x:1", "x:2")))
}

// mixedQueries are questions to those events.
func mixedQueries(r *rig) []annals.Query {
	r.Helper()
	id := r.read(annals.All(), annals.Limit(1))[0].ID
	return []annals.Query{
		annals.All(),
		annals.Stream("order-1"), annals.Stream("order"), annals.Stream("none-1"),
		annals.Category("order"), annals.Category("stock"), annals.Category("none"),
		annals.Tags("x:1"), annals.Tags("x:1", "y:1"), annals.Tags("x:1", "y:1", "z:1"), annals.Tags("x:1", "none"), annals.Tags("x"),
		annals.Types("A"), annals.Types("A", "C"), annals.Types("none"), annals.Types("none", "D"),
		annals.ByID(id), annals.ByID(annals.NewID()),
		annals.Tags("x:1").Types("A"), annals.Tags("y:1").Types("A", "B"), annals.Stream("order-1").Types("B"),
		annals.Stream("order-1").Tags("x:1"), annals.Category("order").Tags("y:1").Types("B"), annals.ByID(id).Types("B"),
		annals.Tags("x:1").Or(annals.Types("D")), annals.Stream("order-2").Or(annals.Tags("y:2"), annals.Category("order").Types("B")),
		annals.Tags("x:1").Or(annals.All()),
		annals.QueryOf(annals.Item{Stream: "order-1", Category: "order"}), annals.QueryOf(annals.Item{Stream: "order-1", Category: "stock"}),
		annals.All().WithSystem(),
	}
}

func queriesAreMatch(r *rig) {
	mixedEvents(r)
	all := r.read(annals.All())
	for _, q := range mixedQueries(r) {
		var want []annals.Recorded
		for _, e := range all {
			if q.Match(e) {
				want = append(want, e)
			}
		}
		r.sameAll(q.String(), r.read(q), want)
		slices.Reverse(want)
		r.sameAll(q.String()+", backwards", r.read(q, annals.Backwards()), want)
	}
}

func typesAreAlternatives(r *rig) {
	mixedEvents(r)
	r.equal("A or D", r.at(annals.Types("A", "D")), positions(1, 3, 5, 7, 8, 9))
}

func tagsMustAllBeThere(r *rig) {
	mixedEvents(r)
	r.equal("x:1", r.at(annals.Tags("x:1")), positions(1, 2, 4, 7, 10))
	r.equal("x:1 and y:1", r.at(annals.Tags("x:1", "y:1")), positions(2, 4))
	r.equal("y:1 and x:1", r.at(annals.Tags("y:1", "x:1")), positions(2, 4))
	r.equal("x:1 and x:2", r.at(annals.Tags("x:1", "x:2")), positions(10))
}

func namesAreExact(r *rig) {
	r.append(events(event("Order", "order-1", "tag:1"), event("Ordered", "order-11", "tag:11"), event("order", "Order-1", "Tag:1"), event("Ordér", "ordér-1", "tág:1")))
	for _, c := range []struct {
		q    annals.Query
		want []annals.Position
	}{
		{annals.Types("Order"), positions(1)},
		{annals.Types("order"), positions(3)},
		{annals.Types("Ordér"), positions(4)},
		{annals.Stream("order-1"), positions(1)},
		{annals.Stream("order-"), positions()},
		{annals.Category("ordér"), positions(4)},
		{annals.Tags("tag:1"), positions(1)},
		{annals.Tags("tag:"), positions()},
		{annals.Tags("tag:1").Types("Ordered"), positions()},
	} {
		r.equal(c.q.String(), r.at(c.q), c.want)
	}
}

func categories(r *rig) {
	mixedEvents(r)
	r.equal("order, with the stream that is named so", r.at(annals.Category("order")), positions(1, 2, 3, 6, 9))
	r.equal("stock, cut at the first dash", r.at(annals.Category("stock")), positions(8, 10))
	r.equal("orders", r.at(annals.Category("orders")), positions(7))
}

func byID(r *rig) {
	a := event("A", "s-1")
	b, c := a, a
	b.Stream, c.Stream = "s-2", ""
	r.append(events(a, event("B", "s-1"), b))
	r.append(events(c))
	r.equal("all of them", r.at(annals.ByID(a.ID)), positions(1, 3, 4))
	r.equal("one of them", r.at(annals.QueryOf(annals.Item{ID: a.ID, Stream: "s-2"})), positions(3))
	r.equal("none", r.at(annals.ByID(annals.NewID())), positions())
}

func orReadsOnce(r *rig) {
	mixedEvents(r)
	q := annals.Tags("x:1").Or(annals.Tags("y:1"), annals.Types("B"), annals.Stream("order-1"))
	r.equal("overlapping items", r.at(q), positions(1, 2, 4, 6, 7, 9, 10))
	r.equal("overlapping items, backwards", r.at(q, annals.Backwards()), positions(10, 9, 7, 6, 4, 2, 1))
	r.equal("a limit counts events, not items", r.at(q, annals.Limit(3)), positions(1, 2, 4))
}

func narrowing(r *rig) {
	mixedEvents(r)
	r.equal("a stream's events of a type", r.at(annals.Stream("order-1").Types("A")), positions(1, 9))
	r.equal("a stream's events with a tag", r.at(annals.Stream("order-1").Tags("x:1")), positions(1, 2))
	r.equal("narrowing after Or", r.at(annals.Tags("x:1").Or(annals.Tags("y:2")).Types("A")), positions(1, 7, 9))
	r.equal("narrowing before Or", r.at(annals.Tags("x:1").Types("A").Or(annals.Tags("y:2"))), positions(1, 7, 8, 9))
	r.equal("types twice", r.at(annals.Types("A", "B").Types("B", "C")), positions(2, 6))
}

func malformedQueries(r *rig) {
	r.put("A", "s-1")
	for name, q := range map[string]annals.Query{
		"the zero query":            {},
		"no tag":                    annals.Tags(),
		"no type":                   annals.Types(),
		"an empty tag":              annals.Tags("x:1", ""),
		"an empty type":             annals.Types(""),
		"an empty stream":           annals.Stream(""),
		"an empty category":         annals.Category(""),
		"a category with a dash":    annals.Category("order-1"),
		"an item with such":         annals.QueryOf(annals.Item{Category: "order-1", Tags: []string{"x:1"}}),
		"the zero id":               annals.ByID(annals.ID{}),
		"Or with the zero query":    annals.All().Or(annals.Query{}),
		"types without an overlap":  annals.Types("A").Types("B"),
		"a control character":       annals.Tags("a\x00b"),
		"invalid UTF-8":             annals.Types("a\xffb"),
		"a tag of too many bytes":   annals.Tags(longName(annals.LimitsOf(r.store).TagBytes + 1)),
		"a type of too many bytes":  annals.Types(longName(annals.LimitsOf(r.store).TypeBytes + 1)),
		"a stream of too many":      annals.Stream(longName(annals.LimitsOf(r.store).StreamBytes + 1)),
		"a category of too many":    annals.Category(longName(annals.LimitsOf(r.store).StreamBytes + 1)),
		"a system name, not asked":  annals.Types("$timer"),
		"a system tag, not asked":   annals.Tags("$x"),
		"a system stream, no asked": annals.Stream("$s-1"),
	} {
		r.unreadable(name, annals.ErrInvalid, q)
		r.refused(name, annals.ErrInvalid, events(event("A", "s-1")), annals.NoneSince(0, q))
		for u, err := range r.store.Subscribe(r.patient(), q, 0) {
			if !errors.Is(err, annals.ErrInvalid) {
				r.Errorf("%s: a subscription yielded %+v, %v; it must fail with ErrInvalid", name, u, err)
			}
			break
		}
	}
	for _, q := range []annals.Query{annals.Types("$timer"), annals.Tags("$x"), annals.Stream("$s-1")} {
		r.unreadable("a system name, not asked for", annals.ErrReserved, q)
	}
}

func manyItems(r *rig) {
	limits := annals.MinLimits()
	r.append(events(event("A", "", "x:1"), event("B", "", "x:7"), event("C", "", "y:1")))
	items := make([]annals.Item, limits.QueryItems)
	for i := range items {
		items[i].Tags = []string{annals.Tag("x", decimal(i))}
	}
	q := annals.QueryOf(items...)
	r.equal("as many items as every store answers", r.at(q), positions(1, 2))
	r.refused("as many items as every store answers", annals.ErrConflict, nil, annals.NoneSince(0, q))
	types := make([]string, limits.QueryTerms)
	for i := range types {
		types[i] = "T" + decimal(i)
	}
	types[9] = "C"
	r.equal("as many terms as every store answers", r.at(annals.Types(types...)), positions(3))
}

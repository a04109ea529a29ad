package annals

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Query says which events: those that match any of its items. It is a value; its methods return new queries.
//
// The zero Query is an error wherever it is used, so that a forgotten boundary cannot read, or guard, nothing in
// silence; [All] is everything. A query that is malformed, such as Tags() without a tag, reports it from
// [Query.Check], and so from every store.
type Query struct {
	items   []Item
	system  bool
	problem string // the first mistake made while the query was built
}

// What is wrong with queries of which nothing was said.
const (
	zeroQuery = "the zero Query: use All() for everything"
	emptyOr   = "Or with the zero Query: begin with the first alternative, and leave out what is empty"
)

// Item is one alternative of a [Query]: an event matches if its type is among Types (if any are given), it has all
// the Tags, and its stream, its stream's category and its id are those named, if any are. The zero Item matches
// every event.
type Item struct {
	Types    []string // OR
	Tags     []string // AND
	Stream   string
	Category string
	ID       ID
}

// All is every event that is not the system's.
func All() Query { return Query{items: []Item{{}}} }

// Stream is the events of one stream.
func Stream(name string) Query {
	return Query{items: []Item{{Stream: name}}}.complain(name == "", "Stream without a name")
}

// Category is the events of all streams of a category: "order" for "order-42".
func Category(name string) Query {
	return Query{items: []Item{{Category: name}}}.complain(name == "", "Category without a name")
}

// Tags is the events that have all these tags.
func Tags(tags ...string) Query { return All().Tags(tags...) }

// Types is the events of any of these types.
func Types(names ...string) Query { return All().Types(names...) }

// ByID is the events with this id: one, or several in different streams.
func ByID(id ID) Query {
	return Query{items: []Item{{ID: id}}}.complain(id.IsZero(), "ByID without an id")
}

// QueryOf is the query of these items. It is for decoders and planners; programs use the other constructors.
func QueryOf(items ...Item) Query {
	q := Query{items: make([]Item, 0, len(items))}
	for _, it := range items {
		it.Types, it.Tags = sortedSet(slices.Clone(it.Types)), sortedSet(slices.Clone(it.Tags))
		q.items = append(q.items, it)
	}
	return q
}

// Tags narrows every item of q to events that have these tags too.
func (q Query) Tags(tags ...string) Query {
	return q.each(func(it *Item) { it.Tags = sortedSet(append(slices.Clone(it.Tags), tags...)) }).
		complain(len(tags) == 0, "Tags without a tag").
		complain(slices.Contains(tags, ""), "an empty tag")
}

// Types narrows every item of q to events of any of these types.
func (q Query) Types(names ...string) Query {
	names = sortedSet(slices.Clone(names))
	exclusive := false
	narrowed := q.each(func(it *Item) {
		if len(it.Types) == 0 {
			it.Types = names
			return
		}
		it.Types = slices.DeleteFunc(slices.Clone(it.Types), func(t string) bool { return !slices.Contains(names, t) })
		exclusive = exclusive || len(it.Types) == 0
	})
	return narrowed.
		complain(len(names) == 0, "Types without a type").
		complain(slices.Contains(names, ""), "an empty type").
		complain(exclusive, "types that exclude each other")
}

// Or is the events that match q or any of qs.
func (q Query) Or(qs ...Query) Query {
	r := Query{items: slices.Clone(q.items), system: q.system, problem: q.problem}
	r = r.complain(len(q.items) == 0, emptyOr)
	for _, o := range qs {
		r = r.complain(o.problem != "", o.problem).complain(len(o.items) == 0, emptyOr)
		r.system = r.system || o.system
		for _, it := range o.items {
			if !slices.ContainsFunc(r.items, it.equal) {
				r.items = append(r.items, it)
			}
		}
	}
	return r
}

// WithSystem widens q to the system's own events, whose names begin with "$". A query that names one of them must
// say so.
func (q Query) WithSystem() Query {
	q.system = true
	return q
}

// Items are the alternatives of q, in the order in which they were given. The caller may keep and change them.
func (q Query) Items() []Item {
	items := make([]Item, len(q.items))
	for i, it := range q.items {
		items[i] = it.clone()
	}
	return items
}

// Each yields the alternatives of q without copying them, for planners. They must not be changed.
func (q Query) Each() iter.Seq[*Item] {
	return func(yield func(*Item) bool) {
		for i := range q.items {
			if !yield(&q.items[i]) {
				return
			}
		}
	}
}

// IncludesSystem reports whether [Query.WithSystem] was said.
func (q Query) IncludesSystem() bool { return q.system }

// IsZero reports whether q is the zero Query, which is an error to use.
func (q Query) IsZero() bool { return len(q.items) == 0 && q.problem == "" }

// Equal reports whether q and o have the same items in the same order.
func (q Query) Equal(o Query) bool {
	return q.system == o.system && q.problem == o.problem && slices.EqualFunc(q.items, o.items, Item.equal)
}

// Covers reports whether every item of o is also an item of q. It is how a boundary is seen to grow.
func (q Query) Covers(o Query) bool {
	if !q.system && o.system {
		return false
	}
	for i := range o.items {
		if !q.has(&o.items[i]) {
			return false
		}
	}
	return true
}

func (q Query) has(it *Item) bool {
	for i := range q.items {
		if q.items[i].equal(*it) {
			return true
		}
	}
	return false
}

// Stream is the one stream that the items of q name, or "" if they name none or several. Items that name no stream
// do not count: the boundary of an order and of its products' stock has the order's stream.
func (q Query) Stream() string {
	stream := ""
	for _, it := range q.items {
		if it.Stream == "" {
			continue
		}
		if stream != "" && stream != it.Stream {
			return ""
		}
		stream = it.Stream
	}
	return stream
}

// Match reports whether r is among the events of q. It is the one matcher: stores, branches, filters and tests agree
// because they call it. A malformed query matches nothing.
func (q Query) Match(r Recorded) bool { return q.MatchEvent(r.Event) }

// MatchEvent is [Query.Match] for an event that is not recorded yet.
func (q Query) MatchEvent(e Event) bool { return q.Accepts(&e) }

// Accepts is [Query.MatchEvent] without a copy of the event, for those who look at many.
func (q Query) Accepts(e *Event) bool {
	if q.problem != "" || !q.system && e.IsSystem() {
		return false
	}
	for i := range q.items {
		if q.items[i].match(e) {
			return true
		}
	}
	return false
}

func (it *Item) match(e *Event) bool {
	if it.Stream != "" && it.Stream != e.Stream {
		return false
	}
	if it.Category != "" && (e.Stream == "" || it.Category != e.Category()) {
		return false
	}
	if !it.ID.IsZero() && it.ID != e.ID {
		return false
	}
	if len(it.Types) > 0 && !slices.Contains(it.Types, e.Type) {
		return false
	}
	for _, t := range it.Tags {
		if !slices.Contains(e.Tags, t) {
			return false
		}
	}
	return true
}

// Check reports what is wrong with q, as an [InvalidError], or a [LimitError] if it is larger than a store with
// these limits answers.
func (q Query) Check(limits Limits) error {
	if q.problem != "" {
		return invalid("query", q.problem)
	}
	if len(q.items) == 0 {
		return invalid("query", zeroQuery)
	}
	terms := 0
	for i, it := range q.items {
		terms += it.terms()
		if err := it.check(place{thing: "query item", index: i}, q.system, limits); err != nil {
			return err
		}
	}
	if len(q.items) > limits.QueryItems {
		return &LimitError{What: "query", Unit: "items", Limit: limits.QueryItems, Actual: len(q.items)}
	}
	if terms > limits.QueryTerms {
		return &LimitError{What: "query", Unit: "terms", Limit: limits.QueryTerms, Actual: terms}
	}
	return nil
}

func (it Item) terms() int {
	n := len(it.Types) + len(it.Tags)
	for _, named := range []bool{it.Stream != "", it.Category != "", !it.ID.IsZero()} {
		if named {
			n++
		}
	}
	return n
}

func (it Item) check(at place, system bool, limits Limits) error {
	name := func(kind, s string, limit int) error {
		if isSystemName(s) && !system {
			return &InvalidError{What: at.of(kind).String(), Problem: fmt.Sprintf("%q is a system name: add WithSystem()", s), reserved: true}
		}
		return checkName(at.of(kind), s, limit)
	}
	for _, t := range it.Types {
		if err := name("type", t, limits.TypeBytes); err != nil {
			return err
		}
	}
	for _, t := range it.Tags {
		if err := name("tag", t, limits.TagBytes); err != nil {
			return err
		}
	}
	if it.Stream != "" {
		if err := name("stream", it.Stream, limits.streamBytes(it.Stream)); err != nil {
			return err
		}
	}
	if strings.Contains(it.Category, "-") { // no stream is in it: nothing would match, in silence
		return invalid("query", fmt.Sprintf("category %q has a \"-\", which ends a category", it.Category))
	}
	if it.Category != "" {
		return name("category", it.Category, limits.streamBytes(it.Category))
	}
	return nil
}

// String writes q for people, such as `(tag product:tea, type StockReceived|OrderPlaced) or (stream order-42)`.
func (q Query) String() string {
	if q.problem != "" {
		return "malformed query (" + q.problem + ")"
	}
	if len(q.items) == 0 {
		return "zero query"
	}
	parts := make([]string, len(q.items))
	for i, it := range q.items {
		parts[i] = "(" + it.String() + ")"
	}
	s := strings.Join(parts, " or ")
	if q.system {
		s += " with system events"
	}
	return s
}

// String writes the item for people.
func (it Item) String() string {
	var parts []string
	if it.Stream != "" {
		parts = append(parts, "stream "+it.Stream)
	}
	if it.Category != "" {
		parts = append(parts, "category "+it.Category)
	}
	if !it.ID.IsZero() {
		parts = append(parts, "id "+it.ID.String())
	}
	if len(it.Tags) > 0 {
		parts = append(parts, "tag "+strings.Join(it.Tags, "+"))
	}
	if len(it.Types) > 0 {
		parts = append(parts, "type "+strings.Join(it.Types, "|"))
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, ", ")
}

func (it Item) clone() Item {
	it.Types, it.Tags = slices.Clone(it.Types), slices.Clone(it.Tags)
	return it
}

func (it Item) equal(o Item) bool {
	return it.Stream == o.Stream && it.Category == o.Category && it.ID == o.ID &&
		slices.Equal(it.Types, o.Types) && slices.Equal(it.Tags, o.Tags)
}

func (q Query) each(change func(*Item)) Query {
	q = q.complain(len(q.items) == 0, "the zero Query cannot be narrowed: begin with All()")
	q.items = slices.Clone(q.items)
	for i := range q.items {
		change(&q.items[i])
	}
	return q
}

func (q Query) complain(wrong bool, problem string) Query {
	if wrong && q.problem == "" {
		q.problem = problem
	}
	return q
}

func sortedSet(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

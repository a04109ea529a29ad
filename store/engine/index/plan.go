package index

import "github.com/annalsdb/annals"

// Plan is a query in terms. It is made once and may be used concurrently.
type Plan struct {
	items []item
	hides bool // the events of the system
}

// item is one alternative of a query.
type item struct {
	all   []Term // what an event must have
	types []Term // of which it must have one, if there are any
	id    annals.ID
}

// Plan makes the plan of a query.
func (h Hasher) Plan(q annals.Query) Plan {
	p := Plan{items: make([]item, 0, 1), hides: !q.IncludesSystem()}
	for it := range q.Each() {
		p.items = append(p.items, h.item(it))
	}
	return p
}

func (h Hasher) item(q *annals.Item) item {
	it := item{id: q.ID}
	if n := len(q.Tags) + 3; n > 3 || q.Stream != "" || q.Category != "" || !q.ID.IsZero() {
		it.all = make([]Term, 0, n)
	}
	if !q.ID.IsZero() {
		it.all = append(it.all, h.ID(q.ID)) // first: it is what a piece is asked for first
	}
	if q.Stream != "" {
		it.all = append(it.all, h.Stream(q.Stream))
	}
	if q.Category != "" {
		it.all = append(it.all, h.name(kindCategory, q.Category))
	}
	for _, t := range q.Tags {
		it.all = append(it.all, h.name(kindTag, t))
	}
	for _, t := range q.Types {
		it.types = append(it.types, h.name(kindType, t))
	}
	if len(it.types) == 1 {
		it.all, it.types = append(it.all, it.types[0]), nil
	}
	return it
}

// everything reports whether an event needs nothing to match.
func (it *item) everything() bool { return len(it.all) == 0 && len(it.types) == 0 }

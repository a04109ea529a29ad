package live

import "github.com/annalsdb/annals"

// registry finds, for an event, those whose queries it may match: everyone whom it matches, and few others. Each
// alternative of a query is registered under one name that an event must have to match it.
type registry struct {
	by [kinds]map[string]*bucket
}

// kind is what a name is the name of, the most telling first.
type kind int

const (
	byID kind = iota
	byStream
	byTag
	byCategory
	byType
	byNothing // and so looked at for every event
	kinds
)

// bucket is who is registered under a name.
type bucket struct {
	entries []*entry
}

// entry is one registration.
type entry struct {
	sub   *Subscriber
	kind  kind
	name  string
	place int // in its bucket
}

// add registers every alternative of s's query.
func (g *registry) add(s *Subscriber) {
	for i := range s.items {
		switch it := &s.items[i]; {
		case !it.ID.IsZero():
			g.enter(s, byID, string(it.ID[:]))
		case it.Stream != "":
			g.enter(s, byStream, it.Stream)
		case len(it.Tags) > 0:
			g.enter(s, byTag, g.leastCrowded(it.Tags))
		case it.Category != "":
			g.enter(s, byCategory, it.Category)
		case len(it.Types) > 0:
			for _, t := range it.Types {
				g.enter(s, byType, t)
			}
		default:
			g.enter(s, byNothing, "")
		}
	}
}

// leastCrowded is the tag under which the fewest are registered. Of those who wait for an order of a tenant, each comes to
// be under the order.
func (g *registry) leastCrowded(tags []string) string {
	least, fewest := tags[0], g.count(tags[0])
	for _, t := range tags[1:] {
		if n := g.count(t); n < fewest {
			least, fewest = t, n
		}
	}
	return least
}

func (g *registry) count(tag string) int {
	if b := g.by[byTag][tag]; b != nil {
		return len(b.entries)
	}
	return 0
}

func (g *registry) enter(s *Subscriber, k kind, name string) {
	if g.by[k] == nil {
		g.by[k] = map[string]*bucket{}
	}
	b := g.by[k][name]
	if b == nil {
		b = &bucket{}
		g.by[k][name] = b
	}
	e := &entry{sub: s, kind: k, name: name, place: len(b.entries)}
	b.entries = append(b.entries, e)
	s.entries = append(s.entries, e)
}

// remove takes s out.
func (g *registry) remove(s *Subscriber) {
	for _, e := range s.entries {
		b := g.by[e.kind][e.name]
		last := len(b.entries) - 1
		b.entries[e.place] = b.entries[last]
		b.entries[e.place].place = e.place
		b.entries[last] = nil
		if b.entries = b.entries[:last]; last == 0 {
			delete(g.by[e.kind], e.name)
		}
	}
	s.entries = nil
}

// forget lets go of the memory of an empty registry.
func (g *registry) forget() { *g = registry{} }

// find visits those for whom e may be meant, some of them more than once.
func (g *registry) find(e *annals.Event, visit func(*Subscriber)) {
	if m := g.by[byID]; len(m) > 0 {
		m[string(e.ID[:])].visit(visit)
	}
	if m := g.by[byStream]; len(m) > 0 && e.Stream != "" {
		m[e.Stream].visit(visit)
	}
	if m := g.by[byTag]; len(m) > 0 {
		for _, t := range e.Tags {
			m[t].visit(visit)
		}
	}
	if m := g.by[byCategory]; len(m) > 0 && e.Stream != "" {
		m[e.Category()].visit(visit)
	}
	if m := g.by[byType]; len(m) > 0 {
		m[e.Type].visit(visit)
	}
	g.by[byNothing][""].visit(visit)
}

func (b *bucket) visit(visit func(*Subscriber)) {
	if b == nil {
		return
	}
	for _, e := range b.entries {
		visit(e.sub)
	}
}

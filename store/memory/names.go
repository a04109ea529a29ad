package memory

import (
	"slices"

	"github.com/annalsdb/annals"
)

// names says at which positions streams, tags and ids occur, so that a query need not look at the whole log. It only saves
// work: whatever it finds is matched against the query all the same. Lists are only ever appended to, so what was found can
// be read without the lock.
type names struct {
	streams, tags map[string][]annals.Position
	ids           map[annals.ID][]annals.Position
	slab          []annals.Position // memory for lists of one
}

func newNames() names {
	return names{streams: map[string][]annals.Position{}, tags: map[string][]annals.Position{}, ids: map[annals.ID][]annals.Position{}}
}

func (n *names) add(r annals.Recorded) {
	n.ids[r.ID] = n.with(n.ids[r.ID], r.Position)
	if r.Stream != "" {
		n.streams[r.Stream] = n.with(n.streams[r.Stream], r.Position)
	}
	for _, t := range r.Tags {
		n.tags[t] = n.with(n.tags[t], r.Position)
	}
}

// slabSize is how many lists of one, which most stay, have their memory in common.
const slabSize = 512

func (n *names) with(list []annals.Position, p annals.Position) []annals.Position {
	if list != nil {
		return append(list, p)
	}
	if len(n.slab) == 0 {
		n.slab = make([]annals.Position, slabSize)
	}
	one := n.slab[:1:1]
	one[0], n.slab = p, n.slab[1:]
	return one
}

// places are positions in ascending order at which something may be; everywhere, if all is set.
type places struct {
	all  bool
	list []annals.Position
}

// of are the places where a query may match.
func (n names) of(q annals.Query) places {
	var found places
	for item := range q.Each() {
		p := n.ofItem(item)
		switch {
		case p.all:
			return p
		case found.list == nil:
			found = p
		default:
			union := slices.Concat(found.list, p.list)
			slices.Sort(union)
			found.list = slices.Compact(union)
		}
	}
	return found
}

// ofItem takes the shortest list of those that the item has to be in.
func (n names) ofItem(item *annals.Item) places {
	p := places{all: true}
	narrow := func(list []annals.Position) {
		if p.all || len(list) < len(p.list) {
			p = places{list: list}
		}
	}
	if !item.ID.IsZero() {
		narrow(n.ids[item.ID])
	}
	if item.Stream != "" {
		narrow(n.streams[item.Stream])
	}
	for _, t := range item.Tags {
		narrow(n.tags[t])
	}
	return p
}

// between are the places after one position, up to and including another.
func (p places) between(after, upto annals.Position) window {
	after = min(after, upto)
	if p.all {
		return window{all: true, after: after, n: int(upto - after)}
	}
	from, _ := slices.BinarySearch(p.list, after+1)
	to, _ := slices.BinarySearch(p.list, upto+1)
	return window{list: p.list[from:to], n: to - from}
}

// window is a part of places, by number.
type window struct {
	all   bool
	after annals.Position
	list  []annals.Position
	n     int
}

func (w window) at(i int) annals.Position {
	if w.all {
		return w.after + annals.Position(i) + 1
	}
	return w.list[i]
}

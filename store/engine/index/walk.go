package index

import (
	"iter"

	"github.com/annalsdb/annals"
)

// Part is what one piece of the index says of a walk. Its cursor gives every position in the range whose event matches, and
// perhaps some others: whoever reads the record finds out.
type Part struct {
	Range
	Cursor
	// Everything says that the cursor gives every position.
	Everything bool
}

// Walk yields the parts of a walk over the events of a plan, in its direction. Parts without any candidate are left out.
// A part is good until the view is released.
func (v View) Walk(p *Plan, r Range) iter.Seq[Part] {
	return func(yield func(Part) bool) {
		r.Upto = min(r.Upto, v.head)
		n := len(v.set.runs) + len(v.set.epochs)
		for i := range n {
			if r.Backwards {
				i = n - 1 - i
			}
			if part, some := v.part(i, p, r); some && !yield(part) {
				return
			}
		}
	}
}

// part is what the piece with a number has of r.
func (v View) part(i int, p *Plan, r Range) (Part, bool) {
	if n := len(v.set.runs); i >= n {
		e := v.set.epochs[i-n]
		if r = r.within(e.first, v.lastOf(e)); r.empty() {
			return Part{}, false
		}
		return makePart(epochLists{v, e}, p, r)
	}
	run := v.set.runs[i]
	if r = r.within(run.first, run.last); r.empty() {
		return Part{}, false
	}
	return makePart(run, p, r)
}

// lastOf is the last position of an epoch as far as the view goes.
func (v View) lastOf(e *epoch) uint64 {
	if e == v.set.active() {
		return v.head // an epoch that has grown since has more, which is not the view's
	}
	return min(e.last, v.head)
}

// lists is a piece of the index.
type lists interface {
	// excludes reports whether it is certain, and cheap to know, that nothing matches.
	excludes(it *item) bool
	// list walks over what r has of a term.
	list(t Term, r Range) (Cursor, error)
	// broken is told why an answer could not be given.
	broken(err error)
}

func makePart(l lists, p *Plan, r Range) (Part, bool) {
	c, everything, err := planCursor(l, p, r)
	switch {
	case err != nil:
		l.broken(err)
		return Part{Range: r, Cursor: rangeCursor{r}, Everything: true}, true
	case c == nil:
		return Part{}, false
	case everything:
		return Part{Range: r, Cursor: c, Everything: true}, true
	}
	return Part{Range: r, Cursor: &safeCursor{Cursor: c, lists: l, rest: r}}, true
}

// planCursor is nil if nothing matches. It tells whether everything does.
func planCursor(l lists, p *Plan, r Range) (c Cursor, everything bool, err error) {
	var some []Cursor
	for i := range p.items {
		it := &p.items[i]
		if it.everything() {
			everything = true
			break
		}
		if l.excludes(it) {
			continue
		}
		c, err := itemCursor(l, it, r)
		if err != nil {
			return nil, false, err
		}
		if c != nil {
			some = append(some, c)
		}
	}
	switch {
	case everything:
		c = rangeCursor{r}
	case len(some) == 0:
		return nil, false, nil
	default:
		c = unite(some)
	}
	if !p.hides || l.excludes(&hidden) {
		return c, everything, nil
	}
	hidden, err := l.list(system, r)
	if hidden == nil || err != nil {
		return c, everything, err
	}
	return &except{Cursor: c, hidden: hidden}, false, nil
}

var hidden = item{all: []Term{system}}

// itemCursor is nil if nothing matches.
func itemCursor(l lists, it *item, r Range) (Cursor, error) {
	all := make([]Cursor, 0, 4)
	for _, t := range it.all {
		c, err := l.list(t, r)
		if err != nil || c == nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(it.types) > 0 {
		var types []Cursor
		for _, t := range it.types {
			c, err := l.list(t, r)
			if err != nil {
				return nil, err
			}
			if c != nil {
				types = append(types, c)
			}
		}
		if len(types) == 0 {
			return nil, nil
		}
		all = append(all, unite(types))
	}
	return intersect(all), nil
}

// safeCursor goes on with every position where a damaged piece stops: the records tell what matches.
type safeCursor struct {
	Cursor
	lists lists
	rest  Range
}

func (s *safeCursor) Seek(key uint64) uint64 {
	at := s.Cursor.Seek(key)
	if at == Done && s.lists != nil {
		if err := s.Cursor.Err(); err != nil {
			s.lists.broken(err)
			s.Cursor, s.lists = rangeCursor{s.rest}, nil
			return s.Cursor.Seek(key)
		}
	}
	return at
}

func (s *safeCursor) Err() error { return nil }

// epochLists is an epoch as a view sees it.
type epochLists struct {
	v View
	e *epoch
}

func (epochLists) excludes(*item) bool { return false }

func (l epochLists) list(t Term, r Range) (Cursor, error) {
	offsets, _ := l.v.list(l.e, t)
	return l.e.cursor(offsets, r), nil
}

func (epochLists) broken(error) {}

// any reports whether an event in r may match.
func (e *epoch) any(p *Plan, r Range) bool {
	for i := range p.items {
		if e.anyOf(p, &p.items[i], r) {
			return true
		}
	}
	return false
}

func (e *epoch) anyOf(p *Plan, it *item, r Range) bool {
	// Most often a name has not occurred lately, and then nothing has to be intersected.
	for _, t := range it.all {
		if !e.recent(t, r.After) {
			return false
		}
	}
	one := Plan{items: []item{*it}, hides: p.hides}
	c, _, _ := planCursor(directLists{e}, &one, r)
	return c != nil && c.Seek(0) != Done
}

// recent reports whether a term occurs after a position.
func (e *epoch) recent(t Term, after uint64) bool {
	l := e.find(t)
	return l != nil && e.first+uint64(l.offsets[len(l.offsets)-1]) > after
}

// cursor walks over what r has of a list; it is nil if that is nothing.
func (e *epoch) cursor(offsets []uint32, r Range) Cursor {
	if offsets = within(e.first, offsets, r.After, r.Upto); len(offsets) == 0 {
		return nil
	}
	return &listCursor{base: e.first, offsets: offsets, backwards: r.Backwards}
}

// directLists is an epoch for whoever holds the lock or owns it.
type directLists struct{ e *epoch }

func (directLists) excludes(*item) bool { return false }

func (l directLists) list(t Term, r Range) (Cursor, error) {
	if found := l.e.find(t); found != nil {
		return l.e.cursor(found.offsets, r), nil
	}
	return nil, nil
}

func (directLists) broken(error) {}

// Record tells of the record at a position what the index cannot be certain of: the name of its stream, and its revision there.
// Its errors are those of reading.
type Record func(position uint64) (stream string, revision annals.Revision, err error)

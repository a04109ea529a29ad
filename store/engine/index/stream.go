package index

import (
	"slices"

	"github.com/annalsdb/annals"
)

// numbered is what a piece knows of a stream's revisions: those from first to last, and, if it is regular, that they go on
// by one, each with the next position of the list.
type numbered struct {
	first, last annals.Revision
	regular     bool
}

// LastRevision is the last revision of a stream, up to a position, and where it is; 0 if there is none.
func (v View) LastRevision(name string, t Term, upto uint64, record Record) (annals.Revision, uint64, error) {
	upto = min(upto, v.head)
	for i := len(v.set.epochs) - 1; i >= 0; i-- { //nolint:modernize // an iterator would be allocated, once for each append
		e := v.set.epochs[i]
		offsets, n, some := v.numbered(e, name, t)
		if !some {
			continue
		}
		if offsets = within(e.first, offsets, 0, upto); len(offsets) == 0 {
			continue
		}
		if n.regular {
			last := len(offsets) - 1
			return n.first + annals.Revision(last), e.first + uint64(offsets[last]), nil
		}
		c := &listCursor{base: e.first, offsets: offsets, backwards: true}
		if r, p, err := lastIn(c, name, record); p > 0 || err != nil {
			return r, p, err
		}
	}
	for _, run := range slices.Backward(v.set.runs) {
		r := Range{Upto: upto, Backwards: true}.within(run.first, run.last)
		if r.empty() {
			continue
		}
		c, _, err := run.stream(t, r)
		if err != nil {
			run.broken(err)
			c = rangeCursor{r}
		}
		if c == nil {
			continue
		}
		if r, p, err := lastIn(&safeCursor{Cursor: c, lists: run, rest: r}, name, record); p > 0 || err != nil {
			return r, p, err
		}
	}
	return annals.NoRevision, 0, nil
}

// RecentRevisions are the positions of a stream's events from a revision on, as many as are wanted at most, if memory knows them
// all exactly: then no record has to be read.
func (v View) RecentRevisions(name string, t Term, from annals.Revision, most int) (positions []uint64, exact bool) {
	next := annals.Revision(0) // the first revision that is not known yet, going back
	for _, e := range slices.Backward(v.set.epochs) {
		offsets, n, some := v.numbered(e, name, t)
		offsets = within(e.first, offsets, 0, v.head)
		switch {
		case !some || len(offsets) == 0:
			continue
		case !n.regular, next > 0 && n.first+annals.Revision(len(offsets)) != next:
			return nil, false
		}
		known := make([]uint64, 0, most)
		for j := int(max(from, n.first) - n.first); j < len(offsets) && len(known) < most; j++ {
			known = append(known, e.first+uint64(offsets[j]))
		}
		positions = append(known, positions...)
		positions = positions[:min(len(positions), most)]
		if n.first <= from {
			return positions, true
		}
		next = n.first
	}
	return nil, false
}

// numbered is what an epoch knows of a stream, and the list of its term.
func (v View) numbered(e *epoch, name string, t Term) ([]uint32, numbered, bool) {
	if e == v.set.active() {
		v.x.mu.RLock()
		defer v.x.mu.RUnlock()
	}
	l := e.find(t)
	if l == nil {
		return nil, numbered{}, false
	}
	s := e.named(l, name)
	if s == nil {
		return nil, numbered{}, false
	}
	return l.offsets, numbered{first: s.first, last: s.last, regular: s.regular}, true
}

// lastIn reads candidates backwards until one is of the stream.
func lastIn(c Cursor, name string, record Record) (annals.Revision, uint64, error) {
	for key := c.Seek(0); key != Done; key = c.Seek(key + 1) {
		p := Position(key, true)
		stream, revision, err := record(p)
		if err != nil {
			return annals.NoRevision, 0, err
		}
		if stream == name {
			return revision, p, nil
		}
	}
	return annals.NoRevision, 0, nil
}

// FindRevision is the position, up to one, of the first event of a stream whose revision is at least r, and that revision;
// 0 if there is none.
func (v View) FindRevision(name string, t Term, r annals.Revision, upto uint64, record Record) (uint64, annals.Revision, error) {
	upto = min(upto, v.head)
	for _, run := range v.set.runs {
		if in := (Range{Upto: upto}).within(run.first, run.last); !in.empty() {
			if p, revision, err := run.findRevision(name, t, r, in, record); p > 0 || err != nil {
				return p, revision, err
			}
		}
	}
	for _, e := range v.set.epochs {
		offsets, n, some := v.numbered(e, name, t)
		if !some || n.regular && n.last < r {
			continue
		}
		offsets = within(e.first, offsets, 0, upto)
		if n.regular {
			if i := int(r - min(r, n.first)); i < len(offsets) {
				return e.first + uint64(offsets[i]), max(r, n.first), nil
			}
			continue
		}
		if p, revision, err := firstIn(&listCursor{base: e.first, offsets: offsets}, name, r, record); p > 0 || err != nil {
			return p, revision, err
		}
	}
	return 0, 0, nil
}

func (p *piece) findRevision(name string, t Term, r annals.Revision, in Range, record Record) (uint64, annals.Revision, error) {
	c, n, err := p.stream(t, in)
	switch {
	case err != nil:
		p.broken(err)
		c = rangeCursor{in}
	case c == nil, n.regular && n.last < r:
		return 0, 0, nil // should another stream have the same term, its events are not wanted either
	case n.regular && r > n.first:
		at, err := p.nth(t, int(r-n.first))
		if err != nil {
			p.broken(err)
			c = rangeCursor{in}
			break
		}
		if at > in.Upto {
			return 0, 0, nil
		}
		stream, revision, err := record(at)
		if err != nil {
			return 0, 0, err
		}
		if stream == name && revision == r {
			return at, r, nil
		}
	}
	return firstIn(&safeCursor{Cursor: c, lists: p, rest: in}, name, r, record)
}

// firstIn reads candidates until one is of the stream and has a revision of at least r.
func firstIn(c Cursor, name string, r annals.Revision, record Record) (uint64, annals.Revision, error) {
	for p := c.Seek(0); p != Done; p = c.Seek(p + 1) {
		stream, revision, err := record(p)
		if err != nil {
			return 0, 0, err
		}
		if stream == name && revision >= r {
			return p, revision, nil
		}
	}
	return 0, 0, nil
}

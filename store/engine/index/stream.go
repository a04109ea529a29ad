package index

import (
	"github.com/annalsdb/annals"
)

// numbered is what a piece knows of a stream's revisions: those from first to last, and, if it is regular, that they go on
// by one, each with the next position of the list.
type numbered struct {
	first, last annals.Revision
	regular     bool
	count       int
}

// streamLists is a piece that knows streams.
type streamLists interface {
	lists
	// stream is what the piece says of a stream's term in r; nil cursor: nothing.
	stream(name string, t Term, r Range) (Cursor, numbered, error)
	// nth is the position of a list's element.
	nth(t Term, i int) (uint64, error)
}

func (v View) piece(i int) (streamLists, Range) {
	if n := len(v.set.runs); i >= n {
		e := v.set.epochs[i-n]
		return epochLists{v, e}, Range{After: e.first - 1, Upto: v.lastOf(e)}
	}
	run := v.set.runs[i]
	return run, Range{After: run.first - 1, Upto: run.last}
}

func (l epochLists) stream(name string, t Term, r Range) (Cursor, numbered, error) {
	if l.e == l.v.set.active() {
		l.v.x.mu.RLock()
		defer l.v.x.mu.RUnlock()
	}
	found := l.e.find(t)
	if found == nil {
		return nil, numbered{}, nil
	}
	s := l.e.named(found, name)
	if s == nil {
		return nil, numbered{}, nil
	}
	c := newListCursor(l.e.first, found.offsets, r)
	return c, numbered{first: s.first, last: s.last, regular: s.regular, count: len(found.offsets)}, nil
}

func (l epochLists) nth(t Term, i int) (uint64, error) {
	offsets, base := l.v.list(l.e, t)
	return base + uint64(offsets[i]), nil
}

// LastRevision is the last revision of a stream, up to a position, and where it is.
func (v View) LastRevision(name string, t Term, upto uint64, record Record) (annals.Revision, uint64, error) {
	for i := len(v.set.runs) + len(v.set.epochs) - 1; i >= 0; i-- {
		piece, r := v.piece(i)
		if r.Upto = min(r.Upto, upto); r.empty() {
			continue
		}
		r.Backwards = true
		c, n, err := piece.stream(name, t, r)
		if err != nil {
			piece.broken(err)
			c = rangeCursor{r}
		}
		if c == nil {
			continue
		}
		if e, inMemory := piece.(epochLists); inMemory && n.regular {
			if key := c.Seek(0); key != Done {
				p := Position(key, true)
				return n.first + annals.Revision(e.rank(t, p)), p, nil
			}
			continue
		}
		found, p, err := lastIn(&safeCursor{Cursor: c, lists: piece, rest: r}, name, record)
		if err != nil || p > 0 {
			return found, p, err
		}
	}
	return annals.NoRevision, 0, nil
}

// rank is how many of a list come before a position that it has.
func (l epochLists) rank(t Term, p uint64) int {
	offsets, base := l.v.list(l.e, t)
	return len(within(base, offsets, 0, p)) - 1
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
	for i := range len(v.set.runs) + len(v.set.epochs) {
		piece, in := v.piece(i)
		if in.Upto = min(in.Upto, upto); in.empty() {
			continue
		}
		c, n, err := piece.stream(name, t, in)
		switch {
		case err != nil:
			piece.broken(err)
			c = rangeCursor{in}
		case c == nil:
			continue
		case n.regular && n.last < r:
			continue // should another stream have the same term, it is one whose events are not wanted either
		case n.regular && r > n.first:
			p, err := piece.nth(t, int(r-n.first))
			if err != nil {
				piece.broken(err)
				break
			}
			if p > upto {
				return 0, 0, nil
			}
			stream, revision, err := record(p)
			if err != nil {
				return 0, 0, err
			}
			if stream == name && revision == r {
				return p, r, nil
			}
			c, _, err = piece.stream(name, t, in)
			if err != nil {
				c = rangeCursor{in}
			}
		}
		p, revision, err := firstIn(&safeCursor{Cursor: c, lists: piece, rest: in}, name, r, record)
		if err != nil || p > 0 {
			return p, revision, err
		}
	}
	return 0, 0, nil
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

package run

import (
	"context"
	"io"
	"slices"
)

// Merge joins runs into one: each begins with the position after the last of the one before, and all are of one store and
// incarnation. It writes what a [Writer] would write that was given all of it at once, byte for byte, and gives the size.
//
// A joined list is in the filter if a part of it is. It is numbered if all parts are, from the first revision of the first
// part to the last of the last, and regular if all parts are and each goes on where the one before ended.
//
// It holds two blocks for each run, a few more while it copies a long list, and what a Writer holds; it neither uses nor
// keeps what the readers keep. When ctx is cancelled it fails with its cause.
func Merge(ctx context.Context, w io.Writer, readers ...*Reader) (size int64, err error) {
	m, err := joined(readers)
	if err != nil {
		return 0, err
	}
	out, err := NewWriter(w, m)
	if err != nil {
		return 0, err
	}
	g := merger{out: out}
	defer g.close()
	for _, r := range readers {
		g.parts = append(g.parts, part{scanner: r.scan(), offset: uint32(r.trailer.meta.First - m.First)})
		if err := g.parts[len(g.parts)-1].advance(); err != nil {
			return 0, err
		}
		if err := r.eachTime(func(t int64) error { return out.Times(t) }); err != nil {
			return 0, err
		}
	}
	if err := g.run(ctx); err != nil {
		return 0, err
	}
	return out.Finish()
}

// joined is what the run is about that these are joined to.
func joined(readers []*Reader) (Meta, error) {
	if len(readers) == 0 {
		return Meta{}, misuse("no runs to join")
	}
	m := readers[0].trailer.meta
	for _, r := range readers[1:] {
		n := &r.trailer.meta
		switch {
		case n.Store != m.Store || n.Incarnation != m.Incarnation:
			return Meta{}, misuse("runs of different stores")
		case n.First != m.Last+1:
			return Meta{}, misuse("a run that ends with %d, and one that begins with %d", m.Last, n.First)
		case n.FirstTime < m.LastTime:
			return Meta{}, misuse("a run that begins before the time when the one before it ended")
		}
		m.Last, m.LastSeq, m.LastHash, m.LastEpoch, m.LastTime = n.Last, n.LastSeq, n.LastHash, n.LastEpoch, n.LastTime
		if slices.Compare(n.IDLow[:], m.IDLow[:]) < 0 {
			m.IDLow = n.IDLow
		}
		if slices.Compare(n.IDHigh[:], m.IDHigh[:]) > 0 {
			m.IDHigh = n.IDHigh
		}
	}
	return m, nil
}

type merger struct {
	out     *Writer
	parts   []part
	shifted []uint32
}

// part is a run that is joined.
type part struct {
	*scanner
	offset uint32 // of its positions in the joined run
	ended  bool
}

func (p *part) advance() error {
	ok, err := p.next()
	p.ended = !ok
	return err
}

// checkEvery is how many terms or groups go by until it is looked whether the context is cancelled.
const checkEvery = 1024

func (g *merger) run(ctx context.Context) error {
	for n := 0; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		l, ok := g.least()
		if !ok {
			return nil
		}
		if err := g.out.Begin(l); err != nil {
			return err
		}
		for i := range g.parts {
			p := &g.parts[i]
			if p.ended || p.entry.Term != l.Term {
				continue
			}
			if err := g.copy(ctx, p); err != nil {
				return err
			}
			if err := p.advance(); err != nil {
				return err
			}
		}
		if err := g.out.End(); err != nil {
			return err
		}
	}
}

// least is the list that comes next, joined of all parts of it.
func (g *merger) least() (l List, ok bool) {
	for i := range g.parts {
		p := &g.parts[i]
		switch {
		case p.ended, ok && p.entry.Term > l.Term:
		case !ok || p.entry.Term < l.Term:
			l, ok = p.entry.List, true
		default:
			l = join(l, p.entry.List)
		}
	}
	return l, ok
}

// join is a list of which b is the part after a.
func join(a, b List) List {
	l := List{Term: a.Term, Filter: a.Filter || b.Filter}
	if a.Numbered && b.Numbered {
		l.Numbered, l.FirstRevision, l.LastRevision = true, a.FirstRevision, b.LastRevision
		l.Regular = a.Regular && b.Regular && b.FirstRevision == a.LastRevision+1
	}
	return l
}

// copy adds the positions of the entry that a part is at.
func (g *merger) copy(ctx context.Context, p *part) error {
	if p.entry.Count == 1 { // most of them are
		g.shifted = append(g.shifted[:0], uint32(p.entry.First-g.out.meta.First))
		return g.out.Add(g.shifted)
	}
	n := 0
	return p.positions(func(positions []uint32) error {
		if n++; n%checkEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		g.shifted = g.shifted[:0]
		for _, q := range positions {
			g.shifted = append(g.shifted, q+p.offset)
		}
		return g.out.Add(g.shifted)
	})
}

func (g *merger) close() {
	for _, p := range g.parts {
		p.close()
	}
}

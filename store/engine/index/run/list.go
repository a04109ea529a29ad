package run

// path is the way from the root of a long list to a block of its positions. What it went through is kept, so that the
// next way reads only what is new. The zero path is ready.
type path struct {
	steps [levelsMax + 1]step // by level: 0 is the block of positions
}

type step struct {
	b      *block
	number uint32
}

// at is a block on the way.
func (p *path) at(r *Reader, level int, number uint32) (*block, error) {
	s := &p.steps[level]
	if s.b != nil && s.number == number {
		return s.b, nil
	}
	kind := byte(kindListTree)
	if level == 0 {
		kind = kindPostings
	}
	r.free(s.b)
	s.b = nil
	b, err := r.load(number, kind)
	if err != nil {
		return nil, err
	}
	s.b, s.number = b, number
	return b, nil
}

// free gives back what was kept.
func (p *path) free(r *Reader) {
	for i := range p.steps {
		r.free(p.steps[i].b)
		p.steps[i].b = nil
	}
}

// toPosition goes to the block with the first position of the list that is not below one, or to the last block.
func (p *path) toPosition(r *Reader, e *Entry, position uint32) (postings, error) {
	number := e.tree.block
	for level := e.tree.levels; level > 0; level-- {
		n, err := p.node(r, level, number)
		if err != nil {
			return postings{}, err
		}
		number = n.child(n.ofPosition(position))
	}
	return p.leaf(r, number)
}

// toIndex goes to the block with the position that has this index in the list, and says in which group it is.
func (p *path) toIndex(r *Reader, e *Entry, index uint32) (l postings, group int, err error) {
	number := e.tree.block
	for level := e.tree.levels; level > 0; level-- {
		n, err := p.node(r, level, number)
		if err != nil {
			return postings{}, 0, err
		}
		number = n.child(n.ofIndex(index))
	}
	if l, err = p.leaf(r, number); err != nil {
		return l, 0, err
	}
	if group := (uint64(index) - uint64(l.index)) / groupMax; index >= l.index && group < uint64(l.n) {
		return l, int(group), nil
	}
	return l, 0, damaged(number, "index %d of the list is not here", index)
}

func (p *path) node(r *Reader, level int, number uint32) (node, error) {
	b, err := p.at(r, level, number)
	if err != nil {
		return node{}, err
	}
	return asNode(b, number, level)
}

func (p *path) leaf(r *Reader, number uint32) (postings, error) {
	b, err := p.at(r, 0, number)
	if err != nil {
		return postings{}, err
	}
	return asPostings(b, number, &r.trailer.meta)
}

// appendShort appends the positions of a list that lies beside its term.
func (r *Reader) appendShort(dst []uint32, e *Entry) ([]uint32, error) {
	first, last := uint32(e.First-r.trailer.meta.First), uint32(e.Last-r.trailer.meta.First)
	dst = append(dst, first)
	if e.Count == 1 {
		return dst, nil
	}
	before := first
	for b, left := e.inner, int(e.Count)-2; left > 0; left -= groupMax {
		n := min(left, groupMax)
		dst = append(dst, make([]uint32, n)...)
		group := dst[len(dst)-n:]
		size := decodeGroup(group, b, len(b)-8, before)
		if size == 0 || group[n-1] >= last {
			return nil, misuse("an entry of another reader")
		}
		b, before = b[size:], group[n-1]
	}
	return append(dst, last), nil
}

// At is the position with an index in a list, from 0. It reads a block, or a few if the list has very many.
func (r *Reader) At(e Entry, index uint32) (uint64, error) {
	switch {
	case index >= e.Count:
		return 0, misuse("position %d of a list of %d", index, e.Count)
	case index == 0:
		return e.First, nil
	case index == e.Count-1:
		return e.Last, nil
	}
	if !e.long {
		var few [inlineMax]uint32
		positions, err := r.appendShort(few[:0], &e)
		if err != nil {
			return 0, err
		}
		return r.trailer.meta.First + uint64(positions[index]), nil
	}
	var p path
	defer p.free(r)
	l, group, err := p.toIndex(r, &e, index)
	if err != nil {
		return 0, err
	}
	var few [groupMax]uint32
	positions, err := l.decode(few[:0], group, e.Count)
	if err != nil {
		return 0, err
	}
	return r.trailer.meta.First + uint64(positions[(index-l.index)%groupMax]), nil
}

// Rank is how many positions of a list are below one: the index of the first that is not, if there is one.
func (r *Reader) Rank(e Entry, position uint64) (uint32, error) {
	switch {
	case position <= e.First:
		return 0, nil
	case position > e.Last:
		return e.Count, nil
	}
	wanted := uint32(position - r.trailer.meta.First)
	if !e.long {
		var few [inlineMax]uint32
		positions, err := r.appendShort(few[:0], &e)
		return rank(positions, wanted), err
	}
	var p path
	defer p.free(r)
	l, err := p.toPosition(r, &e, wanted)
	if err != nil {
		return 0, err
	}
	var few [groupMax]uint32
	group := l.ofPosition(wanted)
	positions, err := l.decode(few[:0], group, e.Count)
	return l.indexOf(group) + rank(positions, wanted), err
}

func rank(ascending []uint32, p uint32) uint32 {
	return uint32(search(len(ascending), func(i int) bool { return ascending[i] >= p }))
}

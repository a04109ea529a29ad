package run

// postingsBuilder writes the positions of one long list after the other, each in blocks of its own with a tree above them.
//
//	postings   0 u32 the position before the first of the block, 2³²-1 if there is none  4 u32 index in the list of the first
//	           8 of count groups each: u32 last position; of each: u16 place of the group in the block; then the groups
//
// Every group but the last of the list holds 128 positions.
type postingsBuilder struct {
	out  *output
	tree builder

	before  uint32 // the position before the next group
	index   uint32 // the index in the list of the next group
	partial []uint32

	lasts  []uint32 // of the groups in the open block
	starts []int    // where they begin in groups
	groups []byte
	first  struct{ before, index uint32 } // of the open block
	block  block
	group  []byte
}

const groupEntry = 6 // bytes that are said of each group before the groups

// begin begins a list.
func (p *postingsBuilder) begin() {
	p.tree.reset()
	p.before, p.index = none, 0
	p.partial = p.partial[:0]
}

// add adds positions, which lie above those before.
func (p *postingsBuilder) add(positions []uint32) error {
	for len(positions) > 0 {
		if len(p.partial) == 0 && len(positions) >= groupMax {
			if err := p.addGroup(positions[:groupMax]); err != nil {
				return err
			}
			positions = positions[groupMax:]
			continue
		}
		n := min(groupMax-len(p.partial), len(positions))
		p.partial = append(p.partial, positions[:n]...)
		positions = positions[n:]
		if len(p.partial) == groupMax {
			if err := p.addGroup(p.partial); err != nil {
				return err
			}
			p.partial = p.partial[:0]
		}
	}
	return nil
}

func (p *postingsBuilder) addGroup(group []uint32) error {
	p.group = appendGroup(p.group[:0], p.before, group)
	if n := len(p.lasts); n > 0 && 8+(n+1)*groupEntry+len(p.groups)+len(p.group) > payloadBytes {
		if err := p.emit(); err != nil {
			return err
		}
	}
	if len(p.lasts) == 0 {
		p.first.before, p.first.index = p.before, p.index
	}
	p.starts = append(p.starts, len(p.groups))
	p.groups = append(p.groups, p.group...)
	p.before = group[len(group)-1]
	p.index += uint32(len(group))
	p.lasts = append(p.lasts, p.before)
	return nil
}

func (p *postingsBuilder) emit() error {
	n := len(p.lasts)
	b := &p.block
	b.reset()
	le.PutUint32(b[:], p.first.before)
	le.PutUint32(b[4:], p.first.index)
	at := 8
	for _, last := range p.lasts {
		le.PutUint32(b[at:], last)
		at += 4
	}
	groups := 8 + n*groupEntry
	for _, start := range p.starts {
		le.PutUint16(b[at:], uint16(groups+start))
		at += 2
	}
	copy(b[at:], p.groups)
	b.setKind(kindPostings)
	b.setCount(n)
	last := p.lasts[n-1]
	p.lasts, p.starts, p.groups = p.lasts[:0], p.starts[:0], p.groups[:0]
	number, err := p.out.emit(b)
	if err != nil {
		return err
	}
	return p.tree.add(listItem(last, p.first.index, number))
}

// finish ends the list, which is not empty.
func (p *postingsBuilder) finish() (root, error) {
	if len(p.partial) > 0 {
		if err := p.addGroup(p.partial); err != nil {
			return root{}, err
		}
	}
	if err := p.emit(); err != nil {
		return root{}, err
	}
	return p.tree.finish()
}

// postings is a block of positions that has been verified.
type postings struct {
	b      *block
	number uint32
	n      int
	before uint32
	index  uint32
	events uint64
}

// asPostings looks at a block as one that holds positions of a list.
func asPostings(b *block, number uint32, m *Meta) (postings, error) {
	p := postings{
		b: b, number: number, n: b.count(), before: le.Uint32(b[:]), index: le.Uint32(b[4:]), events: m.Events(),
	}
	if p.n == 0 || 8+p.n*groupEntry > payloadBytes {
		return p, damaged(number, "no block of positions")
	}
	return p, nil
}

func (p *postings) last(group int) uint32 { return le.Uint32(p.b[8+group*4:]) }

func (p *postings) beforeGroup(group int) uint32 {
	if group == 0 {
		return p.before
	}
	return p.last(group - 1)
}

// ofPosition is the first group whose last position is not below a position, or the last group.
func (p *postings) ofPosition(position uint32) int {
	return min(p.n-1, search(p.n, func(i int) bool { return p.last(i) >= position }))
}

// indexOf is the index in the list of the first position of a group.
func (p *postings) indexOf(group int) uint32 { return p.index + uint32(group)*groupMax }

// decode appends the positions of a group of a list that has so many.
func (p *postings) decode(dst []uint32, group int, count uint32) ([]uint32, error) {
	at := int(le.Uint16(p.b[8+p.n*4+group*2:]))
	index := uint64(p.index) + uint64(group)*groupMax
	if at < 8+p.n*groupEntry || at >= payloadBytes || index >= uint64(count) {
		return nil, damaged(p.number, "group %d lies outside", group)
	}
	n := int(min(uint64(count)-index, groupMax))
	dst = append(dst, make([]uint32, n)...)
	positions := dst[len(dst)-n:]
	last := p.last(group)
	if decodeGroup(positions, p.b[at:], payloadBytes-at, p.beforeGroup(group)) == 0 ||
		positions[n-1] != last || uint64(last) >= p.events {
		return nil, damaged(p.number, "the positions of group %d", group)
	}
	return dst, nil
}

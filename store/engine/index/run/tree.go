package run

// item is what a node of a tree says of a child.
//
//	terms, filters   0 u64 first term  8 u32 block of the child
//	positions        0 u32 last position  4 u32 index of the first position in the list  8 u32 block of the child
type item [itemBytes]byte

const (
	itemBytes = 12
	nodeItems = payloadBytes / itemBytes
	// levelsMax is the height of the highest tree that there can be: 340 children a node, 2³² blocks.
	levelsMax = 4
)

func termItem(term uint64, child uint32) (i item) {
	le.PutUint64(i[:], term)
	le.PutUint32(i[8:], child)
	return i
}

func listItem(last, index, child uint32) (i item) {
	le.PutUint32(i[:], last)
	le.PutUint32(i[4:], index)
	le.PutUint32(i[8:], child)
	return i
}

// builder writes a search tree from its leaves up, while they are made. It holds one open node a level.
//
//	node   count items of 12 bytes; detail is the level: 1 for a node above leaves
type builder struct {
	out    *output
	kind   byte
	fanout int
	open   []openNode
}

type openNode struct {
	block block
	count int
}

func (t *builder) reset() { t.open = t.open[:0] }

// add tells of the next leaf.
func (t *builder) add(leaf item) error { return t.addAt(0, leaf) }

func (t *builder) addAt(level int, i item) error {
	if level == len(t.open) {
		t.grow()
	}
	if t.open[level].count == t.fanout {
		parent, err := t.emit(level)
		if err != nil {
			return err
		}
		if err := t.addAt(level+1, parent); err != nil {
			return err
		}
	}
	n := &t.open[level] // not before: the levels may have moved
	copy(n.block[n.count*itemBytes:], i[:])
	n.count++
	return nil
}

func (t *builder) grow() {
	if n := len(t.open); n < cap(t.open) {
		t.open = t.open[:n+1]
		t.open[n].block.reset()
		t.open[n].count = 0
		return
	}
	t.open = append(t.open, openNode{})
}

// emit writes the open node of a level and says what its parent is to be told of it.
func (t *builder) emit(level int) (item, error) {
	n := &t.open[level]
	n.block.setKind(t.kind)
	n.block.setDetail(level + 1)
	n.block.setCount(n.count)
	number, err := t.out.emit(&n.block)
	i := node{b: &n.block, n: n.count}.summary(t.kind, number)
	n.block.reset()
	n.count = 0
	return i, err
}

// finish writes what is open. The root is a leaf if there are no levels. There must have been a leaf.
func (t *builder) finish() (r root, err error) {
	for level := 0; ; level++ {
		if n := &t.open[level]; level == len(t.open)-1 && n.count == 1 {
			return root{block: le.Uint32(n.block[8:]), levels: level}, nil
		}
		parent, err := t.emit(level)
		if err != nil {
			return root{}, err
		}
		if err := t.addAt(level+1, parent); err != nil {
			return root{}, err
		}
	}
}

// root is where a tree begins, and how many levels of nodes are above its leaves.
type root struct {
	block  uint32
	levels int
}

// node is a node that has been verified.
type node struct {
	b *block
	n int
}

// asNode looks at a block as a node of a level.
func asNode(b *block, number uint32, level int) (node, error) {
	n := node{b: b, n: b.count()}
	if b.detail() != level || n.n == 0 || n.n > nodeItems {
		return node{}, damaged(number, "no node of level %d", level)
	}
	return n, nil
}

// summary is what the node above says of this one.
func (n node) summary(kind byte, number uint32) item {
	if kind == kindListTree {
		return listItem(n.last(n.n-1), n.index(0), number)
	}
	return termItem(n.term(0), number)
}

func (n node) child(i int) uint32 { return le.Uint32(n.b[i*itemBytes+8:]) }
func (n node) term(i int) uint64  { return le.Uint64(n.b[i*itemBytes:]) }
func (n node) last(i int) uint32  { return le.Uint32(n.b[i*itemBytes:]) }
func (n node) index(i int) uint32 { return le.Uint32(n.b[i*itemBytes+4:]) }

// ofTerm is the child that holds a term if any does.
func (n node) ofTerm(term uint64) int {
	return max(0, search(n.n, func(i int) bool { return n.term(i) > term })-1)
}

// ofPosition is the first child whose last position is not below p, or the last child.
func (n node) ofPosition(p uint32) int {
	return min(n.n-1, search(n.n, func(i int) bool { return n.last(i) >= p }))
}

// ofIndex is the child that holds the position with this index in the list.
func (n node) ofIndex(index uint32) int {
	return max(0, search(n.n, func(i int) bool { return n.index(i) > index })-1)
}

// search is the first i below n for which there is true, or n. Unlike that of package sort it is inlined.
func search(n int, there func(int) bool) int {
	low, high := 0, n
	for low < high {
		if middle := int(uint(low+high) >> 1); there(middle) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

package run

import (
	"io"
	"sync"
	"sync/atomic"
)

// ReadOptions are the memory that readers share. The zero value lets each keep what it uses.
type ReadOptions struct {
	// Budget bounds what readers keep of the trees' nodes and filters. Without it there is no bound: about 3 bytes for each
	// KiB of the file, and 1.2 for each term in the filter.
	Budget *Budget
	// Cache keeps blocks that are used often. Without it every block comes from the file, each time.
	Cache *Cache
}

// Budget is memory that several readers share. It is safe for concurrent use.
type Budget struct {
	bytes int64
	used  atomic.Int64
}

// NewBudget makes a budget of so many bytes.
func NewBudget(bytes int64) *Budget { return &Budget{bytes: bytes} }

// Used is how many bytes of it are in use.
func (b *Budget) Used() int64 { return b.used.Load() }

// take takes bytes, if as many as are to be spared stay free.
func (b *Budget) take(n, spared int64) bool {
	if b.used.Add(n) <= b.bytes-spared {
		return true
	}
	b.used.Add(-n)
	return false
}

// Reader answers from a run. It is safe for concurrent use. It does not close the file, which has to stay open as long as
// the reader, its cursors and its entries are used, and must not change.
type Reader struct {
	f          io.ReaderAt
	size       int64
	trailer    *trailer
	seed       uint32
	valueBytes int
	options    ReadOptions
	id         uint64 // in the cache

	held    atomic.Int64 // bytes of what follows
	fences  atomic.Pointer[fences]
	filters atomic.Pointer[filters]

	mu sync.Mutex // held to load and to drop, also while reading from the file: so that it is done once
}

// fences say where the terms are.
type fences struct {
	first []uint64 // the first term of each block of terms
	block []uint32 // where they are
}

// Open makes a reader of a file of a size. It reads the trailer and verifies it; the rest is read, and verified, when it is
// used. A file that is no run or is cut off is [ErrDamaged], one of a newer program is [ErrNewerFormat].
func Open(f io.ReaderAt, size int64, o ReadOptions) (*Reader, error) {
	t, err := readTrailer(f, size)
	if err != nil {
		return nil, err
	}
	r := &Reader{f: f, size: size, trailer: t, seed: t.meta.seed(), valueBytes: t.meta.valueBytes(), options: o}
	if o.Cache != nil {
		r.id = o.Cache.newReader()
	}
	return r, nil
}

// Meta is what the run is about.
func (r *Reader) Meta() Meta { return r.trailer.meta }

// Size is the size of the file, in bytes.
func (r *Reader) Size() int64 { return r.size }

// Stats are counts that the file holds.
type Stats struct {
	// Terms is how many lists there are, Positions how many positions in all of them, and Filtered how many terms are in the
	// filter.
	Terms, Positions, Filtered uint64
}

// Stats counts what the run holds.
func (r *Reader) Stats() Stats {
	return Stats{Terms: r.trailer.terms, Positions: r.trailer.positions, Filtered: r.trailer.filtered}
}

// ResidentBytes is how much memory the reader keeps, besides about 600 bytes of its own and what is in the cache.
func (r *Reader) ResidentBytes() int64 { return r.held.Load() }

// Drop lets go of the memory that the reader keeps, and gives it back to the budget. What is needed is loaded again. To be
// called before a reader is given up, if there is a budget.
func (r *Reader) Drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fences.Store(nil)
	r.filters.Store(nil)
	r.give(r.held.Load())
}

// take asks for memory to keep nodes in.
func (r *Reader) take(n int64) bool { return r.takeSparing(n, 0) }

// takeForFilter asks for memory to keep a filter in. It leaves an eighth of the budget to nodes, which take less and spare
// more: without them each [Reader.Find] reads two blocks more.
func (r *Reader) takeForFilter(n int64) bool {
	if b := r.options.Budget; b != nil {
		return r.takeSparing(n, b.bytes/8)
	}
	return r.takeSparing(n, 0)
}

func (r *Reader) takeSparing(n, spared int64) bool {
	if b := r.options.Budget; b != nil && !b.take(n, spared) {
		return false
	}
	r.held.Add(n)
	return true
}

func (r *Reader) give(n int64) {
	r.held.Add(-n)
	if r.options.Budget != nil {
		r.options.Budget.used.Add(-n)
	}
}

var spare = sync.Pool{New: func() any { return new(block) }}

// load reads and verifies a block, which is to be given to free when it is not used any more.
func (r *Reader) load(number uint32, kind byte) (*block, error) {
	if c := r.options.Cache; c != nil {
		if b := c.get(r.id, number); b != nil {
			return b, r.expect(b, number, kind)
		}
		b := new(block) // not a spare one: the cache lends it to others
		if err := r.read(b, number, kind); err != nil {
			return nil, err
		}
		c.put(r.id, number, b)
		return b, nil
	}
	b, _ := spare.Get().(*block)
	if err := r.read(b, number, kind); err != nil {
		spare.Put(b)
		return nil, err
	}
	return b, nil
}

func (r *Reader) free(b *block) {
	if b != nil && r.options.Cache == nil {
		spare.Put(b)
	}
}

// read reads and verifies a block into memory of the caller's.
func (r *Reader) read(b *block, number uint32, kind byte) error {
	if number >= r.trailer.blocks-1 {
		return damaged(number, "there is no such block")
	}
	if err := readFull(r.f, b[:], number); err != nil {
		return err
	}
	if b.crc() != b.sum(r.seed, number) {
		return damaged(number, "checksum")
	}
	return r.expect(b, number, kind)
}

func (r *Reader) expect(b *block, number uint32, kind byte) error {
	if b.kind() != kind {
		return damaged(number, "kind %d, where %d should be", b.kind(), kind)
	}
	return nil
}

// Find looks a term up. If the blocks are in memory of the system it takes one read of 4 KiB.
func (r *Reader) Find(term uint64) (e Entry, found bool, err error) {
	number, found, err := r.termsOf(term)
	if err != nil || !found {
		return Entry{}, false, err
	}
	b, err := r.load(number, kindTerms)
	if err != nil {
		return Entry{}, false, err
	}
	defer r.free(b)
	t, err := asTerms(b, number, &r.trailer.meta, r.valueBytes)
	if err != nil {
		return Entry{}, false, err
	}
	i, found := t.find(term)
	if !found {
		return Entry{}, false, nil
	}
	if err := t.entry(i, &e); err != nil {
		return Entry{}, false, err
	}
	return e, true, t.keep(&e)
}

// keep makes an entry outlive the block it lies in.
func (t *terms) keep(e *Entry) error {
	if e.inner == nil {
		return nil
	}
	n, err := t.innerBytes(e)
	if err != nil {
		return err
	}
	e.inner = append(make([]byte, 0, n+8), e.inner[:n+8]...)
	return nil
}

// termsOf is the block that holds a term if any does.
func (r *Reader) termsOf(term uint64) (number uint32, found bool, err error) {
	f := r.fences.Load()
	if f == nil {
		if r.trailer.dictionaryBlocks == 0 {
			return 0, false, nil
		}
		if f, err = r.loadFences(); err != nil {
			return 0, false, err
		}
	}
	if f == nil {
		number, err = r.descend(term)
		return number, err == nil, err
	}
	i := placeOf(f.first, term)
	if i < 0 {
		return 0, false, nil
	}
	return f.block[i], true, nil
}

// loadFences reads where the terms are. It is nil if there is no memory for it.
func (r *Reader) loadFences() (*fences, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.fences.Load(); f != nil {
		return f, nil
	}
	n := int(r.trailer.dictionaryBlocks)
	if !r.take(int64(n) * itemBytes) {
		return nil, nil
	}
	first, blocks, err := r.leaves(r.trailer.dictionary, kindTermTree, n)
	if err != nil {
		r.give(int64(n) * itemBytes)
		return nil, err
	}
	f := &fences{first: first, block: blocks}
	r.fences.Store(f)
	return f, nil
}

// descend finds the block of a term without fences.
func (r *Reader) descend(term uint64) (uint32, error) {
	number := r.trailer.dictionary.block
	for level := r.trailer.dictionary.levels; level > 0; level-- {
		b, err := r.load(number, kindTermTree)
		if err != nil {
			return 0, err
		}
		n, err := asNode(b, number, level)
		if err != nil {
			r.free(b)
			return 0, err
		}
		number = n.child(n.ofTerm(term))
		r.free(b)
	}
	return number, nil
}

// leaves reads a whole tree of terms, which has n leaves: the first term of each, and where it is.
func (r *Reader) leaves(at root, kind byte, n int) ([]uint64, []uint32, error) {
	if at.levels == 0 && n == 1 {
		return []uint64{0}, []uint32{at.block}, nil // nothing is before it, and nothing above it says what it begins with
	}
	first, blocks := make([]uint64, 0, n), make([]uint32, 0, n)
	w := r.walk(at, kind)
	defer w.close()
	for {
		i, ok, err := w.next()
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			break
		}
		term := le.Uint64(i[:])
		if len(first) == n || len(first) > 0 && term <= first[len(first)-1] {
			return nil, nil, damaged(at.block, "the tree does not ascend, or has other leaves than the trailer says")
		}
		first, blocks = append(first, term), append(blocks, le.Uint32(i[8:]))
	}
	if len(first) != n {
		return nil, nil, damaged(at.block, "the tree has %d leaves, the trailer says %d", len(first), n)
	}
	return first, blocks, nil
}

// walk goes over the leaves of a tree, in order. It holds one block a level, of its own.
type walk struct {
	r     *Reader
	kind  byte
	root  root
	nodes []walkNode // from the root down
	begun bool
}

type walkNode struct {
	node
	at int
}

func (r *Reader) walk(at root, kind byte) *walk { return &walk{r: r, kind: kind, root: at} }

// next is what is said of the next leaf. Of a tree that is a leaf only the block is known.
func (w *walk) next() (item, bool, error) {
	if !w.begun {
		w.begun = true
		if w.root.levels == 0 {
			return termItem(0, w.root.block), true, nil
		}
		if err := w.push(w.root.block, w.root.levels, nil); err != nil {
			return item{}, false, err
		}
	}
	for depth := len(w.nodes) - 1; depth >= 0; depth = len(w.nodes) - 1 {
		n := &w.nodes[depth]
		if n.at == n.n {
			spare.Put(n.b)
			w.nodes = w.nodes[:depth]
			continue
		}
		i := item(n.b[n.at*itemBytes:][:itemBytes])
		n.at++
		level := w.root.levels - depth
		if level == 1 {
			return i, true, nil
		}
		if err := w.push(le.Uint32(i[8:]), level-1, &i); err != nil {
			return item{}, false, err
		}
	}
	return item{}, false, nil
}

// push goes down to a node, of which its parent says this.
func (w *walk) push(number uint32, level int, said *item) error {
	b, _ := spare.Get().(*block)
	err := w.r.read(b, number, w.kind)
	var n node
	if err == nil {
		n, err = asNode(b, number, level)
	}
	if err == nil && said != nil && n.summary(w.kind, number) != *said {
		err = damaged(number, "the node above says something else of it")
	}
	if err != nil {
		spare.Put(b)
		return err
	}
	w.nodes = append(w.nodes, walkNode{node: n})
	return nil
}

func (w *walk) close() {
	for _, n := range w.nodes {
		spare.Put(n.b)
	}
	w.nodes = nil
}

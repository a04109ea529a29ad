package run

import (
	"encoding/binary"
	"math/bits"
)

// List is what is said of a term beside its positions.
type List struct {
	Term uint64
	// Filter puts the term into the run's filter, so that [Reader.MayHave] may be asked for it.
	Filter bool
	// Numbered tells that the list is a stream, whose first and last events here have these revisions.
	Numbered                    bool
	FirstRevision, LastRevision uint64
	// Regular tells that the event with index i in a numbered list has revision FirstRevision+i.
	Regular bool
}

// Entry is what a run says of a term. It can be used with the Reader it came from, by several goroutines.
type Entry struct {
	List
	// Count is how many positions there are, First and Last the lowest and the highest.
	Count       uint32
	First, Last uint64

	inner []byte // the groups of the positions between first and last, if they are in the block of terms
	tree  root   // of their blocks, if they are not
	long  bool   // which of the two
}

// inlineMax are the bounds of a list that is kept beside its term. Longer ones have blocks of their own.
const (
	inlineMax      = 2048 // positions
	inlineBytesMax = 2048 // bytes that they are encoded in
)

// Flags of the body of a list.
const (
	bodyLong = 1 << iota
	bodyNumbered
	bodyRegular
)

// Flags in the lowest bits of a value.
const (
	valueBody = 1 << iota
	valueFilter
	valueFlags = 2 // bits
)

// valueBytes is the size of what is beside each term: two flags, and a position or a place in the block.
func (m *Meta) valueBytes() int {
	return (bits.Len64(max(m.Events()-1, blockBytes-1)) + valueFlags + 7) / 8
}

// appendBody appends what is said of a list that is more than one position.
//
//	u8 flags: 1 long, 2 numbered, 4 regular  uvarint count  uvarint first position
//	uvarint last minus first position, if the count is not 1
//	uvarint first revision, if numbered; uvarint last revision, if numbered and not regular
//	u32 root of the tree of positions, u8 its levels, if long; else the groups of the positions but the first and the last
func appendBody(dst []byte, l *List, count, first, last uint32, long bool) []byte {
	var flags byte
	if long {
		flags |= bodyLong
	}
	if l.Numbered {
		flags |= bodyNumbered
	}
	if l.Regular {
		flags |= bodyRegular
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(count))
	dst = binary.AppendUvarint(dst, uint64(first))
	if count > 1 {
		dst = binary.AppendUvarint(dst, uint64(last-first))
	}
	if l.Numbered {
		dst = binary.AppendUvarint(dst, l.FirstRevision)
		if !l.Regular {
			dst = binary.AppendUvarint(dst, l.LastRevision)
		}
	}
	return dst
}

// appendInner appends the groups of the positions between the first and the last.
func appendInner(dst []byte, positions []uint32) []byte {
	before := positions[0]
	for inner := positions[1 : len(positions)-1]; len(inner) > 0; {
		n := min(len(inner), groupMax)
		dst = appendGroup(dst, before, inner[:n])
		before = inner[n-1]
		inner = inner[n:]
	}
	return dst
}

// termsBuilder collects terms until a block is full.
//
//	terms   0 u64 first term; of count terms each: the term without its first bytes that all of the block share; of each: its
//	        value; then the bodies, in the order of their terms. Detail is how many bytes are shared, 0 to 7
//	value   bit 0: there is a body, and the rest is its place in the block; else there is one position, and the rest is that
//	        bit 1: the term is in a filter
//
// A value has as many bytes as the positions of the run need, and at least 2. Positions are counted from the first of the
// run.
type termsBuilder struct {
	out        *output
	tree       builder
	blocks     uint32
	valueBytes int

	terms  []uint64
	values []uint64 // with a body: its place in bodies
	bodies []byte
	block  block
}

// add adds a term. If there is a body, position counts for nothing.
func (d *termsBuilder) add(term uint64, filter bool, position uint32, body []byte) error {
	if !d.fits(term, len(body)) {
		if err := d.emit(); err != nil {
			return err
		}
	}
	value := uint64(position)
	if len(body) > 0 {
		value = uint64(len(d.bodies))
		d.bodies = append(d.bodies, body...)
	}
	value <<= valueFlags
	if len(body) > 0 {
		value |= valueBody
	}
	if filter {
		value |= valueFilter
	}
	d.terms = append(d.terms, term)
	d.values = append(d.values, value)
	return nil
}

func (d *termsBuilder) fits(term uint64, body int) bool {
	n := len(d.terms)
	if n == 0 {
		return true
	}
	return 8+(n+1)*(8-shared(d.terms[0], term)+d.valueBytes)+len(d.bodies)+body <= payloadBytes
}

// shared is how many of their first bytes two terms have in common, but at most 7.
func shared(a, b uint64) int { return min(bits.LeadingZeros64(a^b)/8, 7) }

// emit writes the block of the terms that there are.
func (d *termsBuilder) emit() error {
	n := len(d.terms)
	if n == 0 {
		return nil
	}
	first := d.terms[0]
	common := shared(first, d.terms[n-1])
	b := &d.block
	b.reset()
	le.PutUint64(b[:], first)
	at := 8
	var word [8]byte
	for _, t := range d.terms {
		le.PutUint64(word[:], t)
		at += copy(b[at:], word[:8-common])
	}
	bodies := at + n*d.valueBytes
	for _, v := range d.values {
		if v&valueBody != 0 {
			v += uint64(bodies) << valueFlags
		}
		le.PutUint64(word[:], v)
		at += copy(b[at:], word[:d.valueBytes])
	}
	copy(b[at:], d.bodies)
	b.setKind(kindTerms)
	b.setDetail(common)
	b.setCount(n)
	d.terms, d.values, d.bodies = d.terms[:0], d.values[:0], d.bodies[:0]
	number, err := d.out.emit(b)
	if err != nil {
		return err
	}
	d.blocks++
	return d.tree.add(termItem(first, number))
}

// finish writes what is left.
func (d *termsBuilder) finish() (root, error) {
	if err := d.emit(); err != nil {
		return root{}, err
	}
	if d.blocks == 0 {
		return root{block: none}, nil
	}
	return d.tree.finish()
}

// terms is a block of terms that has been verified.
type terms struct {
	b      *block
	number uint32
	meta   *Meta
	n      int
	first  uint64
	mask   uint64 // of the bytes of a term that are not shared
	size   int    // in bytes, of a term
	value  int    // in bytes, of a value
	values int    // where the values begin
}

func asTerms(b *block, number uint32, m *Meta, valueBytes int) (terms, error) {
	t := terms{b: b, number: number, meta: m, n: b.count(), first: le.Uint64(b[:]), size: 8 - b.detail(), value: valueBytes}
	if t.n == 0 || t.size < 1 || t.size > 8 {
		return t, damaged(number, "no block of terms")
	}
	t.values = 8 + t.n*t.size
	if t.values+t.n*t.value > payloadBytes {
		return t, damaged(number, "more terms than there is room for")
	}
	t.mask = ^uint64(0) >> (64 - 8*t.size)
	return t, nil
}

func (t *terms) term(i int) uint64 {
	return t.first&^t.mask | le.Uint64(t.b[8+i*t.size:])&t.mask
}

// find is the index of a term.
func (t *terms) find(term uint64) (int, bool) {
	if (term^t.first)&^t.mask != 0 {
		return 0, false
	}
	wanted := term & t.mask
	low, high := 0, t.n
	for low < high {
		middle := int(uint(low+high) >> 1)
		if le.Uint64(t.b[8+middle*t.size:])&t.mask < wanted {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < t.n && t.term(low) == term
}

// entry is what is said of the term with index i. What it holds of the block it shares.
func (t *terms) entry(i int, e *Entry) error {
	v := le.Uint64(t.b[t.values+i*t.value:]) & (1<<(8*t.value) - 1)
	at := v >> valueFlags
	*e = Entry{List: List{Term: t.term(i), Filter: v&valueFilter != 0}, Count: 1}
	if v&valueBody != 0 {
		return t.body(at, e)
	}
	if at >= t.meta.Events() {
		return damaged(t.number, "a position outside of the run")
	}
	e.First = t.meta.First + at
	e.Last = e.First
	return nil
}

// body reads what is said of a list that is more than a position.
func (t *terms) body(at uint64, e *Entry) error {
	if at < uint64(t.values+t.n*t.value) || at >= payloadBytes {
		return damaged(t.number, "a body outside of the block")
	}
	p := parser{b: t.b[at:payloadBytes]}
	flags := p.byte()
	count, first, span := p.uvarint(), p.uvarint(), uint64(0)
	if count > 1 {
		span = p.uvarint()
	}
	e.Numbered, e.Regular, e.long = flags&bodyNumbered != 0, flags&bodyRegular != 0, flags&bodyLong != 0
	if e.Numbered {
		e.FirstRevision = p.uvarint()
		e.LastRevision = e.FirstRevision + count - 1
		if !e.Regular {
			e.LastRevision = p.uvarint()
		}
	}
	events := t.meta.Events()
	switch {
	case p.failed || flags&^(bodyLong|bodyNumbered|bodyRegular) != 0, e.Regular && !e.Numbered:
		return damaged(t.number, "a body that makes no sense")
	case count == 0, count > events, first >= events, span >= events-first, span+1 < count, (count == 1) != (span == 0):
		return damaged(t.number, "a list that does not fit into the run")
	case e.Regular && e.LastRevision < e.FirstRevision:
		return damaged(t.number, "revisions that make no sense")
	}
	e.Count = uint32(count)
	e.First = t.meta.First + first
	e.Last = e.First + span
	if e.long {
		return t.longBody(&p, e)
	}
	if count > inlineMax {
		return damaged(t.number, "a list that is too long to be here")
	}
	if count > 2 {
		// Beyond the payload lie 8 bytes that may be loaded, and are not looked at.
		e.inner = t.b[blockBytes-8-len(p.b):]
	}
	return nil
}

func (t *terms) longBody(p *parser, e *Entry) error {
	e.tree = root{block: p.uint32(), levels: int(p.byte())}
	if p.failed || e.tree.levels > levelsMax || e.Count < 3 {
		return damaged(t.number, "the root of a list")
	}
	return nil
}

// innerBytes is how long the groups of an entry that lies in a block are: all that follows is cut off, but for the 8 bytes
// that may be loaded.
func (t *terms) innerBytes(e *Entry) (int, error) {
	var group [groupMax]uint32
	size, end := 0, len(e.inner)-8
	before := uint32(e.First - t.meta.First)
	for left := int(e.Count) - 2; left > 0; left -= groupMax {
		g := group[:min(left, groupMax)]
		n := decodeGroup(g, e.inner[size:], end-size, before)
		if n == 0 {
			return 0, damaged(t.number, "the positions of a list")
		}
		size += n
		before = g[len(g)-1]
	}
	if uint64(before) >= e.Last-t.meta.First {
		return 0, damaged(t.number, "the positions of a list")
	}
	return size, nil
}

// parser takes values off the front of b, and remembers that there were not enough.
type parser struct {
	b      []byte
	failed bool
}

func (p *parser) take(n int) []byte {
	if n > len(p.b) {
		p.failed = true
		p.b = nil
		return make([]byte, 8)[:n]
	}
	taken := p.b[:n]
	p.b = p.b[n:]
	return taken
}

func (p *parser) byte() byte     { return p.take(1)[0] }
func (p *parser) uint32() uint32 { return le.Uint32(p.take(4)) }

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.b)
	if n <= 0 {
		p.failed = true
		n = len(p.b)
	}
	p.b = p.b[n:]
	return v
}

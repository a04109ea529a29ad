package run

import (
	"math/bits"
	"sync/atomic"

	"github.com/FastFilter/xorfilter"
)

const (
	// filterTerms is how many terms one filter is made for. To make it takes about 25 bytes for each.
	filterTerms = 1 << 16
	// fingerprintsMax bounds a filter before memory is allocated for it.
	fingerprintsMax = 1 << 18
	filterHead      = 24
)

// filterBuilder makes filters of terms that come in ascending order, one for each 65,536.
//
//	filter   over the payloads of blocks in a row: 0 u64 seed  8 u32 bytes of a segment, a power of two  12 u32 segments
//	         16 u32 terms  20 u32 0  24 a fingerprint a byte, of all segments and two more
//
// Detail is 0, and count the number of the block in its row, from 0. It is a binary fuse filter with three hashes, as
// github.com/FastFilter/xorfilter makes it: a term is one of them, or one in 256 others, if its fingerprint is the xor of
// the three.
type filterBuilder struct {
	out   *output
	tree  builder
	each  int
	terms []uint64
	made  xorfilter.BinaryFuseBuilder
	count uint32
	total uint64
}

func (f *filterBuilder) add(term uint64) error {
	f.terms = append(f.terms, term)
	f.total++
	if len(f.terms) < f.each {
		return nil
	}
	return f.emit()
}

func (f *filterBuilder) emit() error {
	first, n := f.terms[0], len(f.terms)
	filter, err := xorfilter.BuildBinaryFuse[uint8](&f.made, f.terms)
	if err != nil {
		return err
	}
	f.terms = f.terms[:0]
	f.count++
	var b block
	le.PutUint64(b[:], filter.Seed)
	le.PutUint32(b[8:], filter.SegmentLength)
	le.PutUint32(b[12:], filter.SegmentCount)
	le.PutUint32(b[16:], uint32(n))
	at := filterHead
	number := f.out.next
	for row, left := 0, filter.Fingerprints; len(left) > 0; row++ {
		left = left[copy(b[at:payloadBytes], left):]
		b.setKind(kindFilter)
		b.setCount(row)
		if _, err := f.out.emit(&b); err != nil {
			return err
		}
		b.reset()
		at = 0
	}
	return f.tree.add(termItem(first, number))
}

// finish writes what is left.
func (f *filterBuilder) finish() (root, error) {
	if len(f.terms) > 0 {
		if err := f.emit(); err != nil {
			return root{}, err
		}
	}
	if f.count == 0 {
		return root{block: none}, nil
	}
	return f.tree.finish()
}

// filters are the filters of a run, as far as they are in memory.
type filters struct {
	first []uint64 // the first term of each
	block []uint32 // where each begins
	each  []atomic.Pointer[xorfilter.BinaryFuse[uint8]]
}

// MayHave tells whether the run may have a list of a term that was put into the filter: false is certain, true is wrong
// for one in 256 of the terms that the run does not have. If the filter may not be held in memory, it is true. Of terms
// that were not put into the filter it tells nothing.
func (r *Reader) MayHave(term uint64) (bool, error) {
	f := r.filters.Load()
	if f == nil {
		if r.trailer.filterCount == 0 {
			return false, nil
		}
		var err error
		if f, err = r.loadFilters(); f == nil {
			return true, err
		}
	}
	i := placeOf(f.first, term)
	if i < 0 {
		return false, nil
	}
	filter := f.each[i].Load()
	if filter == nil {
		var err error
		if filter, err = r.loadFilter(f, i); filter == nil {
			return true, err
		}
	}
	return filter.Contains(term), nil
}

// placeOf is the index of the last of the ascending terms that is not above the given one, -1 if all are. Terms are
// hashes, so it is near the place where it would be if they were spread evenly.
func placeOf(ascending []uint64, term uint64) int {
	guess, _ := bits.Mul64(term, uint64(len(ascending)))
	low, high := int(guess), int(guess) // all before low are not above the term, all from high on are: to be made true
	for step := 4; low > 0 && ascending[low-1] > term; step *= 2 {
		high, low = low-1, max(low-step, 0)
	}
	for step := 4; high < len(ascending) && ascending[high] <= term; step *= 2 {
		low, high = high+1, min(high+step, len(ascending))
	}
	return low + search(high-low, func(i int) bool { return ascending[low+i] > term }) - 1
}

// loadFilters reads where the filters are. It is nil if there is no memory for it.
func (r *Reader) loadFilters() (*filters, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.filters.Load(); f != nil {
		return f, nil
	}
	n := int(r.trailer.filterCount)
	if !r.take(int64(n) * (8 + 4 + 8)) {
		return nil, nil
	}
	first, blocks, err := r.leaves(r.trailer.filters, kindFilters, n)
	if err != nil {
		r.give(int64(n) * (8 + 4 + 8))
		return nil, err
	}
	f := &filters{first: first, block: blocks, each: make([]atomic.Pointer[xorfilter.BinaryFuse[uint8]], n)}
	r.filters.Store(f)
	return f, nil
}

// loadFilter reads a filter. It is nil if there is no memory for it.
func (r *Reader) loadFilter(f *filters, i int) (*xorfilter.BinaryFuse[uint8], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if filter := f.each[i].Load(); filter != nil {
		return filter, nil
	}
	taken := int64(0)
	filter, _, err := r.readFilter(f.block[i], func(bytes int64) bool {
		if !r.takeForFilter(bytes) {
			return false
		}
		taken = bytes
		return true
	})
	// If they were dropped meanwhile nobody will look for this one.
	if filter == nil || r.filters.Load() != f {
		r.give(taken)
		return filter, err
	}
	f.each[i].Store(filter)
	return filter, nil
}

// readFilter reads the filter that begins with a block, and how many terms it was made for. It is nil if there is somebody
// to be asked for memory who does not give it.
func (r *Reader) readFilter(number uint32, take func(int64) bool) (*xorfilter.BinaryFuse[uint8], uint32, error) {
	b, _ := spare.Get().(*block) // not from the cache: it is read once
	defer spare.Put(b)
	if err := r.read(b, number, kindFilter); err != nil {
		return nil, 0, err
	}
	segment, segments, terms := le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint32(b[16:])
	n := (uint64(segments) + 2) * uint64(segment)
	if b.count() != 0 || bits.OnesCount32(segment) != 1 || segments == 0 || n > fingerprintsMax {
		return nil, 0, damaged(number, "no filter")
	}
	if take != nil && !take(int64(n)) {
		return nil, 0, nil
	}
	filter := &xorfilter.BinaryFuse[uint8]{
		Seed: le.Uint64(b[:]), SegmentLength: segment, SegmentLengthMask: segment - 1,
		SegmentCount: segments, SegmentCountLength: segments * segment, Fingerprints: make([]uint8, n),
	}
	left := filter.Fingerprints[copy(filter.Fingerprints, b[filterHead:payloadBytes]):]
	for row := 1; len(left) > 0; row++ {
		if err := r.read(b, number+uint32(row), kindFilter); err != nil {
			return nil, 0, err
		}
		if b.count() != row {
			return nil, 0, damaged(number+uint32(row), "another part of the filter is missing")
		}
		left = left[copy(left, b[:payloadBytes]):]
	}
	return filter, terms, nil
}

package run

import "hash/crc32"

// Small makes the trees of w high and its filters many, so that small runs have all there is.
func (w *Writer) Small(fanout, filterTerms int) {
	w.terms.tree.fanout = fanout
	w.postings.tree.fanout = fanout
	w.filter.tree.fanout = fanout
	w.filter.each = filterTerms
}

// Reseal makes the checksums of a file right, after its blocks were changed; that of all checksums only if it is wanted.
func Reseal(file []byte, all bool) {
	if len(file)%blockBytes != 0 || len(file) == 0 {
		return
	}
	last := uint32(len(file)/blockBytes - 1)
	end := (*block)(file[int(last)*blockBytes:])
	var m Meta
	m.decode(end[metaOffset:countOffset])
	sums := uint32(0)
	for i := range last {
		b := (*block)(file[int(i)*blockBytes:])
		le.PutUint32(b[payloadBytes+4:], b.sum(m.seed(), i))
		sums = crc32.Update(sums, castagnoli, b[payloadBytes+4:])
	}
	if all {
		le.PutUint32(end[216:], sums)
	}
	le.PutUint32(end[payloadBytes+4:], end.sum(0, last))
}

// AppendGroup and DecodeGroup are the encoding of 128 positions or less. Decoding wants 8 bytes more than it reads.
var (
	AppendGroup = appendGroup
	DecodeGroup = decodeGroup
)

// None stands before the first position.
const None = none

// PlaceOf finds terms among fences.
var PlaceOf = placeOf

// Used is how many bytes of blocks a cache holds.
func (c *Cache) Used() int {
	n := 0
	for i := range c.shards {
		c.shards[i].mu.Lock()
		n += len(c.shards[i].slots) * blockBytes
		c.shards[i].mu.Unlock()
	}
	return n
}

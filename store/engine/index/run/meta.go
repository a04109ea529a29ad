package run

import (
	"bytes"
	"hash/crc32"
	"io"
)

// Meta is what a run is about. All of it is in the file, and every checksum of the file depends on it.
type Meta struct {
	// Store and Incarnation say whose log it is.
	Store       [16]byte
	Incarnation uint32
	// First and Last are the positions that the run covers: all from one to the other, at most [EventsMax]. First is not 0.
	First, Last uint64
	// FirstSeq is the number of the frame in which First lies, LastSeq that of the frame that ends with Last.
	FirstSeq, LastSeq uint64
	// LastHash and LastEpoch are those of the frame that ends with Last.
	LastHash  [32]byte
	LastEpoch uint64
	// FirstTime and LastTime are when First and Last were written, in nanoseconds since 1970.
	FirstTime, LastTime int64
	// IDLow and IDHigh are the smallest and the largest id of an event, compared as bytes. Ids outside need no look-up.
	IDLow, IDHigh [16]byte
}

// EventsMax is how many positions a run can cover.
const EventsMax = 1 << 31

// Events is how many positions the run covers.
func (m *Meta) Events() uint64 { return m.Last - m.First + 1 }

func (m *Meta) problem() string {
	switch {
	case m.First == 0:
		return "positions begin with 1"
	case m.Last < m.First:
		return "the last position is before the first"
	case m.Last-m.First >= EventsMax:
		return "a run covers at most 2³¹ positions"
	case m.LastTime < m.FirstTime:
		return "the last time is before the first"
	}
	return ""
}

const (
	magic  = "ANNLRUN1"
	format = 0

	metaOffset  = 16
	countOffset = 160
)

// trailer is the last block of the file. It says what the run is about and where its trees begin.
//
//	  0 8B "ANNLRUN1"   8 u32 format  12 u32 blocks of the file, this one included
//	 16 16B store  32 u32 incarnation  36 u32 0  40 u64 first position  48 u64 last position
//	 56 u64 seq of the first frame  64 u64 seq of the last frame  72 u64 its epoch  80 32B its hash
//	112 i64 first time  120 i64 last time  128 16B lowest id  144 16B highest id
//	160 u64 terms  168 u64 positions in all lists  176 u64 terms in filters
//	184 u32 root of the tree of terms  188 u32 its levels  192 u32 blocks of terms
//	196 u32 root of the tree of filters  200 u32 its levels  204 u32 filters
//	208 u32 first block of times  212 u32 times
//	216 u32 CRC32C of the CRCs of the blocks before this one
//	220 zero, up to the end of the payload
//
// A root is 2³²-1 if there is no tree, and so is the first block of times if there are none. The seed of the checksums
// is the CRC32C of bytes 16 to 159; that of the trailer's own is 0.
type trailer struct {
	meta             Meta
	blocks           uint32
	terms            uint64
	positions        uint64
	filtered         uint64
	dictionary       root
	dictionaryBlocks uint32
	filters          root
	filterCount      uint32
	times            uint32
	timeCount        uint32
	sums             uint32
}

func (t *trailer) encode(b *block) {
	b.reset()
	copy(b[:], magic)
	le.PutUint32(b[8:], format)
	le.PutUint32(b[12:], t.blocks)
	t.meta.encode(b[metaOffset:countOffset])
	le.PutUint64(b[160:], t.terms)
	le.PutUint64(b[168:], t.positions)
	le.PutUint64(b[176:], t.filtered)
	le.PutUint32(b[184:], t.dictionary.block)
	le.PutUint32(b[188:], uint32(t.dictionary.levels))
	le.PutUint32(b[192:], t.dictionaryBlocks)
	le.PutUint32(b[196:], t.filters.block)
	le.PutUint32(b[200:], uint32(t.filters.levels))
	le.PutUint32(b[204:], t.filterCount)
	le.PutUint32(b[208:], t.times)
	le.PutUint32(b[212:], t.timeCount)
	le.PutUint32(b[216:], t.sums)
	b.setKind(kindTrailer)
}

func (m *Meta) encode(b []byte) {
	copy(b, m.Store[:])
	le.PutUint32(b[16:], m.Incarnation)
	le.PutUint64(b[24:], m.First)
	le.PutUint64(b[32:], m.Last)
	le.PutUint64(b[40:], m.FirstSeq)
	le.PutUint64(b[48:], m.LastSeq)
	le.PutUint64(b[56:], m.LastEpoch)
	copy(b[64:], m.LastHash[:])
	le.PutUint64(b[96:], uint64(m.FirstTime))
	le.PutUint64(b[104:], uint64(m.LastTime))
	copy(b[112:], m.IDLow[:])
	copy(b[128:], m.IDHigh[:])
}

func (m *Meta) decode(b []byte) {
	*m = Meta{
		Store: [16]byte(b), Incarnation: le.Uint32(b[16:]), First: le.Uint64(b[24:]), Last: le.Uint64(b[32:]),
		FirstSeq: le.Uint64(b[40:]), LastSeq: le.Uint64(b[48:]), LastEpoch: le.Uint64(b[56:]), LastHash: [32]byte(b[64:96]),
		FirstTime: int64(le.Uint64(b[96:])), LastTime: int64(le.Uint64(b[104:])),
		IDLow: [16]byte(b[112:128]), IDHigh: [16]byte(b[128:144]),
	}
}

// seed is where the checksums of a run's blocks begin.
func (m *Meta) seed() uint32 {
	var b [countOffset - metaOffset]byte
	m.encode(b[:])
	return crc32.Checksum(b[:], castagnoli)
}

// readTrailer reads and verifies the end of a file.
func readTrailer(f io.ReaderAt, size int64) (*trailer, error) {
	blocks := size / blockBytes
	if size <= 0 || size%blockBytes != 0 || blocks > blocksMax {
		return nil, damaged(0, "%d bytes are no file of whole blocks", size)
	}
	number := uint32(blocks - 1)
	b, _ := spare.Get().(*block)
	defer spare.Put(b)
	if err := readFull(f, b[:], number); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(b[:], []byte(magic)) {
		return nil, damaged(number, "no trailer")
	}
	if b.crc() != b.sum(0, number) {
		return nil, damaged(number, "checksum of the trailer")
	}
	if f := le.Uint32(b[8:]); f > format {
		return nil, &NewerFormatError{Format: f, Known: format}
	}
	t := decodeTrailer(b)
	var again block
	t.encode(&again)
	le.PutUint32(again[payloadBytes+4:], b.crc())
	if again != *b {
		return nil, damaged(number, "reserved bytes of the trailer")
	}
	if problem := t.problem(uint32(blocks)); problem != "" {
		return nil, damaged(number, "%s", problem)
	}
	return t, nil
}

func decodeTrailer(b *block) *trailer {
	t := &trailer{
		blocks: le.Uint32(b[12:]), terms: le.Uint64(b[160:]), positions: le.Uint64(b[168:]), filtered: le.Uint64(b[176:]),
		dictionary:       root{block: le.Uint32(b[184:]), levels: int(le.Uint32(b[188:]))},
		dictionaryBlocks: le.Uint32(b[192:]),
		filters:          root{block: le.Uint32(b[196:]), levels: int(le.Uint32(b[200:]))},
		filterCount:      le.Uint32(b[204:]), times: le.Uint32(b[208:]), timeCount: le.Uint32(b[212:]), sums: le.Uint32(b[216:]),
	}
	t.meta.decode(b[metaOffset:countOffset])
	return t
}

// problem says what is impossible about a trailer whose checksum matches. What memory is allocated by is bounded here.
func (t *trailer) problem(blocks uint32) string {
	if p := t.meta.problem(); p != "" {
		return p
	}
	within := func(r root, leaves uint32) bool {
		if leaves == 0 {
			return r == root{block: none}
		}
		return r.block < blocks && r.levels >= 0 && r.levels <= levelsMax && leaves < blocks
	}
	timeBlocks := (uint64(t.timeCount) + timesPerBlock - 1) / timesPerBlock
	switch {
	case t.blocks != blocks:
		return "the file has another size than the trailer says"
	case !within(t.dictionary, t.dictionaryBlocks) || (t.terms == 0) != (t.dictionaryBlocks == 0):
		return "the tree of terms"
	case !within(t.filters, t.filterCount) || (t.filtered == 0) != (t.filterCount == 0) || t.filtered > t.terms:
		return "the tree of filters"
	case uint64(t.timeCount) != t.meta.timeCount():
		return "the number of times"
	case t.timeCount == 0 && t.times != none, t.timeCount > 0 && uint64(t.times)+timeBlocks >= uint64(blocks):
		return "the place of the times"
	}
	return ""
}

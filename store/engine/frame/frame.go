package frame

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/annalsdb/annals"
)

// HeaderBytes is the size of a frame's header.
const HeaderBytes = 160

// BytesMax bounds a frame before memory is allocated for it.
const BytesMax = 128 << 20

const (
	magic    = "ANNLFRM1"
	kindData = 1
)

// StoreID identifies a store. It is random.
type StoreID [16]byte

// Ref names a frame: its number, from 1, and its hash. The zero Ref stands before the first frame.
type Ref struct {
	Seq  uint64
	Hash [32]byte
}

// Header says what a frame holds and where it belongs.
type Header struct {
	Store         StoreID
	Incarnation   uint32 // counts restores to an earlier point, which use positions again
	Epoch         uint64 // counts openings; never less than that of the frame before
	Seq           uint64
	FirstPosition annals.Position
	EventCount    uint32
	Time          time.Time
	Size          uint32 // of the records
	PrevHash      [32]byte
	BodyRoot      [32]byte // over the body hash and the revision of each record
	Hash          [32]byte // of the header, and through BodyRoot of all bodies
}

// Ref names the frame.
func (h *Header) Ref() Ref { return Ref{Seq: h.Seq, Hash: h.Hash} }

// LastPosition is that of the frame's last event.
func (h *Header) LastPosition() annals.Position {
	return h.FirstPosition + annals.Position(h.EventCount) - 1
}

// Builder packs records into a frame.
//
//	  0 8B "ANNLFRM1"   8 u16 header size   10 u8 kind   11 u8 codec 0   12 u8 cipher 0   13 3B 0
//	 16 16B store id   32 u32 incarnation   36 u32 flags 0               40 u64 epoch
//	 48 u64 seq        56 u64 first position                             64 u32 events   68 u32 records
//	 72 i64 time       80 u32 logical size  84 u32 stored size           88 32B hash of the frame before
//	120 32B body root 152 u32 body crc     156 u32 header crc           160 records
//
// The body crc is taken over the records' own checksums, or, once a frame is compressed or encrypted, over the bytes that
// are stored; the header crc over the 156 bytes before it; the frame's hash
// over the first 152,
// with codec, cipher and stored size as 0.
type Builder struct {
	header Header
	buf    []byte
	root   hash.Hash
	leaf   leaf
	crc    uint32
}

// NewBuilder begins the frame that h describes: its store, incarnation, epoch, seq, first position, time and previous
// hash. It writes into buf, if that is large enough.
func NewBuilder(h Header, buf []byte) *Builder {
	h.EventCount = 0
	h.Time = time.Unix(0, h.Time.UnixNano()).UTC() // as it will be read
	return &Builder{header: h, root: sha256.New(), buf: slices.Grow(buf[:0], HeaderBytes)[:HeaderBytes]}
}

// Add appends a record made by [AppendBody] at the next position.
func (b *Builder) Add(record []byte, bodyHash [32]byte, r annals.Revision) {
	at := len(b.buf)
	b.buf = append(b.buf, record...)
	sealed := b.buf[at:]
	Seal(sealed, b.header.FirstPosition+annals.Position(b.header.EventCount), r, b.header.Time, b.header.Store)
	b.header.EventCount++
	b.crc = fourCRC(b.crc, binary.LittleEndian.Uint32(sealed[4:]))
	b.leaf.add(b.root, bodyHash, uint64(r))
}

// leaf is what the root over the bodies takes of a record. It is a buffer, since what a hash is given is put on the heap.
type leaf [32 + 8]byte

func (l *leaf) add(root hash.Hash, bodyHash [32]byte, revision uint64) {
	copy(l[:], bodyHash[:])
	binary.LittleEndian.PutUint64(l[32:], revision)
	_, _ = root.Write(l[:]) // hashes never fail
}

// leavesPool keeps what verify takes of all records, to hash it at once.
var leavesPool = sync.Pool{New: func() any { return new([]byte) }}

// Finish gives the bytes of the frame and its complete header. The builder must not be used again.
func (b *Builder) Finish() ([]byte, Header) {
	h := &b.header
	h.Size = uint32(len(b.buf) - HeaderBytes)
	b.root.Sum(h.BodyRoot[:0])
	f := b.buf
	clear(f[:HeaderBytes])
	le := binary.LittleEndian
	copy(f, magic)
	le.PutUint16(f[8:], HeaderBytes)
	f[10] = kindData
	copy(f[16:], h.Store[:])
	le.PutUint32(f[32:], h.Incarnation)
	le.PutUint64(f[40:], h.Epoch)
	le.PutUint64(f[48:], h.Seq)
	le.PutUint64(f[56:], uint64(h.FirstPosition))
	le.PutUint32(f[64:], h.EventCount)
	le.PutUint32(f[68:], h.EventCount)
	le.PutUint64(f[72:], uint64(h.Time.UnixNano()))
	le.PutUint32(f[80:], h.Size)
	le.PutUint32(f[84:], h.Size)
	copy(f[88:], h.PrevHash[:])
	copy(f[120:], h.BodyRoot[:])
	le.PutUint32(f[152:], b.crc)
	le.PutUint32(f[156:], crc32.Checksum(f[:156], castagnoli))
	h.Hash = hashOf(f)
	return f, *h
}

// hashOf is the hash of the frame whose header begins f: of its first 152 bytes, with codec, cipher and stored size taken
// as 0, so that it stays when the frame is compressed or encrypted.
func hashOf(f []byte) [32]byte {
	var canonical [152]byte
	copy(canonical[:], f)
	canonical[11], canonical[12] = 0, 0
	clear(canonical[84:88])
	return sha256.Sum256(canonical[:])
}

// ParseHeader verifies and decodes the header that begins b. It does not look at the records, which need not be in b.
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderBytes || !bytes.HasPrefix(b, []byte(magic)) {
		return Header{}, fmt.Errorf("%w: no frame begins here", ErrMalformed)
	}
	le := binary.LittleEndian
	if le.Uint32(b[156:]) != crc32.Checksum(b[:156], castagnoli) {
		return Header{}, fmt.Errorf("frame header: %w", ErrChecksum)
	}
	h := Header{
		Store: StoreID(b[16:32]), Incarnation: le.Uint32(b[32:]), Epoch: le.Uint64(b[40:]), Seq: le.Uint64(b[48:]),
		FirstPosition: annals.Position(le.Uint64(b[56:])), EventCount: le.Uint32(b[64:]),
		Time: time.Unix(0, int64(le.Uint64(b[72:]))).UTC(), Size: le.Uint32(b[80:]),
		PrevHash: [32]byte(b[88:120]), BodyRoot: [32]byte(b[120:152]), Hash: hashOf(b),
	}
	switch {
	case b[10] != kindData || b[11] != 0 || b[12] != 0:
		return Header{}, fmt.Errorf("%w: frame kind %d, codec %d, cipher %d", ErrUnknownKind, b[10], b[11], b[12])
	case le.Uint16(b[8:]) != HeaderBytes || b[13]|b[14]|b[15] != 0 || le.Uint32(b[36:]) != 0:
		return Header{}, fmt.Errorf("%w: reserved bytes of a frame header are not zero", ErrMalformed)
	case h.Size > BytesMax || h.Size%recordAlign != 0 || le.Uint32(b[84:]) != h.Size || le.Uint32(b[68:]) < h.EventCount || h.EventCount == 0:
		return Header{}, fmt.Errorf("%w: the counts of a frame header do not agree", ErrMalformed)
	case h.Seq == 0 || h.FirstPosition == 0 || h.LastPosition() < h.FirstPosition || h.LastPosition() == annals.NoPosition:
		return Header{}, fmt.Errorf("%w: the numbers of a frame header are out of range", ErrMalformed)
	}
	return h, nil
}

// Verify checks everything that a frame says of itself: the checksum of the header and of each record, the places of
// the records, the root over their bodies. It does not know the frame before: compare [Header.PrevHash].
func Verify(f []byte, store StoreID) (Header, error) { return verify(f, store, true) }

// VerifySums is Verify but for the root over the bodies, whose hashes take most of the time. It finds all damage that
// happens, and none that somebody has made who took care of the checksums.
func VerifySums(f []byte, store StoreID) (Header, error) { return verify(f, store, false) }

func verify(f []byte, store StoreID, rooted bool) (Header, error) {
	h, err := ParseHeader(f)
	if err != nil {
		return Header{}, err
	}
	if h.Store != store {
		return Header{}, fmt.Errorf("%w: the frame belongs to another store", ErrMalformed)
	}
	if len(f) != HeaderBytes+int(h.Size) {
		return Header{}, fmt.Errorf("%w: a frame of %d bytes in %d", ErrMalformed, HeaderBytes+int(h.Size), len(f))
	}
	crc, next, records := uint32(0), h.FirstPosition, uint32(0)
	leaves, _ := leavesPool.Get().(*[]byte)
	defer leavesPool.Put(leaves)
	*leaves = (*leaves)[:0]
	var r Record
	decoder := NewLender(store)
	for at := HeaderBytes; at < len(f); records++ {
		size, err := decoder.DecodeInto(&r, f[at:])
		if size == 0 {
			return Header{}, fmt.Errorf("position %d, at byte %d of the frame: %w", next, at, err)
		}
		b := f[at : at+size]
		crc = fourCRC(crc, binary.LittleEndian.Uint32(b[4:]))
		if rooted {
			body := BodyHash(b)
			*leaves = append(append(*leaves, body[:]...), b[16:24]...) // as leaf says
		}
		at += size
		switch {
		case errors.Is(err, ErrSkippable):
			continue
		case err != nil:
			return Header{}, fmt.Errorf("position %d, at byte %d of the frame: %w", next, at-size, err)
		case r.Position != next || !r.Time.Equal(h.Time):
			return Header{}, fmt.Errorf("%w: position %d where %d belongs", ErrMalformed, r.Position, next)
		}
		next++
	}
	switch {
	case next != h.FirstPosition+annals.Position(h.EventCount) || records != binary.LittleEndian.Uint32(f[68:]):
		return Header{}, fmt.Errorf("%w: %d events in %d records, the header says otherwise", ErrMalformed, next-h.FirstPosition, records)
	case binary.LittleEndian.Uint32(f[152:]) != crc:
		return Header{}, fmt.Errorf("frame body: %w", ErrChecksum)
	case rooted && sha256.Sum256(*leaves) != h.BodyRoot:
		return Header{}, fmt.Errorf("frame body root: %w", ErrChecksum)
	}
	return h, nil
}

// SumsMatch reports whether the bytes of f, whatever they mean, are those that somebody wrote: it compares the checksums of
// the header, the body and each record, and knows nothing else. What [Verify] refuses although they match is not damaged, but
// by a newer program, or by a wrong one.
func SumsMatch(f []byte, store StoreID) bool {
	le := binary.LittleEndian
	if len(f) < HeaderBytes || !bytes.HasPrefix(f, []byte(magic)) || le.Uint32(f[156:]) != crc32.Checksum(f[:156], castagnoli) {
		return false
	}
	body := f[HeaderBytes:]
	switch packed := f[11] != 0 || f[12] != 0; {
	case len(body) != int(le.Uint32(f[84:])):
		return false
	case packed: // records cannot be told in what is compressed or encrypted
		return le.Uint32(f[152:]) == crc32.Checksum(body, castagnoli)
	}
	crc, seed, records := uint32(0), crcSeed(store), uint32(0)
	for _, b := range Records(f) {
		if le.Uint32(b[4:]) != seededCRC(seed, b) {
			return false
		}
		crc = fourCRC(crc, le.Uint32(b[4:]))
		records++
	}
	return crc == le.Uint32(f[152:]) && records == le.Uint32(f[68:])
}

// IsEvent reports whether a record, given by its bytes, holds an event, which has a position. Others are for newer programs.
func IsEvent(record []byte) bool { return Kind(record[64]) == KindEvent }

// Records yields the bytes of a frame's records, each with its offset in the frame, without looking into them. It ends at the first
// whose size makes no sense, which [Verify] notices by the count.
func Records(f []byte) iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for at := HeaderBytes; at < len(f); {
			size, err := RecordSize(f[at:])
			if err != nil || !yield(at, f[at:at+size]) {
				return
			}
			at += size
		}
	}
}

package frame

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// Kind tells what a record is. 0 is never written, so that zeroed bytes are no record. Of kinds that are not listed
// here, those below 128 are refused and the others are for newer programs: they may be skipped.
type Kind uint8

// KindEvent is a record that holds a whole event.
const KindEvent Kind = 1

// Flags of a record.
const (
	// FlagLast marks the last event of an append.
	FlagLast uint8 = 1 << iota
	// FlagSystem marks an event of the system's own.
	FlagSystem
)

// Sizes of a record, in bytes.
const (
	RecordHeaderBytes = 88
	// RecordBytesMax bounds a record before memory is allocated for it.
	RecordBytesMax = 32 << 20

	recordAlign = 8
	bodyOffset  = 32 // the hash of the body begins here
)

// The content types that have a number of their own. Others are written as text, in the extension extContentType.
const (
	contentJSON  = 0
	contentBytes = 1
	contentOther = 255

	octetStream = "application/octet-stream"

	extContentType = 1
)

// Errors of decoding. Each is a different fact about the bytes.
var (
	// ErrChecksum: the bytes are not those that were written.
	ErrChecksum = errors.New("frame: checksum does not match")
	// ErrMalformed: the checksum matches, or cannot be taken, but the bytes make no sense.
	ErrMalformed = errors.New("frame: malformed")
	// ErrUnknownKind: a newer program wrote this, and what it says must not be passed over.
	ErrUnknownKind = errors.New("frame: unknown kind")
	// ErrSkippable: a newer program wrote this, and whoever does not know it may pass over it. Size and checksum are right.
	ErrSkippable = errors.New("frame: unknown kind that may be skipped")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record is a decoded record.
type Record struct {
	Kind  Kind
	Flags uint8
	// Blind is random: it keeps anyone who knows the hash of a body from confirming a guess of its content.
	Blind [16]byte
	annals.Recorded
}

// AppendBody encodes everything of an event that its caller knows, without place, and appends it to dst, which must be
// 8-aligned in length. The record is not valid until [Seal] has given it a place. The event must be canonical, have an id
// and have passed [annals.CheckAppend].
//
//	 0 u32 size        4 u32 crc          8 u64 position    16 u64 revision   24 i64 time
//	32 16B id         48 16B blind       64 u8 kind         65 u8 flags       66 u8 content type  67 u8 tag count
//	68 u16 typeLen    70 u16 streamLen   72 u32 tagsLen     76 u32 metaLen    80 u32 dataLen
//	84 u16 extLen     86 u16 version     88 type, stream, tags, metadata, data, extensions, zeros to a multiple of 8
func AppendBody(dst []byte, e *annals.Event, blind [16]byte, flags uint8) []byte {
	start := len(dst)
	contentType, ext := encodeContentType(e.ContentType)
	size, tagsLen := sizes(e, len(ext))
	dst = slices.Grow(dst, size)[:start+size]
	r := dst[start:]
	clear(r[:RecordHeaderBytes])
	le := binary.LittleEndian
	le.PutUint32(r[0:], uint32(size))
	copy(r[32:], e.ID[:])
	copy(r[48:], blind[:])
	r[64], r[65], r[66], r[67] = byte(KindEvent), flags, contentType, byte(len(e.Tags))
	le.PutUint16(r[68:], uint16(len(e.Type)))
	le.PutUint16(r[70:], uint16(len(e.Stream)))
	le.PutUint32(r[72:], uint32(tagsLen))
	le.PutUint32(r[76:], uint32(len(e.Metadata)))
	le.PutUint32(r[80:], uint32(len(e.Data)))
	le.PutUint16(r[84:], uint16(len(ext)))
	le.PutUint16(r[86:], e.Version)
	at := RecordHeaderBytes
	at += copy(r[at:], e.Type)
	at += copy(r[at:], e.Stream)
	for _, t := range e.Tags {
		le.PutUint16(r[at:], uint16(len(t)))
		at += 2 + copy(r[at+2:], t)
	}
	at += copy(r[at:], e.Metadata)
	at += copy(r[at:], e.Data)
	at += copy(r[at:], ext)
	clear(r[at:])
	return dst
}

// BodySize is how many bytes [AppendBody] appends for an event.
func BodySize(e *annals.Event) int {
	ext := 0
	if e.ContentType != "" && e.ContentType != octetStream {
		ext = 4 + len(e.ContentType)
	}
	size, _ := sizes(e, ext)
	return size
}

func sizes(e *annals.Event, extLen int) (size, tagsLen int) {
	for _, t := range e.Tags {
		tagsLen += 2 + len(t)
	}
	size = RecordHeaderBytes + len(e.Type) + len(e.Stream) + tagsLen + len(e.Metadata) + len(e.Data) + extLen
	return (size + recordAlign - 1) &^ (recordAlign - 1), tagsLen
}

func encodeContentType(contentType string) (number byte, ext []byte) {
	switch contentType {
	case "":
		return contentJSON, nil
	case octetStream:
		return contentBytes, nil
	}
	ext = binary.LittleEndian.AppendUint16(nil, extContentType)
	ext = binary.LittleEndian.AppendUint16(ext, uint16(len(contentType)))
	return contentOther, append(ext, contentType...)
}

// BodyHash is the SHA-256 of the part of a record that does not depend on its place.
func BodyHash(record []byte) [32]byte { return sha256.Sum256(record[bodyOffset:]) }

// Seal gives a record made by [AppendBody] its place and its checksum, which is seeded with the first four bytes of
// the store's id, so that a record of another store does not verify.
func Seal(record []byte, p annals.Position, r annals.Revision, t time.Time, store StoreID) {
	le := binary.LittleEndian
	le.PutUint64(record[8:], uint64(p))
	le.PutUint64(record[16:], uint64(r))
	le.PutUint64(record[24:], uint64(t.UnixNano()))
	le.PutUint32(record[4:], recordCRC(record, store))
}

func recordCRC(record []byte, store StoreID) uint32 {
	return seededCRC(crcSeed(store), record)
}

// crcSeed is crc32.Update(0, castagnoli, store[:4]), which would put the id on the heap, once for each record.
func crcSeed(store StoreID) uint32 { return fourCRC(0, binary.LittleEndian.Uint32(store[:4])) }

// four are the tables to take the checksum of four bytes in one step, where a call would take longer.
var four = func() (t [4]crc32.Table) {
	t[0] = *castagnoli
	for i := 1; i < len(t); i++ {
		for b, crc := range t[i-1] {
			t[i][b] = castagnoli[byte(crc)] ^ crc>>8
		}
	}
	return t
}()

// fourCRC is crc32.Update for the four bytes of a little-endian number.
func fourCRC(crc, number uint32) uint32 {
	x := ^crc ^ number
	return ^(four[3][byte(x)] ^ four[2][byte(x>>8)] ^ four[1][byte(x>>16)] ^ four[0][byte(x>>24)])
}

// seededCRC is the checksum of a record, whose own place in it is left out.
func seededCRC(seed uint32, record []byte) uint32 {
	return crc32.Update(fourCRC(seed, binary.LittleEndian.Uint32(record)), castagnoli, record[8:])
}

// RecordSize is the size of the record that begins b, checked against its bounds and against the length of b.
func RecordSize(b []byte) (int, error) {
	if len(b) < RecordHeaderBytes {
		return 0, fmt.Errorf("%w: %d bytes are too few for a record", ErrMalformed, len(b))
	}
	size := int(binary.LittleEndian.Uint32(b))
	if size < RecordHeaderBytes || size%recordAlign != 0 || size > RecordBytesMax || size > len(b) {
		return 0, fmt.Errorf("%w: a record of %d bytes in %d", ErrMalformed, size, len(b))
	}
	return size, nil
}

// DecodeRecord verifies and decodes the record that begins b, and tells its size. Data and metadata share memory with
// b; names are copied.
func DecodeRecord(b []byte, store StoreID) (Record, int, error) {
	size, err := RecordSize(b)
	if err != nil {
		return Record{}, 0, err
	}
	b = b[:size]
	le := binary.LittleEndian
	if le.Uint32(b[4:]) != recordCRC(b, store) {
		return Record{}, 0, fmt.Errorf("record: %w", ErrChecksum)
	}
	r := Record{Kind: Kind(b[64]), Flags: b[65], Blind: [16]byte(b[48:64])}
	if err := r.Kind.known(); err != nil {
		return Record{Kind: r.Kind}, size, err
	}
	r.ID = annals.ID(b[32:48])
	r.Position = annals.Position(le.Uint64(b[8:]))
	r.Revision = annals.Revision(le.Uint64(b[16:]))
	r.Time = time.Unix(0, int64(le.Uint64(b[24:]))).UTC()
	r.Version = max(le.Uint16(b[86:]), 1)
	if err := r.decodeFields(b); err != nil {
		return Record{}, 0, err
	}
	if err := r.check(b[66]); err != nil {
		return Record{}, 0, err
	}
	return r, size, nil
}

// firstSkippableKind begins the kinds that programs which do not know them may pass over.
const firstSkippableKind Kind = 128

func (k Kind) known() error {
	switch {
	case k == KindEvent:
		return nil
	case k >= firstSkippableKind:
		return fmt.Errorf("%w: record kind %d", ErrSkippable, k)
	}
	return fmt.Errorf("%w: record kind %d", ErrUnknownKind, k)
}

// check refuses what no program of this format writes, although its checksum is right.
func (r *Record) check(contentType byte) error {
	problem := ""
	switch {
	case r.Flags&^(FlagLast|FlagSystem) == 0 && r.Type != "" && r.Stream != "" && r.Revision != annals.NoRevision && contentType == contentJSON:
		// As almost all are.
	case r.Flags&^(FlagLast|FlagSystem) != 0:
		problem = "unknown flags"
	case r.Type == "":
		problem = "no type"
	case (r.Stream == "") != (r.Revision == annals.NoRevision):
		problem = "a revision without a stream, or a stream without a revision"
	case contentType > contentBytes && contentType != contentOther:
		problem = "unknown content type"
	case (contentType == contentOther) != (r.ContentType != "" && contentType != contentBytes):
		problem = "a content type that is not named"
	}
	for i := 1; i < len(r.Tags); i++ {
		if r.Tags[i-1] >= r.Tags[i] {
			problem = "tags out of order"
		}
	}
	if len(r.Tags) > 0 && r.Tags[0] == "" {
		problem = "an empty tag"
	}
	if problem == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrMalformed, problem)
}

func (r *Record) decodeFields(b []byte) error {
	le := binary.LittleEndian
	f := fields{b: b[RecordHeaderBytes:]}
	r.Type = string(f.take(int(le.Uint16(b[68:]))))
	r.Stream = string(f.take(int(le.Uint16(b[70:]))))
	tags := fields{b: f.take(int(le.Uint32(b[72:])))}
	r.Metadata = f.take(int(le.Uint32(b[76:])))
	r.Data = f.take(int(le.Uint32(b[80:])))
	ext := fields{b: f.take(int(le.Uint16(b[84:])))}
	if n := int(b[67]); n > 0 {
		r.Tags = make([]string, n)
	}
	for i := range r.Tags {
		r.Tags[i] = string(tags.takeSized())
	}
	r.ContentType = decodeContentType(b[66], &ext)
	if f.short || tags.short || len(tags.b) > 0 || ext.short || len(f.b) >= recordAlign {
		return fmt.Errorf("%w: the lengths of a record's fields do not add up", ErrMalformed)
	}
	for _, pad := range f.b {
		if pad != 0 {
			return fmt.Errorf("%w: padding is not zero", ErrMalformed)
		}
	}
	return nil
}

// decodeContentType reads the number and skips extensions that are not known.
func decodeContentType(number byte, ext *fields) string {
	text := ""
	for len(ext.b) > 0 && !ext.short {
		key := ext.takeUint16()
		if value := ext.takeSized(); key == extContentType {
			text = string(value)
		}
	}
	switch number {
	case contentJSON:
		return ""
	case contentBytes:
		return octetStream
	}
	return text
}

// fields cuts a record's variable part. Once it was too short it stays so.
type fields struct {
	b     []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if n < 0 || n > len(f.b) { // less than 0: a large length where int has 32 bits
		f.short = true
		return nil
	}
	if n == 0 {
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) takeUint16() uint16 {
	b := f.take(2)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint16(b)
}

func (f *fields) takeSized() []byte { return f.take(int(f.takeUint16())) }

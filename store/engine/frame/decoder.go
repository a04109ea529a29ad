package frame

import (
	"encoding/binary"
	"fmt"
	"time"
	"unsafe"

	"github.com/annalsdb/annals"
)

// What a decoder that reads many records allocates at once. A record that is kept keeps its whole chunk, so they are
// small.
const (
	chunkBytes = 16 << 10
	chunkTags  = 128
)

// Decoder decodes records into memory of their own. A sequence of many costs much less than an allocation each. It is for
// one goroutine. The zero Decoder is of no use: see [NewDecoder].
type Decoder struct {
	seed  uint32
	chunk int
	bytes []byte
	tags  []string
}

// NewDecoder decodes the records of a store. With many, it expects a long sequence and allocates in chunks; otherwise a
// record gets exactly what it needs.
func NewDecoder(store StoreID, many bool) *Decoder {
	d := &Decoder{seed: crcSeed(store)}
	if many {
		d.chunk = chunkBytes
	}
	return d
}

// Decode is [DecodeRecord] for a record that shares no memory with b.
func (d *Decoder) Decode(b []byte) (r Record, size int, err error) {
	size, err = d.DecodeInto(&r, b)
	return r, size, err
}

// DecodeInto is [Decoder.Decode] for a record that is given, which saves copies of it. It is overwritten whole, also if an error
// is returned; then it is zero but for the kind of one that may be skipped.
func (d *Decoder) DecodeInto(r *Record, b []byte) (int, error) {
	size, err := d.decode(r, b)
	switch {
	case size == 0:
		*r = Record{}
	case err != nil:
		*r = Record{Kind: r.Kind}
	}
	return size, err
}

// decode gives the size 0 if the record is not to be looked at.
func (d *Decoder) decode(r *Record, b []byte) (int, error) {
	size, err := RecordSize(b)
	if err != nil {
		return 0, err
	}
	b = b[:size]
	le := binary.LittleEndian
	if le.Uint32(b[4:]) != seededCRC(d.seed, b) {
		return 0, fmt.Errorf("record: %w", ErrChecksum)
	}
	*r = Record{Kind: Kind(b[64]), Flags: b[65], Blind: [16]byte(b[48:64])}
	if err := r.Kind.known(); err != nil {
		return size, err
	}
	r.ID = annals.ID(b[32:48])
	r.Position = annals.Position(le.Uint64(b[8:]))
	r.Revision = annals.Revision(le.Uint64(b[16:]))
	r.Time = time.Unix(0, int64(le.Uint64(b[24:]))).UTC()
	r.Version = max(le.Uint16(b[86:]), 1)
	if err := d.fields(r, b); err != nil {
		return 0, err
	}
	if err := r.check(b[66]); err != nil {
		return 0, err
	}
	return size, nil
}

// fields cuts the variable part of a record out of one copy of it: names first, then metadata, then data.
func (d *Decoder) fields(r *Record, b []byte) error {
	le := binary.LittleEndian
	typeLen, streamLen, tagsLen := int(le.Uint16(b[68:])), int(le.Uint16(b[70:])), int(le.Uint32(b[72:]))
	f := fields{b: b[RecordHeaderBytes:]}
	metaLen, dataLen := int(le.Uint32(b[76:])), int(le.Uint32(b[80:]))
	copied := f.b
	for _, n := range [...]int{typeLen, streamLen, tagsLen, metaLen, dataLen} { // one by one: their sum may overflow
		f.take(n)
	}
	ext := fields{b: f.take(int(le.Uint16(b[84:])))}
	r.ContentType = decodeContentType(b[66], &ext)
	if f.short || ext.short || len(f.b) >= recordAlign {
		return fmt.Errorf("%w: the lengths of a record's fields do not add up", ErrMalformed)
	}
	for _, pad := range f.b {
		if pad != 0 {
			return fmt.Errorf("%w: padding is not zero", ErrMalformed)
		}
	}
	named := typeLen + streamLen + tagsLen
	own := d.alloc(named + metaLen + dataLen)
	copy(own, copied)
	names := frozen(own[:named])
	r.Type, r.Stream = names[:typeLen], names[typeLen:typeLen+streamLen]
	if !d.cutTags(r, names[typeLen+streamLen:], int(b[67])) {
		return fmt.Errorf("%w: the lengths of a record's tags do not add up", ErrMalformed)
	}
	// The capacities keep whoever gets these from reaching the names, which are never to change.
	if own = own[named:]; metaLen > 0 {
		r.Metadata = own[:metaLen:metaLen]
	}
	if own = own[metaLen:]; dataLen > 0 {
		r.Data = own
	}
	return nil
}

// frozen is b as a string, without a copy. Nobody may write to b again.
func frozen(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // decoders hand out each byte once, names without a way to write
}

func (d *Decoder) cutTags(r *Record, names string, n int) bool {
	if n > 0 {
		r.Tags = d.allocTags(n)
	}
	for i := range r.Tags {
		if len(names) < 2 {
			return false
		}
		size := int(names[0]) | int(names[1])<<8
		if len(names) < 2+size {
			return false
		}
		r.Tags[i], names = names[2:2+size], names[2+size:]
	}
	return names == ""
}

func (d *Decoder) alloc(n int) []byte {
	if n > d.chunk/4 {
		return make([]byte, n)
	}
	if n > len(d.bytes) {
		d.bytes = make([]byte, d.chunk)
	}
	b := d.bytes[:n:n]
	d.bytes = d.bytes[n:]
	return b
}

func (d *Decoder) allocTags(n int) []string {
	if d.chunk == 0 || n > chunkTags/4 {
		return make([]string, n)
	}
	if n > len(d.tags) {
		d.tags = make([]string, chunkTags)
	}
	t := d.tags[:n:n]
	d.tags = d.tags[n:]
	return t
}

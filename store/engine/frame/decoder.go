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
	// The first chunk is smaller, for sequences that turn out to be short.
	chunkFirst, chunkTagsFirst = 1 << 10, 8
)

// Decoder decodes records, a sequence of many at much less than an allocation each. It is for one goroutine. The zero
// Decoder is of no use: [NewDecoder] makes one whose records share no memory with what they are decoded from, [NewLender]
// one whose records do.
type Decoder struct {
	seed  uint32
	chunk int
	bytes []byte
	tags  []string
	// next and nextTags are how large the last chunks were.
	next, nextTags int
	// lends: names and data stay where they are, and the list of tags is used again.
	lends bool
	// The time of the last record: those of a frame have the same.
	nanos int64
	time  time.Time
	timed bool
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

// NewLender decodes records that are good until the next one is decoded, or until the bytes that they are decoded from
// are written to: nothing of them is copied, names neither.
func NewLender(store StoreID) *Decoder {
	return &Decoder{seed: crcSeed(store), lends: true}
}

// Decode is [DecodeRecord] for a record that shares memory with b only if the decoder says so.
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

// decode gives the size 0 if the record is not to be looked at. Without an error it has set every field of r, one by one:
// to clear them first would take as long again.
func (d *Decoder) decode(r *Record, b []byte) (int, error) {
	size, err := RecordSize(b)
	if err != nil {
		return 0, err
	}
	b = b[:size:size]
	le := binary.LittleEndian
	if le.Uint32(b[4:]) != seededCRC(d.seed, b) {
		return 0, fmt.Errorf("record: %w", ErrChecksum)
	}
	r.Kind = Kind(b[64])
	if r.Kind != KindEvent {
		return size, r.Kind.known()
	}
	r.Flags, r.Blind = b[65], [16]byte(b[48:64])
	r.ID = annals.ID(b[32:48])
	r.Position = annals.Position(le.Uint64(b[8:]))
	r.Revision = annals.Revision(le.Uint64(b[16:]))
	r.Version = max(le.Uint16(b[86:]), 1)
	if nanos := int64(le.Uint64(b[24:])); nanos != d.nanos || !d.timed {
		d.nanos, d.time, d.timed = nanos, time.Unix(0, nanos).UTC(), true
	}
	r.Time = d.time
	if err := d.fields(r, b); err != nil {
		return 0, err
	}
	if err := r.check(b[66]); err != nil {
		return 0, err
	}
	return size, nil
}

// fields cuts the variable part of a record, names first, then metadata, then data, out of one copy of it, or out of b itself.
func (d *Decoder) fields(r *Record, b []byte) error {
	le := binary.LittleEndian
	typeLen, streamLen, tagsLen := uint64(le.Uint16(b[68:])), uint64(le.Uint16(b[70:])), uint64(le.Uint32(b[72:]))
	metaLen, dataLen, extLen := uint64(le.Uint32(b[76:])), uint64(le.Uint32(b[80:])), uint64(le.Uint16(b[84:]))
	named := RecordHeaderBytes + typeLen + streamLen + tagsLen
	whole := named + metaLen + dataLen // which cannot overflow
	pad := uint64(len(b)) - whole - extLen
	if pad >= recordAlign {
		return fmt.Errorf("%w: the lengths of a record's fields do not add up", ErrMalformed)
	}
	if le.Uint64(b[len(b)-recordAlign:])>>(8*(recordAlign-pad)) != 0 {
		return fmt.Errorf("%w: padding is not zero", ErrMalformed)
	}
	r.ContentType = ""
	if extLen > 0 || b[66] != contentJSON {
		ext := fields{b: b[whole : whole+extLen]}
		if r.ContentType = decodeContentType(b[66], &ext); ext.short {
			return fmt.Errorf("%w: the lengths of a record's extensions do not add up", ErrMalformed)
		}
	}
	own := b[RecordHeaderBytes:whole]
	if !d.lends {
		own = d.alloc(len(own))
		copy(own, b[RecordHeaderBytes:])
	}
	names := frozen(own[:named-RecordHeaderBytes])
	r.Type, r.Stream = names[:typeLen], names[typeLen:typeLen+streamLen]
	if !d.cutTags(r, names[typeLen+streamLen:], int(b[67])) {
		return fmt.Errorf("%w: the lengths of a record's tags do not add up", ErrMalformed)
	}
	// The capacities keep whoever gets these from reaching what is not theirs.
	own = own[len(names):]
	r.Metadata, r.Data = nil, nil
	if metaLen > 0 {
		r.Metadata = own[:metaLen:metaLen]
	}
	if dataLen > 0 {
		r.Data = own[metaLen : metaLen+dataLen : metaLen+dataLen]
	}
	return nil
}

// frozen is b as a string, without a copy. Nobody may write to b again while it is in use.
func frozen(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // decoders hand out each byte once, names without a way to write
}

func (d *Decoder) cutTags(r *Record, names string, n int) bool {
	if r.Tags = nil; n > 0 {
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
		d.next = min(max(2*d.next, chunkFirst, n), d.chunk)
		d.bytes = make([]byte, d.next)
	}
	b := d.bytes[:n:n]
	d.bytes = d.bytes[n:]
	return b
}

func (d *Decoder) allocTags(n int) []string {
	switch {
	case d.lends:
		if n > cap(d.tags) {
			d.tags = make([]string, n)
		}
		return d.tags[:n:n]
	case d.chunk == 0 || n > chunkTags/4:
		return make([]string, n)
	case n > len(d.tags):
		d.nextTags = min(max(2*d.nextTags, chunkTagsFirst, n), chunkTags)
		d.tags = make([]string, d.nextTags)
	}
	t := d.tags[:n:n]
	d.tags = d.tags[n:]
	return t
}

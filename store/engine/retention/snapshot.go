package retention

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// snapshotVersion is the first byte of a snapshot. What an index keeps may be made anew, so older versions are not read.
const snapshotVersion = 1

// ErrSnapshot says that bytes are no snapshot of a table, or one of another version. The table is made from the log then.
var ErrSnapshot = errors.New("retention: not a snapshot")

// AppendSnapshot appends to dst what was in force when head was the head. Checksums are the business of whoever stores it.
//
//	u8 version · uvarint streams · for each, ascending: string name · uvarint at, revision, deleted · i64 accepted ·
//	uvarint counts · for each: uvarint until, most · uvarint truncateBefore, maxAge, maxCount · u8 ended
//
// Strings are a uvarint length and bytes; the i64 is little-endian.
func (t *Table) AppendSnapshot(dst []byte, head annals.Position) []byte {
	t.mu.RLock()
	streams := maps.Clone(t.streams)
	t.mu.RUnlock()
	for stream := range streams {
		if v := t.of(stream, head); v != nil {
			streams[stream] = v
		} else {
			delete(streams, stream)
		}
	}
	dst = append(dst, snapshotVersion)
	dst = binary.AppendUvarint(dst, uint64(len(streams)))
	for _, stream := range slices.Sorted(maps.Keys(streams)) {
		v := streams[stream]
		dst = binary.AppendUvarint(dst, uint64(len(stream)))
		dst = append(dst, stream...)
		for _, n := range []uint64{uint64(v.at), uint64(v.revision), uint64(v.deleted)} {
			dst = binary.AppendUvarint(dst, n)
		}
		dst = binary.LittleEndian.AppendUint64(dst, uint64(v.accepted))
		dst = binary.AppendUvarint(dst, uint64(len(v.counts)))
		for _, c := range v.counts {
			dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(c.until)), uint64(c.most))
		}
		for _, n := range []uint64{uint64(v.keep.TruncateBefore), uint64(v.keep.MaxAge), uint64(v.keep.MaxCount)} {
			dst = binary.AppendUvarint(dst, n)
		}
		ended := byte(0)
		if v.ended {
			ended = 1
		}
		dst = append(dst, ended)
	}
	return dst
}

// Load replaces the table by a snapshot. The table is as it was if that fails, with [ErrSnapshot].
func (t *Table) Load(b []byte) error {
	d := decoder{rest: b}
	if version := d.byte(); version != snapshotVersion {
		return fmt.Errorf("%w: version %d", ErrSnapshot, version)
	}
	n := d.uvarint()
	if n > uint64(len(b)) { // each takes more than a byte
		return fmt.Errorf("%w: %d streams in %d bytes", ErrSnapshot, n, len(b))
	}
	streams := make(map[string]*version, n)
	last := ""
	for range n {
		stream := string(d.bytes(d.uvarint()))
		v := &version{at: annals.Position(d.uvarint()), revision: annals.Revision(d.uvarint()), deleted: annals.Position(d.uvarint())}
		v.accepted = int64(d.fixed())
		for range min(d.uvarint(), uint64(len(d.rest))) {
			v.counts = append(v.counts, &count{until: annals.Position(d.uvarint()), most: int(d.uvarint())})
		}
		v.keep = annals.Retention{TruncateBefore: annals.Revision(d.uvarint()), MaxAge: time.Duration(d.uvarint()), MaxCount: int(d.uvarint())}
		ended := d.byte()
		if d.bad || ended > 1 || stream <= last || v.keep.Check() != nil || slices.ContainsFunc(v.counts, func(c *count) bool { return c.most < 1 }) {
			return fmt.Errorf("%w: stream %q", ErrSnapshot, stream)
		}
		v.ended = ended == 1
		streams[stream], last = v, stream
	}
	if len(d.rest) > 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrSnapshot, len(d.rest))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.streams = streams
	t.size.Store(int64(len(streams)))
	return nil
}

// decoder reads from the front, and zeros once something was bad.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) bytes(n uint64) []byte {
	if d.bad || n > uint64(len(d.rest)) {
		d.bad = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.bytes(1); b != nil {
		return b[0]
	}
	return math.MaxUint8
}

func (d *decoder) fixed() uint64 {
	if b := d.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if d.bad || size <= 0 {
		d.bad = true
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

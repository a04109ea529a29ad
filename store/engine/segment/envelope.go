package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/annalsdb/annals/store/engine/frame"
)

const (
	envelopeBytes = 32
	envelopeMagic = "ANNLENV1"
)

// envelope ties a frame to its place, so that bytes of another file, or of another place in this one, are not taken for
// it.
//
//	 0 8B "ANNLENV1"  8 u32 size of the frame   12 u32 crc over [0,12), [16,32), the frame's header crc, the segment's
//	16 u64 seq       24 u64 durableSeq              salt, and the offset of the envelope in the file as u64
type envelope struct {
	size int // of the frame
	seq  uint64
	// durableSeq is the last frame that was known to be durable when this one was written.
	durableSeq uint64
}

// encodeEnvelope writes the envelope of the frame f into the first bytes of b.
func encodeEnvelope(b []byte, e envelope, f []byte, salt [16]byte, off int64) {
	le := binary.LittleEndian
	copy(b, envelopeMagic)
	le.PutUint32(b[8:], uint32(e.size))
	le.PutUint64(b[16:], e.seq)
	le.PutUint64(b[24:], e.durableSeq)
	le.PutUint32(b[12:], envelopeCRC(b, f, salt, off))
}

func envelopeCRC(b, f []byte, salt [16]byte, off int64) uint32 {
	// One buffer for all that is covered.
	var covered [12 + 16 + 4 + 16 + 8]byte
	n := copy(covered[:], b[:12])
	n += copy(covered[n:], b[16:envelopeBytes])
	n += copy(covered[n:], f[frame.HeaderBytes-4:frame.HeaderBytes])
	n += copy(covered[n:], salt[:])
	binary.LittleEndian.PutUint64(covered[n:], uint64(off))
	return crc32.Checksum(covered[:], castagnoli)
}

// decodeEnvelope verifies the envelope at the start of b, which holds the frame's header too. limit is how many bytes of the file
// follow from there. With an error it gives what the bytes say.
func decodeEnvelope(b []byte, salt [16]byte, off, limit int64) (envelope, error) {
	if len(b) < envelopeBytes+frame.HeaderBytes || !bytes.HasPrefix(b, []byte(envelopeMagic)) {
		return envelope{}, damaged("no envelope")
	}
	le := binary.LittleEndian
	e := envelope{size: int(le.Uint32(b[8:])), seq: le.Uint64(b[16:]), durableSeq: le.Uint64(b[24:])}
	if le.Uint32(b[12:]) != envelopeCRC(b, b[envelopeBytes:], salt, off) {
		return e, damaged("checksum of the envelope")
	}
	if e.size < frame.HeaderBytes || e.size > frame.BytesMax || e.size%frameAlign != 0 || int64(e.size)+envelopeBytes > limit {
		return e, damaged("size of the envelope: a frame of %d bytes", e.size)
	}
	return e, nil
}

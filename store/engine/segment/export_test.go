package segment

import (
	"context"
	"encoding/binary"
	"hash/crc32"
)

// Reseal makes the checksum of a manifest or of a segment header right again.
func Reseal(b []byte) {
	end := len(b) - manifestTail
	if string(b[:8]) == headerMagic {
		end = headerCRC
	}
	binary.LittleEndian.PutUint32(b[end:], crc32.Checksum(b[:end], castagnoli))
}

// Envelop puts a frame into its envelope, for an offset in the segment whose header begins b.
func Envelop(b, f []byte, seq uint64, off int) []byte {
	enveloped := append(make([]byte, envelopeBytes), f...)
	e := envelope{size: len(f), seq: seq, durableSeq: seq - 1}
	encodeEnvelope(enveloped, e, f, [16]byte(b[56:72]), int64(off))
	return enveloped
}

// DecodeAll gives bytes to every decoder, and reports a decoded value that is not the same bytes again.
func DecodeAll(b []byte, salt [16]byte, off int64) (differs string) {
	if h, err := decodeHeader("", b); err == nil && string(h.encode()) != string(b[:headerBytes]) {
		return "header"
	}
	if m, err := decodeManifest("", b); err == nil && string(m.encode()) != string(b) {
		return "manifest"
	}
	if t, err := decodeTrailer(b); err == nil && string(t.encode()) != string(b[:trailerBytes]) {
		return "trailer"
	}
	_, _ = decodeEnvelope(b, salt, off, int64(len(b)))
	_, _ = decodeFooter(b, off)
	return ""
}

// Abandon leaves a Dir as a process does that is killed: its files are closed and its lock is given up, and nothing is said of
// that in a manifest.
func Abandon(d *Dir) error {
	d.commit.Lock()
	defer d.commit.Unlock()
	d.beginClose()
	d.background.Wait()
	return d.release()
}

// Replace puts the next generation of a sealed segment in its place.
func Replace(ctx context.Context, d *Dir, no uint64) error { return d.replace(ctx, no) }

// Sealed lists the numbers of the segments that are sealed.
func Sealed(d *Dir) (numbers []uint64) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.segments {
		if s.state == stateSealed {
			numbers = append(numbers, s.no)
		}
	}
	return numbers
}

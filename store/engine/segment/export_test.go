package segment

import (
	"context"
	"encoding/binary"
	"hash/crc32"
)

// Reseal makes the checksum of what begins b right again, which is long enough to be anything.
func Reseal(b []byte, salt [16]byte, off int64) {
	end := len(b) - manifestTail
	switch string(b[:8]) {
	case headerMagic:
		end = headerCRC
	case trailerMagic:
		end = trailerBytes - 4
	case envelopeMagic:
		binary.LittleEndian.PutUint32(b[12:], envelopeCRC(b, b[envelopeBytes:], salt, off))
		return
	case footerMagic:
		n := int(min(int64(binary.LittleEndian.Uint32(b[8:])), int64(len(b)-directoryHead)/directoryItem))
		for i := range n {
			item := b[directoryHead+i*directoryItem:]
			at, size := int64(binary.LittleEndian.Uint64(item[8:]))-off, int64(binary.LittleEndian.Uint64(item[16:]))
			if at >= 0 && size >= 0 && at <= int64(len(b)) && size <= int64(len(b))-at {
				binary.LittleEndian.PutUint32(item[4:], crc32.Checksum(b[at:at+size], castagnoli))
			}
		}
		binary.LittleEndian.PutUint32(b[12:], directoryCRC(b, n))
		return
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
	if e, err := decodeEnvelope(b, salt, off, int64(len(b))); err == nil {
		again := make([]byte, envelopeBytes)
		if encodeEnvelope(again, e, b[envelopeBytes:], salt, off); string(again) != string(b[:envelopeBytes]) {
			return "envelope"
		}
	}
	if t, err := decodeFooter(b, off); err == nil && cap(t.records)*4+cap(t.frames)*8 > 2*len(b)+64 {
		return "footer"
	}
	// What the tools read is at least what the store does.
	if _, err := ReadHeader(b); err != nil {
		if _, err := decodeHeader("", b); err == nil {
			return "header that tools refuse"
		}
	}
	if _, err := ReadManifest(b); err != nil {
		if _, err := decodeManifest("", b); err == nil {
			return "manifest that tools refuse"
		}
	}
	if _, err := ReadTrailer(b); err != nil {
		if _, err := decodeTrailer(b); err == nil {
			return "trailer that tools refuse"
		}
	}
	_, _ = ReadEnvelope(b, salt, off)
	_, _ = ReadFooter(b, off)
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

// TableBytes is what the tables of sealed segments take that can be loaded again: as it is counted, and as it is.
func TableBytes(d *Dir) (counted, taken int64) {
	d.tables.mu.Lock()
	counted = d.tables.bytes
	d.tables.mu.Unlock()
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, s := range d.segments {
		s.mu.Lock()
		if s.state == stateSealed && s.table != nil && !s.pinned {
			taken += s.table.bytes()
		}
		s.mu.Unlock()
	}
	return counted, taken
}

// EnvelopeVerifies tells whether an envelope at this offset of a segment is believed.
func EnvelopeVerifies(b []byte, salt [16]byte, off int64) bool {
	_, err := decodeEnvelope(b, salt, off, int64(len(b)))
	return err == nil
}

package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
)

const (
	manifestMagic  = "ANNLMAN1"
	manifestPrefix = "MANIFEST-"
	manifestHead   = 144
	manifestItem   = 144
	manifestTail   = 8
	// manifestBytesMax bounds a manifest before memory is allocated for it.
	manifestBytesMax = 256 << 20
	temporarySuffix  = ".tmp"
)

// state is what a segment is used for.
type state uint8

const (
	// stateNext: it exists, is full of zeros, and waits.
	stateNext state = iota + 1
	// stateActive: frames are written to it.
	stateActive
	// stateFull: no frame will be added; the footer may be there in part.
	stateFull
	// stateSealed: it will not change.
	stateSealed
)

// String names it, as the documents do.
func (s state) String() string {
	if names := []string{stateNext: "next", stateActive: "active", stateFull: "full", stateSealed: "sealed"}; s > 0 && int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("unknown (%d)", uint8(s))
}

// entry is what the manifest says of a segment.
type entry struct {
	no         uint64
	generation uint32
	state      state
	salt       [16]byte
	size       int64 // of the file
	bodyEnd    int64 // where the frames end: full, sealed
	firstSeq   uint64
	firstPos   annals.Position
	lastSeq    uint64 // this and the rest: full, sealed
	lastPos    annals.Position
	lastHash   [32]byte
	sum        [32]byte // sealed: of the file before the trailer
}

func (e *entry) name() string { return segmentName(e.no, e.generation) }

func (e *entry) last() tip {
	return tip{seq: e.lastSeq, pos: e.lastPos, hash: e.lastHash, linked: true}
}

// cleanMark is where the log ended when it was closed.
type cleanMark struct {
	ref     frame.Ref
	pos     annals.Position
	segment uint64
	off     int64
}

// manifest is a whole snapshot of what there is.
//
//	  0 8B "ANNLMAN1"  8 u16 format  10 u8 role 0 (truth)  11 u8 1 if clean  12 u32 size of the manifest
//	 16 16B store id  32 u32 incarnation  36 u32 segments  40 u64 epoch  48 16B hash seed  64 u64 number of the manifest
//	 72 if clean: u64 seq  80 u64 position  88 u64 segment  96 u64 offset  104 32B frame hash     136 u32 keys 0  140 u32 0
//	144 of each segment 144 bytes:
//	      0 u64 no  8 u32 generation  12 u8 state  13 u8 layout  14 u16 0  16 16B salt  32 u64 file size  40 u64 body end
//	     48 u64 first seq  56 u64 first position  64 u64 last seq  72 u64 last position  80 32B last hash  112 32B SHA-256
//	at the end: u32 crc of all before, u32 0
type manifest struct {
	no       uint64
	identity journal.Identity
	epoch    uint64
	clean    *cleanMark
	segments []entry
}

func (m *manifest) encode() []byte {
	b := make([]byte, manifestHead, manifestHead+len(m.segments)*manifestItem+manifestTail)
	le := binary.LittleEndian
	copy(b, manifestMagic)
	le.PutUint16(b[8:], formatNumber)
	le.PutUint32(b[12:], uint32(cap(b)))
	copy(b[16:], m.identity.Store[:])
	le.PutUint32(b[32:], m.identity.Incarnation)
	le.PutUint32(b[36:], uint32(len(m.segments)))
	le.PutUint64(b[40:], m.epoch)
	copy(b[48:], m.identity.HashSeed[:])
	le.PutUint64(b[64:], m.no)
	if c := m.clean; c != nil {
		b[11] = 1
		le.PutUint64(b[72:], c.ref.Seq)
		le.PutUint64(b[80:], uint64(c.pos))
		le.PutUint64(b[88:], c.segment)
		le.PutUint64(b[96:], uint64(c.off))
		copy(b[104:], c.ref.Hash[:])
	}
	for i := range m.segments {
		b = append(b, m.segments[i].encode()...)
	}
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return append(b, 0, 0, 0, 0)
}

func (e *entry) encode() []byte {
	b := make([]byte, manifestItem)
	le := binary.LittleEndian
	le.PutUint64(b, e.no)
	le.PutUint32(b[8:], e.generation)
	b[12], b[13] = byte(e.state), layoutLog
	copy(b[16:], e.salt[:])
	le.PutUint64(b[32:], uint64(e.size))
	le.PutUint64(b[40:], uint64(e.bodyEnd))
	le.PutUint64(b[48:], e.firstSeq)
	le.PutUint64(b[56:], uint64(e.firstPos))
	le.PutUint64(b[64:], e.lastSeq)
	le.PutUint64(b[72:], uint64(e.lastPos))
	copy(b[80:], e.lastHash[:])
	copy(b[112:], e.sum[:])
	return b
}

// parseManifest gives what can be read, nil if b is no manifest, and the first thing that is wrong with it.
func parseManifest(b []byte) (m *manifest, format uint16, err error) {
	le := binary.LittleEndian
	end := len(b) - manifestTail
	if !begins(b, manifestMagic, manifestHead+manifestTail) {
		return nil, 0, damaged("no manifest")
	}
	m = &manifest{
		no:       le.Uint64(b[64:]),
		identity: journal.Identity{Store: frame.StoreID(b[16:32]), Incarnation: le.Uint32(b[32:]), HashSeed: [16]byte(b[48:64])},
		epoch:    le.Uint64(b[40:]),
	}
	if b[11] == 1 {
		m.clean = &cleanMark{
			ref: frame.Ref{Seq: le.Uint64(b[72:]), Hash: [32]byte(b[104:136])}, pos: annals.Position(le.Uint64(b[80:])),
			segment: le.Uint64(b[88:]), off: int64(le.Uint64(b[96:])),
		}
	}
	for at := manifestHead; at+manifestItem <= end; at += manifestItem {
		m.segments = append(m.segments, parseEntry(b[at:at+manifestItem]))
	}
	switch {
	case !checksum(b, end):
		err = damaged("checksum of the manifest")
	case int64(le.Uint32(b[36:]))*manifestItem != int64(end-manifestHead):
		err = damaged("size of the manifest")
	}
	return m, le.Uint16(b[8:]), err
}

func parseEntry(b []byte) entry {
	le := binary.LittleEndian
	return entry{
		no: le.Uint64(b), generation: le.Uint32(b[8:]), state: state(b[12]), salt: [16]byte(b[16:32]),
		size: int64(le.Uint64(b[32:])), bodyEnd: int64(le.Uint64(b[40:])),
		firstSeq: le.Uint64(b[48:]), firstPos: annals.Position(le.Uint64(b[56:])),
		lastSeq: le.Uint64(b[64:]), lastPos: annals.Position(le.Uint64(b[72:])),
		lastHash: [32]byte(b[80:112]), sum: [32]byte(b[112:144]),
	}
}

// decodeManifest verifies before it believes the format number: the place of the checksum is the same in every format.
func decodeManifest(file string, b []byte) (*manifest, error) {
	m, format, err := parseManifest(b)
	switch {
	case m == nil || !checksum(b, len(b)-manifestTail):
		return nil, err
	case format > formatNumber:
		return nil, &NewerFormatError{File: file, Format: int(format), Known: formatNumber}
	case err != nil:
		return nil, err
	}
	for _, e := range m.segments {
		if e.state < stateNext || e.state > stateSealed || e.size < headerBytes || e.bodyEnd < 0 || e.bodyEnd > e.size {
			return nil, damaged("an entry of the manifest")
		}
	}
	if !bytes.Equal(m.encode(), b) {
		return nil, damaged("reserved bytes of the manifest")
	}
	return m, nil
}

func manifestName(no uint64) string { return fmt.Sprintf("%s%08d", manifestPrefix, no) }

func parseManifestName(name string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimPrefix(name, manifestPrefix), 10, 64)
	return n, err == nil && manifestName(n) == name
}

package segment

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// Sizes of what lies in a segment, in bytes, for tools that show it.
const (
	HeaderBytes   = headerBytes
	EnvelopeBytes = envelopeBytes
	TrailerBytes  = trailerBytes
	// FrameAlign is what the offset of every envelope is a multiple of.
	FrameAlign = frameAlign
	// EnvelopeMagic begins every envelope.
	EnvelopeMagic = envelopeMagic
)

// IsSegment tells whether a file of this name is a segment.
func IsSegment(name string) bool {
	_, _, is := parseSegmentName(name)
	return is
}

// IsManifest tells whether a file of this name is a manifest.
func IsManifest(name string) bool {
	_, is := parseManifestName(name)
	return is
}

// The layouts are what the bytes of a file say, for tools that show also what does not verify. What reads them is what a Dir
// reads with, which then goes on to refuse more. They share no memory with the bytes.

// ManifestLayout is a manifest: which segments there are, and where the log ended if it was closed.
type ManifestLayout struct {
	Number      uint64
	Format      uint16
	Store       frame.StoreID
	Incarnation uint32
	Epoch       uint64
	Clean       *EndLayout // nil: the log is in use, or was not closed
	Segments    []EntryLayout
}

// EndLayout is where a log ended when it was closed.
type EndLayout struct {
	Last     frame.Ref
	Position annals.Position
	Segment  uint64
	Offset   int64
}

// EntryLayout is what a manifest says of a segment. What is known only when no frame is added any more is 0 before.
type EntryLayout struct {
	File          string
	State         string // next, active, full, sealed
	Size          int64
	Salt          [16]byte
	FirstFrame    uint64
	FirstPosition annals.Position
	BodyEnd       int64
	LastFrame     uint64
	LastPosition  annals.Position
	LastHash      [32]byte
	SHA256        [32]byte
}

// ReadManifest gives what can be read of b, nil if that is no manifest, and what is wrong with it.
func ReadManifest(b []byte) (*ManifestLayout, error) {
	m, format, err := parseManifest(b)
	if m == nil {
		return nil, err
	}
	l := &ManifestLayout{
		Number: m.no, Format: format, Store: m.identity.Store, Incarnation: m.identity.Incarnation, Epoch: m.epoch,
	}
	if c := m.clean; c != nil {
		l.Clean = &EndLayout{Last: c.ref, Position: c.pos, Segment: c.segment, Offset: c.off}
	}
	for _, e := range m.segments {
		l.Segments = append(l.Segments, EntryLayout{
			File: e.name(), State: e.state.String(), Size: e.size, Salt: e.salt, FirstFrame: e.firstSeq, FirstPosition: e.firstPos,
			BodyEnd: e.bodyEnd, LastFrame: e.lastSeq, LastPosition: e.lastPos, LastHash: e.lastHash, SHA256: e.sum,
		})
	}
	return l, err
}

// HeaderLayout begins a segment.
type HeaderLayout struct {
	Format      uint16
	Store       frame.StoreID
	Incarnation uint32
	Number      uint64
	Generation  uint32
	Salt        [16]byte
	Capacity    int64
}

// ReadHeader gives what can be read of b, nil if no segment begins there, and what is wrong with it.
func ReadHeader(b []byte) (*HeaderLayout, error) {
	h, format, err := parseHeader(b)
	if h == nil {
		return nil, err
	}
	return &HeaderLayout{
		Format: format, Store: h.store, Incarnation: h.incarnation, Number: h.no, Generation: h.generation, Salt: h.salt, Capacity: h.capacity,
	}, err
}

// EnvelopeLayout ties a frame to its place.
type EnvelopeLayout struct {
	Size    int // of the frame
	Frame   uint64
	Durable uint64 // the last frame that was known to be durable when this one was written
}

// ReadEnvelope verifies the envelope that begins b, which holds the header of the frame too, given the salt of the segment and
// where in the file it lies. Whether the frame fits into the file is not looked at.
func ReadEnvelope(b []byte, salt [16]byte, offset int64) (EnvelopeLayout, error) {
	e, err := decodeEnvelope(b, salt, offset, math.MaxInt64)
	return EnvelopeLayout{Size: e.size, Frame: e.seq, Durable: e.durableSeq}, err
}

// SectionLayout is a part of the footer of a sealed segment.
type SectionLayout struct {
	Section string // frames, records, extent
	Offset  int64  // in the file
	Size    int64
	Problem error
}

// ReadFooter gives the sections of the footer b, which lies at this offset of the file, and what is wrong with the list of
// them.
func ReadFooter(b []byte, offset int64) ([]SectionLayout, error) {
	sections, err := parseSections(b, offset)
	layouts := make([]SectionLayout, len(sections))
	for i, s := range sections {
		layouts[i] = SectionLayout{Section: s.kind.String(), Offset: s.off, Size: s.size, Problem: s.problem}
	}
	return layouts, err
}

// TrailerLayout ends a sealed segment.
type TrailerLayout struct {
	LastFrame    uint64
	LastPosition annals.Position
	LastTime     time.Time
	LastHash     [32]byte
	SHA256       [32]byte
	FooterSize   int64
	Generation   uint32
	Salt         [16]byte
}

// ReadTrailer gives what can be read of b, nil if that is no trailer, and what is wrong with it.
func ReadTrailer(b []byte) (*TrailerLayout, error) {
	t, err := parseTrailer(b)
	if t == nil {
		return nil, err
	}
	return &TrailerLayout{
		LastFrame: t.last.seq, LastPosition: t.last.pos, LastTime: t.lastTime, LastHash: t.last.hash, SHA256: t.sum,
		FooterSize: t.footerSize, Generation: t.generation, Salt: t.salt,
	}, err
}

// checksum compares the checksum behind the first bytes of b, as many as end says.
func checksum(b []byte, end int) bool {
	return binary.LittleEndian.Uint32(b[end:]) == crc32.Checksum(b[:end], castagnoli)
}

// begins tells whether b begins with a magic and is as long as what it begins.
func begins(b []byte, magic string, size int) bool {
	return len(b) >= size && bytes.HasPrefix(b, []byte(magic))
}

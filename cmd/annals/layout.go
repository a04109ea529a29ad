package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// The layouts of a store's files, as dump reads them. This is a second reader beside the store's own: it shows the
// fields of bytes that the store refuses to open, and says what is wrong with them. A test compares it with the golden
// files of the store.
const (
	manifestMagic      = "ANNLMAN1"
	manifestPrefix     = "MANIFEST-"
	manifestHeadBytes  = 144
	manifestEntryBytes = 144
	manifestTailBytes  = 8

	segmentMagic       = "ANNLSEG1"
	segmentSuffix      = ".seg"
	segmentHeaderBytes = 4096

	envelopeMagic = "ANNLENV1"
	envelopeBytes = 32
	envelopeAlign = 8

	footerMagic      = "ANNLFTR1"
	footerHeadBytes  = 16
	footerEntryBytes = 24
	trailerMagic     = "ANNLEND1"
	trailerBytes     = 128
)

var (
	errChecksum = errors.New("the checksum does not match")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

func isManifest(name string) bool {
	digits, ok := strings.CutPrefix(name, manifestPrefix)
	_, err := strconv.ParseUint(digits, 10, 64)
	return ok && err == nil
}

func isSegment(name string) bool { return strings.HasSuffix(name, segmentSuffix) }

// manifestLayout is a manifest: which segments there are, and where the log ended if it was closed.
type manifestLayout struct {
	Number      uint64
	Format      uint16
	Store       hexBytes
	Incarnation uint32
	Epoch       uint64
	Clean       *endLayout
	Segments    []entryLayout
}

// endLayout is where the log ended when it was closed.
type endLayout struct {
	Frame    uint64          `json:"frame"`
	Position annals.Position `json:"position"`
	Segment  uint64          `json:"segment"`
	Offset   uint64          `json:"offset"`
	Hash     hexBytes        `json:"hash"`
}

// entryLayout is what a manifest says of a segment. The last five are known when no frame is added any more.
type entryLayout struct {
	File          string          `json:"file"`
	State         string          `json:"state"`
	Size          uint64          `json:"size"`
	Salt          hexBytes        `json:"salt"`
	FirstFrame    uint64          `json:"firstFrame,omitempty"`
	FirstPosition annals.Position `json:"firstPosition,omitzero"`
	BodyEnd       uint64          `json:"bodyEnd,omitempty"`
	LastFrame     uint64          `json:"lastFrame,omitempty"`
	LastPosition  annals.Position `json:"lastPosition,omitzero"`
	LastHash      hexBytes        `json:"lastHash,omitempty"`
	SHA256        hexBytes        `json:"sha256,omitempty"`
}

// readManifest gives what can be read of b, and what is wrong with it.
func readManifest(b []byte) (*manifestLayout, error) {
	end := len(b) - manifestTailBytes
	if end < manifestHeadBytes || !bytes.HasPrefix(b, []byte(manifestMagic)) {
		return nil, errors.New("it is no manifest")
	}
	m := &manifestLayout{
		Number: le.Uint64(b[64:]), Format: le.Uint16(b[8:]), Store: b[16:32], Incarnation: le.Uint32(b[32:]), Epoch: le.Uint64(b[40:]),
	}
	if b[11] == 1 {
		m.Clean = &endLayout{
			Frame: le.Uint64(b[72:]), Position: annals.Position(le.Uint64(b[80:])), Segment: le.Uint64(b[88:]),
			Offset: le.Uint64(b[96:]), Hash: b[104:136],
		}
	}
	for at := manifestHeadBytes; at+manifestEntryBytes <= end; at += manifestEntryBytes {
		m.Segments = append(m.Segments, readEntry(b[at:at+manifestEntryBytes]))
	}
	switch {
	case le.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli):
		return m, errChecksum
	case int64(le.Uint32(b[36:])) != int64(len(m.Segments)):
		return m, fmt.Errorf("it has %d segments and says %d", len(m.Segments), le.Uint32(b[36:]))
	}
	return m, nil
}

func readEntry(b []byte) entryLayout {
	e := entryLayout{
		File: fmt.Sprintf("%08d-%03d%s", le.Uint64(b), le.Uint32(b[8:]), segmentSuffix), State: stateName(b[12]), Salt: b[16:32],
		Size: le.Uint64(b[32:]), BodyEnd: le.Uint64(b[40:]), FirstFrame: le.Uint64(b[48:]), FirstPosition: annals.Position(le.Uint64(b[56:])),
		LastFrame: le.Uint64(b[64:]), LastPosition: annals.Position(le.Uint64(b[72:])),
	}
	for _, part := range []struct {
		to   *hexBytes
		from []byte
	}{{&e.LastHash, b[80:112]}, {&e.SHA256, b[112:144]}} {
		if !zero(part.from) {
			*part.to = part.from
		}
	}
	return e
}

func stateName(state byte) string {
	if names := []string{1: "next", 2: "active", 3: "full", 4: "sealed"}; int(state) < len(names) && state > 0 {
		return names[state]
	}
	return fmt.Sprintf("unknown (%d)", state)
}

// headerLayout begins a segment.
type headerLayout struct {
	Format      uint16
	Store       hexBytes
	Incarnation uint32
	Number      uint64
	Generation  uint32
	Salt        hexBytes
	Capacity    uint64
}

// readHeader gives what can be read of b, and what is wrong with it.
func readHeader(b []byte) (*headerLayout, error) {
	if len(b) < segmentHeaderBytes || !bytes.HasPrefix(b, []byte(segmentMagic)) {
		return nil, errors.New("no segment begins here")
	}
	h := &headerLayout{
		Format: le.Uint16(b[8:]), Store: b[16:32], Incarnation: le.Uint32(b[32:]), Number: le.Uint64(b[40:]),
		Generation: le.Uint32(b[48:]), Salt: b[56:72], Capacity: le.Uint64(b[72:]),
	}
	const sum = segmentHeaderBytes - 4
	if le.Uint32(b[sum:]) != crc32.Checksum(b[:sum], castagnoli) {
		return h, errChecksum
	}
	return h, nil
}

// envelopeLayout ties a frame to its place.
type envelopeLayout struct {
	Size    int // of the frame
	Frame   uint64
	Durable uint64 // the last frame that was known to be durable when this one was written
}

// readEnvelope verifies the envelope that begins b, which holds the header of the frame too.
func readEnvelope(b, salt []byte, offset int64) (envelopeLayout, error) {
	if len(b) < envelopeBytes+frame.HeaderBytes || !bytes.HasPrefix(b, []byte(envelopeMagic)) {
		return envelopeLayout{}, errors.New("no envelope begins here")
	}
	e := envelopeLayout{Size: int(le.Uint32(b[8:])), Frame: le.Uint64(b[16:]), Durable: le.Uint64(b[24:])}
	var covered []byte
	for _, part := range [][]byte{
		b[:12], b[16:envelopeBytes], b[envelopeBytes+frame.HeaderBytes-4 : envelopeBytes+frame.HeaderBytes], salt,
		le.AppendUint64(nil, uint64(offset)),
	} {
		covered = append(covered, part...)
	}
	switch {
	case le.Uint32(b[12:]) != crc32.Checksum(covered, castagnoli):
		return e, fmt.Errorf("envelope: %w", errChecksum)
	case e.Size < frame.HeaderBytes || e.Size > frame.BytesMax:
		return e, fmt.Errorf("envelope of a frame of %d bytes", e.Size)
	}
	return e, nil
}

// footerLayout is a part of the footer of a sealed segment.
type footerLayout struct {
	Section string
	Offset  uint64
	Size    uint64
	Problem error
}

// readFooter gives the sections of the footer b, which lies at offset.
func readFooter(b []byte, offset int64) ([]footerLayout, error) {
	if len(b) < footerHeadBytes || !bytes.HasPrefix(b, []byte(footerMagic)) {
		return nil, errors.New("no footer begins here")
	}
	n := int(le.Uint32(b[8:]))
	if n > (len(b)-footerHeadBytes)/footerEntryBytes {
		return nil, fmt.Errorf("%d sections do not fit into the footer", n)
	}
	directory := b[footerHeadBytes : footerHeadBytes+n*footerEntryBytes]
	var problem error
	if le.Uint32(b[12:]) != crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, directory) {
		problem = fmt.Errorf("the footer's list of sections: %w", errChecksum)
	}
	sections := make([]footerLayout, n)
	for i := range sections {
		item := directory[i*footerEntryBytes:]
		s := footerLayout{Section: sectionName(le.Uint32(item)), Offset: le.Uint64(item[8:]), Size: le.Uint64(item[16:])}
		at := s.Offset - uint64(offset)
		switch {
		case at > uint64(len(b)) || s.Size > uint64(len(b))-at:
			s.Problem = errors.New("it lies outside of the footer")
		case le.Uint32(item[4:]) != crc32.Checksum(b[at:at+s.Size], castagnoli):
			s.Problem = errChecksum
		}
		sections[i] = s
	}
	return sections, problem
}

func sectionName(kind uint32) string {
	if names := []string{1: "frames", 2: "records", 3: "extent"}; kind > 0 && int64(kind) < int64(len(names)) {
		return names[kind]
	}
	return fmt.Sprintf("unknown (%d)", kind)
}

// trailerLayout ends a sealed segment.
type trailerLayout struct {
	LastFrame    uint64
	LastPosition annals.Position
	LastTime     time.Time
	LastHash     hexBytes
	SHA256       hexBytes
	FooterSize   uint32
	Problem      error
}

// readTrailer gives what can be read of b; nil if that is no trailer.
func readTrailer(b []byte) *trailerLayout {
	if len(b) < trailerBytes || !bytes.HasPrefix(b, []byte(trailerMagic)) {
		return nil
	}
	t := &trailerLayout{
		LastFrame: le.Uint64(b[8:]), LastPosition: annals.Position(le.Uint64(b[16:])),
		LastTime: time.Unix(0, int64(le.Uint64(b[24:]))).UTC(), LastHash: b[32:64], SHA256: b[64:96], FooterSize: le.Uint32(b[96:]),
	}
	if le.Uint32(b[trailerBytes-4:]) != crc32.Checksum(b[:trailerBytes-4], castagnoli) {
		t.Problem = errChecksum
	}
	return t
}

// hexBytes are bytes that are shown in hexadecimal.
type hexBytes []byte

// MarshalText writes the digits, in JSON as a string.
func (b hexBytes) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%x", []byte(b)), nil }

// String writes the first digits: enough to tell one from another.
func (b hexBytes) String() string { return fmt.Sprintf("%x", []byte(b[:min(4, len(b))])) }

func zero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

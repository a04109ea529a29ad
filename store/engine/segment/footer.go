package segment

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/annalsdb/annals"
)

const (
	footerMagic   = "ANNLFTR1"
	trailerMagic  = "ANNLEND1"
	trailerBytes  = 128
	directoryHead = 16
	directoryItem = 24

	sectionFrames  = 1
	sectionRecords = 2
	sectionExtent  = 3

	// What a frame and a record take in their sections, and where in a footer the records begin but for the frames, which
	// precede them.
	frameInFooter   = 8
	recordInFooter  = 4
	recordsInFooter = directoryHead + 3*directoryItem
)

// encodeFooter writes the table of a segment whose frames end at off, and the trailer but for the sum of the file.
//
//	footer   0 8B "ANNLFTR1"  8 u32 sections  12 u32 crc over [0,12) and the entries; then of each section 24 bytes:
//	         0 u32 type  4 u32 crc  8 u64 offset in the file  16 u64 size; then the sections, 8-aligned, zero padded
//	frames   by number: u32 offset of the envelope / 8, u32 events
//	records  by position: u32 offset of the record / 8
//	extent   u64 first seq, u64 first position, i64 time of the first frame, i64 of the last
func encodeFooter(t *table, off int64) []byte {
	le := binary.LittleEndian
	var frames, records, extent []byte
	for i, f := range t.frames {
		frames = le.AppendUint32(frames, uint32(f.off/frameAlign))
		frames = le.AppendUint32(frames, uint32(t.after(i)-f.first))
	}
	for _, r := range t.records {
		records = le.AppendUint32(records, r)
	}
	extent = le.AppendUint64(extent, t.firstSeq)
	extent = le.AppendUint64(extent, uint64(t.firstPos))
	extent = le.AppendUint64(extent, uint64(t.firstTime.UnixNano()))
	extent = le.AppendUint64(extent, uint64(t.lastTime.UnixNano()))
	sections := [][]byte{sectionFrames - 1: frames, sectionRecords - 1: records, sectionExtent - 1: extent}
	b := append([]byte(footerMagic), make([]byte, directoryHead-8+len(sections)*directoryItem)...)
	le.PutUint32(b[8:], uint32(len(sections)))
	for i, s := range sections {
		item := b[directoryHead+i*directoryItem:]
		le.PutUint32(item, uint32(i+1))
		le.PutUint32(item[4:], crc32.Checksum(s, castagnoli))
		le.PutUint64(item[8:], uint64(off)+uint64(len(b)))
		le.PutUint64(item[16:], uint64(len(s)))
		b = append(b, s...)
		b = append(b, make([]byte, -len(b)&(frameAlign-1))...)
	}
	le.PutUint32(b[12:], directoryCRC(b, len(sections)))
	return b
}

func directoryCRC(b []byte, sections int) uint32 {
	crc := crc32.Checksum(b[:12], castagnoli)
	return crc32.Update(crc, castagnoli, b[directoryHead:directoryHead+sections*directoryItem])
}

// section is a part of a footer, and what is wrong with it.
type section struct {
	kind      sectionKind
	off, size int64
	bytes     []byte
	problem   error
}

type sectionKind uint32

// String names it, as the documents do.
func (k sectionKind) String() string {
	if names := []string{sectionFrames: "frames", sectionRecords: "records", sectionExtent: "extent"}; k > 0 && int64(k) < int64(len(names)) {
		return names[k]
	}
	return fmt.Sprintf("unknown (%d)", uint32(k))
}

// parseSections gives the sections of the footer b, which lies at off, and what is wrong with the list of them.
func parseSections(b []byte, off int64) (sections []section, err error) {
	le := binary.LittleEndian
	if !begins(b, footerMagic, directoryHead) {
		return nil, damaged("no footer")
	}
	n := int64(le.Uint32(b[8:]))
	if n > int64(len(b)-directoryHead)/directoryItem {
		return nil, damaged("%d sections do not fit into the footer", n)
	}
	if le.Uint32(b[12:]) != directoryCRC(b, int(n)) {
		err = damaged("checksum of the footer's directory")
	}
	for i := range n {
		item := b[directoryHead+i*directoryItem:]
		s := section{kind: sectionKind(le.Uint32(item)), off: int64(le.Uint64(item[8:])), size: int64(le.Uint64(item[16:]))}
		switch at := s.off - off; {
		case s.off < off || at > int64(len(b)) || s.size < 0 || s.size > int64(len(b))-at:
			s.problem = damaged("section %s of the footer lies outside of it", s.kind)
		default:
			if s.bytes = b[at : at+s.size]; le.Uint32(item[4:]) != crc32.Checksum(s.bytes, castagnoli) {
				s.problem = damaged("checksum of section %s of the footer", s.kind)
			}
		}
		sections = append(sections, s)
	}
	return sections, err
}

// decodeFooter verifies the footer b, which lies at off, and gives the table back.
func decodeFooter(b []byte, off int64) (*table, error) {
	sections, err := parseSections(b, off)
	if err != nil {
		return nil, err
	}
	kinds := map[sectionKind][]byte{}
	for _, s := range sections {
		if s.problem != nil {
			return nil, s.problem
		}
		kinds[s.kind] = s.bytes
	}
	return decodeTable(kinds[sectionFrames], kinds[sectionRecords], kinds[sectionExtent])
}

func decodeTable(frames, records, extent []byte) (*table, error) {
	le := binary.LittleEndian
	if len(frames)%8 != 0 || len(records)%4 != 0 || len(extent) != 32 {
		return nil, damaged("sizes of the footer's sections")
	}
	t := &table{
		firstSeq: le.Uint64(extent), firstPos: annals.Position(le.Uint64(extent[8:])),
		firstTime: time.Unix(0, int64(le.Uint64(extent[16:]))).UTC(),
		lastTime:  time.Unix(0, int64(le.Uint64(extent[24:]))).UTC(),
		frames:    make([]frameAt, 0, len(frames)/8), records: make([]uint32, 0, len(records)/4),
	}
	next := t.firstPos
	for ; len(frames) > 0; frames = frames[8:] {
		t.frames = append(t.frames, frameAt{off: int64(le.Uint32(frames)) * frameAlign, first: next})
		next += annals.Position(le.Uint32(frames[4:]))
	}
	for ; len(records) > 0; records = records[4:] {
		t.records = append(t.records, le.Uint32(records))
	}
	if next != t.firstPos+annals.Position(len(t.records)) {
		return nil, damaged("the footer's sections do not agree")
	}
	return t, nil
}

// trailer ends a sealed segment.
//
//	 0 8B "ANNLEND1"  8 u64 last seq  16 u64 last position  24 i64 last time  32 32B hash of the last frame
//	64 32B SHA-256 of the file before the trailer   96 u32 footer size  100 u32 generation  104 16B salt
//	120 u32 0  124 u32 crc of all before
type trailer struct {
	last       tip
	lastTime   time.Time
	sum        [32]byte
	footerSize int64
	generation uint32
	salt       [16]byte
}

func (t *trailer) encode() []byte {
	b := make([]byte, trailerBytes)
	le := binary.LittleEndian
	copy(b, trailerMagic)
	le.PutUint64(b[8:], t.last.seq)
	le.PutUint64(b[16:], uint64(t.last.pos))
	le.PutUint64(b[24:], uint64(t.lastTime.UnixNano()))
	copy(b[32:], t.last.hash[:])
	copy(b[64:], t.sum[:])
	le.PutUint32(b[96:], uint32(t.footerSize))
	le.PutUint32(b[100:], t.generation)
	copy(b[104:], t.salt[:])
	le.PutUint32(b[124:], crc32.Checksum(b[:124], castagnoli))
	return b
}

// parseTrailer gives what can be read, nil if b is no trailer, and the first thing that is wrong with it.
func parseTrailer(b []byte) (*trailer, error) {
	if !begins(b, trailerMagic, trailerBytes) {
		return nil, damaged("no trailer")
	}
	le := binary.LittleEndian
	t := &trailer{
		last: tip{
			seq: le.Uint64(b[8:]), pos: annals.Position(le.Uint64(b[16:])), hash: [32]byte(b[32:64]), linked: true,
		},
		lastTime: time.Unix(0, int64(le.Uint64(b[24:]))).UTC(), sum: [32]byte(b[64:96]),
		footerSize: int64(le.Uint32(b[96:])), generation: le.Uint32(b[100:]), salt: [16]byte(b[104:120]),
	}
	switch {
	case !checksum(b, trailerBytes-4):
		return t, damaged("checksum of the trailer")
	case le.Uint32(b[120:]) != 0:
		return t, damaged("reserved bytes of the trailer")
	}
	return t, nil
}

func decodeTrailer(b []byte) (trailer, error) {
	t, err := parseTrailer(b)
	if err != nil {
		return trailer{}, err
	}
	return *t, nil
}

package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/annalsdb/annals/store/engine/frame"
)

// formatNumber is written into every segment and manifest. 0 is development: it may change without notice.
const formatNumber = 0

const (
	headerBytes   = 4096
	headerMagic   = "ANNLSEG1"
	headerCRC     = headerBytes - 4
	layoutLog     = 1
	frameAlign    = 8
	segmentSuffix = ".seg"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header begins a segment. It is written before the file is used, and never again, so it does not know what the
// segment will hold.
//
//	 0 8B "ANNLSEG1"  8 u16 format   10 u8 layout (1 log)  11 u8 cipher 0  12 u16 align 8   14 u16 0
//	16 16B store id  32 u32 incarnation  36 u32 key id 0   40 u64 no       48 u32 generation  52 u32 0
//	56 16B salt      72 u64 capacity     80 zeros          4092 u32 crc of all before
type header struct {
	store       frame.StoreID
	incarnation uint32
	no          uint64
	generation  uint32
	salt        [16]byte
	capacity    int64
}

func (h *header) encode() []byte {
	b := make([]byte, headerBytes)
	le := binary.LittleEndian
	copy(b, headerMagic)
	le.PutUint16(b[8:], formatNumber)
	b[10] = layoutLog
	le.PutUint16(b[12:], frameAlign)
	copy(b[16:], h.store[:])
	le.PutUint32(b[32:], h.incarnation)
	le.PutUint64(b[40:], h.no)
	le.PutUint32(b[48:], h.generation)
	copy(b[56:], h.salt[:])
	le.PutUint64(b[72:], uint64(h.capacity))
	le.PutUint32(b[headerCRC:], crc32.Checksum(b[:headerCRC], castagnoli))
	return b
}

// parseHeader gives what can be read, nil if no header begins b, and the first thing that is wrong with it.
func parseHeader(b []byte) (h *header, format uint16, err error) {
	if !begins(b, headerMagic, headerBytes) {
		return nil, 0, damaged("no segment header")
	}
	le := binary.LittleEndian
	h = &header{
		store: frame.StoreID(b[16:32]), incarnation: le.Uint32(b[32:]), no: le.Uint64(b[40:]),
		generation: le.Uint32(b[48:]), salt: [16]byte(b[56:72]), capacity: int64(le.Uint64(b[72:])),
	}
	if !checksum(b, headerCRC) {
		err = damaged("checksum of the segment header")
	}
	return h, le.Uint16(b[8:]), err
}

// decodeHeader verifies before it believes the format number: the place of the checksum is the same in every format.
func decodeHeader(file string, b []byte) (header, error) {
	h, format, err := parseHeader(b)
	switch {
	case err != nil:
		return header{}, err
	case format > formatNumber:
		return header{}, &NewerFormatError{File: file, Format: int(format), Known: formatNumber}
	case !bytes.Equal(b[:headerBytes], h.encode()) || h.capacity < headerBytes:
		return header{}, damaged("reserved bytes of the segment header")
	}
	return *h, nil
}

func segmentName(no uint64, generation uint32) string {
	return fmt.Sprintf("%08d-%03d%s", no, generation, segmentSuffix)
}

func parseSegmentName(name string) (no uint64, generation uint32, ok bool) {
	first, second, found := strings.Cut(strings.TrimSuffix(name, segmentSuffix), "-")
	n, err1 := strconv.ParseUint(first, 10, 64)
	g, err2 := strconv.ParseUint(second, 10, 32)
	if !found || err1 != nil || err2 != nil || segmentName(n, uint32(g)) != name {
		return 0, 0, false
	}
	return n, uint32(g), true
}

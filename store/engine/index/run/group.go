package run

import (
	"encoding/binary"
	"math/bits"
)

// groupMax is how many positions are encoded together.
const groupMax = 128

// Modes of a group. Those below modeBitmap are the bits of a gap.
const (
	packedBitsMax = 31
	modeBitmap    = 32
	modeVarint    = 33
	bitmapMax     = 255 // bytes; a longer one is never the smallest
	groupBytesMax = 1 + groupMax*packedBitsMax/8
)

// none stands before the first position: one less than 0, so that one more is 0 again.
const none = ^uint32(0)

// appendGroup appends an ascending group of at most 128 positions that lie above before, in the smallest of three ways.
// A gap is how many positions lie between a position and the one before it.
//
//	packed   u8 bits of a gap, 0 to 31; the gaps, lowest bit first, up to a whole byte
//	bitmap   u8 32  u8 n; n bytes: bit i of them, lowest first, is the position before + 1 + i
//	varint   u8 33; each gap as an unsigned varint
func appendGroup(dst []byte, before uint32, group []uint32) []byte {
	gaps := uint32(0) // the bits of all gaps
	varints := 0
	prev := before
	for _, p := range group {
		gap := p - prev - 1
		gaps |= gap
		varints += (bits.Len32(gap|1) + 6) / 7
		prev = p
	}
	width := bits.Len32(gaps)
	packed := (len(group)*width + 7) / 8
	bitmap := int((uint64(prev-before-1) + 8) / 8)
	fits := bitmap <= bitmapMax
	switch {
	case packed <= varints && (!fits || packed <= bitmap+1):
		return appendPacked(dst, before, group, width)
	case fits && bitmap+1 <= varints:
		dst = append(dst, modeBitmap, byte(bitmap))
		at := len(dst)
		dst = append(dst, make([]byte, bitmap)...)
		for _, p := range group {
			i := p - before - 1
			dst[at+int(i>>3)] |= 1 << (i & 7)
		}
		return dst
	}
	dst = append(dst, modeVarint)
	for _, p := range group {
		dst = binary.AppendUvarint(dst, uint64(p-before-1))
		before = p
	}
	return dst
}

func appendPacked(dst []byte, before uint32, group []uint32, width int) []byte {
	dst = append(dst, byte(width))
	var acc uint64
	held := 0
	for _, p := range group {
		acc |= uint64(p-before-1) << held
		before = p
		for held += width; held >= 8; held -= 8 {
			dst = append(dst, byte(acc))
			acc >>= 8
		}
	}
	if held > 0 {
		dst = append(dst, byte(acc))
	}
	return dst
}

// decodeGroup fills group with positions above before and returns how many bytes they took, 0 if the bytes make no sense.
// It reads nothing at or after end, but loads up to 8 bytes more, which must be there. That the positions ascend is
// certain, and that they are below 2^32.
func decodeGroup(group []uint32, b []byte, end int, before uint32) int {
	if end < 1 || end+8 > len(b) {
		return 0
	}
	switch mode := int(b[0]); {
	case mode <= packedBitsMax:
		size := 1 + (len(group)*mode+7)/8
		if size > end || !unpack(group, b[1:size+8], mode, before) {
			return 0
		}
		return size
	case mode == modeBitmap:
		if end < 2 || 2+int(b[1]) > end {
			return 0
		}
		size := 2 + int(b[1])
		if !unmap(group, b[2:size], before) {
			return 0
		}
		return size
	case mode == modeVarint:
		return 1 + unvarint(group, b[1:end], before)
	}
	return 0
}

func unpack(group []uint32, b []byte, width int, before uint32) bool {
	mask := uint64(1)<<width - 1
	at := uint64(before + 1)
	bit := 0
	for i := range group {
		at += le.Uint64(b[bit>>3:]) >> (bit & 7) & mask
		group[i] = uint32(at)
		at++
		bit += width
	}
	return at <= 1<<32
}

func unmap(group []uint32, b []byte, before uint32) bool {
	at := uint64(before + 1)
	if at+uint64(len(b))*8 > 1<<32 {
		return false
	}
	n := 0
	for i, x := range b {
		for ; x != 0; x &= x - 1 {
			if n == len(group) {
				return false
			}
			group[n] = uint32(at) + uint32(i*8+bits.TrailingZeros8(x))
			n++
		}
	}
	return n == len(group)
}

// unvarint returns how many bytes it read, -1 if they make no sense.
func unvarint(group []uint32, b []byte, before uint32) int {
	at := uint64(before + 1)
	size := 0
	for i := range group {
		gap, n := binary.Uvarint(b[size:])
		if n <= 0 || gap > 1<<32 {
			return -1
		}
		size += n
		if at += gap; at >= 1<<32 {
			return -1
		}
		group[i] = uint32(at)
		at++
	}
	return size
}

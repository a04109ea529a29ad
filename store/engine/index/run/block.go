package run

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"runtime"
)

const (
	blockBytes = 4096
	// payloadBytes is what a block holds. That at least 8 bytes follow lets 8 be loaded at any place of it.
	payloadBytes = blockBytes - 8
	// blocksMax keeps the number of every block, and that none is there, in 32 bits.
	blocksMax = 1<<32 - 2
)

// block is the unit of the file: read, verified and believed as a whole.
//
//	0 payload   4088 u8 kind  4089 u8 detail  4090 u16 count  4092 u32 crc
//
// The CRC32C of the bytes before it begins at the file's seed xor the number of the block, so that a block verifies only in
// its own file and at its own place. What detail and count say depends on the kind. Unused payload is zero.
type block [blockBytes]byte

// Kinds of blocks. 0 is never written, so that zeroed bytes are no block.
const (
	kindTerms    = 1 // terms, with what is said of them
	kindPostings = 2 // groups of positions of one long list
	kindTermTree = 3 // a node above blocks of terms
	kindListTree = 4 // a node above blocks of one list's positions
	kindFilter   = 5 // a part of a filter
	kindFilters  = 6 // a node above filters
	kindTimes    = 7 // times of positions
	kindTrailer  = 8
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	le         = binary.LittleEndian
)

func (b *block) kind() byte      { return b[payloadBytes] }
func (b *block) detail() int     { return int(b[payloadBytes+1]) }
func (b *block) count() int      { return int(le.Uint16(b[payloadBytes+2:])) }
func (b *block) crc() uint32     { return le.Uint32(b[payloadBytes+4:]) }
func (b *block) reset()          { *b = block{} }
func (b *block) setKind(k byte)  { b[payloadBytes] = k }
func (b *block) setDetail(d int) { b[payloadBytes+1] = byte(d) }
func (b *block) setCount(n int)  { le.PutUint16(b[payloadBytes+2:], uint16(n)) }

func (b *block) sum(seed, number uint32) uint32 {
	return crc32.Update(seed^number, castagnoli, b[:payloadBytes+4])
}

// output numbers, seals and writes blocks.
type output struct {
	w    io.Writer
	seed uint32
	next uint32 // the number of the next block
	sums uint32 // CRC32C of the checksums of all blocks so far
	buf  []byte
}

// outputBytes is how much is written at once.
const outputBytes = 64 << 10

// emit writes a block and gives its number.
func (o *output) emit(b *block) (uint32, error) {
	return o.emitSeeded(b, o.seed)
}

func (o *output) emitSeeded(b *block, seed uint32) (uint32, error) {
	if o.next == blocksMax {
		return 0, misuse("more than %d blocks", uint32(blocksMax))
	}
	number := o.next
	o.next++
	le.PutUint32(b[payloadBytes+4:], b.sum(seed, number))
	o.sums = crc32.Update(o.sums, castagnoli, b[payloadBytes+4:])
	o.buf = append(o.buf, b[:]...)
	runtime.Gosched() // runs are written beside appends, which would wait for a processor for milliseconds
	if len(o.buf) < outputBytes {
		return number, nil
	}
	return number, o.flush()
}

func (o *output) flush() error {
	n, err := o.w.Write(o.buf)
	if err == nil && n < len(o.buf) {
		err = io.ErrShortWrite
	}
	o.buf = o.buf[:0]
	return err
}

// readFull reads all of b. That the file ends before is damage, any other error is the file's.
func readFull(f io.ReaderAt, b []byte, number uint32) error {
	n, err := f.ReadAt(b, int64(number)*blockBytes)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return damaged(number+uint32(n/blockBytes), "the file ends here")
	}
	return err
}

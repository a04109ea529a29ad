package segment

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// blockBytes is how much a sequential read takes at once.
const blockBytes = 1 << 20

// window reads a file through a buffer, up to a limit.
type window struct {
	f     io.ReaderAt
	limit int64
	// patient takes what cannot be read for damage, and searches behind it.
	patient bool
	// ahead is how much is read at once; 0 is blockBytes.
	ahead int
	buf   []byte
	start int64
}

// errUnreadable is the part of a damage that the device may take back: it is never a reason to cut.
var errUnreadable = fmt.Errorf("%w: it cannot be read", errDamaged)

// at gives the n bytes at off, which are lent until the next call. Less than that is io.ErrUnexpectedEOF.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off < 0 || int64(n) > w.limit-off {
		return nil, io.ErrUnexpectedEOF
	}
	if b := w.buffered(off); len(b) >= n {
		return b[:n], nil
	}
	if err := w.fill(off, n); err != nil {
		if w.patient && !unrelated(err) {
			err = fmt.Errorf("%w: %w", errUnreadable, err)
		}
		return nil, err
	}
	if n > len(w.buf) {
		return nil, io.ErrUnexpectedEOF
	}
	return w.buf[:n], nil
}

// buffered gives what is in memory from off on.
func (w *window) buffered(off int64) []byte {
	if i := off - w.start; i >= 0 && i < int64(len(w.buf)) {
		return w.buf[i:]
	}
	return nil
}

// unrelated tells whether an error of reading has nothing to do with what is read.
func unrelated(err error) bool { return errors.Is(err, fs.ErrClosed) || errors.Is(err, errUnopened) }

// fill reads n bytes, and ahead. That what is ahead cannot be read is found out when it is wanted.
func (w *window) fill(off int64, n int) error {
	size := int(min(int64(max(n, cmp.Or(w.ahead, blockBytes))), w.limit-off))
	if cap(w.buf) < size {
		w.buf = make([]byte, size)
	}
	w.buf, w.start = w.buf[:size], off
	got, err := w.f.ReadAt(w.buf, off)
	w.buf = w.buf[:got]
	if errors.Is(err, io.EOF) || got >= n {
		return nil
	}
	return err
}

// sectorBytes is how much a device fails to read at once.
const sectorBytes = 4096

// rest gives what is buffered from off on, and at least one byte before the limit.
func (w *window) rest(off int64) ([]byte, error) {
	if b := w.buffered(off); b != nil {
		return b, nil
	}
	if err := w.fill(off, 1); err != nil {
		if !w.patient || unrelated(err) {
			return nil, err
		}
		w.buf = w.buf[:min(sectorBytes-off%sectorBytes, w.limit-off)]
		clear(w.buf)
	}
	if len(w.buf) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return w.buf, nil
}

var zeros [64 << 10]byte

// written finds the first and the end of the last byte that is not zero from off on; both are 0 if all are.
func (w *window) written(off int64) (from, to int64, err error) {
	for off < w.limit {
		b, err := w.rest(off)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return 0, 0, err
		}
		b = b[:min(len(b), len(zeros))]
		if !bytes.Equal(b, zeros[:len(b)]) {
			if to == 0 {
				from = off + int64(bytes.IndexFunc(b, notZero))
			}
			to = off + int64(len(bytes.TrimRight(b, "\x00")))
		}
		off += int64(len(b))
	}
	return from, to, nil
}

// notZero sees bytes that are no UTF-8 as U+FFFD, which is not zero either.
func notZero(r rune) bool { return r != 0 }

// find is the first place from off on, a multiple of the alignment, that begins with the magic of an envelope; -1 if there is none.
func (w *window) find(off int64) (int64, error) {
	magic := []byte(envelopeMagic)
	for off += -off & (frameAlign - 1); off+int64(len(magic)) <= w.limit; {
		b, err := w.rest(off)
		if err == nil && len(b) < len(magic) {
			b, err = w.at(off, int(min(w.limit-off, blockBytes)))
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return -1, nil
		}
		if err != nil {
			return 0, err
		}
		i := bytes.Index(b, magic)
		switch {
		case i < 0:
			off += int64(max(frameAlign, (len(b)-len(magic))&^(frameAlign-1)))
		case i%frameAlign == 0:
			return off + int64(i), nil
		default:
			off += int64(i - i%frameAlign + frameAlign)
		}
	}
	return -1, nil
}

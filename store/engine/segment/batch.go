package segment

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/annalsdb/annals/store/engine/frame"
)

const (
	// batchFramesMost is how many frames are verified together at most.
	batchFramesMost = 4096
	// batchBytesAlone is what one goroutine verifies quicker than another is told to help.
	batchBytesAlone = 64 << 10
)

// batch verifies frames that lie one behind the other, on all processors: to hash them takes much longer than to read them.
type batch struct {
	d      *Dir
	w      *window
	salt   [16]byte
	verify func(f []byte, store frame.StoreID) (frame.Header, error)
	frames []enveloped
	next   int
}

// enveloped is a frame with its envelope, verified, or not.
type enveloped struct {
	off   int64
	bytes []byte
	e     envelope
	h     frame.Header
	err   error
}

// at is frameAt, for those who go on with the frame behind it.
func (b *batch) at(off int64) (envelope, frame.Header, []byte, error) {
	if b.next == len(b.frames) || b.frames[b.next].off != off {
		b.load(off)
	}
	f := &b.frames[b.next]
	b.next++
	if f.err != nil {
		return envelope{}, frame.Header{}, nil, f.err
	}
	return f.e, f.h, f.bytes[envelopeBytes:], nil
}

// load verifies the frame at off and those behind it that are in memory with it.
func (b *batch) load(off int64) {
	b.frames, b.next = b.frames[:0], 0
	first, err := b.d.read(b.w, b.salt, off)
	if b.frames = append(b.frames, enveloped{off: off, bytes: first, err: err}); err != nil {
		return
	}
	size := int64(len(first))
	for len(b.frames) < batchFramesMost {
		whole := b.w.buffered(off + size)
		e, err := decodeEnvelope(whole, b.salt, off+size, b.w.limit-off-size)
		if err != nil || len(whole) < envelopeBytes+e.size {
			break
		}
		b.frames = append(b.frames, enveloped{off: off + size, bytes: whole[:envelopeBytes+e.size]})
		size += int64(envelopeBytes + e.size)
	}
	if size < batchBytesAlone || len(b.frames) == 1 {
		for i := range b.frames {
			b.check(&b.frames[i])
		}
		return
	}
	var next atomic.Int64
	var checking sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(b.frames)) {
		checking.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(b.frames)); i = next.Add(1) - 1 {
				b.check(&b.frames[i])
			}
		})
	}
	checking.Wait()
}

func (b *batch) check(f *enveloped) {
	f.e, f.h, f.err = b.d.check(f.bytes, b.salt, f.off, b.verify)
}

// read reads the frame at off with its envelope, which verifies. It is lent until the window moves.
func (d *Dir) read(w *window, salt [16]byte, off int64) ([]byte, error) {
	b, err := w.at(off, envelopeBytes+frame.HeaderBytes)
	if err == nil {
		var e envelope
		if e, err = decodeEnvelope(b, salt, off, w.limit-off); err == nil {
			b, err = w.at(off, envelopeBytes+e.size)
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = damaged("the file ends")
	}
	return b, err
}

// check verifies an envelope and the frame in it, as frameAt says.
func (d *Dir) check(b []byte, salt [16]byte, off int64, verify func([]byte, frame.StoreID) (frame.Header, error)) (envelope, frame.Header, error) {
	e, err := decodeEnvelope(b, salt, off, int64(len(b)))
	if err != nil {
		return e, frame.Header{}, err
	}
	h, err := verify(b[envelopeBytes:], d.identity.Store)
	switch {
	case err != nil && frame.SumsMatch(b[envelopeBytes:], d.identity.Store):
		err = fmt.Errorf("%w: at offset %d: %w", ErrNewerFormat, off, err)
	case err != nil:
		err = fmt.Errorf("%w: %w", errDamaged, err)
	case h.Seq != e.seq || h.Incarnation != d.identity.Incarnation:
		err = damaged("envelope and frame do not agree")
	}
	return e, h, err
}

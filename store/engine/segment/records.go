package segment

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// hintBytes is how much is read for a record whose size is not known yet.
const hintBytes = 4096

var hints = sync.Pool{New: func() any { return new([hintBytes]byte) }}

// Record implements [journal.Records].
func (d *Dir) Record(ctx context.Context, p annals.Position) (frame.Record, error) {
	if err := ended(ctx); err != nil {
		return frame.Record{}, err
	}
	if err := d.durable(p); err != nil {
		return frame.Record{}, err
	}
	v, err := d.view(ctx, d.holding(func(s *segment) bool { return s.firstPos > p }))
	if err != nil {
		return frame.Record{}, closedError(err)
	}
	off := v.record(p)
	if off == 0 {
		return frame.Record{}, recordLoss(v, off, p, errLost)
	}
	hint, _ := hints.Get().(*[hintBytes]byte)
	defer hints.Put(hint)
	b, err := readRecord(v, off, hint[:])
	if err != nil {
		return frame.Record{}, recordLoss(v, off, p, err)
	}
	r, _, err := frame.NewDecoder(d.identity.Store, false).Decode(b)
	if err == nil && r.Position != p {
		err = fmt.Errorf("%w: the record of position %d", errDamaged, r.Position)
	}
	if err != nil {
		return frame.Record{}, recordLoss(v, off, p, err)
	}
	return r, nil
}

var errLost = errors.New("the record is lost")

// durable tells whether p is a position that can be read.
func (d *Dir) durable(p annals.Position) error {
	head, _, err := d.state()
	if err == nil && (p == 0 || p > head.pos) {
		err = &annals.AheadError{Position: p, Head: head.pos}
	}
	return err
}

// readRecord reads a record into buf, or into a larger one.
func readRecord(v *view, off int64, buf []byte) ([]byte, error) {
	buf = buf[:min(int64(len(buf)), v.end-off)]
	n, err := v.file.ReadAt(buf, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if n < frame.RecordHeaderBytes {
		return nil, cmp.Or(err, damaged("the file ends"))
	}
	size := int(binary.LittleEndian.Uint32(buf))
	if size <= n { // what is behind it may not be readable, and is not wanted
		return buf[:n], nil
	}
	if err != nil {
		return nil, err
	}
	if size > frame.RecordBytesMax || int64(size) > v.end-off {
		return nil, damaged("a record of %d bytes", size)
	}
	whole := make([]byte, size)
	copy(whole, buf[:n])
	m, err := v.file.ReadAt(whole[n:], off+int64(n))
	if n+m < size && err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return whole[:n+m], nil
}

func recordLoss(v *view, off int64, p annals.Position, reason error) error {
	if errors.Is(reason, fs.ErrClosed) {
		return annals.ErrClosed
	}
	return &annals.DataLossError{File: v.name(), Offset: off, First: p, Last: p, Reason: reason.Error()}
}

// Scan implements [journal.Records].
func (d *Dir) Scan(ctx context.Context, after, upto annals.Position) iter.Seq2[frame.Record, error] {
	return func(yield func(frame.Record, error) bool) {
		if after >= upto {
			return
		}
		if err := d.durable(upto); err != nil {
			yield(frame.Record{}, err)
			return
		}
		decoder := frame.NewDecoder(d.identity.Store, true)
		for p := after + 1; p <= upto; {
			v, err := d.view(ctx, d.holding(func(s *segment) bool { return s.firstPos > p }))
			if err != nil {
				yield(frame.Record{}, closedError(err))
				return
			}
			last := v.lastPos
			if v.state == stateActive {
				last = upto
			}
			if !d.scan(ctx, v, decoder, p, min(last, upto), yield) {
				return
			}
			p = last + 1
		}
	}
}

// scan yields the records of one segment.
func (d *Dir) scan(ctx context.Context, v *view, decoder *frame.Decoder, p, last annals.Position, yield func(frame.Record, error) bool) bool {
	w := &window{f: v.file, limit: v.end}
	var r frame.Record
	for ; p <= last; p++ {
		off := v.record(p)
		if p%endedEvery == 0 {
			if err := ended(ctx); err != nil {
				yield(frame.Record{}, err)
				return false
			}
		}
		err := recordAt(&r, w, off, decoder)
		if err == nil && r.Position != p {
			err = fmt.Errorf("%w: the record of position %d", errDamaged, r.Position)
		}
		if err != nil {
			yield(frame.Record{}, recordLoss(v, off, p, err))
			return false
		}
		if !yield(r, nil) {
			return false
		}
	}
	return true
}

// endedEvery is after how many records a scan looks at its context.
const endedEvery = 64

func recordAt(r *frame.Record, w *window, off int64, decoder *frame.Decoder) error {
	if off == 0 {
		return errLost
	}
	b, err := w.at(off, frame.RecordHeaderBytes)
	if err != nil {
		return err
	}
	size := int(binary.LittleEndian.Uint32(b))
	if size > frame.RecordBytesMax {
		return damaged("a record of %d bytes", size)
	}
	if b, err = w.at(off, max(size, frame.RecordHeaderBytes)); err != nil {
		return err
	}
	_, err = decoder.DecodeInto(r, b)
	return err
}

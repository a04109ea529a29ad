package segment

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// How much a scan reads at once: little at first, since it may be left soon, then more.
const (
	blockBytesFirst = 16 << 10
	blockBytesMost  = 256 << 10
)

// endedEvery is after how many records a scan looks at its context.
const endedEvery = 64

// Scan implements [journal.Records].
func (d *Dir) Scan(ctx context.Context, after, upto annals.Position) iter.Seq2[frame.Record, error] {
	return func(yield func(frame.Record, error) bool) {
		// To copy records out of one buffer makes less garbage than to give away the blocks that they are read in.
		scan(ctx, d, frame.NewDecoder(d.identity.Store, true), after, upto, func(r *frame.Record, err error) bool {
			if err != nil {
				return yield(frame.Record{}, err)
			}
			return yield(*r, nil)
		})
	}
}

// ScanLent implements [journal.Records].
func (d *Dir) ScanLent(ctx context.Context, after, upto annals.Position) iter.Seq2[*frame.Record, error] {
	return func(yield func(*frame.Record, error) bool) {
		scan(ctx, d, frame.NewLender(d.identity.Store), after, upto, yield)
	}
}

var blocks = sync.Pool{New: func() any { return new([blockBytesMost]byte) }}

// scanner reads records in order, block by block, all into one buffer.
type scanner struct {
	d       *Dir
	decoder *frame.Decoder
	next    int64 // how large the next block is
	buf     []byte
}

func scan(ctx context.Context, d *Dir, decoder *frame.Decoder, after, upto annals.Position, yield func(*frame.Record, error) bool) {
	buf, _ := blocks.Get().(*[blockBytesMost]byte)
	defer blocks.Put(buf)
	s := scanner{d: d, decoder: decoder, next: blockBytesFirst, buf: buf[:]}
	s.run(ctx, after, upto, yield)
}

func (s *scanner) run(ctx context.Context, after, upto annals.Position, yield func(*frame.Record, error) bool) {
	if after >= upto {
		return
	}
	for p := after + 1; p <= upto; {
		s.d.mu.RLock()
		err := s.d.readable(upto)
		var seg *segment
		if err == nil {
			seg = s.d.withPosition(p)
		}
		s.d.mu.RUnlock()
		if err != nil {
			yield(nil, err)
			return
		}
		last, goesOn := s.held(ctx, seg, p, upto, yield)
		if !goesOn {
			return
		}
		p = last + 1
	}
}

// held yields the records of a segment that is held, and tells up to where.
func (s *scanner) held(ctx context.Context, seg *segment, p, upto annals.Position, yield func(*frame.Record, error) bool) (last annals.Position, goesOn bool) {
	defer s.d.letGo(seg)
	v, err := s.d.view(ctx, seg)
	if err != nil {
		yield(nil, closedError(err))
		return 0, false
	}
	if last = upto; v.state != stateActive {
		last = min(upto, v.lastPos)
	}
	return last, s.segment(ctx, v, p, last, yield)
}

// segment yields the records of one segment.
func (s *scanner) segment(ctx context.Context, v *view, p, last annals.Position, yield func(*frame.Record, error) bool) bool {
	var r frame.Record
	for p <= last {
		b := s.block(v, p, last)
		for end := p + annals.Position(b.records); p < end; p++ {
			if p%endedEvery == 0 {
				if err := ended(ctx); err != nil {
					yield(nil, err)
					return false
				}
			}
			off := v.record(p)
			err := errNotInBlock
			if i := off - b.off; i >= 0 && i < int64(len(b.bytes)) {
				_, err = s.decoder.DecodeInto(&r, b.bytes[i:])
			}
			if err != nil || r.Position != p { // if it is damage, to read it alone tells what
				r, err = s.d.recordAt(ctx, s.decoder, v.file.s, v.place(p, v.end), nil)
			}
			if err != nil {
				yield(nil, err)
				return false
			}
			if !yield(&r, nil) {
				return false
			}
		}
	}
	return true
}

var errNotInBlock = errors.New("the record is not in the block")

// block is a run of records, read at once. What could not be read is not in it.
type block struct {
	off     int64
	records int
	bytes   []byte
}

// block reads the records from p on, up to last at most.
func (s *scanner) block(v *view, p, last annals.Position) block {
	b := block{off: v.record(p), records: 1}
	if b.off == 0 {
		return b
	}
	n, end := v.run(p, int(min(last-p, 1<<20))+1, v.end, s.next)
	if s.next = min(2*s.next, blockBytesMost); n == 0 { // it is large: it gets memory of its own
		return b
	}
	b.records = n
	n, _ = v.file.ReadAt(s.buf[:end-b.off], b.off) // what is missing is read again, alone, which tells why it cannot be read
	b.bytes = s.buf[:n]
	return b
}

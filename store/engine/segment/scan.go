package segment

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// How much a scan reads at once: little at first, since it may be left soon, then more. Records that last share the block
// that they were read in, so one that is kept keeps the whole block: those are smaller.
const (
	blockBytesFirst  = 16 << 10
	blockBytesShared = 32 << 10
	blockBytesLent   = 256 << 10
)

// endedEvery is after how many records a scan looks at its context.
const endedEvery = 64

// Scan implements [journal.Records].
func (d *Dir) Scan(ctx context.Context, after, upto annals.Position) iter.Seq2[frame.Record, error] {
	return func(yield func(frame.Record, error) bool) {
		s := scanner{d: d, decoder: frame.NewSharer(d.identity.Store), most: blockBytesShared}
		s.run(ctx, after, upto, func(r *frame.Record, err error) bool {
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
		buf, _ := lentBlocks.Get().(*[blockBytesLent]byte)
		defer lentBlocks.Put(buf)
		s := scanner{d: d, decoder: frame.NewLender(d.identity.Store), most: blockBytesLent, buf: buf[:]}
		s.run(ctx, after, upto, yield)
	}
}

var lentBlocks = sync.Pool{New: func() any { return new([blockBytesLent]byte) }}

// scanner reads records in order, block by block.
type scanner struct {
	d       *Dir
	decoder *frame.Decoder
	// most is how large a block is at most; next how large the next one is.
	most, next int64
	// buf is for all blocks; nil if each is to have memory of its own.
	buf []byte
}

func (s *scanner) run(ctx context.Context, after, upto annals.Position, yield func(*frame.Record, error) bool) {
	if after >= upto {
		return
	}
	s.next = blockBytesFirst
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
	if s.next = min(2*s.next, s.most); n == 0 { // it is large: it gets memory of its own
		return b
	}
	b.records, b.bytes = n, s.buf
	if b.bytes == nil {
		b.bytes = make([]byte, end-b.off)
	}
	n, _ = v.file.ReadAt(b.bytes[:end-b.off], b.off) // what is missing is read again, alone, which tells why it cannot be read
	b.bytes = b.bytes[:n]
	return b
}

package segment

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// hintBytes is how much is read at most for a record whose size is not known yet.
const hintBytes = 4096

var hints = sync.Pool{New: func() any { return new([hintBytes]byte) }}

// Record implements [journal.Records].
func (d *Dir) Record(ctx context.Context, p annals.Position) (frame.Record, error) {
	if err := ended(ctx); err != nil {
		return frame.Record{}, err
	}
	s, at, err := d.place(ctx, p, nil)
	if err != nil {
		return frame.Record{}, closedError(err)
	}
	defer d.letGo(s)
	hint, _ := hints.Get().(*[hintBytes]byte)
	defer hints.Put(hint)
	return d.recordAt(ctx, frame.NewDecoder(d.identity.Store, false), s, at, hint[:])
}

// place is where a record is.
type place struct {
	p   annals.Position
	off int64 // 0: it is lost
	// next is where the next one begins, or the frames end: no record is larger. limit is where the frames end.
	next, limit int64
	// peeked says that the footer was not verified that says so. The record tells whether it is right.
	peeked bool
}

// place finds the record at p, and holds its segment. If that is the one where the last record was found its table is
// worth loading.
func (d *Dir) place(ctx context.Context, p annals.Position, last *segment) (*segment, place, error) {
	d.mu.RLock()
	if err := d.readable(p); err != nil {
		d.mu.RUnlock()
		return nil, place{}, err
	}
	s := d.withPosition(p)
	if s.state != stateSealed {
		at := s.table.place(p, s.end)
		d.mu.RUnlock()
		return s, at, nil
	}
	limit, fromFooter := s.bodyEnd, s.placeInFooter(p)
	d.mu.RUnlock()
	t := s.loaded()
	s.touched.Store(true)
	if t == nil && s != last && s.peeks.Add(1) <= peeksMost {
		if at, err := d.peek(s, p, limit, fromFooter); err == nil {
			return s, at, nil
		}
	}
	if t == nil {
		v, err := d.view(ctx, s)
		if err != nil {
			d.letGo(s)
			return nil, place{}, err
		}
		t = &v.table
	}
	return s, t.place(p, limit), nil
}

// peeksMost is how many records of a segment are found one by one before its whole table is loaded. In a large store that
// is seldom worth it.
const peeksMost = 64

var errNotInFooter = errors.New("the footer does not tell")

// placeInFooter is where in the file of a sealed segment the offset of the record at p stands, and whether that of the next one
// stands behind it. The caller holds the lock of the Dir.
func (s *segment) placeInFooter(p annals.Position) footerPlace {
	return footerPlace{
		off:  s.bodyEnd + recordsInFooter + int64(s.lastSeq+1-s.firstSeq)*frameInFooter + int64(p-s.firstPos)*recordInFooter,
		both: p < s.lastPos,
	}
}

type footerPlace struct {
	off  int64
	both bool
}

// peek finds a record without loading the table of its segment.
func (d *Dir) peek(s *segment, p annals.Position, limit int64, in footerPlace) (place, error) {
	file, err := d.borrow(s)
	if err != nil {
		return place{}, err
	}
	defer s.giveBack()
	var b [2 * recordInFooter]byte
	known := b[:]
	if !in.both {
		known = b[:recordInFooter]
	}
	if n, err := file.ReadAt(known, in.off); n < len(known) {
		return place{}, cmp.Or(err, errNotInFooter)
	}
	at := place{p: p, off: int64(binary.LittleEndian.Uint32(b[:])) * frameAlign, next: limit, limit: limit, peeked: true}
	if next := int64(binary.LittleEndian.Uint32(b[recordInFooter:])) * frameAlign; in.both && next > at.off {
		at.next = min(next, limit)
	}
	if at.off < headerBytes || at.off > limit-frame.RecordHeaderBytes {
		return place{}, errNotInFooter
	}
	return at, nil
}

// readable tells whether there is a position p to be read. The caller holds mu.
func (d *Dir) readable(p annals.Position) error {
	switch {
	case d.closed:
		return annals.ErrClosed
	case p == 0 || p > d.head.pos:
		return &annals.AheadError{Position: p, Head: d.head.pos}
	}
	return nil
}

// lost says of a record that was not found when the log was opened what was found in its place.
func (d *Dir) lost(s *segment, p annals.Position) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, l := range d.recovery.Damage {
		if l.First <= p && p <= l.Last {
			return &annals.DataLossError{File: l.File, Offset: l.Offset, First: p, Last: p, Reason: l.Reason}
		}
	}
	return &annals.DataLossError{File: s.name(), First: p, Last: p, Reason: "the record is lost"}
}

// recordAt reads and decodes one record, through buf, or through memory of its own if that is too small.
func (d *Dir) recordAt(ctx context.Context, decoder *frame.Decoder, s *segment, at place, buf []byte) (r frame.Record, err error) {
	if at.off == 0 {
		return frame.Record{}, d.lost(s, at.p)
	}
	b, err := d.readRecord(s, at, buf)
	if err == nil {
		_, err = decoder.DecodeInto(&r, b)
	}
	if err == nil && r.Position != at.p {
		err = fmt.Errorf("%w: the record of position %d", errDamaged, r.Position)
	}
	if err == nil {
		return r, nil
	}
	if at.peeked {
		v, err := d.view(ctx, s)
		if err != nil {
			return frame.Record{}, closedError(err)
		}
		return d.recordAt(ctx, decoder, s, v.place(at.p, at.limit), buf)
	}
	return frame.Record{}, recordLoss(s, at.off, at.p, err)
}

// readRecord reads a record into buf, or into memory of its own if that is nil or too small.
func (d *Dir) readRecord(s *segment, at place, buf []byte) ([]byte, error) {
	file, err := d.borrow(s)
	if err != nil {
		return nil, err
	}
	defer s.giveBack()
	if buf == nil {
		buf = make([]byte, hintBytes)
	}
	known := at.limit
	if at.next > at.off {
		known = min(known, at.next)
	}
	buf = buf[:max(0, min(int64(len(buf)), known-at.off))]
	n, err := file.ReadAt(buf, at.off)
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
	if size > frame.RecordBytesMax || int64(size) > at.limit-at.off {
		return nil, damaged("a record of %d bytes", size)
	}
	whole := make([]byte, size)
	copy(whole, buf[:n])
	m, err := file.ReadAt(whole[n:], at.off+int64(n))
	if n+m < size && err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return whole[:n+m], nil
}

func recordLoss(s *segment, off int64, p annals.Position, reason error) error {
	switch {
	case errors.Is(reason, fs.ErrClosed), errors.Is(reason, annals.ErrClosed):
		return annals.ErrClosed
	case errors.Is(reason, errUnopened):
		return reason
	}
	return &annals.DataLossError{File: s.name(), Offset: off, First: p, Last: p, Reason: reason.Error()}
}

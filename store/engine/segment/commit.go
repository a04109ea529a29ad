package segment

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
)

// CompareAppend implements [journal.Journal]. Beside the answers of the interface:
//
//   - annals.ErrNotWritten: something failed, the frame is not in the log, and a later try may succeed;
//   - journal.ErrStopped alone: the frame is not in the log; together with journal.ErrAmbiguous: it may be found there when
//     the log is opened again;
//   - annals.ErrClosed, annals.ErrReadOnly.
func (d *Dir) CompareAppend(ctx context.Context, expect frame.Ref, f []byte) error {
	d.commit.Lock()
	defer d.commit.Unlock()
	if err := ended(ctx); err != nil {
		return notWritten(err)
	}
	h, err := d.admit(expect, f)
	if err != nil {
		return err
	}
	if err := d.resume(ctx); err != nil {
		return err
	}
	if err := d.makeRoom(int64(len(f)) + envelopeBytes); err != nil {
		return err
	}
	if err := d.write(&h, f); err != nil {
		return err
	}
	d.kick()
	return nil
}

// resume takes over a log for which there was no space when it was opened.
func (d *Dir) resume(ctx context.Context) error {
	if d.pending == nil {
		return nil
	}
	d.lockUpkeep()
	defer d.upkeep.Unlock()
	err := d.takeOver(ctx, d.pending)
	switch {
	case err == nil:
		d.pending = nil
		return nil
	case d.stoppedBy() == nil && errors.Is(err, vfs.ErrNoSpace):
		return fmt.Errorf("%w: %w", journal.ErrFull, err)
	}
	d.stop(err)
	return fmt.Errorf("%w: %w", journal.ErrStopped, err)
}

// admit checks the frame against the journal.
func (d *Dir) admit(expect frame.Ref, f []byte) (frame.Header, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	switch {
	case d.closed:
		return frame.Header{}, annals.ErrClosed
	case d.o.ReadOnly:
		return frame.Header{}, fmt.Errorf("segment: opened to be read: %w", annals.ErrReadOnly)
	case d.stopped != nil:
		return frame.Header{}, fmt.Errorf("%w: %w", journal.ErrStopped, d.stopped)
	case expect != d.head.ref():
		return frame.Header{}, fmt.Errorf("%w: it is frame %d", journal.ErrMoved, d.head.seq)
	case len(f) > frame.BytesMax:
		return frame.Header{}, fmt.Errorf("%w: %d bytes", journal.ErrTooLarge, len(f))
	}
	h, err := frame.ParseHeader(f)
	if err != nil {
		return h, notWritten(err)
	}
	if h.Store != d.identity.Store || h.Incarnation != d.identity.Incarnation || h.Epoch != d.epoch ||
		len(f) != frame.HeaderBytes+int(h.Size) || len(f)%frameAlign != 0 || !d.head.precedes(&h) {
		return h, notWritten(fmt.Errorf("%w: the frame does not follow frame %d", frame.ErrMalformed, d.head.seq))
	}
	return h, nil
}

func (d *Dir) active() *segment {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.segments[len(d.segments)-1]
}

// makeRoom sees to it that the active segment has room for so much.
func (d *Dir) makeRoom(need int64) error {
	active := d.active()
	if active.end+need <= active.size {
		return nil
	}
	d.mu.RLock()
	ready := d.next != nil && d.next.size-headerBytes >= need
	d.mu.RUnlock()
	if !ready {
		if err := d.prepareNow(need); err != nil {
			return err
		}
	}
	d.moveOn()
	return nil
}

// prepareNow makes the next segment, as the background was not fast enough, or not asked.
func (d *Dir) prepareNow(need int64) error {
	d.lockUpkeep()
	defer d.upkeep.Unlock()
	if cause := d.stoppedBy(); cause != nil {
		return fmt.Errorf("%w: %w", journal.ErrStopped, cause)
	}
	err := d.prepare(need)
	switch {
	case err == nil:
		return nil
	case d.stoppedBy() != nil:
		return fmt.Errorf("%w: %w", journal.ErrStopped, err)
	case errors.Is(err, vfs.ErrNoSpace):
		return fmt.Errorf("%w: %w", journal.ErrFull, err)
	}
	return notWritten(err)
}

// write makes the frame durable and then visible.
func (d *Dir) write(h *frame.Header, f []byte) error {
	s := d.active()
	off := s.end
	d.buf = append(d.buf[:0], zeros[:envelopeBytes]...)
	d.buf = append(d.buf, f...)
	encodeEnvelope(d.buf, envelope{size: len(f), seq: h.Seq, durableSeq: h.Seq - 1}, f, s.salt, off)
	file, err := d.borrow(s)
	if err != nil {
		return notWritten(err)
	}
	defer s.giveBack()
	if _, err := file.WriteAt(d.buf, off); err != nil {
		return d.undo(file, off, int64(len(d.buf)), err)
	}
	if err := file.Sync(); err != nil {
		d.stop(err)
		return fmt.Errorf("%w: %w: %w", journal.ErrStopped, journal.ErrAmbiguous, err)
	}
	d.publish(s, h, off)
	if cap(d.buf) > bufferBytesMax {
		d.buf = nil
	}
	return nil
}

// bufferBytesMax is how large a buffer is kept for the next frame.
const bufferBytesMax = 4 << 20

// undo takes a failed write back, durably, so that it is certain that the frame is not there. If that fails too, nothing
// is certain any more.
func (d *Dir) undo(file vfs.File, off, size int64, cause error) error {
	err := writeZeros(file, off, off+size)
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		err = errors.Join(cause, err)
		d.stop(err)
		return fmt.Errorf("%w: %w: %w", journal.ErrStopped, journal.ErrAmbiguous, err)
	}
	if errors.Is(cause, vfs.ErrNoSpace) {
		return fmt.Errorf("%w: %w", journal.ErrFull, cause)
	}
	return notWritten(cause)
}

func (d *Dir) publish(s *segment, h *frame.Header, off int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.table.add(h, off, d.buf[envelopeBytes:])
	s.end = off + int64(len(d.buf))
	d.head = tipOf(h)
	close(d.changed)
	d.changed = make(chan struct{})
}

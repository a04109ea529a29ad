package segment

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
)

// replace puts an equal segment of the next generation in the place of the sealed one with this number: the same frames, in a
// file of its own. It is the seam for whatever is to store them otherwise. Appends and reads go on meanwhile, and whoever reads
// the old file reads it to its end; then it is removed.
//
// The new file is written, synced, read again, and each frame's hash compared with the old one's, before a manifest names it. A crash
// leaves the old file or the new one in the manifest, and the other, if there is one, is removed when the log is opened to
// be written. With an error the old segment stays.
func (d *Dir) replace(ctx context.Context, no uint64) error {
	d.replacing.Lock()
	defer d.replacing.Unlock()
	old, err := d.toReplace(no)
	if err != nil {
		return err
	}
	defer d.background.Done()
	defer d.letGo(old)
	e, t, err := d.copySegment(ctx, old)
	if err != nil {
		return fmt.Errorf("segment: replacing %s: %w", old.name(), err)
	}
	d.lockUpkeep()
	defer d.upkeep.Unlock()
	if err := d.exchange(old, &segment{entry: e, end: e.bodyEnd, table: t}); err != nil {
		return fmt.Errorf("segment: replacing %s: %w", old.name(), errors.Join(err, d.discardUnless(d.stoppedBy() != nil, e)))
	}
	return nil
}

// toReplace holds the segment, and keeps Close waiting.
func (d *Dir) toReplace(no uint64) (*segment, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, annals.ErrClosed
	case d.o.ReadOnly:
		return nil, annals.ErrReadOnly
	case d.stopped != nil:
		return nil, fmt.Errorf("%w: %w", journal.ErrStopped, d.stopped)
	}
	for _, s := range d.segments {
		if s.no != no {
			continue
		}
		if s.state != stateSealed || s.absent || s.unlinked {
			return nil, fmt.Errorf("segment: %s is not sealed, or not whole, and cannot be replaced", s.name())
		}
		s.readers.Add(1)
		d.background.Add(1) // while mu keeps Close from waiting already
		return s, nil
	}
	return nil, fmt.Errorf("segment: there is no segment %d", no)
}

// exchange makes the new segment the one that counts: durably, then for all who begin to read. The caller holds upkeep.
func (d *Dir) exchange(old, replacement *segment) error {
	if cause := d.stoppedBy(); cause != nil {
		return fmt.Errorf("%w: %w", journal.ErrStopped, cause)
	}
	m := d.snapshot(false)
	for i := range m.segments {
		if m.segments[i].no == old.no {
			m.segments[i] = replacement.entry
		}
	}
	if err := d.writeManifest(m); err != nil {
		return err
	}
	d.mu.Lock()
	for i, s := range d.segments {
		if s == old {
			d.segments[i] = replacement
		}
	}
	old.retired.Store(true)
	d.mu.Unlock()
	d.tables.keep(replacement, replacement.table, d.o.TableBytesMax)
	return nil
}

// copySegment writes the next generation of a sealed segment, durably, and compares it with the old one. A file that fails is removed.
func (d *Dir) copySegment(ctx context.Context, old *segment) (entry, *table, error) {
	v, err := d.view(ctx, old)
	if err != nil {
		return entry{}, nil, err
	}
	e := v.entry
	e.generation++
	d.lockUpkeep() // which guards the randomness
	_, err = io.ReadFull(d.o.Random, e.salt[:])
	d.upkeep.Unlock()
	if err != nil {
		return entry{}, nil, fmt.Errorf("randomness: %w", err)
	}
	path := d.join(e.name())
	if err := d.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // an earlier try may have left it
		return entry{}, nil, err
	}
	f, err := d.fs.Create(path)
	if err != nil {
		return entry{}, nil, err
	}
	t, err := d.fillCopy(ctx, f, v, &e)
	if err = errors.Join(err, f.Close()); err == nil {
		if err = d.fs.SyncDir(d.dir); err != nil {
			d.stop(err)
			return entry{}, nil, err
		}
		return e, t, nil
	}
	return entry{}, nil, errors.Join(err, d.fs.Remove(path))
}

// fillCopy writes the file of e, and completes e.
func (d *Dir) fillCopy(ctx context.Context, f vfs.File, v *view, e *entry) (*table, error) {
	h := header{
		store: d.identity.Store, incarnation: d.identity.Incarnation,
		no: e.no, generation: e.generation, salt: e.salt, capacity: e.size,
	}
	w := &summing{f: f, sum: sha256.New()}
	if err := w.write(h.encode()); err != nil {
		return nil, err
	}
	t := newTable(e.firstSeq, e.firstPos)
	var buf []byte
	hashes := make([][32]byte, 0, len(v.frames))
	last, err := d.eachFrame(ctx, v, func(env envelope, h *frame.Header, b []byte) error {
		buf = append(append(buf[:0], zeros[:envelopeBytes]...), b...)
		encodeEnvelope(buf, env, b, e.salt, w.off)
		t.add(h, w.off, b)
		hashes = append(hashes, h.Hash)
		return w.write(buf)
	})
	if err == nil && (last.seq != e.lastSeq || last.hash != e.lastHash) {
		err = damaged("its last frame is not the one in the manifest")
	}
	if err != nil {
		return nil, err
	}
	e.bodyEnd = w.off
	footer := encodeFooter(t, e.bodyEnd)
	if err := w.write(footer); err != nil {
		return nil, err
	}
	e.sum = [32]byte(w.sum.Sum(nil))
	tr := trailer{last: e.last(), lastTime: t.lastTime, sum: e.sum, footerSize: int64(len(footer)), generation: e.generation, salt: e.salt}
	if err := w.write(tr.encode()); err != nil {
		return nil, err
	}
	e.size = w.off
	if err := f.Sync(); err != nil {
		return nil, err
	}
	if err := f.DropCache(); err != nil {
		return nil, err
	}
	return t, d.compareCopy(ctx, f, *e, t, hashes)
}

// summing writes a file from its beginning, and takes its sum.
type summing struct {
	f   vfs.File
	off int64
	sum hash.Hash
	err error
}

func (s *summing) write(b []byte) error {
	if s.err == nil {
		_, s.err = s.f.WriteAt(b, s.off)
		s.off += int64(len(b))
		_, _ = s.sum.Write(b) // hashes never fail
	}
	return s.err
}

// eachFrame gives the frames of a segment, each verified and following the one before it.
func (d *Dir) eachFrame(ctx context.Context, v *view, do func(e envelope, h *frame.Header, f []byte) error) (tip, error) {
	frames := batch{d: d, w: &window{f: v.file, limit: v.bodyEnd}, salt: v.salt, verify: frame.Verify}
	t := tip{seq: v.entry.firstSeq - 1, pos: v.entry.firstPos - 1}
	for _, at := range v.frames {
		if err := ended(ctx); err != nil {
			return t, err
		}
		if _, _, err := d.state(); err != nil { // it is being closed, and Close waits
			return t, err
		}
		e, h, f, err := frames.at(at.off)
		if err == nil && !t.precedes(&h) {
			err = damaged("frame %d does not follow frame %d", h.Seq, t.seq)
		}
		if err == nil {
			err = do(e, &h, f)
		}
		if err != nil {
			return t, err
		}
		t = tipOf(&h)
	}
	return t, nil
}

// compareCopy reads a new file again, and compares it with what it is to be.
func (d *Dir) compareCopy(ctx context.Context, f io.ReaderAt, e entry, t *table, hashes [][32]byte) error {
	frames := batch{d: d, w: &window{f: f, limit: e.bodyEnd}, salt: e.salt, verify: frame.Verify}
	for i, at := range t.frames {
		if err := ended(ctx); err != nil {
			return err
		}
		_, h, _, err := frames.at(at.off)
		if err == nil && h.Hash != hashes[i] {
			err = damaged("frame %d of the copy is another", h.Seq)
		}
		if err != nil {
			return err
		}
	}
	b := make([]byte, e.size-e.bodyEnd)
	if n, err := f.ReadAt(b, e.bodyEnd); n < len(b) {
		return fmt.Errorf("reading the copy again: %w", err)
	}
	tr, err := decodeTrailer(b[len(b)-trailerBytes:])
	if err != nil {
		return err
	}
	sum, err := sumOf(f, e.bodyEnd, b[:len(b)-trailerBytes])
	if err == nil && (sum != e.sum || tr.sum != sum || !tr.seals(e)) {
		err = damaged("the sum of the copy")
	}
	return err
}

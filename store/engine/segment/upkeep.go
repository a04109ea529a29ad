package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/annalsdb/annals"
)

// capacityOf is the size of the segment with this number, if it has to hold this much.
func (d *Dir) capacityOf(no uint64, need int64) int64 {
	size := int64(firstSegmentBytes)
	for i := uint64(1); i < no && size < d.o.SegmentBytes; i++ {
		size *= growth
	}
	size = max(min(size, d.o.SegmentBytes), headerBytes+need)
	return size + -size&(headerBytes-1)
}

// create makes a segment's file: header and zeros, durable, its name included.
func (d *Dir) create(e entry, pace pace) (*segment, error) {
	if _, err := io.ReadFull(d.o.Random, e.salt[:]); err != nil {
		return nil, fmt.Errorf("segment: randomness: %w", err)
	}
	path := d.join(e.name())
	if err := d.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	h := header{
		store: d.identity.Store, incarnation: d.identity.Incarnation,
		no: e.no, generation: e.generation, salt: e.salt, capacity: e.size,
	}
	if err := d.createZeros(path, h.encode(), e.size, pace); err != nil {
		return nil, fmt.Errorf("segment: making %s: %w", e.name(), err)
	}
	if err := d.fs.SyncDir(d.dir); err != nil {
		d.stop(err)
		return nil, fmt.Errorf("segment: making %s: %w", e.name(), err)
	}
	return &segment{entry: e, end: headerBytes}, nil
}

// prepare sees to it that there is a next segment with room for so much. The caller holds upkeep.
func (d *Dir) prepare(need int64) error {
	d.mu.RLock()
	old := d.next
	e := entry{no: d.segments[len(d.segments)-1].no + 1, generation: 1, state: stateNext}
	d.mu.RUnlock()
	if old != nil {
		if old.size-headerBytes >= need {
			return nil
		}
		e.generation = old.generation + 1
	}
	e.size = d.capacityOf(e.no, need)
	s, err := d.create(e, d.paceOf(e.size, need))
	if err != nil {
		return err
	}
	e = s.entry
	if s.file, err = d.fs.OpenReadWrite(d.join(e.name())); err != nil {
		return errors.Join(err, d.fs.Remove(d.join(e.name())))
	}
	m := d.snapshot(false)
	if old != nil {
		m.segments = m.segments[:len(m.segments)-1]
	}
	m.segments = append(m.segments, e)
	if err := d.writeManifest(m); err != nil {
		return errors.Join(err, s.file.Close(), d.discardUnless(d.stoppedBy() != nil, e))
	}
	d.mu.Lock()
	d.next = s
	d.mu.Unlock()
	if old != nil {
		err := errors.Join(old.file.Close(), d.fs.Remove(d.join(old.name())))
		if err != nil {
			d.log.Warn("an unused segment stays", "file", old.name(), "error", err)
		}
	}
	return nil
}

// pace waits until it is time to go on at an offset, and tells whether there is leisure for that.
type pace func(off int64) (leisurely bool, err error)

// unpaced is the pace of who is in a hurry.
func unpaced(int64) (bool, error) { return false, nil }

// paceOf is the pace at which a next segment of a size is made: a few bytes for each byte that is appended meanwhile, so that it
// is there in time and no append waits long for the device. It is done at once if somebody needs it, or anything else
// that has to wait for it.
func (d *Dir) paceOf(size, need int64) pace {
	if d.o.Foreground || need > 0 {
		return unpaced
	}
	d.mu.RLock()
	active := d.segments[len(d.segments)-1]
	from := active.end
	d.mu.RUnlock()
	ratio := 1 + size/max((active.size-from)*3/4, 1) // ready when a quarter of what was left is left
	return func(off int64) (bool, error) {
		for {
			d.mu.RLock()
			end, last, closed, changed := active.end, d.segments[len(d.segments)-1], d.closed, d.changed
			d.mu.RUnlock()
			switch {
			case closed:
				return false, annals.ErrClosed
			case last != active, d.hurried.Load() > 0:
				return false, nil
			case off <= firstSegmentBytes+(end-from)*ratio:
				return true, nil
			}
			select {
			case <-changed:
			case <-d.hurry:
			}
		}
	}
}

// lockUpkeep takes the lock from whoever holds it to make a segment at leisure.
func (d *Dir) lockUpkeep() {
	d.hurried.Add(1)
	defer d.hurried.Add(-1)
	select {
	case d.hurry <- struct{}{}:
	default:
	}
	d.upkeep.Lock()
}

// discardUnless removes the file of a segment that no manifest can name.
func (d *Dir) discardUnless(unsure bool, e entry) error {
	if unsure {
		return nil
	}
	return d.fs.Remove(d.join(e.name()))
}

// kick has the background do what there is to do.
func (d *Dir) kick() {
	if d.o.Foreground {
		d.work()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.working || d.closed || d.stopped != nil || !d.due() {
		return
	}
	d.working = true
	d.background.Go(func() {
		for again := true; again; {
			d.work()
			d.mu.Lock()
			again = d.due() && d.stopped == nil && !d.closed && d.progress()
			d.working = again
			d.mu.Unlock()
		}
	})
}

// retryParts is how often at most the making of a next segment is tried while the active one fills.
const retryParts = 8

// due tells whether a next segment should be prepared, or a full one sealed. The caller holds mu.
func (d *Dir) due() bool { return d.wantsNext() || d.firstFull() != nil }

// progress keeps the background from trying for ever what fails: it goes on at the next append instead. The caller holds mu.
func (d *Dir) progress() bool {
	failed := d.failed
	d.failed = false
	return !failed
}

// wantsNext: the active segment is a quarter full, or, if it is small, half, and has got further if it did not work out before.
// The caller holds mu.
func (d *Dir) wantsNext() bool {
	active := d.segments[len(d.segments)-1]
	start := active.size / 2
	if active.size > growth*firstSegmentBytes {
		start = active.size / 4
	}
	return d.next == nil && active.end > start && active.end >= d.retryAt
}

// firstFull is the first segment to be sealed. They stand together, right before the active one. The caller holds mu.
func (d *Dir) firstFull() *segment {
	var first *segment
	for _, s := range slices.Backward(d.segments[:len(d.segments)-1]) {
		if s.state != stateFull {
			break
		}
		first = s
	}
	return first
}

// work prepares and seals. What fails is tried again later; what cannot be tried again has stopped the journal.
func (d *Dir) work() {
	d.upkeep.Lock()
	defer d.upkeep.Unlock()
	d.mu.RLock()
	wants, idle := d.wantsNext(), d.stopped != nil
	d.mu.RUnlock()
	if idle {
		return
	}
	var err error
	if wants {
		if err = d.prepare(0); err == nil {
			d.fillReserve()
		}
		d.mu.Lock()
		d.retryAt = 0
		if active := d.segments[len(d.segments)-1]; err != nil { // a full disk is not filled again at every append
			d.retryAt = active.end + active.size/retryParts
		}
		d.mu.Unlock()
	}
	if errors.Is(err, annals.ErrClosed) {
		return // Close seals what is full
	}
	if err = errors.Join(err, d.sealFull()); err != nil {
		d.log.Warn("upkeep of segments failed", "error", err)
		d.mu.Lock()
		d.failed = true
		d.mu.Unlock()
	}
}

// sealFull seals what is full, in order. The caller holds upkeep.
func (d *Dir) sealFull() error {
	sealed := false
	for d.stoppedBy() == nil {
		d.mu.RLock()
		s := d.firstFull()
		d.mu.RUnlock()
		if s == nil {
			break
		}
		if !s.recorded {
			// From now on what follows the frames is a footer, finished or not, and no torn frame.
			if err := d.writeManifest(d.snapshot(false)); err != nil {
				return err
			}
		}
		if err := d.seal(s); err != nil {
			return fmt.Errorf("segment: sealing %s: %w", s.name(), err)
		}
		sealed = true
	}
	if sealed && d.stoppedBy() == nil {
		return d.writeManifest(d.snapshot(false))
	}
	return nil
}

// seal puts the footer and the trailer behind the frames. Frames stay where they are, and may be read meanwhile.
func (d *Dir) seal(s *segment) error {
	v, err := d.view(context.Background(), s)
	if err != nil {
		return err
	}
	footer := encodeFooter(&v.table, v.bodyEnd)
	sum, err := sumOf(v.file, v.bodyEnd, footer)
	if err != nil {
		return err
	}
	t := trailer{
		last: v.last(), lastTime: v.lastTime, sum: sum,
		footerSize: int64(len(footer)), generation: v.generation, salt: v.salt,
	}
	b := append(footer, t.encode()...)
	file, err := d.borrow(s)
	if err != nil {
		return err
	}
	defer s.giveBack()
	if _, err := file.WriteAt(b, v.bodyEnd); err != nil {
		return err
	}
	size := v.bodyEnd + int64(len(b))
	if err := file.Truncate(size); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		d.stop(err)
		return err
	}
	d.mu.Lock()
	s.state, s.size, s.sum = stateSealed, size, sum
	d.mu.Unlock()
	d.tables.keep(s, &v.table, d.o.TableBytesMax)
	d.files.keep(s, d.o.FilesMax)
	return nil
}

// moveOn makes the next segment the active one. The caller holds commit.
func (d *Dir) moveOn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	active := d.segments[len(d.segments)-1]
	d.retryAt = 0
	active.state, active.bodyEnd = stateFull, active.end
	active.lastSeq, active.lastPos, active.lastHash = d.head.seq, d.head.pos, d.head.hash
	s := d.next
	d.next = nil
	s.state = stateActive
	s.firstSeq, s.firstPos = d.head.seq+1, d.head.pos+1
	s.table = newTable(s.firstSeq, s.firstPos)
	d.segments = append(d.segments, s)
}

func newTable(seq uint64, p annals.Position) *table { return &table{firstSeq: seq, firstPos: p} }

package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"

	"github.com/annalsdb/annals/internal/vfs"
)

const (
	lockName       = "LOCK"
	reserveName    = "RESERVE"
	quarantineName = "quarantine"
	indexName      = "index"
	reserveBytes   = 1 << 20
)

// catalog is what a directory holds.
type catalog struct {
	names     []string
	segments  []string
	temporary []string
	manifests []uint64 // newest first
	foreign   []string
	// manifest is the newest that verifies, nil if none does; invalid are those newer than it, and why.
	manifest *manifest
	invalid  map[string]error
}

func (c *catalog) isStore() bool { return len(c.manifests)+len(c.segments) > 0 }

func (d *Dir) list() (*catalog, error) {
	names, err := d.fs.List(d.dir)
	if err != nil {
		return nil, err
	}
	c := &catalog{names: names, invalid: map[string]error{}}
	for _, name := range names {
		_, _, isSegment := parseSegmentName(name)
		n, isManifest := parseManifestName(name)
		switch {
		case isSegment:
			c.segments = append(c.segments, name)
		case isManifest:
			c.manifests = append(c.manifests, n)
		case strings.HasPrefix(name, manifestPrefix) && strings.HasSuffix(name, temporarySuffix):
			c.temporary = append(c.temporary, name)
		case name != lockName && name != reserveName && name != quarantineName && name != indexName && name != "lost+found":
			c.foreign = append(c.foreign, name)
		}
	}
	slices.Sort(c.manifests)
	slices.Reverse(c.manifests)
	if !c.isStore() && len(c.foreign) > 0 {
		return nil, fmt.Errorf("%w: %s has no manifest, but %q", ErrNotAStore, d.dir, c.foreign[0])
	}
	return c, nil
}

// readManifests finds the newest manifest that verifies.
func (d *Dir) readManifests(ctx context.Context, c *catalog) error {
	for _, no := range c.manifests {
		m, err := d.readManifest(no)
		if err == nil {
			c.manifest = m
			return nil
		}
		if !errors.Is(err, errDamaged) {
			return err
		}
		d.log.ErrorContext(ctx, "a manifest is damaged, or cannot be read", "file", manifestName(no), "error", err)
		c.invalid[manifestName(no)] = err
	}
	return nil
}

func (d *Dir) readManifest(no uint64) (*manifest, error) {
	name := manifestName(no)
	f, err := d.fs.Open(d.join(name))
	if err != nil {
		return nil, err
	}
	b, err := readWhole(f, manifestBytesMax)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(name, b)
	if err == nil && m.no != no {
		err = damaged("this is manifest %d under another name", m.no)
	}
	return m, err
}

func readWhole(f vfs.File, limit int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, damaged("%d bytes are too many", size)
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return b[:n], nil
}

// snapshot is the manifest of what there is now. clean marks where the log ends.
func (d *Dir) snapshot(clean bool) *manifest {
	d.mu.RLock()
	defer d.mu.RUnlock()
	m := &manifest{identity: d.identity, epoch: d.epoch}
	for _, s := range d.segments {
		m.segments = append(m.segments, s.entry)
	}
	if clean {
		active := d.segments[len(d.segments)-1]
		m.clean = &cleanMark{ref: d.head.ref(), pos: d.head.pos, segment: active.no, off: active.end}
	}
	if d.next != nil {
		m.segments = append(m.segments, d.next.entry)
	}
	return m
}

// writeManifest makes m the newest manifest. A directory whose state is not known any more stops writing. The caller holds upkeep.
func (d *Dir) writeManifest(m *manifest) error {
	m.no = d.manifestNo + 1
	name := manifestName(m.no)
	if err := d.spending(func() error { return d.writeTemporary(name, m.encode()) }); err != nil {
		return fmt.Errorf("segment: writing %s: %w", name, err)
	}
	if err := d.fs.Rename(d.join(name+temporarySuffix), d.join(name)); err != nil {
		d.stop(err)
		return fmt.Errorf("segment: renaming %s: %w", name, err)
	}
	previous := d.manifest
	d.manifestNo, d.manifest = m.no, m.no
	if err := d.fs.SyncDir(d.dir); err != nil {
		d.stop(err)
		return fmt.Errorf("segment: writing %s: %w", name, err)
	}
	d.recordFull(m)
	d.prune(previous)
	return nil
}

// writeTemporary writes a manifest beside its place. A failed sync concerns this file only, which is thrown away.
func (d *Dir) writeTemporary(name string, b []byte) error {
	path := d.join(name + temporarySuffix)
	if err := d.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.fs.Create(path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.fs.Remove(path))
	}
	return nil
}

// recordFull notes which segments a durable manifest now calls full, so that they may be sealed.
func (d *Dir) recordFull(m *manifest) {
	full := map[uint64]bool{}
	for _, e := range m.segments {
		if e.state == stateFull {
			full[e.no] = true
		}
	}
	if len(full) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.segments {
		s.recorded = s.recorded || full[s.no]
	}
}

// prune removes all manifests but the newest and the one to keep, which verified.
func (d *Dir) prune(keep uint64) {
	names, err := d.fs.List(d.dir)
	if err != nil {
		d.log.Warn("old manifests stay", "error", err)
		return
	}
	for _, name := range names {
		no, ok := parseManifestName(name)
		if !ok || no == keep || no >= d.manifestNo {
			continue
		}
		if err := d.fs.Remove(d.join(name)); err != nil {
			d.log.Warn("an old manifest stays", "file", name, "error", err)
		}
	}
}

// spending frees the reserve if there is no space for what do does, and lets it try again.
func (d *Dir) spending(do func() error) error {
	err := do()
	if !errors.Is(err, vfs.ErrNoSpace) {
		return err
	}
	if removed := d.fs.Remove(d.join(reserveName)); removed != nil {
		return err
	}
	d.log.Warn("the disk is full: the reserve was spent")
	if synced := d.fs.SyncDir(d.dir); synced != nil {
		return errors.Join(err, synced)
	}
	return do()
}

// fillReserve puts the reserve there, if there is space.
func (d *Dir) fillReserve() {
	path := d.join(reserveName)
	if i, err := d.fs.Stat(path); err == nil && i.Size == reserveBytes {
		return
	}
	err := d.fs.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = d.createZeros(path, nil, reserveBytes, unpaced)
	}
	if err != nil {
		d.log.Warn("there is no reserve for a full disk", "error", err)
	}
}

// createZeros makes a file of a head and zeros, and makes it durable. A file that fails is removed.
// Pace is asked before each bit of it is written. At leisure it is written out bit by bit: a frame that is made durable meanwhile
// waits for what is on its way to the device.
func (d *Dir) createZeros(path string, head []byte, size int64, pace pace) error {
	f, err := d.fs.Create(path)
	if err != nil {
		return err
	}
	for off := int64(len(head)); err == nil && off < size; off += zerosAtOnce {
		leisurely, stopped := pace(off)
		if err = stopped; err != nil {
			break
		}
		upto := min(off+zerosAtOnce, size)
		if err = writeZeros(f, off, upto); err == nil && leisurely {
			err = f.WriteOut(off, upto-off)
		}
	}
	if err == nil { // last: a file that was not finished is taken for no segment
		_, err = f.WriteAt(head, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.fs.Remove(path))
	}
	return nil
}

const zerosAtOnce = 64 << 10

// writeZeros makes the bytes from one offset up to another zero.
func writeZeros(f io.WriterAt, off, upto int64) error {
	for off < upto {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), upto-off)], off)
		if err != nil {
			return err
		}
		off += int64(n)
		runtime.Gosched() // see politeBytes
	}
	return nil
}

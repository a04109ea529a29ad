package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/journal"
)

// Open opens the directory, or makes it. It fails with [LockedError], [NewerFormatError], [ErrNotAStore], annals.ErrFull if
// there is no space for a new one, or what the file system says. Damage does not keep it from opening: see [Dir.Recovered]. Damage that leaves
// the end of the log in doubt, or that lost positions, makes every CompareAppend fail with journal.ErrStopped and the
// damage.
func Open(ctx context.Context, fsys vfs.FS, dir string, o Options) (*Dir, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := ended(ctx); err != nil {
		return nil, err
	}
	d := &Dir{fs: fsys, dir: dir, o: o, log: o.Logger, changed: make(chan struct{}), hurry: make(chan struct{}, 1)}
	if o.ReadOnly {
		return openReadOnly(ctx, d)
	}
	if err = d.acquire(); err == nil {
		err = d.open(ctx)
	}
	if err != nil {
		_ = d.release() // the reason is more telling
		if errors.Is(err, vfs.ErrNoSpace) {
			err = fmt.Errorf("%w: %w", annals.ErrFull, err)
		}
		return nil, fmt.Errorf("segment: opening %s: %w", dir, err)
	}
	if d.stoppedBy() == nil && d.pending == nil {
		d.kick()
	}
	return d, nil
}

// acquire makes the directory, if need be, and takes the lock, unless the directory is somebody else's.
func (d *Dir) acquire() error {
	_, err := d.list()
	if errors.Is(err, fs.ErrNotExist) {
		err = d.fs.MkdirAll(d.dir)
	}
	if err != nil {
		return err
	}
	d.lock, err = d.fs.Lock(d.join(lockName))
	if locked, ok := errors.AsType[*vfs.LockedError](err); ok {
		return &LockedError{Dir: d.dir, PID: locked.PID}
	}
	return err
}

// syncAbove makes the entry of the directory durable, and those of the directories above: an earlier opening may have made
// them and failed. What may not be looked into was not made by one.
func (d *Dir) syncAbove() error {
	for at := filepath.Clean(d.dir); at != filepath.Dir(at); at = filepath.Dir(at) {
		if err := d.fs.SyncDir(filepath.Dir(at)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

func (d *Dir) open(ctx context.Context) error {
	c, err := d.list()
	if err != nil {
		return err
	}
	if err := d.readManifests(ctx, c); err != nil {
		return err
	}
	r := &recovery{d: d, catalog: c, upto: math.MaxUint64}
	if len(c.manifests) == 0 {
		unused, err := r.unfinished()
		if err != nil {
			return err
		}
		if unused {
			return d.begin(c)
		}
	}
	if err := r.run(ctx); err != nil {
		return errors.Join(err, r.close())
	}
	d.adopt(r)
	if d.stoppedBy() == nil {
		return d.beginWriting(ctx, r)
	}
	return nil
}

// beginWriting takes the log over, or, while the disk is too full for that, leaves it to the first append.
func (d *Dir) beginWriting(ctx context.Context, r *recovery) error {
	if d.epoch == math.MaxUint64 {
		return errors.New("there are no more epochs")
	}
	d.epoch++
	err := d.takeOver(ctx, r)
	if err == nil || d.stoppedBy() != nil || !errors.Is(err, vfs.ErrNoSpace) {
		return err
	}
	d.log.WarnContext(ctx, "the disk is full: frames can be read, and are taken again when there is space", "error", err)
	d.pending = r
	return nil
}

// begin makes a store where there is none. Before the first manifest is durable nothing of it counts.
func (d *Dir) begin(c *catalog) error {
	for _, name := range append(c.segments, c.temporary...) {
		if err := d.fs.Remove(d.join(name)); err != nil {
			return err
		}
	}
	if err := d.syncAbove(); err != nil {
		return err
	}
	d.identity.Incarnation = 1
	for _, b := range [][]byte{d.identity.Store[:], d.identity.HashSeed[:]} {
		if _, err := io.ReadFull(d.o.Random, b); err != nil {
			return fmt.Errorf("randomness: %w", err)
		}
	}
	d.epoch, d.head = 1, tip{linked: true}
	d.fillReserve()
	s, err := d.create(entry{no: 1, generation: 1, state: stateActive, size: d.capacityOf(1, 0), firstSeq: 1, firstPos: 1}, unpaced)
	if err != nil {
		return err
	}
	s.table = newTable(1, 1)
	d.segments = []*segment{s}
	if s.file, err = d.fs.OpenReadWrite(d.join(s.name())); err != nil {
		return err
	}
	return d.writeManifest(d.snapshot(false))
}

// takeOver makes the recovered log this Dir's own: cuts what is torn, and writes the manifest under which frames may be
// added. It is for a log that is in no doubt.
func (d *Dir) takeOver(ctx context.Context, r *recovery) error {
	for ; len(r.cuts) > 0; r.cuts = r.cuts[1:] { // each once, should this be tried again
		if err := d.cut(ctx, r.cuts[0]); err != nil {
			return err
		}
	}
	if err := d.writeManifest(d.snapshot(false)); err != nil {
		return err
	}
	for _, name := range slices.Concat(r.unused, r.catalog.temporary) {
		if err := d.fs.Remove(d.join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d.fillReserve()
	return nil
}

// adopt takes over what was recovered.
func (d *Dir) adopt(r *recovery) {
	d.segments, d.next, d.head = r.segments, r.next, r.tip
	d.epoch = max(d.epoch, r.tip.epoch)
	d.doubts = r.doubts
	if len(r.catalog.manifests) > 0 {
		d.manifestNo = r.catalog.manifests[0]
	}
	if r.catalog.manifest != nil {
		d.manifest = r.catalog.manifest.no
	}
	d.recovery = Recovery{
		Clean: r.clean != nil && !r.rebuilt, Frames: r.tip.seq, Positions: r.tip.pos,
		ManifestRebuilt: r.rebuilt, Damage: r.damage,
	}
	for _, loss := range r.damage {
		d.log.Error("the log is damaged", "error", loss)
		if d.stopped == nil && (r.doubt || loss.First != 0) {
			d.stopped = loss
		}
	}
}

// readOnlyTries bounds how often a directory is read anew, because its writer changed it in the meantime.
const readOnlyTries = 30

func openReadOnly(ctx context.Context, d *Dir) (*Dir, error) {
	for try := 1; ; try++ {
		moved, err := d.openToRead(ctx)
		if err == nil && (!moved || try == readOnlyTries) {
			return d, nil
		}
		_ = d.release() // nothing was written
		again := moved || errors.Is(err, fs.ErrNotExist)
		if _, listed := d.fs.List(d.dir); listed != nil || !again || try == readOnlyTries {
			return nil, fmt.Errorf("segment: opening %s to be read: %w", d.dir, err)
		}
		d = &Dir{fs: d.fs, dir: d.dir, o: d.o, log: d.log, changed: make(chan struct{}), hurry: make(chan struct{}, 1)}
	}
}

// openToRead recovers twice: once to see how far the log goes, and, when all that is durable, once more up to there.
// It tells whether a damage that was found may be the work of a writer meanwhile.
func (d *Dir) openToRead(ctx context.Context) (moved bool, err error) {
	c, err := d.list()
	if err != nil {
		return false, err
	}
	if !c.isStore() {
		return false, fmt.Errorf("%w: %s has no manifest", ErrNotAStore, d.dir)
	}
	if err := d.readManifests(ctx, c); err != nil {
		return false, err
	}
	r := &recovery{d: d, catalog: c, upto: math.MaxUint64}
	if len(c.manifests) == 0 {
		unused, err := r.unfinished()
		if err != nil {
			return false, err
		}
		if unused {
			return false, fmt.Errorf("%w: the making of %s was interrupted, nothing is in it", ErrNotAStore, d.dir)
		}
	}
	if err := r.run(ctx); err != nil {
		return false, errors.Join(err, r.close())
	}
	if r.clean == nil || r.rebuilt {
		upto := r.tip.seq
		if err := r.distrust(); err != nil {
			d.log.WarnContext(ctx, "cannot make sure that the last frame is durable, and leaves it out", "error", err)
			upto = min(upto, r.tip.durable)
		}
		if err := r.close(); err != nil {
			return false, err
		}
		first := r
		r = &recovery{d: d, catalog: c, upto: upto}
		if err := r.run(ctx); err != nil {
			return false, errors.Join(err, r.close())
		}
		// What lies behind upto is not looked at again.
		r.doubt = r.doubt || first.doubt
		if len(r.doubts) == 0 {
			r.doubts = first.doubts
			r.damage = append(r.damage, first.doubts...)
		}
	}
	d.adopt(r)
	if len(r.damage) == 0 && !r.rebuilt {
		return false, nil
	}
	now, err := d.list()
	if err != nil {
		return false, err
	}
	return !slices.Equal(now.manifests, c.manifests), nil
}

// headers reads the header of each segment file; those that do not verify are left out, and so are those that cannot be
// read, with the reason.
func (d *Dir) headers(names []string) (headers map[string]header, unreadable map[string]error, err error) {
	headers, unreadable = map[string]header{}, map[string]error{}
	for _, name := range names {
		f, err := d.fs.Open(d.join(name))
		if err != nil {
			return nil, nil, err
		}
		b := make([]byte, headerBytes)
		n, err := f.ReadAt(b, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			unreadable[name] = fmt.Errorf("%w: %w", errUnreadable, err)
		}
		if err := f.Close(); err != nil {
			return nil, nil, err
		}
		h, err := decodeHeader(name, b[:n])
		if err == nil {
			headers[name] = h
		} else if !errors.Is(err, errDamaged) {
			return nil, nil, err
		}
	}
	return headers, unreadable, nil
}

// identify takes the identity from a manifest, or from the headers, which do not know the seed of the index.
func (d *Dir) identify(m *manifest, headers map[string]header) error {
	if m != nil {
		d.identity, d.epoch = m.identity, m.epoch
		return nil
	}
	names := slices.Sorted(maps.Keys(headers))
	if len(names) == 0 {
		return &annals.DataLossError{File: ".", Reason: "neither a manifest nor the header of a segment verifies"}
	}
	h := headers[names[0]]
	d.identity = journal.Identity{Store: h.store, Incarnation: h.incarnation}
	if d.o.Random == nil {
		return nil
	}
	if _, err := io.ReadFull(d.o.Random, d.identity.HashSeed[:]); err != nil {
		return fmt.Errorf("randomness: %w", err)
	}
	return nil
}

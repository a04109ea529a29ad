package segment_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/journal"
	"github.com/annalsdb/annals/store/engine/segment"
)

// refusing makes one kind of operation fail, and do nothing.
func refusing(fs vfs.FS, kind vfs.Kind, err error) *vfs.Faulty {
	return vfs.NewFaulty(fs, func(o vfs.Op) vfs.Fault {
		if o.Kind == kind {
			return vfs.Fault{Err: err, Kept: true}
		}
		return vfs.Fault{}
	})
}

// A file that is open to be read cannot be synced everywhere.
func TestAReaderThatCannotSyncServesWhatWasDurable(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := started(t, mem, options(1))
	for n := range 60 {
		d := open(t, refusing(mem, vfs.OpSync, syscall.EINVAL), reading())
		r := d.Recovered()
		if len(r.Damage) > 0 || r.Frames > uint64(n) || r.Frames+1 < uint64(n) {
			t.Fatalf("recovered %+v of %d frames, want all but the last at least, and no damage", r, n)
		}
		if err := holds(d, s.acked[:r.Frames]); err != nil {
			t.Fatalf("after %d frames: %v", n, err)
		}
		closing(t, d)
		s.mustAppend(t, 1+n%2, 600)
	}
	closing(t, s.d)
	d := open(t, refusing(mem, vfs.OpSync, syscall.EINVAL), reading())
	if r := d.Recovered(); !r.Clean || r.Frames != s.head.Seq || len(r.Damage) > 0 {
		t.Errorf("recovered %+v, want a clean log of %d frames", r, s.head.Seq)
	}
}

func TestAReaderThatCannotSyncDoesNotServeAFrameThatMayVanish(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	dead := false
	s := started(t, vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if dead && o.Kind == vfs.OpSync {
			return vfs.Fault{Err: errDead, Kept: true}
		}
		return vfs.Fault{}
	}), options(1))
	for range 5 {
		s.mustAppend(t, 1, 600)
	}
	dead = true
	if err := s.append(1, 600); err == nil {
		t.Fatal("a frame was acknowledged without a sync")
	}
	d := open(t, refusing(mem.Kill(), vfs.OpSync, syscall.EINVAL), reading())
	if r := d.Recovered(); r.Frames != s.head.Seq || len(r.Damage) > 0 {
		t.Errorf("recovered %+v, want the %d frames that were acknowledged", r, s.head.Seq)
	}
	if d = open(t, mem.Kill(), reading()); d.Recovered().Frames != s.head.Seq+1 {
		t.Errorf("recovered %+v, want one frame more, which was made durable now", d.Recovered())
	}
}

// A sync that failed leaves a frame that reads back and is not on the device. If the cache cannot be dropped nobody can
// tell, so nothing may be built on it.
func TestACacheThatIsNotDroppedIsNotBelieved(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	failing := false
	s := started(t, vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if failing && o.Kind == vfs.OpSync {
			return vfs.Fault{Err: syscall.EIO}
		}
		return vfs.Fault{}
	}), options(1))
	for range 5 {
		s.mustAppend(t, 1, 100)
	}
	failing = true
	if err := s.append(1, 100); !errors.Is(err, journal.ErrAmbiguous) {
		t.Fatalf("got %v, want ErrAmbiguous", err)
	}
	left := refusing(mem.Kill(), vfs.OpDrop, syscall.EIO)
	if _, err := segment.Open(t.Context(), left, storeDir, options(2)); !errors.Is(err, syscall.EIO) {
		t.Errorf("opened to write: got %v, want the error of the cache", err)
	}
	d := open(t, left, reading())
	if r := d.Recovered(); r.Frames >= 6 || r.Frames < 4 || len(r.Damage) > 0 {
		t.Errorf("opened to read: recovered %+v, want what a frame behind proves to be durable, and no damage", r)
	}
	if err := holds(d, s.acked[:d.Recovered().Frames]); err != nil {
		t.Error(err)
	}
}

func TestAFrameThatIsBeingWrittenIsNoDamage(t *testing.T) {
	t.Parallel()
	whole, s := unclosed(t, 5)
	name := active(t, whole)
	b := file(t, whole, name)
	offs := envelopes(b)
	half := offs[len(offs)-2] + 100 // the last frame is not there yet, the one before it in part
	before := s.head.Seq - 2
	grown := false
	for n := 1; ; n++ {
		fs := whole.Kill()
		put(t, fs, name, make([]byte, len(b)-half), half)
		written := false
		d := open(t, vfs.NewFaulty(fs, func(o vfs.Op) vfs.Fault {
			if o.N == n {
				written = true
				put(t, fs, name, b[half:], half)
			}
			return vfs.Fault{}
		}), reading())
		r := d.Recovered()
		if len(r.Damage) > 0 || r.Frames < before {
			t.Fatalf("written before operation %d: recovered %+v, want %d frames at least, and no damage", n, r, before)
		}
		if err := holds(d, s.acked[:r.Frames]); err != nil {
			t.Fatalf("written before operation %d: %v", n, err)
		}
		closing(t, d)
		grown = grown || r.Frames > before
		if !written {
			break
		}
	}
	if !grown {
		t.Error("a frame that became whole was never seen")
	}
}

func TestAReaderOfAStoreWhoseMakingWasInterruptedFindsNone(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		_, err := segment.Open(t.Context(), vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
			if o.N >= n {
				return vfs.Fault{Err: errDead, Written: o.Bytes / 2}
			}
			return vfs.Fault{}
		}), storeDir, options(1))
		rng := rand.New(rand.NewPCG(uint64(n), 5))
		for _, left := range []*vfs.Mem{mem.Kill(), mem.Crash(rng), mem.Crash(rng)} {
			d, err := segment.Open(t.Context(), left, storeDir, reading())
			switch {
			case err == nil && len(d.Recovered().Damage) == 0:
				closing(t, d)
			case !errors.Is(err, segment.ErrNotAStore) && !errors.Is(err, fs.ErrNotExist):
				t.Errorf("interrupted by operation %d: got %v, want ErrNotAStore", n, err)
			}
		}
		if err == nil {
			return
		}
	}
}

// watched is a file system that tells of each read before it happens.
type watched struct {
	vfs.FS
	before func(name string, off int64)
}

func (w *watched) watch(name string, f vfs.File, err error) (vfs.File, error) {
	return watchedFile{f, w, filepath.Base(name)}, err
}

func (w *watched) Open(name string) (vfs.File, error) {
	f, err := w.FS.Open(name)
	return w.watch(name, f, err)
}

func (w *watched) OpenReadWrite(name string) (vfs.File, error) {
	f, err := w.FS.OpenReadWrite(name)
	return w.watch(name, f, err)
}

type watchedFile struct {
	vfs.File
	fs   *watched
	name string
}

func (f watchedFile) ReadAt(b []byte, off int64) (int, error) {
	f.fs.before(f.name, off)
	return f.File.ReadAt(b, off)
}

func TestVerifyGoesOnBesideASpareSegmentThatIsReplaced(t *testing.T) {
	t.Parallel()
	// The spare is replaced while its header is read, or that of the active segment before it.
	for back := range 2 {
		mem := vfs.NewMem()
		disk := &watched{FS: mem, before: func(string, int64) {}}
		s := started(t, disk, options(1))
		for len(segmentsOf(t, mem)) < 3 {
			s.mustAppend(t, 1, 600)
		}
		list := segmentsOf(t, mem)
		replaced := false
		disk.before = func(name string, off int64) {
			if name == list[len(list)-1-back] && off == 0 && !replaced {
				replaced = true
				s.mustAppend(t, 1, 40<<10)
			}
		}
		report, err := s.d.Verify(t.Context())
		if err != nil || len(report.Damage) > 0 || !replaced {
			t.Errorf("got %+v, %v, replaced %v, want no damage", report, err, replaced)
		}
		if slices.Contains(segmentsOf(t, mem), list[len(list)-1]) {
			t.Errorf("%s is still there", list[len(list)-1])
		}
	}
}

func TestADamagedSpareSegmentOfAClosedStoreIsReportedAndReplaced(t *testing.T) {
	t.Parallel()
	base := vfs.NewMem()
	s := started(t, base, options(1))
	for len(segmentsOf(t, base)) < 3 {
		s.mustAppend(t, 1, 600)
	}
	closing(t, s.d)
	spare := segmentsOf(t, base)[2]
	path := filepath.Join(storeDir, spare)
	b := file(t, base, path)
	if len(envelopes(b)) > 0 {
		t.Fatalf("%s has frames", spare)
	}
	reported := func(damage []*annals.DataLossError) bool {
		return slices.ContainsFunc(damage, func(l *annals.DataLossError) bool { return l.File == spare })
	}
	for _, off := range []int{0, 7, 8, 10, 16, 40, 48, 56, 71, 72, 80, 1000, 4091, 4092, 4095} {
		fs := base.Kill()
		put(t, fs, path, []byte{b[off] ^ 4}, off)
		d := open(t, fs, reading())
		if report, err := d.Verify(t.Context()); err != nil || !reported(report.Damage) || !reported(d.Recovered().Damage) {
			t.Errorf("byte %d: verified %+v, %v, recovered %+v, want the damage of %s", off, report, err, d.Recovered(), spare)
		}
		closing(t, d)
		disk := counting(fs)
		w := started(t, disk, options(2))
		if !reported(w.d.Recovered().Damage) || len(w.acked) != len(s.acked) {
			t.Errorf("byte %d: recovered %+v, want the damage of %s", off, w.d.Recovered(), spare)
		}
		for range 30 {
			w.mustAppend(t, 1, 600)
		}
		closing(t, w.d)
		if now, _ := disk.OpenFiles(); now != 0 {
			t.Errorf("byte %d: %d files are open after closing", off, now)
		}
		if d := open(t, fs, reading()); len(d.Recovered().Damage) > 0 || d.Recovered().Frames != w.head.Seq {
			t.Errorf("byte %d: when the segment is replaced: recovered %+v", off, d.Recovered())
		}
	}
}

package segment_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/segment"
)

// tiny is options for segments of one frame each.
func tiny(seed uint64) segment.Options {
	o := options(seed)
	o.SegmentBytes = 8 << 10
	return o
}

// many is a closed store of so many segments at least, each of which has one frame of two events.
func many(t *testing.T, segments int) (*vfs.Mem, *script) {
	t.Helper()
	mem := vfs.NewMem()
	s := started(t, mem, tiny(1))
	for range segments {
		s.mustAppend(t, 2, 1200)
	}
	closing(t, s.d)
	return mem, s
}

// counting fails nothing.
func counting(fs vfs.FS) *vfs.Faulty {
	return vfs.NewFaulty(fs, func(vfs.Op) vfs.Fault { return vfs.Fault{} })
}

// openFilesMost is how many files a log of any number of segments may have open: those it keeps, those that it writes to, and
// those that are being read right now.
const openFilesMost = 64 + 16

func TestALogOfManySegmentsHasFewFilesOpen(t *testing.T) {
	t.Parallel()
	mem, s := many(t, 300)
	for how, o := range map[string]segment.Options{"to write": tiny(2), "to read": reading()} {
		disk := counting(mem)
		d := open(t, disk, o)
		if err := holds(d, s.acked); err != nil {
			t.Errorf("opened %s: %v", how, err)
		}
		for p := s.pos; p > 0; p-- { // files that were closed are opened again
			if _, err := d.Record(t.Context(), p); err != nil {
				t.Fatalf("opened %s: %v", how, err)
			}
		}
		if report, err := d.Verify(t.Context()); err != nil || len(report.Damage) > 0 || report.Frames != s.head.Seq {
			t.Errorf("opened %s: verified %+v, %v", how, report, err)
		}
		if now, most := disk.OpenFiles(); now > openFilesMost || most > openFilesMost {
			t.Errorf("opened %s: %d files are open, there were %d, want %d at most", how, now, most, openFilesMost)
		}
		closing(t, d)
		if now, _ := disk.OpenFiles(); now != 0 {
			t.Errorf("opened %s: %d files are open after closing", how, now)
		}
	}
}

func TestAWriterOfManySegmentsHasFewFilesOpen(t *testing.T) {
	t.Parallel()
	disk := counting(vfs.NewMem())
	s := started(t, disk, tiny(1))
	for range 150 {
		s.mustAppend(t, 2, 1200)
	}
	if _, most := disk.OpenFiles(); most > openFilesMost {
		t.Errorf("%d files were open, want %d at most", most, openFilesMost)
	}
}

func TestSegmentsWhoseFilesAreClosedAreReadByManyAtOnce(t *testing.T) {
	t.Parallel()
	mem, s := many(t, 300)
	disk := counting(mem)
	d := open(t, disk, tiny(2))
	w, err := write(d)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for reader := range uint64(6) {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(reader, 9))
			for range 400 {
				p := annals.Position(rng.Uint64N(uint64(s.pos)) + 1)
				if r, err := d.Record(t.Context(), p); err != nil || r.Position != p {
					t.Errorf("record %d: %d, %v", p, r.Position, err)
				}
			}
			from := annals.Position(rng.Uint64N(uint64(s.pos) / 2))
			next := from + 1
			for r, err := range d.Scan(t.Context(), from, s.pos) {
				if err != nil || r.Position != next {
					t.Errorf("scanning after %d: %d, %v, want %d", from, r.Position, err, next)
					return
				}
				next++
			}
		})
	}
	group.Go(func() {
		if report, err := d.Verify(t.Context()); err != nil || len(report.Damage) > 0 {
			t.Errorf("verified %+v, %v", report, err)
		}
	})
	group.Go(func() {
		for range 20 {
			if err := w.append(2, 1200); err != nil {
				t.Error(err)
			}
		}
	})
	group.Wait()
	if _, most := disk.OpenFiles(); most > openFilesMost {
		t.Errorf("%d files were open, want %d at most", most, openFilesMost)
	}
	closing(t, d)
	if now, _ := disk.OpenFiles(); now != 0 {
		t.Errorf("%d files are open after closing", now)
	}
}

func TestAFileThatIsBeingReadIsNotClosed(t *testing.T) {
	t.Parallel()
	mem, s := many(t, 100)
	disk := &watched{FS: mem, before: func(string, int64) {}}
	d := open(t, disk, reading())
	for _, p := range []annals.Position{1, s.pos / 2, s.pos} {
		if _, err := d.Record(t.Context(), p); err != nil { // its table is there, so what is read next is the record
			t.Fatal(err)
		}
		within := false
		disk.before = func(string, int64) {
			if within {
				return
			}
			within = true
			for other := annals.Position(1); other <= s.pos; other += 2 { // one in each segment
				if _, err := d.Record(t.Context(), other); err != nil {
					t.Error(err)
				}
			}
		}
		if r, err := d.Record(t.Context(), p); err != nil || r.Position != p || !within {
			t.Errorf("record %d, while all other segments were read: %d, %v", p, r.Position, err)
		}
		disk.before = func(string, int64) {}
	}
}

// What was torn is to be cut, so that an opening to write does all that it may have to do.
func TestAnOpeningThatFailsLeavesNoFileOpenAndNoLock(t *testing.T) {
	t.Parallel()
	torn, _ := unclosed(t, 40)
	name := active(t, torn)
	b := file(t, torn, name)
	offs := envelopes(b)
	put(t, torn, name, make([]byte, 100), offs[len(offs)-1]+250)
	failures := 0
	for what, base := range map[string]*vfs.Mem{"a torn log": torn, "nothing": vfs.NewMem()} {
		for how, o := range bothWays() {
			for n, failed := 1, true; failed; n++ {
				mem := base.Kill()
				failed = false
				disk := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
					if o.N != n {
						return vfs.Fault{}
					}
					failed = true
					return vfs.Fault{Err: syscall.EIO}
				})
				o.Random = seeded(uint64(n))
				d, err := segment.Open(t.Context(), disk, storeDir, o)
				if err == nil {
					_ = d.Close() // that may be what fails
				} else {
					failures++
				}
				if now, _ := disk.OpenFiles(); now != 0 {
					t.Errorf("%s, opened %s: %d files are open after operation %d failed: %v", what, how, now, n, err)
				}
				lock, err := mem.Lock(filepath.Join(storeDir, "LOCK"))
				if err == nil {
					err = lock.Close()
				}
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s, opened %s, after operation %d failed: %v", what, how, n, err)
				}
			}
		}
	}
	t.Logf("%d openings failed", failures)
	if failures < 50 {
		t.Errorf("only %d openings failed", failures)
	}
}

// It is not run beside others, whose allocations would count.
func TestWhatOpeningCostsIsInProportionToTheSegments(t *testing.T) {
	cost := func(segments int) float64 {
		mem, _ := many(t, segments)
		disk := counting(mem)
		allocations := testing.AllocsPerRun(1, func() {
			d, err := segment.Open(t.Context(), disk, storeDir, reading())
			if err != nil {
				t.Fatal(err)
			}
			closing(t, d)
		})
		t.Logf("%d segments: %.0f allocations", segments, allocations)
		return allocations
	}
	if few, more := cost(60), cost(240); more > 5*few {
		t.Errorf("four times the segments cost %.1f times the allocations", more/few)
	}
}

func TestFilesAndTablesHaveCeilings(t *testing.T) {
	t.Parallel()
	mem, s := many(t, 200)
	const files, tables = 5, 400 // bytes, of some 24 for each segment
	for how, o := range bothWays() {
		o.SegmentBytes, o.FilesMax, o.TableBytesMax = 8<<10, files, tables
		disk := counting(mem)
		d := open(t, disk, o)
		var group sync.WaitGroup
		for reader := range uint64(3) {
			group.Go(func() {
				rng := rand.New(rand.NewPCG(reader, 9))
				for range 300 {
					p := annals.Position(rng.Uint64N(uint64(s.pos)) + 1)
					if r, err := d.Record(t.Context(), p); err != nil || r.Position != p {
						t.Errorf("record %d: %d, %v", p, r.Position, err)
					}
					for r, err := range d.Scan(t.Context(), p-1, p) { // which needs a table
						if err != nil || r.Position != p {
							t.Errorf("scanning record %d: %d, %v", p, r.Position, err)
						}
					}
				}
			})
		}
		group.Wait()
		counted, taken := segment.TableBytes(d)
		if counted != taken || taken > tables || taken < tables/2 {
			t.Errorf("opened %s: the tables take %d bytes and are counted as %d, want about %d", how, taken, counted, tables)
		}
		if now, most := disk.OpenFiles(); now > files+4 || most > files+12 {
			t.Errorf("opened %s: %d files are open, there were %d, want %d and those that are written or being read", how, now, most, files)
		}
		closing(t, d)
	}
	o := options(1)
	o.FilesMax = -1
	if _, err := segment.Open(t.Context(), mem, storeDir, o); err == nil {
		t.Error("opened with -1 files")
	}
}

// A table that is used again and again stays while others come and go.
func TestATableThatIsUsedStays(t *testing.T) {
	t.Parallel()
	mem, s := many(t, 100)
	o := reading()
	o.TableBytesMax = 400
	disk := counting(mem)
	d := open(t, disk, o)
	read := func(p annals.Position) int {
		before := disk.Count()
		if _, err := d.Record(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		return disk.Count() - before
	}
	for range 100 { // until it is worth to load the table
		read(1)
	}
	again := 0
	for p := annals.Position(3); p < s.pos-4; p += 2 {
		read(p)
		if read(1) > 1 { // more than the record
			again++
		}
	}
	if again > 3 {
		t.Errorf("the table of the first segment was loaded %d times", again)
	}
}

// A process that is out of file handles has lost nothing, and what could not be opened is not taken for damage later.
func TestFilesThatCannotBeOpenedForAWhileAreReadLater(t *testing.T) {
	t.Parallel()
	mem, s := many(t, 200)
	poor := false
	disk := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if poor && o.Kind == vfs.OpOpen {
			return vfs.Fault{Err: syscall.EMFILE}
		}
		return vfs.Fault{}
	})
	for how, o := range map[string]segment.Options{"to write": tiny(2), "to read": reading()} {
		d := open(t, disk, o)
		poor = true
		unread := 0
		for p := annals.Position(1); p <= s.pos; p++ {
			if _, err := d.Record(t.Context(), p); err != nil {
				unread++
				if !errors.Is(err, syscall.EMFILE) || errors.Is(err, annals.ErrDataLoss) {
					t.Fatalf("opened %s: the record at %d: got %v, want EMFILE and no loss", how, p, err)
				}
			}
		}
		var failed error
		for _, err := range d.Frames(t.Context(), 1, false) {
			failed = err
		}
		if unread == 0 || !errors.Is(failed, syscall.EMFILE) || errors.Is(failed, annals.ErrDataLoss) {
			t.Errorf("opened %s: %d records could not be read, frames end with %v; want EMFILE for both", how, unread, failed)
		}
		poor = false
		if err := holds(d, s.acked); err != nil {
			t.Errorf("opened %s, with handles again: %v", how, err)
		}
		closing(t, d)
	}
}

package index_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/index/run"
)

const dir = "/store/index"

func newWorld(seed uint64, names int) *world {
	return &world{Rand: rand.New(rand.NewPCG(seed, 1)), names: names}
}

// onFiles is a rig whose index is in files.
func onFiles(tb testing.TB, seed uint64, fs vfs.FS, epoch int) *rig {
	tb.Helper()
	return newRig(tb, newWorld(seed, 4), index.Config{FS: fs, Dir: dir, EpochEvents: epoch, Foreground: true})
}

// reopen opens the index on another file system, as it would be after a kill.
func (r *rig) reopen(fs vfs.FS) {
	r.Helper()
	r.config.FS = fs
	r.open()
}

// answers are right.
func (r *rig) answers() {
	r.Helper()
	v := r.x.View()
	defer v.Release()
	r.check(v)
	r.checkMemory()
}

// content is the files of the index, by name.
func content(tb testing.TB, fs vfs.FS) map[string]string {
	tb.Helper()
	names, err := fs.List(dir)
	if err != nil {
		tb.Fatal(err)
	}
	files := map[string]string{}
	for _, name := range names {
		files[name] = string(bytesOf(tb, fs, name))
	}
	return files
}

func bytesOf(tb testing.TB, fs vfs.FS, name string) []byte {
	tb.Helper()
	f, err := fs.Open(dir + "/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		tb.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		tb.Fatal(err)
	}
	return b
}

// overwrite changes a file in place, under whoever has it open.
func overwrite(tb testing.TB, fs vfs.FS, name string, at int64, b ...byte) {
	tb.Helper()
	f, err := fs.OpenReadWrite(dir + "/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		tb.Fatal(err)
	}
}

// wantFiles wants no leftovers, and few runs.
func (r *rig) wantFiles(fs vfs.FS) {
	r.Helper()
	names, err := fs.List(dir)
	if err != nil {
		r.Fatal(err)
	}
	runs := 0
	for _, name := range names {
		if strings.HasSuffix(name, ".part") {
			r.Errorf("%s is left", name)
		}
		runs++
	}
	if runs > 40 {
		r.Errorf("%d files for %d events", runs, len(r.log))
	}
}

func TestClosingWritesAllThatOpeningWouldReadFromTheLog(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	r := onFiles(t, 1, fs, 16)
	for range 20 {
		r.frame(1 + r.IntN(5))
		r.x.Close()
		r.x = index.Open(t.Context(), r.config)
		tail, some, err := r.x.Trust(func(index.Tail) (bool, error) { return true, nil })
		head, number := r.x.HeadFrame()
		if h := r.headers[len(r.headers)-1]; err != nil || !some || tail.Seq != h.Seq || tail.Hash != h.Hash || head != uint64(len(r.log)) || number != h.Seq {
			t.Fatalf("opened at %+v, %v; want frame %d and position %d", tail, err, h.Seq, len(r.log))
		}
		r.answers()
	}
	r.x.Close()
}

func TestFilesAreFewHoweverOftenTheIndexIsOpened(t *testing.T) {
	t.Parallel()
	for _, epoch := range []int{1, 64 << 10} {
		fs := vfs.NewMem()
		r := onFiles(t, 2, fs, epoch)
		for range 300 {
			r.frame(1)
			r.x.Close()
			r.open()
		}
		r.answers()
		r.x.Close()
		if names, _ := fs.List(dir); len(names) > 30 {
			t.Errorf("epochs of %d: %d files after the index was opened 300 times", epoch, len(names))
		}
	}
}

// written is a rig that was closed, and what it left. One of its runs has lists of every shape.
func written(t *testing.T, events int) (*rig, *vfs.Mem) {
	t.Helper()
	fs := vfs.NewMem()
	r := onFiles(t, 3, fs, 4096)
	for len(r.log) < events {
		r.frame(50)
	}
	r.x.Close()
	return r, fs
}

func TestAFlippedByteChangesNoAnswerAndTheRunIsMadeAnew(t *testing.T) {
	t.Parallel()
	r, whole := written(t, 4500)
	want := content(t, whole)
	if len(want) < 2 {
		t.Fatalf("there are %d runs", len(want))
	}
	for _, open := range []bool{false, true} {
		t.Run(fmt.Sprintf("while the index is open: %t", open), func(t *testing.T) {
			t.Parallel()
			r := &rig{TB: t, world: newWorld(9, 4), config: r.config, log: r.log, headers: r.headers, last: r.last, used: r.used, now: r.now}
			r.breaks = true
			r.config.CacheBytes = 1
			r.config.Events = r.events
			found := 0
			for range 20 {
				fs := whole.Kill()
				names, _ := fs.List(dir)
				name := names[r.IntN(len(names))]
				at := r.IntN(len(want[name]))
				if r.IntN(6) == 0 { // the trailer is small
					at = len(want[name]) - 4096 + r.IntN(220)
				}
				flip := func() { overwrite(t, fs, name, int64(at), want[name][at]^byte(1<<r.IntN(8))) }
				if !open {
					flip()
				}
				r.reopen(fs)
				if open {
					flip()
				}
				r.answers()
				r.x.Close()
				if got := content(t, fs); got[name] == want[name] {
					found++
				}
				r.reopen(fs)
				r.answers()
				r.x.Close()
			}
			if found < 2 {
				t.Errorf("%d of 20 flipped bytes were found", found)
			}
		})
	}
}

func TestARunIsMadeAnewByteForByte(t *testing.T) {
	t.Parallel()
	for _, most := range []uint64{0, 1} { // in memory, in files
		fs := vfs.NewMem()
		r := newRig(t, newWorld(13, 4), index.Spill(index.Config{FS: fs, Dir: dir, EpochEvents: 300, Foreground: true}, most))
		r.breaks = true
		for len(r.log) < 3000 {
			r.frame(50)
		}
		r.x.Close()
		r.open()
		want := content(t, fs)
		if len(want) < 2 || len(want) > 7 {
			t.Fatalf("there are %d runs", len(want))
		}
		r.x.Break()
		r.answers()
		if spans, damaged := r.x.Spans(); damaged > 0 {
			t.Errorf("of %v there are %d damaged", spans, damaged)
		}
		r.x.Close()
		got := content(t, fs)
		for name := range want {
			if got[name] != want[name] {
				t.Errorf("%s differs", name)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d files, want %d", len(got), len(want))
		}
	}
}

// script does all that touches files: epochs are sealed, runs merged, damaged and made anew, the index is closed and opened.
func (r *rig) script() {
	r.Helper()
	for i := range 24 {
		r.frame(1 + r.IntN(4))
		switch i {
		case 9, 20:
			r.x.Close()
			r.open()
		case 14:
			r.x.Break()
		}
	}
}

func TestAPowerCutAtAnyMomentChangesNoAnswer(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	type cut struct {
		fs      *vfs.Mem
		headers int
	}
	var cuts []cut
	rng := rand.New(rand.NewPCG(4, 4))
	var r *rig
	faulty := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if r != nil && o.Kind != vfs.OpRead {
			cuts = append(cuts, cut{mem.Crash(rng), len(r.headers)}, cut{mem.Kill(), len(r.headers)})
		}
		return vfs.Fault{}
	})
	r = onFiles(t, 4, faulty, 2)
	r.breaks = true
	r.script()
	r.x.Close()
	log, headers := r.log, r.headers
	for i, c := range cuts {
		if i%3 == 0 && i%4 != 0 {
			continue
		}
		r.log, r.headers = log, headers[:c.headers]
		if c.headers > 0 {
			r.log = slices.Clip(log[:headers[c.headers-1].LastPosition()])
		}
		r.headers = slices.Clip(r.headers)
		r.used = map[string]bool{}
		for _, e := range log {
			r.used[string(e.ID[:])+e.Stream] = true
		}
		r.reopen(c.fs)
		if i%4 == 0 {
			r.answers()
			r.frame(3)
		}
		r.answers()
		r.x.Close()
		if c.fs.MkdirAll(dir) == nil {
			r.wantFiles(c.fs)
		}
	}
	t.Logf("%d cuts", len(cuts))
}

func TestAFileSystemThatFailsChangesNoAnswer(t *testing.T) {
	t.Parallel()
	count := func() int {
		fs := vfs.NewFaulty(vfs.NewMem(), func(vfs.Op) vfs.Fault { return vfs.Fault{} })
		r := onFiles(t, 5, fs, 2)
		r.script()
		r.x.Close()
		return fs.Count()
	}
	operations := count()
	rng := rand.New(rand.NewPCG(rand.Uint64(), 1)) // another sample each time
	every := max(1, operations/25)
	for _, err := range []error{vfs.ErrNoSpace, syscall.EIO} {
		for _, forGood := range []bool{false, true} {
			for n := 1 + rng.IntN(every); n <= operations; n += every {
				mem, healed := vfs.NewMem(), false
				fs := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
					reads := o.Kind == vfs.OpRead || o.Kind == vfs.OpOpen || o.Kind == vfs.OpList || o.Kind == vfs.OpRemove
					if healed || o.N < n || o.N > n && !forGood || reads && errors.Is(err, vfs.ErrNoSpace) {
						return vfs.Fault{}
					}
					return vfs.Fault{Err: err, Written: o.Bytes / 2}
				})
				r := newRig(t, newWorld(5, 4), index.Spill(index.Config{FS: fs, Dir: dir, EpochEvents: 2, Foreground: true}, uint64(n%2)*2))
				r.breaks = true
				r.script()
				r.answers()
				r.x.Close()
				if now, _ := fs.OpenFiles(); now != 0 {
					t.Fatalf("%v at operation %d: %d files are left open", err, n, now)
				}
				healed = true
				r.open()
				r.answers()
				r.frame(5)
				r.answers()
				r.x.Close()
				if mem.MkdirAll(dir) == nil {
					r.wantFiles(mem)
				}
				if now, _ := fs.OpenFiles(); now != 0 {
					t.Fatalf("%v at operation %d: %d files are left open", err, n, now)
				}
			}
		}
	}
	t.Logf("%d operations", operations)
}

func TestWhatCouldNotBeWrittenIsWrittenWhenTheIndexIsClosed(t *testing.T) {
	t.Parallel()
	full := false
	fs := vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) vfs.Fault {
		if full && o.Kind == vfs.OpWrite {
			return vfs.Fault{Err: vfs.ErrNoSpace}
		}
		return vfs.Fault{}
	})
	r := onFiles(t, 14, fs, 2)
	r.script()
	full = true
	for range 5 {
		r.frame(3)
	}
	full = false
	r.answers()
	r.frame(1)
	r.x.Close()
	r.x = index.Open(t.Context(), r.config)
	if _, _, err := r.x.Trust(func(index.Tail) (bool, error) { return true, nil }); err != nil || r.x.Head() != uint64(len(r.log)) {
		t.Errorf("files go up to %d of %d, %v", r.x.Head(), len(r.log), err)
	}
	r.answers()
	r.x.Close()
}

func TestTheDirectoryMayVanish(t *testing.T) {
	t.Parallel()
	remove := func(fs *vfs.Mem) {
		names, err := fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := fs.Remove(dir + "/" + name); err != nil {
				t.Fatal(err)
			}
		}
		if err := fs.Remove(dir); err != nil {
			t.Fatal(err)
		}
	}
	fs := vfs.NewMem()
	r := onFiles(t, 6, fs, 3)
	r.script()
	remove(fs)
	r.answers()
	r.script()
	r.answers()
	r.x.Close()
	r.open()
	r.answers()
	r.x.Close()
	remove(fs)
	r.open()
	r.answers()
	r.script()
	r.x.Close()
	r.wantFiles(fs)
}

func TestRunsOfAnotherLogAreLeftOut(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*index.Config){
		"another store":       func(c *index.Config) { c.Identity.Store[5]++ },
		"another incarnation": func(c *index.Config) { c.Identity.Incarnation++ },
		"another seed":        func(c *index.Config) { c.Identity.HashSeed[15]++ },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs := vfs.NewMem()
			r := onFiles(t, 7, fs, 3)
			r.script()
			r.x.Close()
			change(&r.config)
			r.open()
			r.answers()
			if tail := r.x.Head(); tail != uint64(len(r.log)) {
				t.Errorf("the head is %d", tail)
			}
			r.x.Close()
			for file, b := range content(t, fs) {
				opened, err := run.Open(strings.NewReader(b), int64(len(b)), run.ReadOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if opened.Meta().Store != r.config.Owner() {
					t.Errorf("%s is still there", file)
				}
			}
		})
	}
}

// A log is restored from a copy of before, beside an index of after; what is written then is something else.
func TestRunsOfALogThatIsNoMoreAreLeftOut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		fs := vfs.NewMem()
		r := onFiles(t, 100+seed, fs, 1+int(seed%5))
		r.script()
		r.x.Close()
		before := fs.Kill()
		headers := 1 + r.IntN(len(r.headers)-1)
		r.headers = slices.Clip(r.headers[:headers])
		r.log = slices.Clip(r.log[:r.headers[headers-1].LastPosition()])
		r.used, r.last = map[string]bool{}, map[string]annals.Revision{}
		for _, e := range r.log {
			r.used[string(e.ID[:])+e.Stream] = true
			if e.Stream != "" {
				r.last[e.Stream] = e.Revision
			}
		}
		if seed%2 == 0 { // other content is written before the index of after comes back
			r.reopen(vfs.NewMem())
			r.script()
			if r.x.Close(); seed%4 == 0 { // and some of the runs are of the one, some of the other
				mix(t, r.Rand, r.config.FS, before)
			}
		}
		r.reopen(before)
		r.answers()
		r.script()
		r.answers()
		r.x.Close()
		r.wantFiles(before)
	}
}

// mix copies some files from one index to another.
func mix(t *testing.T, rng *rand.Rand, from, to vfs.FS) {
	t.Helper()
	for name, b := range content(t, from) {
		if rng.IntN(2) == 0 {
			continue
		}
		_ = to.Remove(dir + "/" + name)
		f, err := to.Create(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(b), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFilesThatAreNoRunsAreLeftAloneOrRemoved(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	r := onFiles(t, 8, fs, 3)
	r.script()
	r.x.Close()
	for name, stays := range map[string]bool{
		"README": true, "x.run": false, "00000000000000000001-00000000000000000099.part": false,
		"00000000000000000001-00000000000000000002.run": false, "00000000000000000001-18446744073709551615.run": false,
		"00000000000000000009-00000000000000000003.run": false, "00000000000000000000-00000000000000000003.run": false,
	} {
		f, err := fs.Create(dir + "/" + name)
		if err != nil {
			continue // a run has this name
		}
		if _, err := f.WriteAt(make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		r.open()
		r.answers()
		r.x.Close()
		if _, err := fs.Stat(dir + "/" + name); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A run that cannot be made anew, for its events are lost, keeps nothing else from being done.
func TestARunThatCannotBeMadeAnewKeepsOthersFromNothing(t *testing.T) {
	t.Parallel()
	for _, last := range []bool{false, true} {
		fs := vfs.NewMem()
		r := onFiles(t, 10, fs, 2)
		r.script()
		r.breaks = true
		r.x.Close()
		r.open()
		spans, _ := r.x.Spans()
		lost := spans[0][0]
		if last { // it is small, and lies between others that are
			lost = spans[len(spans)-1][0]
		}
		events, tried := r.config.Events, 0
		r.x.Close()
		r.config.Events = func(ctx context.Context, first, last uint64) iter.Seq2[index.Dated, error] {
			if first <= lost && lost <= last {
				tried++
				return func(yield func(index.Dated, error) bool) { yield(index.Dated{}, annals.ErrDataLoss) }
			}
			return events(ctx, first, last)
		}
		r.open()
		r.x.Break()
		for range 300 {
			r.frame(1 + r.IntN(3))
		}
		r.answers()
		spans, damaged := r.x.Spans()
		if damaged != 1 || len(spans) > 40 {
			t.Errorf("last %t: of %d runs, %d are damaged: %v", last, len(spans), damaged, spans)
		}
		if tried == 0 || tried > 20 {
			t.Errorf("it was tried %d times", tried)
		}
		r.x.Close()
	}
}

func TestEveryByteOfARunIsVerified(t *testing.T) {
	t.Parallel()
	whole := vfs.NewMem()
	r := onFiles(t, 3, whole, 4096)
	r.breaks = true
	for len(r.log) < 60 {
		r.frame(10)
	}
	r.x.Close()
	for name, b := range content(t, whole) {
		for at := r.IntN(9); at < len(b); at += 1 + r.IntN(9) {
			fs := whole.Kill()
			overwrite(t, fs, name, int64(at), b[at]^byte(1<<r.IntN(8)))
			r.reopen(fs)
			if found := r.verify(); len(found) == 0 && at < len(b)-4096 { // without its last block it is not even opened
				t.Errorf("byte %d: it is not found", at)
			}
			v := r.x.View()
			r.checkStream(v, r.log)
			r.checkID(v, r.log)
			r.checkWalk(v, r.query(r.log), index.Range{Upto: v.Head()})
			v.Release()
			r.x.Close()
			if got := content(t, fs); len(got) != 1 || got[name] != b {
				t.Errorf("byte %d: the run has not been made anew", at)
			}
		}
	}
}

func TestAnIndexIsReadBesideAWriterThatMerges(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	r := onFiles(t, 11, fs, 2)
	for range 60 {
		r.frame(1 + r.IntN(3))
		other := &rig{TB: t, world: newWorld(1, 4), config: r.config, log: r.log, headers: r.headers, last: r.last, used: r.used, now: r.now}
		other.config.ReadOnly, other.config.Events = true, other.events
		looked := false
		other.config.FS = vfs.NewFaulty(fs, func(o vfs.Op) vfs.Fault {
			switch o.Kind {
			case vfs.OpCreate, vfs.OpRename, vfs.OpRemove, vfs.OpMkdir, vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir:
				t.Errorf("a reader: %+v", o)
			case vfs.OpOpen:
				if !looked { // the directory has been listed: the writer goes on
					looked = true
					for range 4 {
						r.frame(1)
					}
				}
			}
			return vfs.Fault{}
		})
		other.open()
		other.log, other.headers = r.log[:other.x.Head()], r.headers
		other.answers()
		other.x.Close()
	}
	r.answers()
	r.x.Close()
	r.wantFiles(fs)
}

func TestNothingIsWrittenBehindWhatIsLost(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	r := onFiles(t, 12, fs, 2)
	r.breaks = true
	r.script()
	first := uint64(len(r.log)) + 1
	r.x.Lose(&annals.DataLossError{First: annals.Position(first), Last: annals.Position(first + 2)})
	for range 3 { // they stand for what is lost
		r.log = append(r.log, annals.Recorded{Event: annals.Event{Type: "lost"}, Position: annals.Position(len(r.log) + 1), Revision: annals.NoRevision, Time: r.now})
	}
	r.headers = append(r.headers, r.headers[len(r.headers)-1])
	r.headers[len(r.headers)-1].Seq++
	if r.x.Head() != first+2 {
		t.Fatalf("the head is %d", r.x.Head())
	}
	for range 10 {
		r.frame(3)
	}
	r.checkMemory()
	if l := r.x.FirstLost(index.Range{After: first, Upto: first + 9}); l == nil {
		t.Error("the loss is not known")
	}
	r.x.Close()
	for name := range content(t, fs) {
		if !strings.Contains(name, "-") || name[21:41] >= fmt.Sprintf("%020d", first) {
			t.Errorf("%s is behind position %d", name, first)
		}
	}
}

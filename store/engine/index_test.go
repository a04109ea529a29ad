package engine_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	rand2 "math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/segment"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/storetest"
)

// indexed keeps the index in files, in epochs of so many events.
func indexed(fs vfs.FS, dir string, epoch int, foreground bool) func(*engine.Config) {
	return func(c *engine.Config) {
		c.Index = index.Config{FS: fs, Dir: filepath.Join(dir, "index"), EpochEvents: epoch, Foreground: foreground}
	}
}

// shapes are indexes whose seams are everywhere.
func shapes() map[string]func(*engine.Config) {
	made := map[string]func(*engine.Config){}
	for _, epoch := range []int{1, 3, 17} {
		for _, foreground := range []bool{false, true} {
			name := fmt.Sprintf("epochs of %d", epoch)
			if foreground {
				name += ", sealed at once"
			}
			made[name] = func(c *engine.Config) {
				c.Index = index.Config{EpochEvents: epoch, Foreground: foreground}
				if epoch == 3 {
					c.Index.FS, c.Index.Dir = vfs.NewMem(), "/index"
				}
			}
		}
	}
	return made
}

func TestTheStoreKeepsEveryPromiseWhateverTheIndexIsMadeOf(t *testing.T) {
	t.Parallel()
	for name, shape := range shapes() {
		if name != "epochs of 1" && name != "epochs of 3, sealed at once" {
			continue // of these there are random operations
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) annals.Store {
				t.Helper()
				return start(t, newJournal(), shape)
			})
		})
	}
}

func TestRandomOperationsGetTheAnswersOfTheReferenceStoreWhateverTheIndexIsMadeOf(t *testing.T) {
	t.Parallel()
	for name, shape := range shapes() {
		for i, force := range []func(*engine.Config){engine.LookUpAlways, engine.ScanAlways, engine.HeavyAlways} {
			t.Run(fmt.Sprintf("%s, plan %d", name, i), func(t *testing.T) {
				t.Parallel()
				storetest.Model(t, func(t *testing.T) annals.Store {
					t.Helper()
					return start(t, newJournal(), shape, force)
				}, uint64(100+i))
			})
		}
	}
}

func TestReopeningChangesNothingWhateverTheIndexIsMadeOf(t *testing.T) {
	t.Parallel()
	for _, epoch := range []int{1, 3, 17, 0} {
		for _, foreground := range []bool{false, true} {
			t.Run(fmt.Sprintf("epochs of %d, foreground %t", epoch, foreground), func(t *testing.T) {
				t.Parallel()
				var mu sync.Mutex
				disks := map[string]vfs.FS{}
				storetest.RunPersistent(t, func(t *testing.T, dir string) annals.Store {
					t.Helper()
					mu.Lock()
					defer mu.Unlock()
					if disks[dir] == nil {
						disks[dir] = vfs.NewMem()
					}
					return openLog(t, disks[dir], indexed(disks[dir], "/log", epoch, foreground))
				})
			})
		}
	}
}

// log is a store and the segments below, which are closed with it.
type log struct {
	*engine.Store
	dir *segment.Dir
}

func (l log) Close() error { return errors.Join(l.Store.Close(), l.dir.Close()) }

func openLog(t *testing.T, fs vfs.FS, change ...func(*engine.Config)) log {
	t.Helper()
	d, err := segment.Open(t.Context(), fs, "/log", segment.Options{Random: rand.Reader, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	c := engine.Config{Journal: d, Records: d, Identity: d.Identity(), Clock: time.Now, Random: rand.Reader}
	for _, f := range change {
		f(&c)
	}
	s, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return log{s, d}
}

func TestAPlanChangesNoAnswer(t *testing.T) {
	t.Parallel()
	j := newJournal()
	now := epoch
	clock := func() time.Time { return now }
	s := start(t, j, func(c *engine.Config) { c.Clock = clock })
	reference := memory.New(memory.Clock(clock))
	g := generator{rand2.New(rand2.NewPCG(3, 3))}
	for range 120 {
		es := g.events(6)
		for _, s := range []annals.Store{s.System(), reference.System()} {
			if _, err := s.Append(t.Context(), es); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(time.Duration(g.IntN(2)) * 500 * time.Millisecond)
	}
	for name, shape := range shapes() {
		for _, force := range []func(*engine.Config){engine.LookUpAlways, engine.ScanAlways} {
			s := start(t, j, shape, force)
			if err := s.Index().Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 120 {
				compareReads(t, g, s, reference)
			}
			if t.Failed() {
				t.Fatal(name)
			}
			if found, err := s.VerifyIndex(t.Context()); err != nil || len(found) > 0 {
				t.Fatal(name, found, err)
			}
		}
	}
}

// v4 is an id that tells nothing of time.
func v4() annals.ID {
	id := annals.NewID()
	id[0], id[1] = id[10], id[11]
	id[6] = 0x40 | id[6]&0xf
	return id
}

// What was written before the store was opened, and lies in runs, counts as what is in memory does.
func TestIDsStreamsAndConditionsReachBackOverManyRuns(t *testing.T) {
	t.Parallel()
	for _, foreground := range []bool{false, true} {
		fs := vfs.NewMem()
		shape := indexed(fs, "/log", 4, foreground)
		s := openLog(t, fs, shape)
		var sent [][]annals.Event
		for i := range 150 {
			var id annals.ID
			switch i % 4 {
			case 0:
				id = annals.NewID()
			case 1:
				id = v4()
			case 2: // of a clock that is wrong, either way
				id = annals.MakeID(time.Unix(int64(i%8-2)*1e9+5e9, 0), [10]byte{2: byte(i)})
			case 3: // older than everything, and out of order
				id = annals.MakeID(time.UnixMilli(int64(1000-i)), [10]byte{2: byte(i)})
			}
			es := withID(id, fmt.Sprint("s-", i%5))
			es[0].Tags = []string{fmt.Sprint("n:", i)}
			sent = append(sent, es)
			if _, err := s.Append(t.Context(), es); err != nil {
				t.Fatal(err)
			}
		}
		for round := range 3 {
			for i, es := range sent {
				r, err := s.Append(t.Context(), es, annals.NoneSince(0, annals.All()))
				if err != nil || !r.Duplicate || r.First != annals.Position(i+1) || r.Revision != annals.Revision(i/5) {
					t.Fatalf("round %d: retrying append %d: %+v, %v", round, i, r, err)
				}
				q := annals.Tags(fmt.Sprint("n:", i))
				if _, err := s.Append(t.Context(), nil, annals.NoneSince(annals.Position(i+1), q)); err != nil {
					t.Errorf("nothing like %d is after it: %v", i, err)
				}
				_, err = s.Append(t.Context(), nil, annals.NoneSince(annals.Position(i), q))
				if conflict, _ := errors.AsType[*annals.ConflictError](err); conflict == nil || !slices.Equal(conflict.Failures[0].Positions, []annals.Position{annals.Position(i + 1)}) {
					t.Errorf("%d is in the way: %v", i, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openLog(t, fs, shape)
		}
		for i := range 20 {
			stream := fmt.Sprint("s-", i%5)
			last := annals.Revision(29 + i/5)
			if _, err := s.Append(t.Context(), one("A", stream), annals.StreamAt(stream, last-1)); !errors.Is(err, annals.ErrConflict) {
				t.Fatalf("%s is not at %d: %v", stream, last-1, err)
			}
			r, err := s.Append(t.Context(), one("A", stream), annals.StreamAt(stream, last))
			if err != nil || r.Revision != last+1 {
				t.Fatalf("%s goes on after %d: %+v, %v", stream, last, r, err)
			}
			if i%7 == 0 {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openLog(t, fs, shape)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpeningReadsNoFrameThatTheIndexKnows(t *testing.T) {
	t.Parallel()
	j := newJournal()
	fs := vfs.NewMem()
	s := start(t, j, indexed(fs, "", 8, true))
	for i := range 100 {
		if _, err := s.Append(t.Context(), one("A", fmt.Sprint("s-", i%3))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	j.read.Store(0)
	for i := range j.frames { // the last alone is asked for
		if i < len(j.frames)-1 {
			j.damaged[j.frames[i].header.Seq] = nil
		}
	}
	again := start(t, j, indexed(fs, "", 8, true))
	if n := j.read.Load(); n > 0 {
		t.Errorf("%d records were read", n)
	}
	wantHead(t, again, 100)
	r, err := again.Append(t.Context(), one("A", "s-0"))
	if err != nil || r.Revision != 34 || r.First != 101 {
		t.Errorf("the next: %+v, %v", r, err)
	}
}

// Racers increment counters while every few events an epoch is sealed.
func TestNoIncrementIsLostWhileEpochsAreSealed(t *testing.T) {
	t.Parallel()
	for name, shape := range shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, newJournal(), shape)
			const racers, rounds = 6, 12
			var racing sync.WaitGroup
			for range racers {
				racing.Go(func() {
					for round := range rounds {
						increment(t, s, fmt.Sprint("n-", round%2))
					}
				})
			}
			racing.Wait()
			for _, stream := range []string{"n-0", "n-1"} {
				got, err := read(t, s, annals.Stream(stream))
				if err != nil || len(got) != racers*rounds/2 {
					t.Fatalf("%s has %d events, %v", stream, len(got), err)
				}
				for i, e := range got {
					if string(e.Data) != fmt.Sprint(i) || e.Revision != annals.Revision(i) {
						t.Errorf("event %d of %s says %s and has revision %d", i, stream, e.Data, e.Revision)
					}
				}
			}
		})
	}
}

// While an append waits, so much comes that what it looked at is not in memory any more: it begins again.
func TestAnAppendThatIsOvertakenBeginsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		s := start(t, j, func(c *engine.Config) { c.Index = index.Config{EpochEvents: 2, Foreground: true} })
		at := newGate(j)
		for round, c := range []struct {
			condition annals.Condition
			revision  annals.Revision // at which it is written, or none
		}{
			{annals.NoneSince(0, annals.Types("C")), 5},
			{annals.StreamAt("s-9", 5), annals.NoRevision},
			{annals.NoneSince(11, annals.Types("B")), annals.NoRevision},
			{annals.StreamExists("s-9"), 21},
		} {
			first := begin(t.Context(), s, slices.Concat(one("B", "s-9"), one("B", "s-9"), one("B", "s-9"), one("B", "s-9"), one("B", "s-9")))
			waiting := begin(t.Context(), s, one("D", "s-9"), c.condition)
			at.pass(t)
			if r := <-first; r.err != nil {
				t.Fatal(r.err)
			}
			if m := s.Index().Memory(); true {
				if m.Floor() != s.Index().Head()+1 {
					t.Errorf("memory begins with %d", m.Floor())
				}
				m.Release()
			}
			if c.revision != annals.NoRevision {
				at.pass(t)
			}
			r := <-waiting
			if c.revision == annals.NoRevision && !errors.Is(r.err, annals.ErrConflict) || c.revision != annals.NoRevision && (r.err != nil || r.receipt.Revision != c.revision) {
				t.Fatalf("round %d: %+v, want revision %d", round, r, c.revision)
			}
		}
	})
}

func TestNamesOfOneKindAreNotThoseOfAnother(t *testing.T) {
	t.Parallel()
	for name, shape := range shapes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, newJournal(), shape)
			id := annals.NewID()
			for _, e := range []annals.Event{
				{Type: "a"},
				{Type: "b", Stream: "a"},
				{Type: "b", Tags: []string{"a"}},
				{Type: "b", Stream: "a-1"},
				{Type: "b", Tags: []string{"aa"}},
				{Type: "b", Tags: []string{"a:"}},
				{Type: "b", Tags: []string{string(id[:4]) + "x"}},
				{Type: "aa", ID: id},
				{Type: "b", Stream: "b", Tags: []string{"a:a", "a:aa"}},
			} {
				e.Tags = slices.DeleteFunc(e.Tags, func(t string) bool {
					return strings.ToValidUTF8(t, "") != t || strings.ContainsFunc(t, func(r rune) bool { return r < 32 })
				})
				if e.ID.IsZero() {
					e.ID = annals.NewID()
				}
				if _, err := s.Append(t.Context(), []annals.Event{e}); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range []struct {
				query annals.Query
				want  []annals.Position
			}{
				{annals.Types("a"), []annals.Position{1}},
				{annals.Stream("a"), []annals.Position{2}},
				{annals.Tags("a"), []annals.Position{3}},
				{annals.Category("a"), []annals.Position{2, 4}},
				{annals.Tags("aa"), []annals.Position{5}},
				{annals.Tags("a:"), []annals.Position{6}},
				{annals.Types("aa"), []annals.Position{8}},
				{annals.ByID(id), []annals.Position{8}},
				{annals.Tags("a:a"), []annals.Position{9}},
				{annals.Tags("a", "aa"), nil},
				{annals.Types("a").Or(annals.Tags("a")), []annals.Position{1, 3}},
			} {
				got, err := read(t, s, c.query)
				if err != nil || !slices.Equal(positions(got), c.want) {
					t.Errorf("%s: %v, %v; want %v", c.query, positions(got), err, c.want)
				}
				_, err = s.Append(t.Context(), nil, annals.NoneSince(0, c.query))
				if (err == nil) != (len(c.want) == 0) {
					t.Errorf("none of %s: %v", c.query, err)
				}
			}
		})
	}
}

func TestWhatIsLargeGetsTheRightAnswers(t *testing.T) {
	t.Parallel()
	j := newJournal()
	shape := func(c *engine.Config) { c.Index = index.Config{EpochEvents: 3000, Foreground: true} }
	s := start(t, j, shape)
	// The same id in many streams, in one append of the largest size.
	id := annals.NewID()
	es := make([]annals.Event, s.Limits().AppendEvents)
	for i := range es {
		es[i] = annals.Event{ID: id, Type: "A", Stream: fmt.Sprint("s-", i)}
		if i >= 10_000 {
			es[i].ID, es[i].Stream = annals.ID{}, ""
		}
	}
	if _, err := s.Append(t.Context(), es); err != nil {
		t.Fatal(err)
	}
	wide := annals.Event{ID: annals.NewID(), Type: "B"}
	for i := range s.Limits().EventTags {
		wide.Tags = append(wide.Tags, fmt.Sprint(strings.Repeat("long", 100), i))
	}
	if _, err := s.Append(t.Context(), []annals.Event{wide}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*engine.Store{s, start(t, j, shape)} {
		for _, i := range []int{0, 1, 5000, 9999} {
			r, err := s.Append(t.Context(), es[i:i+1])
			if err != nil || !r.Duplicate || r.First != annals.Position(i+1) {
				t.Errorf("stream %d again: %+v, %v", i, r, err)
			}
		}
		items := make([]annals.Item, 1000)
		for i := range items {
			items[i] = annals.Item{Stream: fmt.Sprint("s-", i*10), Tags: nil}
		}
		items[999] = annals.Item{Tags: wide.Canonical().Tags}
		q := annals.QueryOf(items...)
		got, err := read(t, s, q)
		if err != nil || len(got) != 1000 || got[998].Position != 9981 || int(got[999].Position) != len(es)+1 {
			t.Errorf("a thousand items: %d events, %v", len(got), err)
		}
		back, err := read(t, s, q, annals.Backwards(), annals.Limit(3))
		if err != nil || len(back) != 3 || int(back[0].Position) != len(es)+1 || back[2].Position != 9971 {
			t.Errorf("backwards: %v, %v", positions(back), err)
		}
		if _, err := s.Append(t.Context(), nil, annals.NoneSince(9981, q), annals.NoneSince(annals.Position(len(es)+1), annals.All())); !errors.Is(err, annals.ErrConflict) {
			t.Errorf("its tags are in the way: %v", err)
		}
		if _, err := s.Append(t.Context(), nil, annals.NoneSince(annals.Position(len(es)+1), q), annals.NoneSince(annals.Position(len(es)+1), annals.All())); err != nil {
			t.Errorf("nothing is in the way: %v", err)
		}
		got, err = read(t, s, annals.ByID(id), annals.After(9_990))
		if err != nil || len(got) != 10 {
			t.Errorf("by id: %v, %v", positions(got), err)
		}
	}
}

// What names the segments can be made anew, but not under the seed of before.
func TestAnIndexIsNotTrustedWhenTheSeedIsLost(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	shape := indexed(fs, "/log", 3, true)
	s := openLog(t, fs, shape)
	es := one("A", "s-1", "t:1")
	for _, es := range [][]annals.Event{es, one("B", "s-2"), one("B", "s-2"), one("B", "s-2")} {
		if _, err := s.Append(t.Context(), es); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := fs.List("/log")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "MANIFEST") {
			if err := fs.Remove("/log/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	s = openLog(t, fs, shape)
	defer s.Close()
	if got, err := read(t, s, annals.Tags("t:1")); err != nil || len(got) != 1 {
		t.Errorf("read %v, %v", got, err)
	}
	if r, err := s.Append(t.Context(), es); err != nil && !errors.Is(err, annals.ErrReadOnly) || err == nil && !r.Duplicate {
		t.Errorf("a retry: %+v, %v", r, err)
	}
	if found, err := s.VerifyIndex(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("the index: %v, %v", found, err)
	}
}

// copyFiles copies what is directly in a directory.
func copyFiles(t *testing.T, from, to vfs.FS, dir string) {
	t.Helper()
	names, err := from.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.MkdirAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if info, err := from.Stat(path); err != nil || info.Dir {
			continue
		}
		in, err := from.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		size, err := in.Size()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size)
		if n, _ := in.ReadAt(b, 0); n < len(b) {
			t.Fatal(name, n)
		}
		_ = to.Remove(path)
		out, err := to.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(in.Close(), out.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

// The log comes from a copy of before; the index is that of after.
func TestAnIndexOfALogThatIsNoMoreIsNotTrusted(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		g := generator{rand2.New(rand2.NewPCG(seed, 9))}
		fs := vfs.NewMem()
		shape := func(fs vfs.FS) func(*engine.Config) { return indexed(fs, "/log", 1+int(seed), true) }
		fill := func(s log, n int) {
			for range n {
				if _, err := s.System().Append(t.Context(), g.events(3)); err != nil {
					t.Fatal(err)
				}
			}
		}
		s := openLog(t, fs, shape(fs))
		fill(s, 20)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		older := fs.Kill()
		s = openLog(t, fs, shape(fs))
		fill(s, 1+g.IntN(40))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if seed%2 == 0 {
			s = openLog(t, older, shape(older))
			fill(s, 1+g.IntN(40))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		copyFiles(t, fs, older, "/log/index")
		s = openLog(t, older, shape(older))
		all, err := read(t, s, annals.All().WithSystem())
		if err != nil {
			t.Fatal(err)
		}
		var events []annals.Event
		var ids []annals.ID
		for _, e := range all {
			events, ids = append(events, e.Event), append(ids, e.ID)
		}
		checkReads(t, s.Store, g, events, ids)
		if found, err := s.VerifyIndex(t.Context()); err != nil || len(found) > 0 {
			t.Errorf("the index: %v, %v", found, err)
		}
		fill(s, 10)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVerifyingTheIndexOfAClosedStore(t *testing.T) {
	t.Parallel()
	s := start(t, newJournal())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if found, err := s.VerifyIndex(t.Context()); !errors.Is(err, annals.ErrClosed) || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// That the frame after a run is lost speaks neither for the run nor against it.
func TestARunIsComparedWithItsOwnFrameIfTheNextIsLost(t *testing.T) {
	t.Parallel()
	for _, other := range []bool{false, true} {
		fs := vfs.NewMem()
		j := newJournal()
		s := start(t, j, indexed(fs, "", 4, true))
		for range 8 {
			if _, err := s.Append(t.Context(), one("A", "s-1")); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		kept := newJournal()
		if other { // it has other frames in these places
			s = start(t, kept)
		} else {
			kept.frames = slices.Clone(j.frames)
			s = start(t, kept)
		}
		for s.Index().Head() < 12 {
			if _, err := s.Append(t.Context(), one("B", "s-2")); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		kept.damaged[9] = &annals.DataLossError{First: 9, Last: 9, Reason: "lost"}
		s = start(t, kept, indexed(fs, "", 4, true))
		got, err := read(t, s, annals.Types("A"), annals.AsOf(8))
		if err != nil || len(got) != map[bool]int{false: 8, true: 0}[other] {
			t.Errorf("other frames: %t: read %v, %v", other, positions(got), err)
		}
		got, err = read(t, s, annals.Types("B"), annals.AsOf(8))
		if err != nil || len(got) != map[bool]int{false: 0, true: 8}[other] {
			t.Errorf("other frames: %t: read %v, %v", other, positions(got), err)
		}
	}
}

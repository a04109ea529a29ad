package segment_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
	"github.com/annalsdb/annals/store/engine/segment"
)

// generations lists the files of a segment.
func generations(t *testing.T, fs vfs.FS, no uint64) []string {
	t.Helper()
	return slices.DeleteFunc(segmentsOf(t, fs), func(n string) bool { return !strings.HasPrefix(n, fmt.Sprintf("%08d-", no)) })
}

func TestASealedSegmentIsReplacedByAnEqualOne(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := started(t, mem, options(1))
	for i := range 60 {
		s.mustAppend(t, 1+i%3, 700)
	}
	disk := counting(mem)
	for _, no := range segment.Sealed(s.d) {
		if err := segment.Replace(t.Context(), s.d, no); err != nil {
			t.Fatal(err)
		}
		if got := generations(t, mem, no); len(got) != 1 || !strings.HasSuffix(got[0], "-002.seg") {
			t.Errorf("segment %d has %v", no, got)
		}
	}
	check := func(d *segment.Dir) {
		t.Helper()
		if err := holds(d, s.acked); err != nil {
			t.Error(err)
		}
		if r, err := d.Verify(t.Context()); err != nil || len(r.Damage) > 0 || r.Frames != s.head.Seq {
			t.Errorf("verified %+v, %v", r, err)
		}
	}
	check(s.d)
	s.mustAppend(t, 1, 700)
	closing(t, s.d)
	for how, o := range bothWays() {
		d := open(t, disk, o)
		if r := d.Recovered(); !r.Clean || len(r.Damage) > 0 || r.ManifestRebuilt {
			t.Errorf("opened %s: recovered %+v", how, r)
		}
		check(d)
		closing(t, d)
	}
	if now, _ := disk.OpenFiles(); now != 0 {
		t.Errorf("%d files are open", now)
	}
}

func TestOnlyWhatIsSealedIsReplaced(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := started(t, mem, options(1))
	for range 30 {
		s.mustAppend(t, 1, 700)
	}
	sealed := segment.Sealed(s.d)
	before := segmentsOf(t, mem)
	for _, no := range []uint64{0, sealed[len(sealed)-1] + 1, 99} {
		if err := segment.Replace(t.Context(), s.d, no); err == nil {
			t.Errorf("segment %d was replaced", no)
		}
	}
	// Damage is not copied: the old file says what it is.
	name := storeDir + "/" + before[0]
	b := file(t, mem, name)
	at := envelopes(b)[1] + 300
	put(t, mem, name, []byte{b[at] ^ 1}, at)
	if err := segment.Replace(t.Context(), s.d, sealed[0]); err == nil {
		t.Error("a damaged segment was replaced")
	}
	if after := segmentsOf(t, mem); !slices.Equal(before, after) {
		t.Errorf("there are %v, there were %v", after, before)
	}
	closing(t, s.d)
	if err := segment.Replace(t.Context(), s.d, sealed[0]); !errors.Is(err, annals.ErrClosed) {
		t.Errorf("closed: got %v", err)
	}
	if err := segment.Replace(t.Context(), open(t, mem, reading()), sealed[0]); !errors.Is(err, annals.ErrReadOnly) {
		t.Errorf("opened to be read: got %v", err)
	}
}

func TestReadersDoNotNoticeThatSegmentsAreReplaced(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := options(1)
	o.Foreground = false
	disk := counting(mem)
	s := started(t, disk, o)
	for i := range 60 {
		s.mustAppend(t, 1+i%3, 700)
	}
	d, pos, head := s.d, s.pos, s.head
	stop := make(chan struct{})
	running := func() bool {
		select {
		case <-stop:
			return false
		default:
			return true
		}
	}
	var readers sync.WaitGroup
	read := func(do func(rng *rand.Rand) error) {
		readers.Go(func() {
			for rng := rand.New(rand.NewPCG(1, 2)); running(); {
				if err := do(rng); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	read(func(rng *rand.Rand) error {
		p := annals.Position(rng.Uint64N(uint64(pos)) + 1)
		r, err := d.Record(t.Context(), p)
		if err == nil && (r.Position != p || string(r.Data) != string(eventAt(p, len(r.Data)).Data)) {
			err = fmt.Errorf("record %d is another", p)
		}
		return err
	})
	read(func(rng *rand.Rand) error {
		next := annals.Position(rng.Uint64N(uint64(pos)))
		for r, err := range d.ScanLent(t.Context(), next, pos) {
			if next++; err != nil || r.Position != next || string(r.Data) != string(eventAt(next, len(r.Data)).Data) {
				return fmt.Errorf("scanning, record %d is another: %w", next, err)
			}
		}
		if next != pos {
			return fmt.Errorf("scanning ended at %d", next)
		}
		return nil
	})
	read(func(rng *rand.Rand) error {
		n := annals.Position(0)
		for r, err := range d.Lookup(t.Context(), func(yield func(annals.Position) bool) {
			for p := annals.Position(1); p <= pos && yield(p); p += 5 {
			}
		}) {
			if err != nil || r.Position != 1+5*n {
				return fmt.Errorf("looking up, record %d is another: %w", 1+5*n, err)
			}
			n++
		}
		return nil
	})
	read(func(rng *rand.Rand) error {
		n := uint64(0)
		for f, err := range d.Frames(t.Context(), 1, false) {
			if err != nil {
				return err
			}
			h, err := frame.ParseHeader(f)
			if n++; err != nil || h.Seq != n {
				return fmt.Errorf("frame %d: %w", n, err)
			}
		}
		if n < head.Seq {
			return fmt.Errorf("%d frames", n)
		}
		return nil
	})
	read(func(rng *rand.Rand) error {
		r, err := d.Verify(t.Context())
		if err == nil && len(r.Damage) > 0 {
			err = r.Damage[0]
		}
		return err
	})
	for round := range 6 {
		for _, no := range segment.Sealed(d) {
			if err := segment.Replace(t.Context(), d, no); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
		s.mustAppend(t, 2, 900)
	}
	close(stop)
	readers.Wait()
	for _, no := range segment.Sealed(d) {
		if got := generations(t, mem, no); len(got) != 1 {
			t.Errorf("when nobody reads any more segment %d has %v", no, got)
		}
	}
	closing(t, d)
	if now, _ := disk.OpenFiles(); now != 0 {
		t.Errorf("%d files are open", now)
	}
}

func TestAFileThatIsReplacedStaysWhileItIsRead(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := started(t, mem, options(1))
	for range 60 {
		s.mustAppend(t, 2, 700)
	}
	no := segment.Sealed(s.d)[1]
	var last annals.Position
	replaced := false
	for r, err := range s.d.Scan(t.Context(), 0, s.pos) {
		if err != nil {
			t.Fatal(err)
		}
		if last = r.Position; last > 12 && !replaced {
			for range 2 {
				if err := segment.Replace(t.Context(), s.d, no); err != nil {
					t.Fatal(err)
				}
			}
			replaced = true
		}
		if last == 14 {
			if got := generations(t, mem, no); len(got) > 2 {
				t.Errorf("there are %v", got)
			}
		}
	}
	if last != s.pos {
		t.Errorf("the scan ended at %d", last)
	}
	if got := generations(t, mem, no); len(got) != 1 {
		t.Errorf("after the scan there are %v", got)
	}
}

// At every operation, and after every crash: the old one or the new one, whole, and no other file in the end.
func TestAReplacementThatIsInterruptedLeavesTheOldOrTheNewSegment(t *testing.T) {
	t.Parallel()
	base := vfs.NewMem()
	s := started(t, base, options(1))
	for i := range 30 {
		s.mustAppend(t, 1+i%3, 700)
	}
	acked := s.acked
	sealed := segment.Sealed(s.d)
	if err := segment.Abandon(s.d); err != nil {
		t.Fatal(err)
	}
	olds, news := 0, 0
	for n := 1; ; n++ {
		mem := base.Kill()
		dead, interrupted, count := false, false, 0
		disk := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
			if dead {
				if count++; count >= n {
					interrupted = true
					return vfs.Fault{Err: errDead, Written: o.Bytes / 2}
				}
			}
			return vfs.Fault{}
		})
		d, err := segment.Open(t.Context(), disk, storeDir, options(uint64(n)))
		if err != nil {
			t.Fatal(err)
		}
		dead = true
		err = segment.Replace(t.Context(), d, sealed[0])
		rng := rand.New(rand.NewPCG(uint64(n), 3))
		for _, left := range []*vfs.Mem{mem.Kill(), mem.Crash(rng), mem.Crash(rng), mem.Crash(rng), mem.Kill().Crash(rng)} {
			for _, o := range []segment.Options{reading(), options(3)} {
				d, err := segment.Open(t.Context(), left, storeDir, o)
				if err != nil {
					t.Fatalf("interrupted by operation %d: %v", n, err)
				}
				if r := d.Recovered(); len(r.Damage) > 0 || r.ManifestRebuilt || r.CutBytes > 0 {
					t.Fatalf("interrupted by operation %d: recovered %+v", n, r)
				}
				if err := holds(d, acked); err != nil {
					t.Fatalf("interrupted by operation %d: %v", n, err)
				}
				if r, err := d.Verify(t.Context()); err != nil || len(r.Damage) > 0 {
					t.Fatalf("interrupted by operation %d: verified %+v, %v", n, r, err)
				}
				closing(t, d)
			}
			switch got := generations(t, left, sealed[0]); {
			case len(got) != 1:
				t.Errorf("interrupted by operation %d: there are %v", n, got)
			case strings.HasSuffix(got[0], "-001.seg"):
				olds++
			default:
				news++
			}
		}
		_ = segment.Abandon(d)
		if !interrupted {
			if err != nil {
				t.Error(err)
			}
			break
		}
	}
	if t.Logf("the old one was there %d times, the new one %d times", olds, news); olds == 0 || news < 10 {
		t.Error("want both")
	}
}

// Without any manifest the files tell which of two counts: not the one that was not finished.
func TestWithoutAManifestAFinishedSegmentCounts(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := started(t, mem, options(1))
	for range 30 {
		s.mustAppend(t, 1, 700)
	}
	sealed := segment.Sealed(s.d)[0]
	old := generations(t, mem, sealed)[0]
	b := file(t, mem, storeDir+"/"+old)
	if err := segment.Replace(t.Context(), s.d, sealed); err != nil {
		t.Fatal(err)
	}
	closing(t, s.d)
	replacement := generations(t, mem, sealed)[0]
	half := file(t, mem, storeDir+"/"+replacement)
	for what, c := range map[string]struct {
		old, replacement []byte
		want             string
	}{
		"both whole":                 {b, half, replacement},
		"the new one half written":   {b, half[:len(half)/2], old},
		"the new one begins to be":   {b, half[:4096], old},
		"the old one is gone":        {nil, half, replacement},
		"the new one never was made": {b, nil, old},
	} {
		fs := mem.Kill()
		for name, content := range map[string][]byte{old: c.old, replacement: c.replacement} {
			_ = fs.Remove(storeDir + "/" + name) // it may not be there
			if content == nil {
				continue
			}
			f, err := fs.Create(storeDir + "/" + name)
			if err == nil {
				_, err = f.WriteAt(content, 0)
			}
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range manifestsOf(t, fs) {
			if err := fs.Remove(storeDir + "/" + m); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second time from the manifest that the first wrote
			d := open(t, fs, options(5))
			if r := d.Recovered(); len(r.Damage) > 0 {
				t.Errorf("%s: recovered %+v", what, r)
			}
			if err := holds(d, s.acked); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if _, _, err := d.Head(t.Context()); err != nil && !errors.Is(err, journal.ErrStopped) {
				t.Error(err)
			}
			closing(t, d)
		}
		if got := generations(t, fs, sealed); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: there is %v, want %s", what, got, c.want)
		}
	}
}

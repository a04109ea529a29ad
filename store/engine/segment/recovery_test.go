package segment_test

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/segment"
)

func TestEachOpeningToWriteHasAHigherEpoch(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	last := uint64(0)
	for opening := range uint64(12) {
		s := started(t, fs, options(opening))
		_, epoch, err := s.d.Head(t.Context())
		if err != nil || epoch <= last {
			t.Fatalf("opening %d has epoch %d, %v, the one before had %d", opening, epoch, err, last)
		}
		last = epoch
		s.mustAppend(t, 1, 100)
		r := open(t, fs, reading())
		if _, read, err := r.Head(t.Context()); err != nil || read != epoch {
			t.Errorf("a reader sees epoch %d, %v, want %d", read, err, epoch)
		}
		for f, err := range s.d.Frames(t.Context(), s.head.Seq, false) {
			if h, _ := frame.ParseHeader(f); err != nil || h.Epoch != epoch {
				t.Errorf("the frame has epoch %d, %v, want %d", h.Epoch, err, epoch)
			}
		}
		switch opening % 3 {
		case 0:
			closing(t, s.d)
		case 1:
			fs = fs.Kill()
		case 2: // the frames tell what a manifest that is lost knew
			closing(t, s.d)
			for _, name := range manifestsOf(t, fs) {
				if err := fs.Remove(filepath.Join(storeDir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestWhatIsCutIsNeverNowhereWhateverPowerCutFollows(t *testing.T) {
	t.Parallel()
	base, s := unclosed(t, 5)
	name := active(t, base)
	b := file(t, base, name)
	offs := envelopes(b)
	last := offs[len(offs)-1]
	put(t, base, name, make([]byte, 100), last+250)
	tail := bytes.TrimRight(file(t, base, name)[last:], "\x00")
	kept := func(fs *vfs.Mem) bool {
		if bytes.HasPrefix(file(t, fs, name)[last:], tail) {
			return true
		}
		list, _ := fs.List(storeDir + "/quarantine") // perhaps there is none
		return slices.ContainsFunc(list, func(n string) bool {
			return bytes.HasPrefix(file(t, fs, storeDir+"/quarantine/"+n), tail)
		})
	}
	for n := 1; ; n++ {
		fs := base.Kill()
		reached, opening := false, true
		d, err := segment.Open(t.Context(), vfs.NewFaulty(fs, func(o vfs.Op) vfs.Fault {
			if o.N < n || !opening {
				return vfs.Fault{}
			}
			reached = true
			return vfs.Fault{Err: errDead}
		}), storeDir, options(2))
		opening = false
		for seed := range uint64(10) {
			if left := fs.Crash(rand.New(rand.NewPCG(uint64(n), seed))); !kept(left) {
				t.Fatalf("operation %d, power cut %d: what was torn is neither in its place nor in quarantine", n, seed)
			}
		}
		if reached {
			continue
		}
		if err != nil || d.Recovered().CutBytes != int64(len(tail)) {
			t.Fatalf("recovered %+v, %v, want %d bytes cut", d.Recovered(), err, len(tail))
		}
		if err := holds(d, s.acked[:len(s.acked)-1]); err != nil {
			t.Error(err)
		}
		closing(t, d)
		return
	}
}

// Power may be cut when the trailer of a segment is on the device and the footer before it is not.
func TestATrailerWithoutItsFooterSealsNothing(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	var left *vfs.Mem
	full := ""
	s := started(t, vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if o.Kind == vfs.OpSync && strings.HasSuffix(o.Name, ".seg") && left == nil {
			if b := file(t, mem, o.Name); bytes.HasPrefix(b[max(0, len(b)-128):], []byte("ANNLEND1")) {
				left, full = mem.Kill(), o.Name
			}
		}
		return vfs.Fault{}
	}), options(1))
	for left == nil {
		s.mustAppend(t, 2, 600)
	}
	b := file(t, left, full)
	footer := bytes.Index(b, []byte("ANNLFTR1"))
	for off := footer; off < len(b)-128; off += 8 {
		fs := left.Kill()
		put(t, fs, full, make([]byte, len(b)-128-off), off)
		d := open(t, fs, options(2))
		report, err := d.Verify(t.Context())
		if r := d.Recovered(); err != nil || len(r.Damage) > 0 || len(report.Damage) > 0 || r.CutBytes > 0 {
			t.Fatalf("without the footer from byte %d on: recovered %+v, verified %+v, %v", off-footer, r, report, err)
		}
		if err := holds(d, s.acked); err != nil {
			t.Fatalf("without the footer from byte %d on: %v", off-footer, err)
		}
		closing(t, d)
		if again := file(t, fs, full); !bytes.Equal(again, b) {
			t.Fatalf("without the footer from byte %d on: it was not sealed again", off-footer)
		}
	}
}

func TestTheManifestThatVerifiedIsKeptInsteadOfADamagedOne(t *testing.T) {
	t.Parallel()
	fs, acked := filled(t, 50)
	for round := range uint64(3) {
		before := manifestsOf(t, fs)
		good, bad := before[len(before)-2], before[len(before)-1]
		put(t, fs, filepath.Join(storeDir, bad), []byte{0xff, 0xfe, 0xfd}, 50)
		d := open(t, fs, options(round))
		if r := d.Recovered(); !r.ManifestRebuilt || r.Frames != uint64(len(acked)) {
			t.Errorf("recovered %+v, want the manifest made anew and %d frames", r, len(acked))
		}
		if after := manifestsOf(t, fs); slices.Contains(after, bad) || !slices.Contains(after, good) || len(after) != 2 {
			t.Errorf("of %q, the last of which is damaged, %q is kept", before, after)
		}
		if err := holds(d, acked); err != nil {
			t.Error(err)
		}
		closing(t, d)
	}
}

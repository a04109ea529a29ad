package segment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
	"github.com/annalsdb/annals/store/engine/segment"
)

// outcome is what somebody who opens a damaged store learns.
type outcome struct {
	refused  error
	served   int // frames
	reported bool
	stopped  bool
	recovery segment.Recovery
}

// examine opens a store and compares everything that it serves with what was acknowledged. Wrong bytes, and loss that
// nothing reports, are errors.
func examine(fs vfs.FS, o segment.Options, acked []frame.Ref) (got outcome, err error) {
	ctx := context.Background()
	d, err := segment.Open(ctx, fs, storeDir, o)
	if err != nil {
		if errors.Is(err, segment.ErrNewerFormat) || errors.Is(err, segment.ErrNotAStore) {
			return got, fmt.Errorf("opening says %w", err)
		}
		return outcome{refused: err, reported: true}, nil
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	got.recovery = d.Recovered()
	got.reported = len(got.recovery.Damage) > 0
	lost, first := map[annals.Position]bool{}, map[uint64]annals.Position{}
	for f, err := range d.Frames(ctx, 1, false) {
		if loss, ok := errors.AsType[*annals.DataLossError](err); ok {
			got.reported = true
			for p := loss.First; p <= loss.Last && p != 0; p++ {
				lost[p] = true
			}
			continue
		}
		if err != nil {
			return got, err
		}
		h, err := frame.Verify(f, d.Identity().Store)
		if err != nil || h.Seq > uint64(len(acked)) || h.Ref() != acked[h.Seq-1] {
			return got, fmt.Errorf("frame %d is not the one that was written: %w", h.Seq, err)
		}
		got.served++
		first[h.Seq] = h.FirstPosition
		for _, b := range frame.Records(f) {
			if err := holdsRecord(d, h.FirstPosition, b); err != nil {
				return got, err
			}
			h.FirstPosition++
		}
	}
	for p := range lost {
		if r, err := d.Record(ctx, p); err == nil && string(r.Data) != string(eventAt(p, len(r.Data)).Data) {
			return got, fmt.Errorf("position %d, which is lost, is served as %v", p, r)
		}
	}
	report, err := d.Verify(ctx)
	if err != nil {
		return got, err
	}
	got.reported = got.reported || len(report.Damage) > 0
	if got.served != len(acked) && !got.reported {
		return got, fmt.Errorf("%d frames of %d, and nothing is reported", got.served, len(acked))
	}
	if !o.ReadOnly {
		return got, appends(d, &got)
	}
	return got, nil
}

// appends tries to go on. Over lost frames that must not be possible.
func appends(d *segment.Dir, got *outcome) error {
	head, _, err := d.Head(context.Background())
	if err != nil {
		return err
	}
	s := &script{d: d, head: head, pos: got.recovery.Positions}
	err = s.append(1, 1)
	got.stopped = errors.Is(err, journal.ErrStopped)
	if got.stopped && errors.Is(err, annals.ErrDataLoss) && len(got.recovery.Damage) > 0 {
		return nil
	}
	return err
}

func TestEveryFlippedBitIsReportedOrHarmless(t *testing.T) {
	t.Parallel()
	clean := vfs.NewMem()
	o := options(1)
	o.SegmentBytes = 8 << 10
	s := started(t, clean, o)
	for range 8 {
		s.mustAppend(t, 1, 400)
	}
	if err := s.d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, clean) {
		if name == "RESERVE" || name == "LOCK" {
			continue // nobody reads what is in them
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flipEvery(t, clean, name, s.acked)
		})
	}
}

// flipEvery flips every bit of a file in turn.
func flipEvery(t *testing.T, clean *vfs.Mem, name string, acked []frame.Ref) {
	t.Helper()
	b := file(t, clean, filepath.Join(storeDir, name))
	reported, harmless := 0, 0
	for i := range b {
		for _, bit := range bitsOf(b, i) {
			if (i*8+bit)%flipStride != 0 {
				continue
			}
			fs := clean.Kill()
			change(t, fs, filepath.Join(storeDir, name), func(f vfs.File) error {
				_, err := f.WriteAt([]byte{b[i] ^ 1<<bit}, int64(i))
				return err
			})
			o := options(3)
			o.SegmentBytes = 8 << 10
			o.ReadOnly = (i+bit)%8 != 0
			got, err := examine(fs, o, acked)
			if err != nil {
				t.Fatalf("bit %d of byte %d of %s: %v", bit, i, name, err)
			}
			if got.recovery.CutBytes > 0 {
				t.Fatalf("bit %d of byte %d of %s: after a clean close %d bytes were cut", bit, i, name, got.recovery.CutBytes)
			}
			if got.reported {
				reported++
			} else {
				harmless++
			}
		}
	}
	t.Logf("%s: %d flipped bits were reported, %d were harmless", name, reported, harmless)
}

// bitsOf is which bits of a byte to flip: all, but in long runs of zeros, which are all alike, one in each eight bytes.
func bitsOf(b []byte, i int) []int {
	around := b[max(0, i-16):min(len(b), i+17)]
	switch {
	case len(around) < 33 || string(around) != string(make([]byte, 33)):
		return []int{0, 1, 2, 3, 4, 5, 6, 7}
	case i%8 != 0:
		return nil
	}
	return []int{i / 8 % 8}
}

// unclosed is a store whose process was killed.
func unclosed(t *testing.T, frames int) (*vfs.Mem, *script) {
	t.Helper()
	fs := vfs.NewMem()
	s := started(t, fs, options(1))
	for range frames {
		s.mustAppend(t, 2, 200)
	}
	return fs.Kill(), s
}

// active is the name of the last segment that has frames.
func active(t *testing.T, fs vfs.FS) string {
	t.Helper()
	found := ""
	for _, name := range names(t, fs) {
		if strings.HasSuffix(name, ".seg") && len(envelopes(file(t, fs, filepath.Join(storeDir, name)))) > 0 {
			found = name
		}
	}
	return filepath.Join(storeDir, found)
}

func TestATornTailIsCutAndKeptWhereverItWasTorn(t *testing.T) {
	t.Parallel()
	base, s := unclosed(t, 5)
	name := active(t, base)
	b := file(t, base, name)
	offs := envelopes(b)
	last := offs[len(offs)-1]
	end := len(b)
	for end > last && b[end-1] == 0 {
		end--
	}
	for cut := last; cut < end; cut++ {
		for _, garbled := range []bool{false, true} {
			fs := base.Kill()
			change(t, fs, name, func(f vfs.File) error {
				rest := make([]byte, end-cut)
				if garbled {
					if _, err := seeded(uint64(cut)).Read(rest); err != nil {
						return err
					}
					rest[0] = ^b[cut]
				}
				_, err := f.WriteAt(rest, int64(cut))
				return err
			})
			got, err := examine(fs, options(2), s.acked[:len(s.acked)-1])
			if err != nil || got.stopped || len(got.recovery.Damage) > 0 {
				t.Fatalf("torn at byte %d: %+v, %v", cut-last, got, err)
			}
			if cut > last && got.recovery.CutBytes == 0 {
				t.Fatalf("torn at byte %d: nothing was cut", cut-last)
			}
			if got.recovery.CutBytes == 0 {
				continue
			}
			kept := file(t, fs, filepath.Join(storeDir, got.recovery.QuarantineFile))
			if int64(len(kept)) != got.recovery.CutBytes || !bytes.HasPrefix(kept, bytes.TrimRight(b[last:cut], "\x00")) {
				t.Fatalf("torn at byte %d: what was cut is not in quarantine", cut-last)
			}
		}
	}
}

func TestCorruptionBeforeAFrameThatFollowsIsNotCut(t *testing.T) {
	t.Parallel()
	base, s := unclosed(t, 6)
	name := active(t, base)
	b := file(t, base, name)
	offs := envelopes(b)
	if len(offs) < 5 {
		t.Fatalf("only %d frames in %s", len(offs), name)
	}
	for i := range len(offs) - 2 {
		for off := offs[i]; off < offs[i+1]; off++ {
			fs := base.Kill()
			change(t, fs, name, func(f vfs.File) error {
				_, err := f.WriteAt([]byte{^b[off]}, int64(off))
				return err
			})
			got, err := examine(fs, options(2), s.acked)
			if err != nil || !got.stopped || got.served != len(s.acked)-1 || got.recovery.CutBytes > 0 {
				t.Fatalf("byte %d of frame %d: %+v, %v", off-offs[i], i, got, err)
			}
			loss := got.recovery.Damage[0]
			if loss.File != filepath.Base(name) || loss.Offset != int64(offs[i]) || loss.Last != loss.First+1 {
				t.Fatalf("byte %d of frame %d: %v", off-offs[i], i, loss)
			}
			if again := file(t, fs, name); again[off] != ^b[off] {
				t.Fatal("the file was changed")
			}
		}
	}
}

func TestAfterACleanCloseNothingIsCut(t *testing.T) {
	t.Parallel()
	base, acked := filled(t, 5)
	name := active(t, base)
	b := file(t, base, name)
	offs := envelopes(b)
	for _, off := range []int{offs[len(offs)-1], offs[len(offs)-1] + 300, len(b) - 9} {
		fs := base.Kill()
		change(t, fs, name, func(f vfs.File) error {
			_, err := f.WriteAt([]byte{^b[off]}, int64(off))
			return err
		})
		got, err := examine(fs, options(2), acked)
		if err != nil || !got.stopped || got.recovery.CutBytes > 0 || !got.recovery.Clean {
			t.Errorf("byte %d: %+v, %v", off, got, err)
		}
	}
}

func TestMissingSwappedTruncatedAndOlderFilesAreNoticed(t *testing.T) {
	t.Parallel()
	for _, clean := range []bool{true, false} {
		base := vfs.NewMem()
		s := started(t, base, options(1))
		var older []*vfs.Mem
		for range 120 {
			s.mustAppend(t, 2, 300)
			older = append(older, base.Kill())
		}
		if clean {
			if err := s.d.Close(); err != nil {
				t.Fatal(err)
			}
		}
		segments := slices.DeleteFunc(names(t, base), func(n string) bool { return !strings.HasSuffix(n, ".seg") })
		if len(segments) < 5 {
			t.Fatalf("only %q", segments)
		}
		try := func(what string, do func(fs *vfs.Mem) error) {
			t.Helper()
			fs := base.Kill()
			if err := do(fs); err != nil {
				t.Fatal(err)
			}
			if err := fs.SyncDir(storeDir); err != nil {
				t.Fatal(err)
			}
			for _, readOnly := range []bool{true, false} {
				o := options(2)
				o.ReadOnly = readOnly
				got, err := examine(fs, o, s.acked)
				if err != nil || !got.reported || got.recovery.CutBytes > 0 {
					t.Errorf("%s, clean %v: %+v, %v", what, clean, got, err)
				}
				if got.served == 0 {
					t.Errorf("%s, clean %v: nothing is served", what, clean)
				}
			}
		}
		spare := !clean || active(t, base) == filepath.Join(storeDir, segments[len(segments)-1])
		for i, name := range segments {
			path := filepath.Join(storeDir, name)
			if i == len(segments)-1 && !spare {
				continue // it is empty, and known to be
			}
			try("without "+name, func(fs *vfs.Mem) error { return fs.Remove(path) })
			try("half of "+name, func(fs *vfs.Mem) error {
				change(t, fs, path, func(f vfs.File) error { return f.Truncate(6000) })
				return nil
			})
			if i == 0 {
				continue
			}
			try("swapped "+name, func(fs *vfs.Mem) error {
				before := filepath.Join(storeDir, segments[i-1])
				return errors.Join(fs.Rename(path, storeDir+"/x"), fs.Rename(before, path), fs.Rename(storeDir+"/x", before))
			})
		}
		// The first segment as it was when it was not full yet.
		try("an older "+segments[0], func(fs *vfs.Mem) error {
			b := file(t, older[3], filepath.Join(storeDir, segments[0]))
			change(t, fs, filepath.Join(storeDir, segments[0]), func(f vfs.File) error {
				_, err := f.WriteAt(b, 0)
				return errors.Join(err, f.Truncate(int64(len(b))))
			})
			return nil
		})
	}
}

func TestAManifestThatIsLostIsMadeAnew(t *testing.T) {
	t.Parallel()
	base := vfs.NewMem()
	s := started(t, base, options(1))
	for range 100 {
		s.mustAppend(t, 2, 300)
	}
	if err := s.d.Close(); err != nil {
		t.Fatal(err)
	}
	manifests := slices.DeleteFunc(names(t, base), func(n string) bool { return !strings.HasPrefix(n, "MANIFEST") })
	for _, lost := range [][]string{manifests, manifests[1:], manifests[:1]} {
		for _, garbled := range []bool{true, false} {
			fs := base.Kill()
			for _, name := range lost {
				path := filepath.Join(storeDir, name)
				if !garbled {
					if err := fs.Remove(path); err != nil {
						t.Fatal(err)
					}
					continue
				}
				change(t, fs, path, func(f vfs.File) error { return f.Truncate(100) })
			}
			got, err := examine(fs, options(2), s.acked)
			if err != nil || got.stopped || got.served != len(s.acked) {
				t.Errorf("without %q: %+v, %v", lost, got, err)
			}
		}
	}
}

func TestAnOlderManifestHidesNoFrames(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := started(t, fs, options(1))
	var older []*vfs.Mem
	for range 100 {
		s.mustAppend(t, 2, 300)
		older = append(older, fs.Kill())
	}
	if err := s.d.Close(); err != nil {
		t.Fatal(err)
	}
	for i, old := range older {
		now := fs.Kill()
		for _, name := range names(t, now) {
			if strings.HasPrefix(name, "MANIFEST") {
				if err := now.Remove(filepath.Join(storeDir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, name := range names(t, old) {
			if !strings.HasPrefix(name, "MANIFEST") {
				continue
			}
			f, err := now.Create(filepath.Join(storeDir, name))
			if err == nil {
				_, err = f.WriteAt(file(t, old, filepath.Join(storeDir, name)), 0)
			}
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		got, err := examine(now, options(2), s.acked)
		if err != nil || got.served != len(s.acked) {
			t.Fatalf("with the manifest of frame %d: %+v, %v", i+1, got, err)
		}
	}
}

package segment_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
	"github.com/annalsdb/annals/store/engine/segment"
)

func TestFramesAndRecordsComeBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	for _, foreground := range []bool{true, false} {
		o := options(1)
		o.Foreground = foreground
		fs := vfs.NewMem()
		s := started(t, fs, o)
		for i := range 200 {
			s.mustAppend(t, 1+i%5, i*13%700)
			if i%37 == 0 {
				s.mustAppend(t, 1, 40<<10) // more than a segment
			}
		}
		if err := holds(s.d, s.acked); err != nil {
			t.Error(err)
		}
		for range 3 {
			if err := s.d.Close(); err != nil {
				t.Fatal(err)
			}
			d := open(t, fs, o)
			if r := d.Recovered(); !r.Clean || r.CutBytes != 0 || len(r.Damage) > 0 || r.ManifestRebuilt || r.Positions != s.pos {
				t.Errorf("recovered %+v, want a clean log of %d positions", r, s.pos)
			}
			if err := holds(d, s.acked); err != nil {
				t.Error(err)
			}
			report, err := d.Verify(t.Context())
			if err != nil || len(report.Damage) > 0 || report.Frames != s.head.Seq || report.Events != uint64(s.pos) || report.Segments < 10 {
				t.Errorf("verified %+v, %v", report, err)
			}
			s.d = d
			s.mustAppend(t, 2, 10)
		}
	}
}

func TestAScanYieldsEveryRecordBetweenTwoPositions(t *testing.T) {
	t.Parallel()
	s := started(t, vfs.NewMem(), options(1))
	for i := range 60 {
		s.mustAppend(t, 1+i%4, 300)
	}
	for after := range s.pos + 1 {
		for _, upto := range []annals.Position{after, after + 1, after + 17, s.pos} {
			next := after + 1
			for r, err := range s.d.Scan(t.Context(), after, min(upto, s.pos)) {
				if err != nil || r.Position != next || !bytes.Equal(r.Data, eventAt(next, 300).Data) || len(r.Tags) != 2 {
					t.Fatalf("scanning after %d: got %d, %v, want %d", after, r.Position, err, next)
				}
				next++
			}
			if next != min(upto, s.pos)+1 {
				t.Fatalf("scanning after %d up to %d ended before %d", after, upto, next)
			}
		}
	}
	for _, err := range s.d.Scan(t.Context(), 0, s.pos+1) {
		if !errors.Is(err, annals.ErrAhead) {
			t.Errorf("got %v, want ErrAhead", err)
		}
	}
	if _, err := s.d.Record(t.Context(), s.pos+1); !errors.Is(err, annals.ErrAhead) {
		t.Errorf("got %v, want ErrAhead", err)
	}
}

func TestAFrameThatDoesNotFollowTheLastIsRefused(t *testing.T) {
	t.Parallel()
	s := started(t, vfs.NewMem(), options(1))
	s.mustAppend(t, 1, 10)
	old := *s
	s.mustAppend(t, 1, 10)
	if err := old.append(1, 10); !errors.Is(err, journal.ErrMoved) {
		t.Errorf("got %v, want ErrMoved", err)
	}
	f, _, err := old.build(1, 10)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.d.CompareAppend(t.Context(), s.head, f); !errors.Is(err, annals.ErrNotWritten) {
		t.Errorf("got %v, want ErrNotWritten", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.d.CompareAppend(ctx, s.head, f); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if err := holds(s.d, s.acked); err != nil {
		t.Error(err)
	}
}

func TestAFollowerSeesWhatComesAndEndsWithItsContextOrTheDir(t *testing.T) {
	t.Parallel()
	for _, byContext := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := started(t, vfs.NewMem(), options(1))
			s.mustAppend(t, 1, 10)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			seen := make(chan uint64, 1000)
			end := make(chan error, 1)
			go func() {
				for f, err := range s.d.Frames(ctx, 1, true) {
					if err != nil {
						end <- err
						continue
					}
					h, _ := frame.ParseHeader(f)
					seen <- h.Seq
				}
				close(end)
			}()
			for i := range uint64(100) {
				if got := <-seen; got != i+1 {
					t.Fatalf("got frame %d, want %d", got, i+1)
				}
				s.mustAppend(t, 1, 500)
			}
			<-seen
			synctest.Wait()
			want := annals.ErrClosed
			if byContext {
				cancel()
				want = context.Canceled
			} else if err := s.d.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-end; !errors.Is(err, want) {
				t.Errorf("it ended with %v, want %v", err, want)
			}
		})
	}
}

func TestADirectoryHasOneWriter(t *testing.T) {
	t.Parallel()
	for name, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "disk": vfs.OS{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "a", "store")
			d, err := segment.Open(t.Context(), fs, dir, options(1))
			if err != nil {
				t.Fatal(err)
			}
			var locked *segment.LockedError
			if _, err := segment.Open(t.Context(), fs, dir, options(2)); !errors.Is(err, segment.ErrLocked) || !errors.As(err, &locked) {
				t.Fatalf("got %v, want ErrLocked", err)
			}
			if locked.PID != os.Getpid() {
				t.Errorf("it is locked by %d, want %d", locked.PID, os.Getpid())
			}
			if err := errors.Join(d.Close(), d.Close()); err != nil {
				t.Error(err)
			}
			if err := d.CompareAppend(t.Context(), frame.Ref{}, nil); !errors.Is(err, annals.ErrClosed) {
				t.Errorf("got %v, want ErrClosed", err)
			}
			if d, err = segment.Open(t.Context(), fs, dir, options(2)); err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestADirectoryOfSomebodyElseIsLeftAlone(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	if err := fs.MkdirAll(storeDir); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create(filepath.Join(storeDir, "thesis.doc"))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	for _, readOnly := range []bool{false, true} {
		o := options(1)
		o.ReadOnly = readOnly
		if _, err := segment.Open(t.Context(), fs, storeDir, o); !errors.Is(err, segment.ErrNotAStore) {
			t.Errorf("got %v, want ErrNotAStore", err)
		}
	}
	if list := names(t, fs); len(list) != 1 {
		t.Errorf("it now holds %q", list)
	}
}

func TestAReaderBesideAWriterSeesWhatIsDurableAndWritesNothing(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := started(t, mem, options(1))
	for i := range 80 {
		s.mustAppend(t, 1+i%3, 400)
		faulty := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
			switch o.Kind {
			case vfs.OpOpen, vfs.OpRead, vfs.OpList, vfs.OpStat, vfs.OpSync, vfs.OpDrop:
				return vfs.Fault{}
			}
			t.Errorf("the reader does: %s %s", o.Kind, o.Name)
			return vfs.Fault{}
		})
		o := options(1)
		o.ReadOnly, o.Random = true, nil
		r := open(t, faulty, o)
		if err := holds(r, s.acked); err != nil {
			t.Fatal(err)
		}
		if got := r.Recovered(); got.Frames != s.head.Seq || len(got.Damage) > 0 {
			t.Fatalf("recovered %+v, want %d frames", got, s.head.Seq)
		}
		if err := r.CompareAppend(t.Context(), s.head, nil); !errors.Is(err, annals.ErrReadOnly) {
			t.Errorf("got %v, want ErrReadOnly", err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAReaderBesideABusyWriterSeesAPrefix(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := options(1)
	o.Foreground = false
	s := started(t, mem, o)
	done := make(chan error)
	go func() {
		var err error
		for i := 0; i < 1500 && err == nil; i++ {
			err = s.append(1, 700)
		}
		done <- err
	}()
	readers := 0
	last := uint64(0)
	for busy := true; busy; readers++ {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			busy = false
		default:
		}
		r := options(2)
		r.ReadOnly = true
		d, err := segment.Open(t.Context(), mem, storeDir, r)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Recovered(); len(got.Damage) > 0 || got.Frames < last {
			t.Errorf("recovered %+v after %d frames", got, last)
		}
		last = d.Recovered().Frames
		if err := errors.Join(holds(d, nil), d.Close()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d readers, %d frames", readers, last)
}

func TestANewerFormatIsRefusedByNumber(t *testing.T) {
	t.Parallel()
	for _, of := range []string{"MANIFEST-", ".seg"} {
		fs, _ := filled(t, 3)
		changed := ""
		for _, name := range names(t, fs) {
			if strings.Contains(name, of) {
				changed = name
			}
		}
		change(t, fs, filepath.Join(storeDir, changed), func(f vfs.File) error {
			b := file(t, fs, filepath.Join(storeDir, changed))
			b[8] = 7
			segment.Reseal(b, [16]byte{}, 0)
			_, err := f.WriteAt(b, 0)
			return err
		})
		for _, readOnly := range []bool{false, true} {
			o := options(1)
			o.ReadOnly = readOnly
			var newer *segment.NewerFormatError
			_, err := segment.Open(t.Context(), fs, storeDir, o)
			if !errors.Is(err, segment.ErrNewerFormat) || !errors.As(err, &newer) || newer.Format != 7 || newer.Known != 0 {
				t.Errorf("%s: got %v, want ErrNewerFormat with 7 and 0", changed, err)
			}
		}
	}
}

// The golden files are the alarm: if they change, data on somebody's disk cannot be read any more.
func TestTheFormatHasNotChanged(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := started(t, fs, options(1))
	for range 9 {
		s.mustAppend(t, 2, 600)
	}
	if err := s.d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, fs) {
		if !strings.HasPrefix(name, "MANIFEST-") && !strings.HasSuffix(name, ".seg") {
			continue
		}
		got := hex.Dump(file(t, fs, filepath.Join(storeDir, name)))
		golden := filepath.Join("testdata", name+".hex")
		if *update {
			if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(golden, []byte(squeezed(got)), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if squeezed(got) != string(want) {
			t.Errorf("the bytes of %s changed", name)
		}
	}
}

// squeezed leaves lines out that repeat the one before but for the offset, as hexdump does.
func squeezed(dump string) string {
	var b strings.Builder
	previous, starred := "", false
	for line := range strings.Lines(dump) {
		if len(line) > 8 && line[8:] == previous {
			if !starred {
				b.WriteString("*\n")
			}
			starred = true
			continue
		}
		starred = false
		b.WriteString(line)
		previous = line[8:]
	}
	return b.String()
}

package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

// flip changes one bit of the place in the log where this text is, and tells the file.
func flip(t *testing.T, dir, text string) string {
	t.Helper()
	return change(t, dir, text, func(b []byte) { b[0] ^= 1 })
}

// change writes to the log at the place where this text is.
func change(t *testing.T, dir, text string, spoil func(b []byte)) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.Index(b, []byte(text))
		if at < 0 {
			continue
		}
		spoil(b[at:])
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Base(name)
	}
	t.Fatalf("no segment holds %q", text)
	return ""
}

func TestAFlippedBitInAClosedStoreIsLocatedAndTheRestIsServed(t *testing.T) {
	t.Parallel()
	for _, victim := range []int{1, 57, 120} { // in the first file, in the middle, at the end
		t.Run(fmt.Sprint("at position ", victim), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := start(t, dir, disk.SegmentBytes(64<<10))
			for i := range 120 {
				e := annals.Event{Type: "A", Stream: "s-1", Data: fmt.Appendf(nil, "payload %d.%s", i+1, bytes.Repeat([]byte("x"), 2000))}
				put(t, s, e)
			}
			closed(t, s)
			file := flip(t, dir, fmt.Sprintf("payload %d.", victim))
			s = start(t, dir, disk.SegmentBytes(64<<10))
			got, err := read(t, s, annals.All())
			var loss *annals.DataLossError
			if !errors.As(err, &loss) || len(got) != victim-1 {
				t.Fatalf("read %d events and then %v; want %d and a DataLossError", len(got), err, victim-1)
			}
			if filepath.Base(loss.File) != file || loss.Offset <= 0 || loss.First != annals.Position(victim) || loss.Last != loss.First {
				t.Errorf("the loss is %+v; want position %d in %s", loss, victim, file)
			}
			behind, err := read(t, s, annals.Stream("s-1"), annals.After(annals.Position(victim)))
			if err != nil || len(behind) != 120-victim {
				t.Errorf("behind it %d events are read, %v; want %d", len(behind), err, 120-victim)
			}
			_, err = s.Append(t.Context(), []annals.Event{{Type: "A"}})
			if victim == 120 { // the end of the log is in doubt
				if !errors.Is(err, annals.ErrReadOnly) || !errors.Is(err, annals.ErrDataLoss) {
					t.Errorf("an append: got %v, want ErrReadOnly because of ErrDataLoss", err)
				}
				return
			}
			if err != nil { // the index knows the names of what is lost, and what can be decided is
				t.Errorf("an append that needs nothing of what is lost: %v", err)
			}
			none := annals.NoneSince(annals.Position(victim)-1, annals.Stream("s-1"))
			_, err = s.Append(t.Context(), []annals.Event{{Type: "A"}}, none)
			if !errors.Is(err, annals.ErrNotWritten) || !errors.Is(err, annals.ErrDataLoss) {
				t.Errorf("an append whose condition needs what is lost: got %v, want ErrNotWritten because of ErrDataLoss", err)
			}
		})
	}
}

func TestVerifyFindsWhatRotsUnderAnOpenStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	for i := range 20 {
		put(t, s, annals.Event{Type: "A", Data: fmt.Appendf(nil, "payload %d.", i+1)})
	}
	r, err := s.Verify(t.Context())
	if err != nil || len(r.Damage) > 0 || r.Frames != 20 || r.Events != 20 {
		t.Errorf("of an undamaged store: %+v, %v", r, err)
	}
	flip(t, dir, "payload 7.")
	r, err = s.Verify(t.Context())
	if err != nil || len(r.Damage) != 1 || r.Damage[0].First > 7 || r.Damage[0].Last < 7 {
		t.Errorf("of a damaged store: %+v, %v; want position 7", r, err)
	}
	if got, err := read(t, s, annals.All()); len(got) != 6 || !errors.Is(err, annals.ErrDataLoss) {
		t.Errorf("read %d events and then %v", len(got), err)
	}
}

func TestVerifyFindsWhatRotsInTheIndexWhichIsMadeAnew(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	for i := range 20 {
		put(t, s, annals.Event{Type: "A", Stream: "s-1", Data: fmt.Appendf(nil, "payload %d.", i+1)})
	}
	closed(t, s)
	files, err := filepath.Glob(filepath.Join(dir, "index", "*.run"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	spoilt := bytes.Clone(b)
	spoilt[20] ^= 1
	if err := os.WriteFile(files[0], spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, dir)
	r, err := s.Verify(t.Context())
	// Opening asks the index too: by now the run may be whole again.
	if err != nil || len(r.Damage) > 0 || len(r.Index) > 1 {
		t.Errorf("%+v, %v; want damage of the index alone", r, err)
	}
	for _, differs := range r.Index {
		if differs.File != filepath.Base(files[0]) || !strings.Contains(differs.Error(), "nothing is lost") {
			t.Errorf("it is said that %v", differs)
		}
	}
	if got, err := read(t, s, annals.Stream("s-1")); err != nil || len(got) != 20 {
		t.Errorf("read %d events, %v", len(got), err)
	}
	for len(r.Index) > 0 && t.Context().Err() == nil { // it is made anew in the background
		if r, err = s.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, s)
	if now, err := os.ReadFile(files[0]); err != nil || !bytes.Equal(now, b) {
		t.Errorf("the run is not what it was: %v", err)
	}
}

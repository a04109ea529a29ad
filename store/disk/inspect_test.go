package disk_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

func TestAnInspectionBesideTheWriterCountsWhatWasDurable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, dir)
	put(t, s, annals.Event{Type: "A"}, annals.Event{Type: "B"})
	i, err := disk.Inspect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, annals.Event{Type: "C"})
	r, err := i.Verify(t.Context())
	if err != nil || r.Frames != 1 || r.Events != 2 || len(r.Damage) > 0 {
		t.Errorf("got %+v, %v", r, err)
	}
	if found := i.Recovery(); found.Clean || found.Positions != 2 {
		t.Errorf("the recovery says %+v", found)
	}
	for range 2 {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := i.Verify(t.Context()); !errors.Is(err, annals.ErrClosed) {
		t.Errorf("after closing: got %v", err)
	}
}

func TestAnInspectionOfNoStoreMakesNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := disk.Inspect(t.Context(), dir); !errors.Is(err, disk.ErrNotAStore) {
		t.Errorf("got %v, want ErrNotAStore", err)
	}
	if _, err := disk.Inspect(t.Context(), filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that does not exist was opened")
	}
	if found, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(found) > 0 {
		t.Errorf("there are %v, %v", found, err)
	}
}

func TestAReaderBesideAWriterLeavesTheIndexAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 3 {
		s := start(t, dir)
		for i := range 10 {
			put(t, s, annals.Event{Type: "A", Stream: "s-1", Tags: []string{fmt.Sprint("n:", round*10+i)}})
		}
		before, err := filepath.Glob(filepath.Join(dir, "index", "*"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := disk.OpenReadOnly(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 * (round + 1) {
			if got, err := read(t, r, annals.Tags(fmt.Sprint("n:", i))); err != nil || len(got) != 1 || got[0].Revision != annals.Revision(i) {
				t.Errorf("tag %d: %v, %v", i, got, err)
			}
		}
		if report, err := r.Verify(t.Context()); err != nil || len(report.Damage)+len(report.Index) > 0 {
			t.Errorf("%+v, %v", report, err)
		}
		closed(t, r)
		after, err := filepath.Glob(filepath.Join(dir, "index", "*"))
		if err != nil || !slices.Equal(after, before) {
			t.Errorf("there are %v, %v; before there were %v", after, err, before)
		}
		closed(t, s)
	}
}

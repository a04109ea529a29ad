package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/snapshot"
	"github.com/annalsdb/annals/snapshot/snapshottest"
	"github.com/annalsdb/annals/store/memory"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	snapshottest.Run(t, func(t *testing.T) annals.Snapshots {
		t.Helper()
		m, err := snapshot.NewMemory()
		if err != nil {
			t.Fatal(err)
		}
		return m
	})
}

func TestDir(t *testing.T) {
	t.Parallel()
	snapshottest.Run(t, func(t *testing.T) annals.Snapshots { t.Helper(); return open(t, t.TempDir()) })
}

func open(t *testing.T, dir string, opts ...snapshot.Option) *snapshot.Dir {
	t.Helper()
	d, err := snapshot.Open(dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// files are those in a directory and below.
func files(t *testing.T, dir string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestADamagedFileIsReportedAndPassedOver(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func([]byte) []byte{
		"a flipped bit":  func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"a cut":          func(b []byte) []byte { return b[:len(b)-3] },
		"nothing":        func([]byte) []byte { return nil },
		"something else": func([]byte) []byte { return []byte("annals snapshot 7\n") },
	} {
		dir := t.TempDir()
		var reported []error
		d := open(t, dir, snapshot.Damaged(func(err error) { reported = append(reported, err) }))
		for p := range annals.Position(2) {
			if err := d.Save(t.Context(), annals.Snapshot{Key: "k", Position: p + 1, Data: []byte("x")}); err != nil {
				t.Fatal(err)
			}
		}
		newest := files(t, dir)[1]
		b, err := os.ReadFile(newest)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(newest, change(b), 0o600); err != nil {
			t.Fatal(err)
		}
		s, found, err := d.Load(t.Context(), "k", annals.NoPosition)
		if err != nil || !found || s.Position != 1 {
			t.Errorf("%s: got %+v, %v, %v", name, s, found, err)
		}
		if len(reported) != 1 || !errors.Is(reported[0], snapshot.ErrDamaged) || !strings.Contains(reported[0].Error(), newest) {
			t.Errorf("%s: reported %v", name, reported)
		}
		if left := files(t, dir); len(left) != 1 {
			t.Errorf("%s: left are %v", name, left)
		}
	}
}

func TestAFileOfAnotherKeyIsDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir)
	for _, s := range []annals.Snapshot{{Key: "a", Position: 1, Data: []byte("a")}, {Key: "b", Position: 1, Data: []byte("b")}} {
		if err := d.Save(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	all := files(t, dir)
	if err := os.Rename(all[0], all[1]); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b"} {
		if s, found, err := d.Load(t.Context(), key, annals.NoPosition); found || err != nil {
			t.Errorf("%s: got %+v, %v", key, s, err)
		}
	}
}

func TestOldFilesAreThrownAwayAndOthersLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir, snapshot.Keep(3))
	for p := range annals.Position(10) {
		if err := d.Save(t.Context(), annals.Snapshot{Key: "k", Position: p + 1, Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	all := files(t, dir)
	if len(all) != 3 || !strings.HasSuffix(all[0], "08.snap") {
		t.Errorf("got %v", all)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(all[0]), "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s, found, err := d.Load(t.Context(), "k", 8); !found || s.Position != 8 || err != nil {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	t.Parallel()
	if _, err := snapshot.NewMemory(snapshot.Keep(0)); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := snapshot.Open(""); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if _, err := snapshot.Open(t.TempDir(), snapshot.Damaged(nil)); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Open(filepath.Join(file, "below")); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
	d := open(t, filepath.Join(t.TempDir(), "d"))
	if err := d.Save(t.Context(), annals.Snapshot{Key: "k", Position: 1}); err != nil {
		t.Error(err)
	}
}

// Counted is an event, and Counter a state that is kept in snapshots, by the version of how it counts.
type (
	Counted struct {
		Counter string `json:"counter" annals:"counter,stream"`
	}
	Counter struct {
		ID string
		N  int
	}
)

func (c Counter) Boundary() annals.Query { return annals.Stream("counter-" + c.ID) }
func (c Counter) Evolve(any) Counter     { c.N++; return c }
func (c Counter) SnapshotVersion() int   { return 1 }

// States that say so are kept in snapshots, and loaded from them.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "snapshots")
	fmt.Println(err)
	defer func() { fmt.Println(os.RemoveAll(dir)) }()
	snapshots, err := snapshot.Open(dir)
	fmt.Println(err)
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{Counted{}}),
		annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: snapshots, Every: 100}))
	for range 250 {
		_, err = log.Append(ctx, []any{Counted{"1"}})
	}
	fmt.Println(err)
	for range 2 { // the second reads the last event of the first, and no more
		counter, err := decider.Load(ctx, log, Counter{ID: "1"})
		fmt.Println(counter.State.N, err)
	}
	// Output:
	// <nil>
	// <nil>
	// <nil>
	// 250 <nil>
	// 250 <nil>
	// <nil>
}

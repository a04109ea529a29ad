package sqliteviews_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/projectiontest"
	"github.com/annalsdb/annals/projection/sqliteviews"
	"github.com/annalsdb/annals/store/memory"
)

func TestSQLiteViewsKeepThePromisesOfViews(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t,
		func(*testing.T) annals.Store { return memory.New() },
		func(t *testing.T) projection.Views {
			t.Helper()
			return open(t, filepath.Join(t.TempDir(), "views of 100% #1?.db"))
		})
}

func TestProcessesShareAFile(t *testing.T) {
	t.Parallel()
	projectiontest.RunShared(t,
		func(*testing.T) annals.Store { return memory.New() },
		func(t *testing.T) func() projection.Views {
			t.Helper()
			path := filepath.Join(t.TempDir(), "views.db")
			return func() projection.Views { return open(t, path) }
		})
}

func open(t *testing.T, path string) *sqliteviews.Views {
	t.Helper()
	views, err := sqliteviews.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { views.Close() })
	return views
}

type (
	counted struct {
		Thing string `json:"thing" annals:"thing,stream"`
	}
	countRow struct {
		Count int `json:"count"`
	}
)

var counts = projection.Rows[countRow, any]{
	Name: "counts", By: "thing", Query: annals.Category("thing"),
	Apply: func(_ string, row *countRow, _ annals.Entry[any]) error {
		row.Count++
		return nil
	},
	Columns: []projection.Column[countRow]{{Name: "order", Value: func(r countRow) any { return r.Count }}},
}

func newLog() *annals.Log[any] {
	return annals.NewLog(memory.New(), annals.NewSchema([]any{counted{}}))
}

func count(t *testing.T, log *annals.Log[any], things ...string) annals.Position {
	t.Helper()
	var events []any
	for _, thing := range things {
		events = append(events, counted{thing})
	}
	receipt, err := log.Append(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Last
}

func wantCount(t *testing.T, views projection.Views, at annals.Position, key string, want int) {
	t.Helper()
	row, err := projection.Of(views, counts).Get(annals.WithAtLeast(t.Context(), at), key)
	if err != nil || row.Count != want {
		t.Errorf("the count of %s is %d, %v; wanted %d", key, row.Count, err, want)
	}
}

func TestAFileThatIsOpenedAgainGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	log, path := newLog(), filepath.Join(t.TempDir(), "views.db")
	for n := 1; n <= 3; n++ {
		at := count(t, log, "a", "b", "a")
		views := open(t, path)
		if err := projection.CatchUp(t.Context(), log, views, counts); err != nil {
			t.Fatal(err)
		}
		wantCount(t, views, at, "a", 2*n)
		if err := views.Close(); err != nil {
			t.Fatal(err)
		}
	}
	err := projection.CatchUp(t.Context(), newLog(), open(t, path), counts)
	if !errors.Is(err, projection.ErrForeignCheckpoint) {
		t.Errorf("with another store the error is %v", err)
	}
}

func TestTheFileIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	views := open(t, filepath.Join(dir, "views.db"))
	log := newLog()
	count(t, log, "a")
	if err := projection.CatchUp(t.Context(), log, views, counts); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 2 {
		t.Fatalf("the files are %v, %v", entries, err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

func TestTwoViewsOfOneFileNeverApplyAnEventTwice(t *testing.T) {
	t.Parallel()
	log, path := newLog(), filepath.Join(t.TempDir(), "views.db")
	one, two := open(t, path), open(t, path)
	at := count(t, log, "a")
	if err := projection.CatchUp(t.Context(), log, one, counts); err != nil {
		t.Fatal(err)
	}
	wantCount(t, two, at, "a", 1) // committed by the other, found in the file

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- projection.Run(ctx, log, one, counts) }()
	at = count(t, log, "a")
	wantCount(t, one, at, "a", 2)
	shape, err := counts.Shape()
	if err != nil {
		t.Fatal(err)
	}
	table, err := two.Table(t.Context(), shape)
	if err != nil {
		t.Fatal(err)
	}
	stands, err := table.Checkpoint(t.Context())
	if err != nil || stands.Position != at {
		t.Fatalf("the checkpoint is %v, %v", stands, err)
	}
	b, err := table.Begin(t.Context(), stands)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(t.Context(), projection.Checkpoint{Position: at + 1}); err != nil {
		t.Fatal(err)
	}
	count(t, log, "a")
	if err := <-ended; !errors.Is(err, projection.ErrCheckpointMoved) {
		t.Errorf("the runner that was overtaken ends with %v", err)
	}
	wantCount(t, one, at, "a", 2)
}

func TestRowsResetByAnotherProcessAreNotTakenForFreshOnes(t *testing.T) {
	t.Parallel()
	log, path := newLog(), filepath.Join(t.TempDir(), "views.db")
	one, two := open(t, path), open(t, path)
	at := count(t, log, "a", "a")
	if err := projection.CatchUp(t.Context(), log, one, counts); err != nil {
		t.Fatal(err)
	}
	wantCount(t, one, at, "a", 2)
	if err := projection.Reset(t.Context(), two, counts); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(annals.WithAtLeast(t.Context(), at), time.Second)
	defer cancel()
	if _, err := projection.Of(one, counts).Get(ctx, "a"); !errors.Is(err, projection.ErrLagging) {
		t.Errorf("the error is %v", err)
	}
	if err := projection.CatchUp(t.Context(), log, two, counts); err != nil {
		t.Fatal(err)
	}
	wantCount(t, one, at, "a", 2)
}

func TestAFileThatIsNotOursIsNamedAndLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	execute := func(name string, statements ...string) string {
		path := filepath.Join(dir, name)
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		for _, s := range statements {
			if _, err := db.ExecContext(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		return path
	}
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, bytes.Repeat([]byte("this is not a database "), 100), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer")
	if err := open(t, newer).Close(); err != nil {
		t.Fatal(err)
	}
	execute("newer", "PRAGMA user_version = 99")
	for _, test := range []struct {
		name, path string
		want       error
	}{
		{"the database of another program", execute("other", "CREATE TABLE t (x)"), sqliteviews.ErrForeignFile},
		{"a newer format", newer, sqliteviews.ErrForeignFile},
		{"no database", text, sqliteviews.ErrCorrupt},
		{"no directory", filepath.Join(dir, "missing", "views.db"), os.ErrNotExist},
	} {
		_, err := sqliteviews.Open(t.Context(), test.path)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.path) {
			t.Errorf("%s: the error is %v", test.name, err)
		}
	}
}

func TestADamagedFileIsNamed(t *testing.T) {
	t.Parallel()
	log, path := newLog(), filepath.Join(t.TempDir(), "views.db")
	views := open(t, path)
	things := make([]string, 900)
	for i := range things {
		things[i] = strings.Repeat("x", 40) + strconv.Itoa(i)
	}
	count(t, log, things...)
	if err := projection.CatchUp(t.Context(), log, views, counts); err != nil {
		t.Fatal(err)
	}
	if err := views.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for i := 4 * page; i < len(file); i++ { // the catalog stays
		file[i] = 0x5a
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = projection.Of(open(t, path), counts).List(t.Context(), projection.OrderBy("order"))
	if !errors.Is(err, sqliteviews.ErrCorrupt) {
		t.Errorf("the error is %v", err)
	}
}

func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "annals")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	views, err := sqliteviews.Open(ctx, filepath.Join(dir, "views.db"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer views.Close()

	log := newLog()
	if _, err := log.Append(ctx, []any{counted{"tea"}, counted{"tea"}, counted{"cup"}}); err != nil {
		fmt.Println(err)
	}
	if err := projection.CatchUp(ctx, log, views, counts); err != nil {
		fmt.Println(err)
	}
	row, err := projection.Of(views, counts).Get(ctx, "tea")
	fmt.Println(row.Count, err)
	// Output: 2 <nil>
}

func TestAShapeThatWasRefusedIsForgotten(t *testing.T) {
	t.Parallel()
	log, path := newLog(), filepath.Join(t.TempDir(), "views.db")
	count(t, log, "a", "b")
	if err := projection.CatchUp(t.Context(), log, open(t, path), counts); err != nil {
		t.Fatal(err)
	}
	views := open(t, path)
	wrong := counts
	wrong.Columns = nil
	for range 2 {
		if _, err := projection.Of(views, wrong).Get(t.Context(), "a"); !errors.Is(err, projection.ErrShapeChanged) {
			t.Errorf("the error is %v", err)
		}
	}
	page, err := projection.Of(views, counts).List(t.Context(), projection.OrderBy("order"))
	if err != nil || len(page.Rows) != 2 {
		t.Errorf("the rows are %v, %v", page.Rows, err)
	}
	at := count(t, log, "a")
	if err := projection.CatchUp(t.Context(), log, views, counts); err != nil {
		t.Fatal(err)
	}
	wantCount(t, views, at, "a", 2)
}

func TestAWaitDoesNotTakeRowsResetByAnotherProcessForFreshOnes(t *testing.T) {
	t.Parallel()
	log, path := newLog(), filepath.Join(t.TempDir(), "views.db")
	one, two := open(t, path), open(t, path)
	at := count(t, log, "a")
	if err := projection.CatchUp(t.Context(), log, one, counts); err != nil {
		t.Fatal(err)
	}
	if err := projection.Reset(t.Context(), two, counts); err != nil {
		t.Fatal(err)
	}
	hurry := projection.WithPatience(t.Context(), time.Millisecond)
	if err := projection.Of(one, counts).Wait(hurry, at); !errors.Is(err, projection.ErrLagging) {
		t.Errorf("the wait ends with %v", err)
	}
	if err := projection.CatchUp(t.Context(), log, two, counts); err != nil {
		t.Fatal(err)
	}
	if err := projection.Of(one, counts).Wait(t.Context(), at); err != nil {
		t.Errorf("the wait for the new rows ends with %v", err)
	}
}

func TestAFileThatIsNotOursIsNotChanged(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"delete", "wal"} {
		path := filepath.Join(t.TempDir(), "foreign.db")
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{"PRAGMA journal_mode = " + mode, "CREATE TABLE t (x)"} {
			if _, err := db.ExecContext(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sqliteviews.Open(t.Context(), path); !errors.Is(err, sqliteviews.ErrForeignFile) {
			t.Errorf("%s: the error is %v", mode, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file was changed, %v", mode, err)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("%s: the files are %v, %v", mode, entries, err)
		}
	}
}

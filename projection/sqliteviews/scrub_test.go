package sqliteviews_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/sqliteviews"
	"github.com/annalsdb/annals/store/memory"
)

type (
	introduced struct {
		Person string `json:"person" annals:"person,stream"`
		Name   string `json:"name"`
	}
	forgotten struct {
		Person string `json:"person" annals:"person,stream"`
	}
	personRow struct {
		Name string `json:"name"`
	}
)

// people keeps names in rows and in the index of a column.
var people = projection.Rows[personRow, any]{
	Name: "people", By: "person", Query: annals.Category("person"),
	Apply: func(_ string, row *personRow, e annals.Entry[any]) error {
		switch e := e.Value.(type) {
		case introduced:
			row.Name = e.Name
		case forgotten:
			return projection.Delete
		}
		return nil
	},
	Columns: []projection.Column[personRow]{{Name: "name", Value: func(r personRow) any { return r.Name }}},
}

func newPeople() *annals.Log[any] {
	return annals.NewLog(memory.New(), annals.NewSchema([]any{introduced{}, forgotten{}}))
}

// apply appends events and brings the views up to date.
func apply(t *testing.T, log *annals.Log[any], views projection.Views, events ...any) {
	t.Helper()
	if _, err := log.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if err := projection.CatchUp(t.Context(), log, views, people); err != nil {
		t.Fatal(err)
	}
}

// holding are the names of the files in a directory that hold a text.
func holding(t *testing.T, dir, text string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(text)) {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestWhatWasDeletedOrOverwrittenIsInNoFileOnceItIsScrubbed(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, log *annals.Log[any], views *sqliteviews.Views){
		"deleted": func(t *testing.T, log *annals.Log[any], v *sqliteviews.Views) {
			t.Helper()
			apply(t, log, v, forgotten{"1"})
		},
		"overwritten": func(t *testing.T, log *annals.Log[any], v *sqliteviews.Views) {
			t.Helper()
			apply(t, log, v, introduced{"1", "x"})
		},
		"dropped": func(t *testing.T, _ *annals.Log[any], v *sqliteviews.Views) {
			t.Helper()
			if err := v.Drop(t.Context(), "people", 1); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for size, marker := range map[string]string{"small": "MARKER-ann", "large": strings.Repeat("MARKER-ann ", 5000)} {
			t.Run(size+" and "+name, func(t *testing.T) {
				t.Parallel()
				dir, log := t.TempDir(), newPeople()
				views := open(t, filepath.Join(dir, "views.db"))
				apply(t, log, views, introduced{"1", marker}, introduced{"2", "KEPT-bob"})
				if err := views.Scrub(t.Context()); err != nil { // the name lies in the database itself, too
					t.Fatal(err)
				}
				apply(t, log, views, introduced{"1", marker + " again"})
				end(t, log, views)
				if got := holding(t, dir, "MARKER"); len(got) == 0 {
					t.Fatal("nothing is there to be scrubbed: this test proves nothing")
				}
				for range 2 {
					if err := views.Scrub(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if got := holding(t, dir, "MARKER"); len(got) > 0 {
					t.Errorf("after Scrub, it is in %v", got)
				}
				if err := views.Close(); err != nil {
					t.Fatal(err)
				}
				if got := holding(t, dir, "MARKER"); len(got) > 0 {
					t.Errorf("after Close, it is in %v", got)
				}
				if got := holding(t, dir, "KEPT-bob"); len(got) != 1 && name != "dropped" {
					t.Errorf("what was kept is in %v", got)
				}
			})
		}
	}
}

// Pages are split, merged and defragmented by rows of all sizes; nothing of the rows that are gone may stay between the others.
func TestNoRowThatIsGoneIsLeftBetweenOthersWhateverWasDone(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	dir, log := t.TempDir(), newPeople()
	views := open(t, filepath.Join(dir, "views.db"))
	const persons = 40
	gone := map[int]bool{}
	written := map[int]int{} // how often
	text := func(person, n int) string { return fmt.Sprintf("MARKER-%d-%d.", person, n) }
	for range 30 {
		var events []any
		for range 10 {
			switch p := rng.IntN(persons); {
			case rng.IntN(4) == 0 && written[p] > 0:
				events = append(events, forgotten{fmt.Sprint(p)})
				gone[p] = true
			default:
				written[p]++
				events = append(events, introduced{fmt.Sprint(p), strings.Repeat(text(p, written[p]), 1+rng.IntN(1<<rng.IntN(11)))})
				gone[p] = false
			}
		}
		apply(t, log, views, events...)
		if rng.IntN(3) == 0 {
			if err := views.Scrub(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := views.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	for p, times := range written {
		for n := 1; n <= times; n++ {
			got := holding(t, dir, text(p, n))
			if want := n == times && !gone[p]; (len(got) > 0) != want {
				t.Errorf("seed %d: text %d of %d of person %d is in %v; wanted there: %t", seed, n, times, p, got, want)
			}
		}
	}
}

func TestScrubWaitsForOthersAsLongAsItsContextAllows(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), newPeople()
	path := filepath.Join(dir, "views.db")
	views := open(t, path)
	apply(t, log, views, introduced{"1", "MARKER-ann"})
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	reader, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := reader.QueryRowContext(t.Context(), `SELECT count(*) FROM "people@1"`).Scan(&n); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	apply(t, log, views, forgotten{"1"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // the reader does not end in any time
	defer cancel()
	if err := views.Scrub(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a reader of the past: %v", err)
	}
	if err := reader.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := views.Scrub(t.Context()); err != nil {
		t.Error(err)
	}
	if got := holding(t, dir, "MARKER"); len(got) > 0 {
		t.Errorf("it is in %v", got)
	}
	writer, err := other.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := views.Scrub(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside a writer: %v", err)
	}
	if _, err := writer.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := views.Scrub(t.Context()); err != nil {
		t.Error(err)
	}
	if err := views.Close(); err != nil {
		t.Fatal(err)
	}
	if err := views.Scrub(t.Context()); !errors.Is(err, projection.ErrClosed) {
		t.Errorf("once closed: %v", err)
	}
}

// A person is forgotten: the projection deletes the row, and Scrub sees to the bytes.
func ExampleViews_Scrub() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "annals")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "views.db")
	views, err := sqliteviews.Open(ctx, path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer views.Close()

	log := newPeople()
	for _, e := range []any{introduced{"1", "Ann of Ulm"}, introduced{"2", "Bob"}, forgotten{"1"}} {
		if _, err := log.Append(ctx, []any{e}); err != nil {
			fmt.Println(err)
		}
		if err := projection.CatchUp(ctx, log, views, people); err != nil {
			fmt.Println(err)
		}
	}
	look := func() {
		wal, err := os.ReadFile(path + "-wal")
		fmt.Println(bytes.Contains(wal, []byte("Ann of Ulm")), err)
	}
	look()
	fmt.Println(views.Scrub(ctx))
	look()
	// Output:
	// true <nil>
	// <nil>
	// false <nil>
}

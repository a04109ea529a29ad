package annalstest_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/sqliteviews"
)

type ShowRow struct {
	Seats int      `json:"seats"`
	By    []string `json:"by"`
}

// Shows counts seats. It is not idempotent.
var Shows = projection.Rows[ShowRow, any]{
	Name: "shows", By: "show", Query: annals.Category("show"),
	Apply: func(_ string, row *ShowRow, e annals.Entry[any]) error {
		switch ev := e.Value.(type) {
		case ShowOpened:
			if ev.Seats == 0 {
				return projection.Delete
			}
			row.Seats = ev.Seats
		case SeatTaken:
			row.Seats--
			row.By = append(row.By, ev.By...)
		}
		return nil
	},
}

func TestProjectionSpecsThatHoldSayNothing(t *testing.T) {
	t.Parallel()
	sqlite, err := sqliteviews.Open(t.Context(), filepath.Join(t.TempDir(), "views.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer sqlite.Close()
	for _, views := range []projection.Views{projection.NewMemory(), sqlite} {
		annalstest.Project(t, schema, Shows).In(views).
			ThenNoRow("1").
			Given(opened, taken, ShowOpened{Show: "2", Seats: 1}).
			ThenRow("1", ShowRow{Seats: 2, By: []string{"ann"}}).
			ThenRow("2", ShowRow{Seats: 1}).
			ThenRows(map[string]ShowRow{"1": {Seats: 2, By: []string{"ann"}}, "2": {Seats: 1, By: []string{}}}).
			Given(ShowOpened{Show: "2"}).
			ThenNoRow("2").
			ThenView(func(view *projection.View[ShowRow]) {
				if page, err := view.List(t.Context()); err != nil || len(page.Rows) != 1 {
					t.Errorf("the view lists %+v, %v", page, err)
				}
			})
	}
	annalstest.Project(t, schema, Shows).Redelivered().Given(opened).ThenRow("1", ShowRow{Seats: 3})
}

func TestProjectionSpecsThatDoNotHoldSayWhy(t *testing.T) {
	t.Parallel()
	calls, counting := 0, Shows
	counting.Apply = func(_ string, row *ShowRow, _ annals.Entry[any]) error {
		calls++
		row.Seats = calls
		return nil
	}
	failing := Shows
	failing.Apply = func(string, *ShowRow, annals.Entry[any]) error { panic("apply is broken") }
	for want, test := range map[string]func(*recorder){
		`has another row "1"`: func(r *recorder) {
			annalstest.Project(r, schema, Shows).Given(opened).ThenRow("1", ShowRow{Seats: 4})
		},
		`has no row "2"`: func(r *recorder) {
			annalstest.Project(r, schema, Shows).Given(opened).ThenRow("2", ShowRow{Seats: 4})
		},
		`no row "1"`: func(r *recorder) { annalstest.Project(r, schema, Shows).Given(opened).ThenNoRow("1") },
		"has other rows": func(r *recorder) {
			annalstest.Project(r, schema, Shows).Given(opened).ThenRows(map[string]ShowRow{"1": {Seats: 4}})
		},
		"ShowRow, - want, + got": func(r *recorder) { annalstest.Project(r, schema, Shows).Given(opened).ThenRow("1", ShowRow{Seats: 4}) },
		"is another when rebuilt": func(r *recorder) {
			annalstest.Project(r, schema, counting).Given(opened).ThenRow("1", ShowRow{Seats: 1})
		},
		"looks at no rows": func(r *recorder) { annalstest.Project(r, schema, Shows).Given(opened) },
		"apply is broken":  func(r *recorder) { annalstest.Project(r, schema, failing).Given(opened).ThenNoRow("1") },
		"given event 1":    func(r *recorder) { annalstest.Project(r, schema, Shows).Given(struct{}{}).ThenNoRow("1") },
		`"seats":1`: func(r *recorder) {
			annalstest.Project(r, schema, Shows).Given(opened).Redelivered().Given(taken).ThenRow("1", ShowRow{Seats: 2, By: []string{"ann"}})
		},
	} {
		if said := record(t, test); !strings.Contains(said, want) {
			t.Errorf("it does not say %q, but\n%s", want, said)
		}
	}
}

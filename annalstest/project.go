package annalstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

// ProjectionSpec is a projection that waits for its past and its rows. It belongs to one test and one goroutine. A
// ProjectionSpec that no Then method has looked at fails the test when it ends.
type ProjectionSpec[V, E any] struct {
	tb        testing.TB
	log       *annals.Log[E]
	rows      projection.Rows[V, E]
	views     projection.Views
	now       time.Time
	twice     bool
	concluded bool
}

// Project begins the test of a projection, with rows in memory unless [ProjectionSpec.In] says otherwise. A wrong
// definition panics, as in projection.Of.
func Project[V, E any](tb testing.TB, schema *annals.Schema[E], rows projection.Rows[V, E]) *ProjectionSpec[V, E] {
	tb.Helper()
	s := &ProjectionSpec[V, E]{tb: tb, rows: rows, views: projection.NewMemory(), now: Epoch}
	s.log = annals.NewLog(memory.New(memory.Clock(func() time.Time { return s.now })), schema)
	projection.Of(s.views, rows)
	tb.Cleanup(func() {
		tb.Helper()
		if !s.concluded && !tb.Failed() {
			tb.Errorf("annalstest: the test of projection %s looks at no rows: end it with ThenRow, ThenNoRow, ThenRows or ThenView", rows.Name)
		}
	})
	return s
}

// In keeps the rows in these views, which must not have any of this projection yet. The caller closes them.
func (s *ProjectionSpec[V, E]) In(views projection.Views) *ProjectionSpec[V, E] {
	s.views = views
	return s
}

// At sets the time of the events of the next Given. The store never goes back in time.
func (s *ProjectionSpec[V, E]) At(now time.Time) *ProjectionSpec[V, E] {
	s.now = now
	return s
}

// Redelivered records every event of the next Given twice, as a source that delivers at least once does. The runner
// itself applies each event once; so it is asked of those projections alone that must bear more.
func (s *ProjectionSpec[V, E]) Redelivered() *ProjectionSpec[V, E] {
	s.twice = true
	return s
}

// Given records the past, and brings the rows up to date after each event, as a runner that is restarted all the time.
// It may be said more than once, before and after Then methods.
func (s *ProjectionSpec[V, E]) Given(past ...E) *ProjectionSpec[V, E] {
	s.tb.Helper()
	times := 1
	if s.twice {
		times = 2
	}
	for i, e := range past {
		for range times {
			if _, err := s.log.Append(s.tb.Context(), []E{e}); err != nil {
				s.fatal("given event %d, %s: %v", i+1, show(e), err)
			}
			if err := projection.CatchUp(s.tb.Context(), s.log, s.views, s.rows); err != nil {
				s.fatal("given event %d, %s: %v", i+1, show(e), err)
			}
		}
	}
	return s
}

// ThenRow wants the row with this key to be this one, nil and empty slices and maps being alike.
func (s *ProjectionSpec[V, E]) ThenRow(key string, want V) *ProjectionSpec[V, E] {
	s.tb.Helper()
	rows := s.look()
	got, ok := rows[key]
	switch {
	case !ok:
		s.tb.Errorf("projection %s has no row %q:\n%swant %s", s.rows.Name, key, listRows(rows), show(want))
	case !alike(got, want):
		s.tb.Errorf("projection %s has another row %q:\n%s", s.rows.Name, key, diff([]V{got}, []V{want}))
	}
	return s
}

// ThenNoRow wants no row with this key.
func (s *ProjectionSpec[V, E]) ThenNoRow(key string) *ProjectionSpec[V, E] {
	s.tb.Helper()
	if got, ok := s.look()[key]; ok {
		s.tb.Errorf("projection %s was to have no row %q, and has\n  %s", s.rows.Name, key, show(got))
	}
	return s
}

// ThenRows wants exactly these rows, by their keys.
func (s *ProjectionSpec[V, E]) ThenRows(want map[string]V) *ProjectionSpec[V, E] {
	s.tb.Helper()
	if got := s.look(); !alike(got, want) {
		s.tb.Errorf("projection %s has other rows:\ngot:\n%swant:\n%s%s", s.rows.Name, listRows(got), listRows(want), fieldDiff(got, want))
	}
	return s
}

// ThenView hands the view to the function, for lists, orders and all else that can be asked of it.
func (s *ProjectionSpec[V, E]) ThenView(look func(view *projection.View[V])) *ProjectionSpec[V, E] {
	s.tb.Helper()
	s.look()
	look(projection.Of(s.views, s.rows))
	return s
}

// look is all rows, after making sure that a rebuild in one go gives the same.
func (s *ProjectionSpec[V, E]) look() map[string]V {
	s.tb.Helper()
	s.concluded = true
	if err := projection.CatchUp(s.tb.Context(), s.log, s.views, s.rows); err != nil { // no event may have been given
		s.fatal("%v", err)
	}
	rows := s.all(s.views)
	fresh := projection.NewMemory()
	defer fresh.Close()
	if err := projection.CatchUp(s.tb.Context(), s.log, fresh, s.rows); err != nil {
		s.fatal("rebuild: %v", err)
	}
	if rebuilt := s.all(fresh); !alike(rebuilt, rows) {
		s.tb.Errorf("projection %s is another when rebuilt: is Apply a function of its arguments alone?\nrebuilt:\n%sbefore:\n%s%s",
			s.rows.Name, listRows(rebuilt), listRows(rows), fieldDiff(rebuilt, rows))
	}
	return rows
}

// all lists the rows of the views, page by page.
func (s *ProjectionSpec[V, E]) all(views projection.Views) map[string]V {
	s.tb.Helper()
	rows := map[string]V{}
	for next, first := "", true; first || next != ""; first = false {
		page, err := projection.Of(views, s.rows).List(s.tb.Context(), projection.Limit(1000), projection.Cursor(next))
		if err != nil {
			s.fatal("list: %v", err)
		}
		for _, row := range page.Rows {
			rows[row.Key] = row.Value
		}
		next = page.Next
	}
	return rows
}

func (s *ProjectionSpec[V, E]) fatal(format string, args ...any) {
	s.tb.Helper()
	s.concluded = true
	s.tb.Fatalf("annalstest: projection %s: %s", s.rows.Name, fmt.Sprintf(format, args...))
}

func listRows[V any](rows map[string]V) string {
	if len(rows) == 0 {
		return "  no rows\n"
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		fmt.Fprintf(&b, "  %q: %s\n", key, show(rows[key]))
	}
	return b.String()
}

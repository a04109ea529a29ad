package projection_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

type (
	stepped struct {
		Walker string `json:"walker" annals:"walker"`
		Steps  int    `json:"steps"`
	}
	// walked is what was once stored of several steps.
	walked struct{ Steps []stepped }
)

// walks refuses steps of 13, unless it has learnt better.
func walks(superstitious bool) projection.Rows[stepped, any] {
	return projection.Rows[stepped, any]{
		Name: "walks", By: "walker", Query: annals.Types("stepped"), Poison: projection.ParkPoison,
		Apply: func(_ string, row *stepped, e annals.Entry[any]) error {
			s, ok := e.Value.(stepped)
			if !ok || superstitious && s.Steps == 13 {
				return errors.New("unlucky")
			}
			row.Steps += s.Steps
			return nil
		},
	}
}

func TestAnEventThatIsSplitIsParkedWholeAndAppliedOnce(t *testing.T) {
	t.Parallel()
	schema := annals.NewSchema([]any{stepped{}}, annals.Split("walked", 1, []any{stepped{}}, func(w walked) (parts []any) {
		for _, s := range w.Steps {
			parts = append(parts, s)
		}
		return parts
	}))
	log, views := annals.NewLog(memory.New(), schema), projection.NewMemory()
	old := func(steps ...stepped) {
		t.Helper()
		data, err := json.Marshal(walked{steps})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Store().Append(t.Context(), []annals.Event{{Type: "walked", Tags: []string{"walker:a", "walker:b"}, Data: data}}); err != nil {
			t.Fatal(err)
		}
	}
	old(stepped{"a", 1}, stepped{"b", 1})
	old(stepped{"a", 2}, stepped{"b", 2}, stepped{"a", 13}, stepped{"a", 3})
	old(stepped{"b", 4}, stepped{"b", 5})
	if _, err := log.Append(t.Context(), []any{stepped{"a", 100}, stepped{"c", 7}}); err != nil {
		t.Fatal(err)
	}
	if err := projection.CatchUp(t.Context(), log, views, walks(true)); err != nil {
		t.Fatal(err)
	}
	want := func(when string, rows map[string]int) {
		t.Helper()
		for key, steps := range rows {
			if row, err := projection.Of(views, walks(true)).Get(t.Context(), key); err != nil || row.Steps != steps {
				t.Errorf("%s, %s has walked %d, %v; wanted %d", when, key, row.Steps, err, steps)
			}
		}
	}
	want("parked", map[string]int{"a": 1, "b": 1, "c": 7}) // the whole event waits, and what follows it
	parked, err := projection.ParkedEvents(t.Context(), views, "walks", 1)
	if err != nil || len(parked) != 4 || parked[0].Error != "unlucky" {
		t.Errorf("parked is %+v, %v", parked, err)
	}
	if err := projection.CatchUp(t.Context(), log, views, walks(true)); err != nil {
		t.Fatal(err)
	}
	want("tried again", map[string]int{"a": 1, "b": 12, "c": 7}) // of b nothing is unlucky
	if err := projection.CatchUp(t.Context(), log, views, walks(false)); err != nil {
		t.Fatal(err)
	}
	want("put right", map[string]int{"a": 119, "b": 12, "c": 7})
	if err := projection.Rebuild(t.Context(), log, views, walks(false)); err != nil {
		t.Fatal(err)
	}
	want("rebuilt", map[string]int{"a": 119, "b": 12, "c": 7})
}

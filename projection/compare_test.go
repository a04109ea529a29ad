package projection_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

// placed is a view of orders with these totals, by key.
func placed(t *testing.T, rows projection.Rows[OrderRow, any], totals map[string]int64) *projection.View[OrderRow] {
	t.Helper()
	log := annals.NewLog(memory.New(), schema)
	for key, total := range totals {
		if _, err := log.Append(t.Context(), []any{OrderPlaced{Order: key, Customer: "ann", Total: total}}); err != nil {
			t.Fatal(err)
		}
	}
	views := projection.NewMemory()
	if err := projection.CatchUp(t.Context(), log, views, rows); err != nil {
		t.Fatal(err)
	}
	return projection.Of(views, rows)
}

func TestViewsAreComparedRowByRow(t *testing.T) {
	t.Parallel()
	a, b := map[string]int64{}, map[string]int64{}
	for i := range 3500 { // several pages
		key := fmt.Sprintf("%05d", i)
		if i%7 != 0 {
			a[key] = int64(i)
		}
		if i%11 != 0 {
			b[key] = int64(i)
		}
		if i%13 == 0 {
			b[key] = -1
		}
	}
	var want projection.Comparison[OrderRow]
	for i := range 3500 {
		key := fmt.Sprintf("%05d", i)
		x, inA := a[key]
		y, inB := b[key]
		switch {
		case inA && inB && x == y:
			want.Same++
		case inA && inB:
			want.Differ++
		case inA:
			want.OnlyA++
		case inB:
			want.OnlyB++
		}
	}
	next := Orders
	next.Version = 2
	got, err := projection.Compare(t.Context(), placed(t, Orders, a), placed(t, next, b), 3)
	if err != nil || got.String() != want.String() || got.Equal() || len(got.Samples) != 3 {
		t.Fatalf("got %s, %v, want %s", got, err, want)
	}
	for i, d := range got.Samples {
		switch {
		case i == 0 && (d.Key != "00000" || d.A != nil || d.B == nil || d.B.Total != -1),
			i == 1 && (d.Key != "00007" || d.A != nil || d.B == nil),
			i == 2 && (d.Key != "00011" || d.B != nil || d.A == nil || d.A.Total != 11):
			t.Errorf("sample %d is %+v", i, d)
		}
	}
	same, err := projection.Compare(t.Context(), placed(t, Orders, a), placed(t, Orders, a), 3)
	if err != nil || !same.Equal() || same.Same != len(a) || same.Samples != nil {
		t.Errorf("got %s, %v", same, err)
	}
	closed := projection.NewMemory()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := projection.Compare(t.Context(), placed(t, Orders, a), projection.Of(closed, Orders), 3); !errors.Is(err, projection.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

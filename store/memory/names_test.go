package memory_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

// What is found by names is what is found by looking at everything.
func TestNamesOnlySaveWork(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		one := func(of ...string) string { return of[r.IntN(len(of))] }
		s := memory.New()
		var ids []annals.ID
		for range 100 {
			e := annals.Event{ID: annals.NewID(), Type: one("A", "B"), Stream: one("", "s-1", "s-2", "t-1")}
			for _, tag := range []string{"a:1", "b:1", "c:1"} {
				if r.IntN(2) == 0 {
					e.Tags = append(e.Tags, tag)
				}
			}
			ids = append(ids, e.ID)
			if _, err := s.Append(t.Context(), []annals.Event{e}); err != nil {
				t.Fatal(err)
			}
		}
		item := func() annals.Query {
			q := annals.All()
			switch r.IntN(6) {
			case 0:
				q = annals.Stream(one("s-1", "s-2", "none-1"))
			case 1:
				q = annals.Category(one("s", "t"))
			case 2:
				q = annals.ByID(ids[r.IntN(len(ids))])
			}
			if r.IntN(2) == 0 {
				q = q.Types(one("A", "B"))
			}
			for range r.IntN(3) {
				q = q.Tags(one("a:1", "b:1", "c:1", "d:1"))
			}
			return q
		}
		for range 50 {
			q := item()
			for range r.IntN(3) {
				q = q.Or(item())
			}
			var want []annals.Position
			for e, err := range s.Read(t.Context(), annals.All()) {
				if err != nil {
					t.Fatal(err)
				}
				if q.Match(e) {
					want = append(want, e.Position)
				}
			}
			after, upto := annals.Position(r.IntN(101)), annals.Position(r.IntN(101))
			want = slices.DeleteFunc(want, func(p annals.Position) bool { return p <= after || p > upto })
			backwards := r.IntN(2) == 0
			opts := []annals.ReadOption{annals.After(after), annals.AsOf(upto)}
			if backwards {
				slices.Reverse(want)
				opts = append(opts, annals.Backwards())
			}
			if got := fmt.Sprint(positions(t, s, q, opts...)); got != fmt.Sprint(want) {
				t.Errorf("seed %d: %s after %d up to %d: got %v, want %v", seed, q, after, upto, got, want)
			}
		}
	}
}

func positions(t *testing.T, s annals.Store, q annals.Query, opts ...annals.ReadOption) (ps []annals.Position) {
	t.Helper()
	for e, err := range s.Read(t.Context(), q, opts...) {
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, e.Position)
	}
	return ps
}

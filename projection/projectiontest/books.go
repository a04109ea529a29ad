package projectiontest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/annalsdb/annals/projection"
)

func storedShapes(r *rig) {
	t := r.T
	stored := func() (names []string, shapes []projection.Shape) {
		t.Helper()
		shapes, err := r.views.Stored(t.Context())
		must(t, err)
		for _, s := range shapes {
			names = append(names, s.String())
		}
		return names, shapes
	}
	if names, _ := stored(); len(names) != 0 {
		t.Fatalf("new views have %q", names)
	}
	r.table(t, plain)
	shape, err := orders.Shape()
	must(t, err)
	for _, version := range []int{10, 2} {
		other := shape
		other.Version = version
		r.table(t, other)
	}
	names, shapes := stored()
	if !slices.Equal(names, []string{"orders@2", "orders@10", "plain@1"}) {
		t.Fatalf("there are %q", names)
	}
	wantEqual(t, "what is known of a shape", fmt.Sprintf("%+v", shapes[2]), fmt.Sprintf("%+v", plain))
	must(t, r.views.Drop(t.Context(), "orders", 2))
	if names, _ = stored(); !slices.Equal(names, []string{"orders@10", "plain@1"}) {
		t.Fatalf("after a drop there are %q", names)
	}
}

func notes(r *rig) {
	t := r.T
	want := func(key, note string, there bool) {
		t.Helper()
		got, err := r.views.Note(t.Context(), key)
		must(t, err)
		wantEqual(t, "note "+key, string(got), note)
		wantEqual(t, "there is a note "+key, got != nil, there)
	}
	set := r.views.SetNote
	want("a", "", false)
	must(t, set(t.Context(), "a", nil, []byte("one")))
	must(t, set(t.Context(), "b", nil, []byte{}))
	want("a", "one", true)
	want("b", "", true)
	wantError(t, set(t.Context(), "a", nil, []byte("two")), projection.ErrNoteMoved)
	wantError(t, set(t.Context(), "a", []byte("other"), []byte("two")), projection.ErrNoteMoved)
	wantError(t, set(t.Context(), "c", []byte{}, []byte("two")), projection.ErrNoteMoved)
	want("a", "one", true)
	must(t, set(t.Context(), "a", []byte("one"), []byte("two")))
	want("a", "two", true)
	must(t, set(t.Context(), "a", []byte("two"), nil))
	want("a", "", false)
	must(t, set(t.Context(), "a", nil, nil))
}

func oneSetsTheNote(r *rig) {
	t := r.T
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if err := r.views.SetNote(t.Context(), "lead", nil, fmt.Append(nil, i)); err == nil {
				won.Add(1)
			} else {
				wantErrorIn(t, err, projection.ErrNoteMoved)
			}
		})
	}
	all.Wait()
	wantEqual(t, "winners", won.Load(), 1)
}

// transaction is of backends that are databases; others have none to give.
func transaction(r *rig) {
	t := r.T
	table := r.table(t, plain)
	b := begin(t, table, 0)
	in, ok := b.(projection.Transactor)
	of, both := table.(projection.Transactor)
	wantEqual(t, "batches and tables give transactions alike", ok, both)
	if !ok {
		return
	}
	called := false
	must(t, in.Transact(t.Context(), func(any) error { called = true; return nil }))
	wantEqual(t, "called", called, true)
	put(t, b, "a", "1", "x", 1)
	wantError(t, in.Transact(t.Context(), func(any) error { return errPoison }), errPoison)
	if b.Commit(t.Context(), projection.Checkpoint{Position: 1}) == nil {
		t.Error("a batch is committed after a function has failed in it")
	}
	must(t, b.Rollback())
	wantCheckpoint(t, table, 0)

	wantError(t, of.Transact(t.Context(), func(any) error { return errPoison }), errPoison)
	must(t, of.Transact(t.Context(), func(any) error { return nil }))
	must(t, r.views.Drop(t.Context(), plain.Name, plain.Version))
	wantError(t, of.Transact(t.Context(), func(any) error { return nil }), projection.ErrReset)
}

func setupFails(r *rig) {
	t := r.T
	if _, ok := r.table(t, plain).(projection.Transactor); !ok {
		return
	}
	shape := projection.Shape{Name: "wrong", Version: 1, Setup: []string{`CREATE TABLE "wrong@1/a" (n INTEGER)`, "CREATE nonsense"}, Fingerprint: "x"}
	if _, err := r.views.Table(t.Context(), shape); err == nil {
		t.Fatal("a statement that fails is no error")
	}
	shape.Setup[1] = `CREATE INDEX "wrong@1/a.n" ON "wrong@1/a" (n)`
	r.table(t, shape) // nothing of the first attempt is there
	must(t, r.views.Drop(t.Context(), "wrong", 1))
	r.table(t, shape)
}

func wantErrorIn(t *testing.T, err, target error) {
	t.Helper()
	if err == nil || !errors.Is(err, target) {
		t.Errorf("the error is %v, not %v", err, target)
	}
}

package projectiontest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// plain is the shape of the tests that speak to the backend itself.
var plain = projection.Shape{
	Name: "plain", Version: 1, Fingerprint: "one\ntwo",
	Parts: []projection.Part{
		{Columns: []projection.ColumnShape{{Name: "select", Kind: projection.KindString}, {Name: "n", Kind: projection.KindInt}}},
		{Name: "others"},
	},
}

func (r *rig) table(t *testing.T, s projection.Shape) projection.Table {
	t.Helper()
	table, err := r.views.Table(t.Context(), s)
	must(t, err)
	return table
}

func begin(t *testing.T, table projection.Table, at annals.Position) projection.Batch {
	t.Helper()
	b, err := table.Begin(t.Context(), stands(t, table, at))
	must(t, err)
	t.Cleanup(func() { _ = b.Rollback() })
	return b
}

// stands is the checkpoint of a table, if it is at that position.
func stands(t *testing.T, table projection.Table, at annals.Position) projection.Checkpoint {
	t.Helper()
	if c, err := table.Checkpoint(t.Context()); err == nil && c.Position == at {
		return c
	}
	return projection.Checkpoint{Position: at}
}

func put(t *testing.T, b projection.Batch, key, doc, text string, n int64) {
	t.Helper()
	must(t, b.Write(t.Context(), "", []projection.Change{{Key: key, JSON: []byte(doc), Columns: []any{text, n}}}))
}

func wantDoc(t *testing.T, table projection.Table, key, want string) {
	t.Helper()
	doc, found, err := table.Get(t.Context(), key)
	must(t, err)
	wantEqual(t, "document "+key, string(doc), want)
	wantEqual(t, "found "+key, found, want != "")
}

func wantCheckpoint(t *testing.T, table projection.Table, want annals.Position) {
	t.Helper()
	c, err := table.Checkpoint(t.Context())
	must(t, err)
	wantEqual(t, "checkpoint", c.Position, want)
}

func newTable(r *rig) {
	t := r.T
	table := r.table(t, plain)
	wantCheckpoint(t, table, 0)
	wantDoc(t, table, "a", "")
	docs, err := table.List(t.Context(), projection.Selection{Limit: 10})
	must(t, err)
	wantEqual(t, "documents", len(docs), 0)
	if table.Incarnation() < 1 {
		t.Fatal("an incarnation is positive")
	}
	wantEqual(t, "incarnation of the same table", r.table(t, plain).Incarnation(), table.Incarnation())
}

func commitTogether(r *rig) {
	t := r.T
	table := r.table(t, plain)
	b := begin(t, table, 0)
	put(t, b, "a", `{"x": 1}`, "s", 1)
	wantDoc(t, table, "a", "")
	must(t, b.Commit(t.Context(), projection.Checkpoint{Position: 7}))
	must(t, b.Rollback()) // does nothing now
	wantDoc(t, table, "a", `{"x": 1}`)
	wantCheckpoint(t, table, 7)
}

func changesAreSeen(r *rig) {
	t := r.T
	table := r.table(t, plain)
	b := begin(t, table, 0)
	put(t, b, "a", "1", "x", 1)
	put(t, b, "b", "2", "x", 2)
	put(t, b, "c", "3", "x", 3)
	wantLoad(t, table, "", map[string]string{}, "a", "b", "c")
	must(t, b.Commit(t.Context(), projection.Checkpoint{Position: 1}))
	wantLoad(t, table, "", map[string]string{"a": "1", "b": "2", "c": "3"}, "a", "b", "c")

	b = begin(t, table, 1)
	put(t, b, "d", "4", "x", 1)
	put(t, b, "a", "5", "y", 1)
	must(t, b.Write(t.Context(), "", []projection.Change{{Key: "b"}, {Key: "e", JSON: []byte("7"), Columns: []any{"x", int64(5)}}, {Key: "never was"}}))
	must(t, b.Write(t.Context(), "others", []projection.Change{{Key: "a", JSON: []byte("6")}}))
	wantKeys(t, table, "select", "x", "a", "b", "c")
	must(t, b.Commit(t.Context(), projection.Checkpoint{Position: 2}))
	wantKeys(t, table, "select", "x", "c", "d", "e")
	wantKeys(t, table, "select", "z")
	wantKeys(t, table, "n", int64(1), "a", "d")
	wantLoad(t, table, "", map[string]string{"a": "5", "c": "3", "d": "4", "e": "7"}, "a", "b", "c", "d", "e", "never was")
	wantLoad(t, table, "others", map[string]string{"a": "6"}, "a", "b")
	wantLoad(t, table, "others", map[string]string{"a": "6"}, "a")
	wantDoc(t, table, "a", "5")
	wantDoc(t, table, "b", "")
}

func wantKeys(t *testing.T, table projection.Table, column string, value any, want ...string) {
	t.Helper()
	keys, err := table.Keys(t.Context(), "", column, value)
	must(t, err)
	slices.Sort(keys)
	if !slices.Equal(keys, want) {
		t.Fatalf("the keys whose %s is %v are %q, wanted %q", column, value, keys, want)
	}
}

// wantLoad asks for some keys.
func wantLoad(t *testing.T, table projection.Table, part string, want map[string]string, keys ...string) {
	t.Helper()
	docs, err := table.Load(t.Context(), part, keys)
	must(t, err)
	got := map[string]string{}
	for _, d := range docs {
		got[d.Key] = string(d.JSON)
	}
	if !maps.Equal(got, want) || len(docs) != len(want) {
		t.Fatalf("the documents are %q, wanted %q", docs, want)
	}
}

// manyRows has more of them than a backend asks for, or writes, in one statement.
func manyRows(r *rig) {
	t := r.T
	table := r.table(t, plain)
	const n = 2500
	var keys []string
	var changes []projection.Change
	want := map[string]string{}
	for i := range n {
		key := fmt.Sprintf("%06d", i)
		keys = append(keys, key)
		want[key] = strconv.Itoa(i)
		changes = append(changes, projection.Change{Key: key, JSON: []byte(want[key]), Columns: []any{"x", int64(i % 7)}})
	}
	b := begin(t, table, 0)
	must(t, b.Write(t.Context(), "", changes))
	must(t, b.Commit(t.Context(), projection.Checkpoint{Position: 1}))
	wantLoad(t, table, "", want, keys...)
	b = begin(t, table, 1)
	for i := range changes {
		if i%2 == 0 {
			changes[i].JSON = nil
			delete(want, keys[i])
		} else {
			changes[i].JSON = []byte(`"new"`)
			want[keys[i]] = `"new"`
		}
	}
	must(t, b.Write(t.Context(), "", changes))
	must(t, b.Commit(t.Context(), projection.Checkpoint{Position: 2}))
	wantLoad(t, table, "", want, keys...)
}

func rollbackLeavesNothing(r *rig) {
	t := r.T
	table := r.table(t, plain)
	b := begin(t, table, 0)
	put(t, b, "a", "1", "x", 1)
	must(t, b.Rollback())
	must(t, b.Rollback())
	wantDoc(t, table, "a", "")
	wantCheckpoint(t, table, 0)
	must(t, begin(t, table, 0).Rollback())
}

func failedCommitLeavesNothing(r *rig) {
	t := r.T
	table := r.table(t, plain)
	ctx, cancel := context.WithCancel(t.Context())
	b, err := table.Begin(ctx, projection.Checkpoint{Position: 0})
	must(t, err)
	put(t, b, "a", "1", "x", 1)
	cancel()
	if b.Commit(ctx, projection.Checkpoint{Position: 9}) == nil {
		t.Fatal("a commit whose context has ended must fail")
	}
	_ = b.Rollback() // the end of the context may have done it
	wantDoc(t, table, "a", "")
	wantCheckpoint(t, table, 0)
	must(t, begin(t, table, 0).Commit(t.Context(), projection.Checkpoint{Position: 1}))
}

func beginChecksCheckpoint(r *rig) {
	t := r.T
	table := r.table(t, plain)
	_, err := table.Begin(t.Context(), projection.Checkpoint{Position: 3})
	wantError(t, err, projection.ErrCheckpointMoved)
	must(t, begin(t, table, 0).Commit(t.Context(), projection.Checkpoint{Position: 3}))
	_, err = table.Begin(t.Context(), projection.Checkpoint{Position: 0})
	wantError(t, err, projection.ErrCheckpointMoved)
	must(t, begin(t, table, 3).Rollback())

	// Another batch was committed at the same position.
	before := stands(t, table, 3)
	after := before
	after.Commits++
	must(t, begin(t, table, 3).Commit(t.Context(), after))
	_, err = table.Begin(t.Context(), before)
	wantError(t, err, projection.ErrCheckpointMoved)
	b, err := table.Begin(t.Context(), after)
	must(t, err)
	must(t, b.Rollback())
}

func oneBatch(r *rig) {
	t := r.T
	table := r.table(t, plain)
	b := begin(t, table, 0)
	ctx, cancel := context.WithCancel(t.Context())
	second := make(chan error, 1)
	go func() {
		_, err := table.Begin(ctx, projection.Checkpoint{Position: 0})
		second <- err
	}()
	cancel()
	wantError(t, <-second, context.Canceled)
	must(t, b.Rollback())
	must(t, begin(t, table, 0).Rollback())
}

func shapeRefused(r *rig) {
	t := r.T
	r.table(t, plain)
	other := plain
	other.Fingerprint = "one\nthree"
	_, err := r.views.Table(t.Context(), other)
	wantError(t, err, projection.ErrShapeChanged)

	r.append(t, placed{Order: "1", Customer: "ann"})
	r.catchUp(t, orders)
	changed := orders
	changed.Columns = changed.Columns[1:]
	wantError(t, projection.CatchUp(t.Context(), r.log, r.views, changed), projection.ErrShapeChanged)
	_, err = projection.Of(r.views, changed).Get(t.Context(), "1")
	wantError(t, err, projection.ErrShapeChanged)
	must(t, projection.Rebuild(t.Context(), r.log, r.views, changed))
	_, err = projection.Of(r.views, changed).Get(t.Context(), "1")
	must(t, err)
}

func batchCutOff(r *rig) {
	t := r.T
	table := r.table(t, plain)
	put := []projection.Change{{Key: "a", JSON: []byte("1"), Columns: []any{"x", int64(1)}}}
	for name, use := range map[string]func(context.Context, projection.Batch) error{
		"put": func(ctx context.Context, b projection.Batch) error { return b.Write(ctx, "", put) },
		"remove": func(ctx context.Context, b projection.Batch) error {
			return b.Write(ctx, "", []projection.Change{{Key: "a"}})
		},
		"commit": func(ctx context.Context, b projection.Batch) error {
			return b.Commit(ctx, projection.Checkpoint{Position: 1})
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		b, err := table.Begin(ctx, projection.Checkpoint{Position: 0})
		must(t, err)
		cancel()
		if err := use(ctx, b); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the error is %v", name, err)
		}
		_ = b.Rollback() // the end of the context may have done it
		_, err = table.Begin(ctx, projection.Checkpoint{Position: 0})
		wantError(t, err, context.Canceled)
	}
	wantCheckpoint(t, table, 0)
}

func versionsApart(r *rig) {
	t := r.T
	r.append(t, placed{Order: "1", Customer: "ann", Total: 1})
	r.catchUp(t, orders)
	second := orders
	second.Version = 2
	second.Apply = func(_ string, row *orderRow, _ annals.Entry[any]) error {
		row.Status = "second"
		return nil
	}
	r.append(t, placed{Order: "2", Customer: "ann", Total: 2})
	r.catchUp(t, second)
	old, err := projection.Of(r.views, orders).Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "status in version 1", old.Status, "placed")
	_, err = projection.Of(r.views, orders).Get(t.Context(), "2")
	wantError(t, err, projection.ErrNotFound)
	for _, key := range []string{"1", "2"} {
		row, err := projection.Of(r.views, second).Get(t.Context(), key)
		must(t, err)
		wantEqual(t, "status in version 2", row.Status, "second")
	}
	must(t, projection.Reset(t.Context(), r.views, second))
	_, err = projection.Of(r.views, orders).Get(t.Context(), "1")
	must(t, err)
	_, err = projection.Of(r.views, second).Get(t.Context(), "1")
	wantError(t, err, projection.ErrNotFound)
}

func dropped(r *rig) {
	t := r.T
	old := r.table(t, plain)
	b := begin(t, old, 0)
	put(t, b, "a", "1", "x", 1)
	must(t, b.Commit(t.Context(), projection.Checkpoint{Position: 3}))
	must(t, r.views.Drop(t.Context(), plain.Name, plain.Version))
	must(t, r.views.Drop(t.Context(), plain.Name, plain.Version))
	refused := func() {
		t.Helper()
		_, err := old.Checkpoint(t.Context())
		wantError(t, err, projection.ErrReset)
		_, _, err = old.Get(t.Context(), "a")
		wantError(t, err, projection.ErrReset)
		_, err = old.List(t.Context(), projection.Selection{Limit: 1})
		wantError(t, err, projection.ErrReset)
		_, err = old.Begin(t.Context(), projection.Checkpoint{Position: 3})
		wantError(t, err, projection.ErrReset)
	}
	refused()
	fresh := r.table(t, plain)
	if fresh.Incarnation() == old.Incarnation() {
		t.Fatal("the new table has the incarnation of the old one")
	}
	b = begin(t, fresh, 0)
	put(t, b, "a", "2", "x", 1)
	must(t, b.Commit(t.Context(), projection.Checkpoint{Position: 1}))
	refused()
	wantDoc(t, fresh, "a", "2")
}

func checkpointKept(r *rig) {
	t := r.T
	table := r.table(t, plain)
	want := projection.Checkpoint{Position: 12, Event: 11, EventID: annals.NewID(), Commits: 5}
	must(t, begin(t, table, 0).Commit(t.Context(), want))
	got, err := table.Checkpoint(t.Context())
	must(t, err)
	wantEqual(t, "checkpoint", got, want)
}

func closed(r *rig) {
	t := r.T
	table := r.table(t, plain)
	must(t, r.views.Close())
	must(t, r.views.Close())
	_, err := r.views.Table(t.Context(), plain)
	wantError(t, err, projection.ErrClosed)
	wantError(t, r.views.Drop(t.Context(), "plain", 1), projection.ErrClosed)
	_, err = r.views.Stored(t.Context())
	wantError(t, err, projection.ErrClosed)
	_, err = r.views.Note(t.Context(), "a")
	wantError(t, err, projection.ErrClosed)
	wantError(t, r.views.SetNote(t.Context(), "a", nil, nil), projection.ErrClosed)
	_, err = table.Checkpoint(t.Context())
	wantError(t, err, projection.ErrClosed)
	_, _, err = table.Get(t.Context(), "a")
	wantError(t, err, projection.ErrClosed)
	_, err = table.List(t.Context(), projection.Selection{Limit: 1})
	wantError(t, err, projection.ErrClosed)
	_, err = table.Begin(t.Context(), projection.Checkpoint{Position: 0})
	wantError(t, err, projection.ErrClosed)
}

func closedInBatch(r *rig) {
	t := r.T
	table := r.table(t, plain)
	b := begin(t, table, 0)
	put(t, b, "a", "1", "x", 1)
	waiting := make(chan error, 1)
	go func() {
		_, err := table.Begin(t.Context(), projection.Checkpoint{Position: 0})
		waiting <- err
	}()
	must(t, r.views.Close())
	wantError(t, <-waiting, projection.ErrClosed)
	wantError(t, b.Commit(t.Context(), projection.Checkpoint{Position: 1}), projection.ErrClosed)
	must(t, b.Rollback())
}

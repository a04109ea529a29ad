package pgviews_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/pgtest"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/pgviews"
	"github.com/annalsdb/annals/projection/projectiontest"
	"github.com/annalsdb/annals/store/memory"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var schemas atomic.Int64

// schema is the name of one that nobody has used.
func schema() string { return fmt.Sprintf(`views of "100%%" %d`, schemas.Add(1)) }

func open(t *testing.T, schema string) *pgviews.Views {
	t.Helper()
	views, err := pgviews.Open(t.Context(), pgtest.URL(t)+"&pool_max_conns=6", pgviews.Schema(schema))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { views.Close() })
	return views
}

func TestPostgreSQLViewsKeepThePromisesOfViews(t *testing.T) {
	t.Parallel()
	projectiontest.Run(t,
		func(*testing.T) annals.Store { return memory.New() },
		func(t *testing.T) projection.Views {
			t.Helper()
			return open(t, schema())
		})
}

func TestProcessesShareASchema(t *testing.T) {
	t.Parallel()
	projectiontest.RunShared(t,
		func(*testing.T) annals.Store { return memory.New() },
		func(t *testing.T) func() projection.Views {
			t.Helper()
			schema := schema()
			return func() projection.Views { return open(t, schema) }
		})
}

type (
	counted struct {
		Thing string `json:"thing" annals:"thing,stream"`
		Note  string `json:"note,omitempty"`
	}
	countRow struct {
		Count int    `json:"count"`
		Note  string `json:"note,omitempty"`
	}
)

var counts = projection.Rows[countRow, any]{
	Name: "counts", By: "thing", Query: annals.Category("thing"),
	Apply: func(_ string, row *countRow, e annals.Entry[any]) error {
		row.Count++
		if c, ok := e.Value.(counted); ok {
			row.Note = c.Note
		}
		return nil
	},
	Columns: []projection.Column[countRow]{{Name: "note", Value: func(r countRow) any { return r.Note }}},
}

func newLog() *annals.Log[any] {
	return annals.NewLog(memory.New(), annals.NewSchema([]any{counted{}}))
}

func appendAll(t *testing.T, log *annals.Log[any], events ...any) annals.Position {
	t.Helper()
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

func TestASchemaThatIsOpenedAgainGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	log, schema := newLog(), schema()
	for n := 1; n <= 3; n++ {
		at := appendAll(t, log, counted{Thing: "a"}, counted{Thing: "b"}, counted{Thing: "a"})
		views := open(t, schema)
		if err := projection.CatchUp(t.Context(), log, views, counts); err != nil {
			t.Fatal(err)
		}
		wantCount(t, views, at, "a", 2*n)
		if err := views.Close(); err != nil {
			t.Fatal(err)
		}
	}
	err := projection.CatchUp(t.Context(), newLog(), open(t, schema), counts)
	if !errors.Is(err, projection.ErrForeignCheckpoint) {
		t.Errorf("with another store the error is %v", err)
	}
}

func TestOfTwoProcessesOneAppliesAnEvent(t *testing.T) {
	t.Parallel()
	log, schema := newLog(), schema()
	one, two := open(t, schema), open(t, schema)
	var at annals.Position
	for range 200 {
		at = appendAll(t, log, counted{Thing: "a"}, counted{Thing: "b"})
	}
	ended := make(chan error, 2)
	for _, views := range []projection.Views{one, two} {
		go func() {
			ended <- projection.Runner[any]{Log: log, Views: views, BatchEvents: 3}.CatchUp(t.Context(), counts)
		}()
	}
	for range 2 {
		if err := <-ended; err != nil && !errors.Is(err, projection.ErrCheckpointMoved) {
			t.Error(err)
		}
	}
	if err := projection.CatchUp(t.Context(), log, one, counts); err != nil {
		t.Error(err)
	}
	wantCount(t, two, at, "a", 200)
	wantCount(t, two, at, "b", 200)
}

func TestRowsResetByAnotherProcessAreNotTakenForFreshOnes(t *testing.T) {
	t.Parallel()
	log, schema := newLog(), schema()
	one, two := open(t, schema), open(t, schema)
	at := appendAll(t, log, counted{Thing: "a"}, counted{Thing: "a"})
	if err := projection.CatchUp(t.Context(), log, one, counts); err != nil {
		t.Fatal(err)
	}
	wantCount(t, one, at, "a", 2)
	wider := counts // of other columns, under the same name and version
	wider.Columns = []projection.Column[countRow]{{Name: "note", Value: func(r countRow) any { return r.Count }}}
	if err := projection.Rebuild(t.Context(), log, two, wider); err != nil {
		t.Fatal(err)
	}
	page, err := projection.Of(two, wider).List(t.Context(), projection.OrderBy("note"))
	if err != nil || len(page.Rows) != 1 {
		t.Errorf("the rows are %v, %v", page.Rows, err)
	}
	if _, err := projection.Of(one, counts).Get(t.Context(), "a"); !errors.Is(err, projection.ErrShapeChanged) {
		t.Errorf("the error is %v", err)
	}
	if err := projection.Rebuild(t.Context(), log, two, counts); err != nil {
		t.Fatal(err)
	}
	wantCount(t, one, at, "a", 2)
	if page, err := projection.Of(two, counts).List(t.Context(), projection.OrderBy("note")); err != nil || len(page.Rows) != 1 {
		t.Errorf("the rows are %v, %v", page.Rows, err)
	}
}

func TestASchemaThatIsNotOursIsNamedAndLeftAlone(t *testing.T) {
	t.Parallel()
	_, err := pgviews.Open(t.Context(), pgtest.URL(t), pgviews.Schema("pg_catalog"))
	if !errors.Is(err, pgviews.ErrForeignSchema) {
		t.Errorf("the error is %v", err)
	}
	newer := schema()
	views := open(t, newer)
	shape := projection.Shape{Name: "newer", Version: 1, Fingerprint: "x", Setup: []string{
		"CREATE OR REPLACE FUNCTION annals_version() RETURNS INTEGER LANGUAGE SQL IMMUTABLE AS 'SELECT 99'",
	}}
	if _, err := views.Table(t.Context(), shape); err != nil {
		t.Fatal(err)
	}
	if _, err := pgviews.Open(t.Context(), pgtest.URL(t), pgviews.Schema(newer)); !errors.Is(err, pgviews.ErrForeignSchema) || !strings.Contains(err.Error(), "99") {
		t.Errorf("the error is %v", err)
	}
	if _, err := pgviews.Open(t.Context(), "postgres://nobody@127.0.0.1:1/nothing"); !errors.Is(err, projection.ErrTemporary) {
		t.Errorf("without a server the error is %v", err)
	}
	none := schema()
	if _, err := pgviews.Open(t.Context(), pgtest.URL(t), pgviews.Schema(none), pgviews.Existing()); !errors.Is(err, pgviews.ErrNoSchema) || !errors.Is(err, projection.ErrNotFound) {
		t.Errorf("without a schema the error is %v", err)
	}
	open(t, none)
	again, err := pgviews.Open(t.Context(), pgtest.URL(t), pgviews.Schema(none), pgviews.Existing())
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := pgviews.Open(t.Context(), "postgres://%zz"); err == nil || errors.Is(err, projection.ErrTemporary) {
		t.Errorf("without a name the error is %v", err)
	}
}

func TestNamesAndTextThatPostgreSQLDoesNotKeepAreRefused(t *testing.T) {
	t.Parallel()
	log, views := newLog(), open(t, schema())
	long := counts
	long.Name = strings.Repeat("n", 60)
	if err := projection.CatchUp(t.Context(), log, views, long); !errors.Is(err, pgviews.ErrNameTooLong) {
		t.Errorf("the error is %v", err)
	}
	for _, note := range []string{"a\x00b", randomText(20_000)} {
		log := newLog()
		good := appendAll(t, log, counted{Thing: "a"}, counted{Thing: "a"})
		appendAll(t, log, counted{Thing: "b", Note: note}, counted{Thing: "c"}, counted{Thing: "a"})
		err := projection.CatchUp(t.Context(), log, views, counts)
		if e, ok := errors.AsType[*projection.ApplyError](err); !ok || !errors.Is(err, projection.ErrUnstorable) || e.Position != good+1 {
			t.Errorf("the error is %v", err)
		}
		wantCount(t, views, good, "a", 2)
		if p, err := projection.Of(views, counts).Position(t.Context()); err != nil || p != good {
			t.Errorf("the position is %d, %v", p, err)
		}
		if err := projection.Reset(t.Context(), views, counts); err != nil {
			t.Error(err)
		}
	}
}

// randomText does not compress.
func randomText(n int) string {
	var s strings.Builder
	for s.Len() < n {
		s.WriteString(annals.NewID().String())
	}
	return s.String()
}

func TestADatabaseThatGoesAwayIsWaitedForAndNothingIsAppliedTwice(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	views, err := pgviews.Open(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { views.Close() })
	log := newLog()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- projection.Run(ctx, log, views, counts) }()
	want := 0
	add := func() (at annals.Position) {
		for range 50 {
			at = appendAll(t, log, counted{Thing: "a"})
			want++
		}
		return at
	}
	wait := func(at annals.Position) {
		t.Helper()
		for { // a look at the database itself fails while it is away, and says so
			err := projection.Of(views, counts).Wait(projection.WithPatience(t.Context(), time.Minute), at)
			if err == nil {
				return
			}
			if !errors.Is(err, projection.ErrTemporary) {
				t.Fatal(err)
			}
		}
	}
	wait(add())
	for range 3 {
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		at := add()
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
		wait(at)
	}
	wantCount(t, views, 0, "a", want)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the run ends with %v", err)
	}
}

package projectiontest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// RunCustom tests projections in SQL on views whose transactions are T: exec and query run a statement of one, whose arguments are
// written ? or $1 as argument says; query gives the first column of the first row.
func RunCustom[T any](t *testing.T, open func(t *testing.T) projection.Views, store func(t *testing.T) annals.Store, sql SQL[T]) {
	t.Helper()
	for _, test := range []struct {
		rule string
		test func(*rig, SQL[T])
	}{
		{"events change the tables with the checkpoint", customFollows[T]},
		{"what is demanded is waited for", customFresh[T]},
		{"rebuilt tables equal live ones", customRebuilt[T]},
		{"an event that cannot be applied stops the projection", customStops[T]},
		{"an event that cannot be applied is parked alone", customParks[T]},
		{"views that are no such database are refused at the start", customRefused[T]},
		{"a changed setup is refused", customShape[T]},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			views := open(t)
			t.Cleanup(func() {
				if err := views.Close(); err != nil {
					t.Errorf("close the views: %v", err)
				}
			})
			test.test(newRig(t, store(t), views), sql)
		})
	}
}

// SQL is how [RunCustom] speaks to a database.
type SQL[T any] struct {
	// Argument is how the n-th argument of a statement is written, from 1.
	Argument func(n int) string
	Exec     func(ctx context.Context, tx T, statement string, args ...any) error
	// Query scans the first row of a query. No row is an error.
	Query func(ctx context.Context, tx T, into any, statement string, args ...any) error
}

// revenue is what was sold on each day.
func revenue[T any](sql SQL[T]) projection.Custom[T, any] {
	add := fmt.Sprintf("INSERT INTO {daily} (day, amount) VALUES (%s, %s) ON CONFLICT (day) DO UPDATE SET amount = {daily}.amount + excluded.amount",
		sql.Argument(1), sql.Argument(2))
	return projection.Custom[T, any]{
		Name: "revenue", Query: annals.Category("order"),
		Setup: `CREATE TABLE {daily} (day TEXT PRIMARY KEY, amount BIGINT NOT NULL);
			CREATE INDEX {daily_by_amount} ON {daily} (amount);`,
		Apply: func(ctx context.Context, in projection.In[T], e annals.Entry[any]) error {
			switch ev := e.Value.(type) {
			case placed:
				return sql.Exec(ctx, in.Tx, in.SQL(add), ev.At.Format("2006-01-02"), ev.Total)
			case poisoned:
				if err := sql.Exec(ctx, in.Tx, in.SQL(add), "poison", 1); err != nil {
					return err
				}
				if ev.Panic {
					panic(errPoison)
				}
				return sql.Exec(ctx, in.Tx, "INSERT INTO nonsense VALUES (1)")
			}
			return nil
		},
	}
}

// total is what a day, or all of them, have sold.
func total[T any](ctx context.Context, t *testing.T, sql SQL[T], tables *projection.Tables[T]) (n int64) {
	t.Helper()
	must(t, tables.Read(ctx, func(in projection.In[T]) error {
		return sql.Query(ctx, in.Tx, &n, in.SQL("SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM {daily}"))
	}))
	return n
}

func sale(order string, on int, amount int64) placed {
	return placed{Order: order, Customer: "ann", Total: amount, At: day(on)}
}

func customFollows[T any](r *rig, sql SQL[T]) {
	t := r.T
	def := revenue(sql)
	tables := projection.OfCustom(r.views, def)
	for n := int64(1); n <= 3; n++ {
		last := r.append(t, sale("1", 1, 5), sale("2", 1, 6), sale("3", 2, 7))
		r.catchUp(t, def)
		wantEqual(t, "total", total(t.Context(), t, sql, tables), 18*n)
		position, err := tables.Position(t.Context())
		must(t, err)
		wantEqual(t, "position", position, last)
	}
	var first int64
	must(t, tables.Read(t.Context(), func(in projection.In[T]) error {
		return sql.Query(t.Context(), in.Tx, &first, in.SQL("SELECT amount FROM {daily} WHERE day = "+sql.Argument(1)), "2026-01-01")
	}))
	wantEqual(t, "first day", first, 33)
	wantError(t, tables.Read(t.Context(), func(projection.In[T]) error { return errPoison }), errPoison)
	err := tables.Read(t.Context(), func(in projection.In[T]) error {
		return sql.Exec(t.Context(), in.Tx, in.SQL("DELETE FROM {daily}"))
	})
	if err == nil {
		t.Error("a transaction for reading writes")
	}
	wantEqual(t, "total", total(t.Context(), t, sql, tables), 54)
}

func customFresh[T any](r *rig, sql SQL[T]) {
	t := r.T
	def := revenue(sql)
	r.run(t, def)
	tables := projection.OfCustom(r.views, def)
	for n := int64(1); n <= 5; n++ {
		last := r.append(t, sale("1", 1, 5))
		wantEqual(t, "total", total(annals.WithAtLeast(t.Context(), last), t, sql, tables), 5*n)
	}
	late := projection.WithPatience(annals.WithAtLeast(t.Context(), 1000), 1)
	wantError(t, tables.Read(late, func(projection.In[T]) error { return nil }), projection.ErrLagging)
}

func customRebuilt[T any](r *rig, sql SQL[T]) {
	t := r.T
	def := revenue(sql)
	for n := range 40 {
		r.append(t, sale("1", 1+n%7, int64(n)))
		if n%3 == 0 {
			must(t, projection.Runner[any]{Log: r.log, Views: r.views, BatchEvents: 1 + n%4}.CatchUp(t.Context(), def))
		}
	}
	r.catchUp(t, def)
	second := def
	second.Version = 2
	r.catchUp(t, second)
	one, two := projection.OfCustom(r.views, def), projection.OfCustom(r.views, second)
	wantEqual(t, "total of version 2", total(t.Context(), t, sql, two), total(t.Context(), t, sql, one))
	must(t, projection.Reset(t.Context(), r.views, def))
	wantEqual(t, "total after a reset", total(t.Context(), t, sql, one), 0)
	r.catchUp(t, def)
	wantEqual(t, "total after a rebuild", total(t.Context(), t, sql, one), total(t.Context(), t, sql, two))
}

func customStops[T any](r *rig, sql SQL[T]) {
	t := r.T
	def := revenue(sql)
	tables := projection.OfCustom(r.views, def)
	for i, panics := range []bool{false, true} {
		good := r.append(t, sale("1", 1, 5))
		r.append(t, poisoned{Order: "1", Panic: panics}, sale("1", 1, 5))
		err := projection.CatchUp(t.Context(), r.log, r.views, def)
		if e, ok := errors.AsType[*projection.ApplyError](err); !ok || e.Position != good+1 {
			t.Fatalf("the error is %v", err)
		}
		position, err := tables.Position(t.Context())
		must(t, err)
		wantEqual(t, "position", position, good)
		wantEqual(t, "total", total(t.Context(), t, sql, tables), int64(5+10*i))
		cured := def
		cured.Apply = func(ctx context.Context, in projection.In[T], e annals.Entry[any]) error {
			if _, ok := e.Value.(poisoned); ok {
				return nil
			}
			return def.Apply(ctx, in, e)
		}
		r.catchUp(t, cured)
	}
}

func customParks[T any](r *rig, sql SQL[T]) {
	t := r.T
	def := revenue(sql)
	def.Poison = projection.ParkPoison
	last := r.append(t, sale("1", 1, 5), poisoned{Order: "1"}, sale("1", 1, 5), poisoned{Order: "1", Panic: true}, sale("1", 1, 5))
	r.catchUp(t, def)
	tables := projection.OfCustom(r.views, def)
	wantEqual(t, "total", total(annals.WithAtLeast(t.Context(), last), t, sql, tables), 15)
	parked, err := projection.ParkedEvents(t.Context(), r.views, "revenue", 1)
	must(t, err)
	if len(parked) != 2 || parked[0].Position != 2 || parked[1].Position != 4 || parked[0].Error == "" {
		t.Fatalf("parked is %+v", parked)
	}
	cured := def
	cured.Apply = func(ctx context.Context, in projection.In[T], e annals.Entry[any]) error {
		if p, ok := e.Value.(poisoned); ok && p.Panic {
			return def.Apply(ctx, in, annals.Entry[any]{Value: sale("1", 2, 100)})
		}
		return def.Apply(ctx, in, e)
	}
	r.catchUp(t, cured)
	wantEqual(t, "total", total(t.Context(), t, sql, tables), 115)
	parked, err = projection.ParkedEvents(t.Context(), r.views, "revenue", 1)
	must(t, err)
	wantEqual(t, "parked", len(parked), 1)
}

func customRefused[T any](r *rig, db SQL[T]) {
	t := r.T
	r.append(t, sale("1", 1, 5))
	wantError(t, projection.Run(t.Context(), r.log, projection.NewMemory(), revenue(db)), projection.ErrDefinition)
	wrong := projection.Custom[*sql.Conn, any]{
		Name: "wrong", Query: annals.All(), Setup: "CREATE TABLE {t} (n BIGINT)",
		Apply: func(context.Context, projection.In[*sql.Conn], annals.Entry[any]) error { return nil },
	}
	wantError(t, projection.Run(t.Context(), r.log, r.views, wrong), projection.ErrDefinition)
	unnamed := wrong
	unnamed.Name, unnamed.Setup = "unnamed", "CREATE TABLE t (n BIGINT)"
	wantError(t, projection.Run(t.Context(), r.log, r.views, unnamed), projection.ErrDefinition)
}

func customShape[T any](r *rig, sql SQL[T]) {
	t := r.T
	def := revenue(sql)
	r.append(t, sale("1", 1, 5))
	r.catchUp(t, def)
	spaced := def
	spaced.Setup = "\n" + def.Setup + "\n"
	r.catchUp(t, spaced)
	other := def
	other.Setup = "CREATE TABLE {daily} (day TEXT PRIMARY KEY, amount BIGINT NOT NULL, tax BIGINT);"
	wantError(t, projection.CatchUp(t.Context(), r.log, r.views, other), projection.ErrShapeChanged)
	must(t, projection.Rebuild(t.Context(), r.log, r.views, other))
}

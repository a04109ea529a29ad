package projectiontest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

func asJSON(t *testing.T, rows []projection.Row[orderRow]) string {
	t.Helper()
	if rows == nil {
		return "[]"
	}
	b, err := json.Marshal(rows)
	must(t, err)
	return string(b)
}

func wait(r *rig) {
	t := r.T
	v := projection.Of(r.views, orders)
	must(t, v.Wait(t.Context(), 0))
	waited := make(chan error, 1)
	go func() { waited <- v.Wait(t.Context(), 2) }()
	r.run(t, orders)
	r.append(t, placed{Order: "1", Customer: "ann"})
	p := r.append(t, paid{"1"})
	must(t, <-waited)
	ctx := annals.WithAtLeast(t.Context(), p)
	row, err := v.Get(ctx, "1")
	must(t, err)
	wantEqual(t, "status", row.Status, "paid")
	for range 20 {
		p := r.append(t, placed{Order: "2", Customer: "ann"}, named{"ann", "Ann"})
		page, err := v.List(annals.WithAtLeast(t.Context(), p), projection.Where("name", "Ann"))
		must(t, err)
		wantEqual(t, "rows", keysOf(page), "1 2")
		if page.Position < p {
			t.Fatalf("the page is of position %d, wanted %d", page.Position, p)
		}
	}
}

func lagging(r *rig) {
	t := r.T
	v := projection.Of(r.views, orders)
	r.append(t, placed{Order: "1", Customer: "ann"}, paid{"1"})
	r.catchUp(t, orders)
	ctx, cancel := context.WithTimeout(annals.WithAtLeast(t.Context(), 3), 10*time.Millisecond)
	defer cancel()
	_, err := v.Get(ctx, "1")
	wantError(t, err, projection.ErrLagging)
	e, ok := errors.AsType[*projection.LaggingError](err)
	if !ok || e.Projection != "orders" || e.Applied != 2 || e.Wanted != 3 || e.Cause != nil {
		t.Fatalf("the error has the facts %+v", e)
	}
	_, err = v.List(ctx)
	wantError(t, err, projection.ErrLagging)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	err = v.Wait(gone, 3)
	wantError(t, err, projection.ErrLagging)
	wantError(t, err, context.Canceled)
}

func progressSeen(r *rig) {
	t := r.T
	v := projection.Of(r.views, customers)
	stop := r.run(t, customers)
	p := r.append(t, placed{Order: "1", Customer: "ann"}, paid{"1"})
	must(t, v.Wait(t.Context(), p))
	position, err := v.Position(t.Context())
	must(t, err)
	wantEqual(t, "position", position, p)
	many := make([]any, 600)
	for i := range many {
		many[i] = paid{"1"}
	}
	for range 4 {
		p = r.append(t, many...)
	}
	must(t, v.Wait(t.Context(), p))
	_ = stop() // nothing but the end of its context
	shape, err := customers.Shape()
	must(t, err)
	c, err := r.table(t, shape).Checkpoint(t.Context())
	must(t, err)
	if c.Position+1000 <= p {
		t.Fatalf("the stored checkpoint is %d, although %d was announced", c.Position, p)
	}
	r.catchUp(t, customers)
	wantCheckpoint(t, r.table(t, shape), p)
}

func applyFails(r *rig) {
	t := r.T
	o, p := projection.Of(r.views, orders), projection.Of(r.views, products)
	for _, panics := range []bool{false, true} {
		must(t, projection.Reset(t.Context(), r.views, orders))
		stop := r.run(t, orders, products)
		good := r.append(t, placed{Order: "1", Customer: "ann", Total: 7}, placed{Order: "2", Customer: "ann"})
		if !panics {
			must(t, o.Wait(t.Context(), good))
		}
		bad := good + 1
		last := r.append(t, poisoned{"1", panics}, placed{Order: "3", Customer: "ann", Products: []string{"tea"}})
		err := o.Wait(t.Context(), last)
		wantError(t, err, projection.ErrLagging)
		wantError(t, err, projection.ErrApply)
		must(t, p.Wait(t.Context(), last))
		err = stop()
		if panics {
			bad = 3 // from the beginning again, it meets the first one
		}
		e, ok := errors.AsType[*projection.ApplyError](err)
		if !ok || e.Projection != "orders@1" || e.Position != bad || e.Type != "poisoned" || e.Key != "1" {
			t.Fatalf("the error has the facts %+v", e)
		}
		wantError(t, err, errPoison)
		position, err := o.Position(t.Context())
		must(t, err)
		wantEqual(t, "position", position, bad-1)
		row, err := o.Get(t.Context(), "1")
		must(t, err)
		wantEqual(t, "total", row.Total, 7)
		wantError(t, projection.CatchUp(t.Context(), r.log, r.views, orders), projection.ErrApply)
	}
	tolerant := orders
	tolerant.Version = 2
	tolerant.Apply = func(key string, row *orderRow, e annals.Entry[any]) error {
		if ev, ok := e.Value.(poisoned); ok && !ev.Panic {
			return nil
		}
		return applyOrder(key, row, e)
	}
	err := projection.CatchUp(t.Context(), r.log, r.views, tolerant)
	if _, ok := errors.AsType[*projection.PanicError](err); !ok {
		t.Fatalf("the error is %v, not a PanicError", err)
	}
}

func foreignStore(r *rig) {
	t := r.T
	r.append(t, placed{Order: "1", Customer: "ann"}, placed{Order: "2", Customer: "ann"}, named{"ann", "Ann"})
	r.catchUp(t, orders)
	shape, err := orders.Shape()
	must(t, err)
	table := r.table(t, shape)
	c, err := table.Checkpoint(t.Context())
	must(t, err)

	c.EventID = annals.NewID() // the same place holds another event
	must(t, begin(t, table, c.Position).Commit(t.Context(), c))
	err = projection.CatchUp(t.Context(), r.log, r.views, orders)
	wantError(t, err, projection.ErrForeignCheckpoint)

	c = projection.Checkpoint{Position: 9} // past the head
	must(t, begin(t, table, 3).Commit(t.Context(), c))
	err = projection.Run(t.Context(), r.log, r.views, orders)
	wantError(t, err, projection.ErrForeignCheckpoint)
	e, ok := errors.AsType[*projection.ForeignCheckpointError](err)
	if !ok || e.Checkpoint != 9 || e.Head != 3 {
		t.Fatalf("the error has the facts %+v", e)
	}
	must(t, projection.Rebuild(t.Context(), r.log, r.views, orders))
	_, err = projection.Of(r.views, orders).Get(t.Context(), "2")
	must(t, err)
}

func runsOnce(r *rig) {
	t := r.T
	v := projection.Of(r.views, orders)
	r.run(t, orders)
	must(t, v.Wait(t.Context(), r.append(t, placed{Order: "1", Customer: "ann"})))
	wantEqual(t, "running", v.Status().Running, true)
	wantError(t, projection.Run(t.Context(), r.log, r.views, orders), projection.ErrRunning)
	wantError(t, projection.Run(t.Context(), r.log, r.views, products, orders), projection.ErrRunning)
	wantError(t, projection.Reset(t.Context(), r.views, orders), projection.ErrRunning)
	r.catchUp(t, products) // its claim was given back
	wantError(t, projection.Run(t.Context(), r.log, r.views, products, products), projection.ErrRunning)
	must(t, v.Wait(t.Context(), r.append(t, paid{"1"})))
}

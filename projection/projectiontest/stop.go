package projectiontest

import (
	"context"
	"errors"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// seenBeforeFailure has events that do not match between the last good one and the one that fails, by whatever cause.
func seenBeforeFailure(r *rig) {
	t := r.T
	v := projection.Of(r.views, products)
	good := r.append(t, placed{Order: "1", Customer: "ann", Products: []string{"tea"}}, paid{"1"}, paid{"1"})
	_, err := r.log.Store().Append(t.Context(), []annals.Event{{Type: "placed", Stream: "order-2", Tags: []string{"product:tea"}, Data: []byte("[]")}})
	must(t, err)
	wantError(t, projection.CatchUp(t.Context(), r.log, r.views, products), projection.ErrApply)
	must(t, v.Wait(t.Context(), good))
	wantError(t, v.Wait(t.Context(), good+1), projection.ErrApply)
	shape, err := products.Shape()
	must(t, err)
	wantCheckpoint(t, r.table(t, shape), good)

	refusing := products // fails at the first event that it matches
	refusing.Version, refusing.Query = 2, annals.Tags("product:cup")
	refusing.Apply = func(string, *productRow, annals.Entry[any]) error { return errPoison }
	before := r.append(t, paid{"1"})
	r.append(t, placed{Order: "3", Customer: "ann", Products: []string{"cup"}})
	wantError(t, projection.CatchUp(t.Context(), r.log, r.views, refusing), errPoison)
	must(t, projection.Of(r.views, refusing).Wait(t.Context(), before))
}

func endedInBatch(r *rig) {
	t := r.T
	ctx, cancel := context.WithCancel(t.Context())
	def := products
	def.Apply = func(_ string, row *productRow, _ annals.Entry[any]) error {
		if row.Sold++; row.Sold == 3 {
			cancel()
		}
		return nil
	}
	tea := placed{Order: "1", Customer: "ann", Products: []string{"tea"}}
	r.append(t, tea, tea, tea, tea, tea)
	wantError(t, projection.Run(ctx, r.log, r.views, def), context.Canceled)
	if err := projection.Of(r.views, def).Status().Err; err != nil {
		t.Errorf("the end of the context is told as a failure: %v", err)
	}
	r.catchUp(t, products)
	wantEqual(t, "rows", all(t, projection.Of(r.views, products)), `[{"key":"tea","value":{"sold":5}}]`)
}

func failureKept(r *rig) {
	t := r.T
	v := projection.Of(r.views, orders)
	r.append(t, poisoned{Order: "1"})
	wantError(t, projection.CatchUp(t.Context(), r.log, r.views, orders), errPoison)
	wrong := orders
	wrong.Columns = nil
	wrong.Apply = func(string, *orderRow, annals.Entry[any]) error { return errors.New("is never called") }
	wantError(t, projection.Run(t.Context(), r.log, r.views, wrong), projection.ErrShapeChanged)
	wantError(t, projection.Run(t.Context(), r.log, r.views, orders, orders), projection.ErrRunning)
	wantError(t, v.Status().Err, errPoison)
	wantEqual(t, "running", v.Status().Running, false)
	wantError(t, v.Wait(t.Context(), 1), errPoison)
}

func resetForgets(r *rig) {
	t := r.T
	v := projection.Of(r.views, orders)
	r.append(t, placed{Order: "1", Customer: "ann"}, poisoned{Order: "1"})
	wantError(t, projection.CatchUp(t.Context(), r.log, r.views, orders), errPoison)
	wantEqual(t, "applied", v.Status().Applied, 1)
	must(t, projection.Reset(t.Context(), r.views, orders))
	wantEqual(t, "status", v.Status(), projection.Status{})
	p, err := v.Position(t.Context())
	must(t, err)
	wantEqual(t, "position", p, 0)
}

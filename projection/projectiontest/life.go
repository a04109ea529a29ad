package projectiontest

import (
	"context"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("never: %s", what)
		}
	}
}

// report is that of one version.
func (r *rig) report(t *testing.T, name string, version int) projection.Report {
	t.Helper()
	reports, err := projection.Reports(t.Context(), r.views)
	must(t, err)
	for _, report := range reports {
		if report.Name == name && report.Version == version {
			return report
		}
	}
	t.Fatalf("there is no report of %s@%d in %+v", name, version, reports)
	return projection.Report{}
}

func pauses(r *rig) {
	t := r.T
	v := projection.Of(r.views, orders)
	wantError(t, projection.Pause(t.Context(), r.views, "orders", 1), projection.ErrNotFound)
	stop := r.run(t, orders)
	must(t, v.Wait(t.Context(), r.append(t, placed{Order: "1", Customer: "ann"})))
	must(t, projection.Pause(t.Context(), r.views, "orders", 1))
	eventually(t, "it is paused", func() bool { return r.report(t, "orders", 1).State == projection.StatePaused })
	last := r.append(t, paid{"1"})
	wantError(t, v.Wait(projection.WithPatience(t.Context(), 20*time.Millisecond), last), projection.ErrLagging)
	_ = stop() // nothing but the end of its context
	wantError(t, projection.CatchUp(t.Context(), r.log, r.views, orders), projection.ErrPaused)
	stop = r.run(t, orders) // is paused still
	eventually(t, "it runs", func() bool { return v.Status().Running })
	wantError(t, v.Wait(projection.WithPatience(t.Context(), 20*time.Millisecond), last), projection.ErrLagging)
	must(t, projection.Resume(t.Context(), r.views, "orders", 1))
	must(t, v.Wait(t.Context(), last))
	row, err := v.Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "status", row.Status, "paid")
	wantError(t, stop(), context.Canceled)
}

func retriesOnDemand(r *rig) {
	t := r.T
	cured := make(chan struct{})
	def := orders
	def.Poison = projection.ParkPoison
	def.Apply = func(key string, row *orderRow, e annals.Entry[any]) error {
		select {
		case <-cured:
			if _, ok := e.Value.(poisoned); ok {
				return nil
			}
		default:
		}
		return applyOrder(key, row, e)
	}
	v := projection.Of(r.views, def)
	r.run(t, def)
	last := r.append(t, placed{Order: "1", Customer: "ann"}, poisoned{Order: "1"}, paid{"1"})
	must(t, v.Wait(t.Context(), last))
	close(cured)
	_, err := v.Get(annals.WithAtLeast(t.Context(), last), "1")
	wantError(t, err, projection.ErrParked)
	must(t, projection.Retry(t.Context(), r.views, "orders", 1))
	eventually(t, "the row is whole", func() bool {
		row, err := v.Get(annals.WithAtLeast(t.Context(), last), "1")
		return err == nil && row.Status == "paid"
	})
	must(t, v.Wait(t.Context(), r.append(t, placed{Order: "2", Customer: "ann"})))
}

func droppedWhileRunning(r *rig) {
	t := r.T
	v := projection.Of(r.views, orders)
	r.run(t, orders)
	last := r.append(t, placed{Order: "1", Customer: "ann"}, paid{"1"})
	must(t, v.Wait(t.Context(), last))
	was := all(t, v)
	must(t, r.views.Drop(t.Context(), "orders", 1))
	last = r.append(t, named{"bob", "Bob"})
	eventually(t, "the rows are there again", func() bool {
		return v.Wait(t.Context(), last) == nil && all(t, v) == was
	})
}

// changed is orders in a second version: its rows say so.
func changed() projection.Rows[orderRow, any] {
	def := orders
	def.Version = 2
	def.Apply = func(key string, row *orderRow, e annals.Entry[any]) error {
		err := applyOrder(key, row, e)
		row.Status += "!"
		return err
	}
	return def
}

func (r *rig) wantServing(t *testing.T, version int, status string) {
	t.Helper()
	s, err := projection.ServingOf(t.Context(), r.views, "orders")
	must(t, err)
	wantEqual(t, "serving", s.Version, version)
	row, err := projection.OfServing(r.views, changed()).Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "status", row.Status, status)
}

func switchesOver(r *rig) {
	t := r.T
	last := r.append(t, placed{Order: "1", Customer: "ann"})
	r.catchUp(t, orders)
	r.wantServing(t, 1, "placed")
	// Something is there to be built for as long as the gate is shut.
	gate := make(chan struct{})
	slow := changed()
	slow.Apply = func(key string, row *orderRow, e annals.Entry[any]) error {
		<-gate
		return changed().Apply(key, row, e)
	}
	stop := r.run(t, slow)
	serving := projection.OfServing(r.views, slow)
	fresh := annals.WithAtLeast(t.Context(), last)
	row, err := serving.Get(fresh, "1")
	must(t, err)
	wantEqual(t, "status, while it is built", row.Status, "placed")
	page, err := serving.List(fresh, projection.Where("status", "placed"))
	must(t, err)
	wantEqual(t, "rows, while it is built", len(page.Rows), 1)
	_, err = projection.Of(r.views, slow).Get(projection.WithPatience(fresh, time.Millisecond), "1")
	wantError(t, err, projection.ErrLagging)
	close(gate)
	must(t, projection.Of(r.views, slow).Wait(t.Context(), last))
	eventually(t, "version 2 serves", func() bool {
		s, err := projection.ServingOf(t.Context(), r.views, "orders")
		must(t, err)
		return s.Version == 2 && s.Previous == 1
	})
	r.wantServing(t, 2, "placed!")
	_ = stop() // nothing but the end of its context
	old := projection.OfServing(r.views, orders)
	row, err = old.Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "status for programs of the old version", row.Status, "placed")
}

func held(r *rig) {
	t := r.T
	r.append(t, placed{Order: "1", Customer: "ann"})
	r.catchUp(t, orders)
	last := r.append(t, paid{"1"})
	hold := projection.Runner[any]{Log: r.log, Views: r.views, Hold: true}
	must(t, hold.CatchUp(t.Context(), changed()))
	r.wantServing(t, 1, "placed")
	r.catchUp(t, orders)
	a, err := projection.OfStored(t.Context(), r.views, "orders", 1)
	must(t, err)
	b, err := projection.OfStored(t.Context(), r.views, "orders", 2)
	must(t, err)
	c, err := projection.Compare(t.Context(), a, b, 10)
	must(t, err)
	wantEqual(t, "comparison", c.String(), "same 0, differ 1, only in the first 0, only in the second 0")
	wantError(t, projection.Switch(t.Context(), r.views, "orders", 3), projection.ErrNotFound)
	_, err = projection.OfStored(t.Context(), r.views, "orders", 3)
	wantError(t, err, projection.ErrNotFound)
	must(t, projection.Switch(t.Context(), r.views, "orders", 2))
	r.wantServing(t, 2, "paid!")
	row, err := projection.OfServing(r.views, changed()).Get(annals.WithAtLeast(t.Context(), last), "1")
	must(t, err)
	wantEqual(t, "status", row.Status, "paid!")
}

func rollsBack(r *rig) {
	t := r.T
	r.append(t, placed{Order: "1", Customer: "ann"})
	r.catchUp(t, orders)
	wantError(t, projection.Rollback(t.Context(), r.views, "orders"), projection.ErrNotFound)
	r.catchUp(t, changed())
	r.wantServing(t, 2, "placed!")
	must(t, projection.Rollback(t.Context(), r.views, "orders"))
	r.wantServing(t, 1, "placed")
	r.append(t, paid{"1"})
	r.catchUp(t, changed(), orders) // does not take its place again
	r.wantServing(t, 1, "paid")
	must(t, projection.Rollback(t.Context(), r.views, "orders")) // of the rollback
	r.wantServing(t, 2, "paid!")
	must(t, projection.Switch(t.Context(), r.views, "orders", 1))
	must(t, projection.Switch(t.Context(), r.views, "orders", 2))
	r.wantServing(t, 2, "paid!")
}

func dropsVersions(r *rig) {
	t := r.T
	r.append(t, placed{Order: "1", Customer: "ann"})
	r.catchUp(t, orders)
	r.catchUp(t, changed())
	wantError(t, projection.Drop(t.Context(), r.views, "orders", 2), projection.ErrServing)
	wantError(t, projection.Drop(t.Context(), r.views, "orders", 7), projection.ErrNotFound)
	must(t, projection.Drop(t.Context(), r.views, "orders", 1))
	wantError(t, projection.Drop(t.Context(), r.views, "orders", 1), projection.ErrNotFound)
	wantError(t, projection.Rollback(t.Context(), r.views, "orders"), projection.ErrNotFound)
	r.wantServing(t, 2, "placed!")
}

func reports(r *rig) {
	t := r.T
	none, err := projection.Reports(t.Context(), r.views)
	must(t, err)
	wantEqual(t, "reports", len(none), 0)
	gate := make(chan struct{})
	def := parking(false)
	apply := def.Apply
	def.Apply = func(key string, row *orderRow, e annals.Entry[any]) error {
		if key == "slow" {
			<-gate
		}
		return apply(key, row, e)
	}
	stop := r.run(t, def)
	must(t, projection.Of(r.views, def).Wait(t.Context(), r.append(t, placed{Order: "1", Customer: "ann"}, poisoned{Order: "1"})))
	last := r.append(t, placed{Order: "slow", Customer: "ann"}, paid{"slow"})
	var now projection.Report
	eventually(t, "the report tells of the lag", func() bool {
		now = r.report(t, "orders", 1)
		return now.Head == last
	})
	if now.State != projection.StateRunning || now.Applied != 2 || now.Lag != 2 || now.Parked != 1 || !now.Serving || now.Runner == "" || now.At.IsZero() {
		t.Errorf("the report is %+v", now)
	}
	eventually(t, "the lag is told in seconds", func() bool { return r.report(t, "orders", 1).LagSeconds >= 1 })
	close(gate)
	must(t, projection.Of(r.views, def).Wait(t.Context(), last))
	eventually(t, "the report tells of the end of the lag", func() bool {
		now = r.report(t, "orders", 1)
		return now.Lag == 0 && now.LagSeconds == 0
	})
	_ = stop() // nothing but the end of its context
	wantEqual(t, "state after the end", r.report(t, "orders", 1).State, projection.StateStopped)

	stop = r.run(t, orders) // stops at what was parked before
	wantError(t, projection.Of(r.views, orders).Wait(t.Context(), r.append(t, poisoned{Order: "2"})), projection.ErrApply)
	_ = stop() // its error is waited for above
	now = r.report(t, "orders", 1)
	if now.State != projection.StateFailed || now.Error == "" {
		t.Errorf("the report of a failure is %+v", now)
	}
}

func catchesUpTo(r *rig) {
	t := r.T
	at := r.append(t, placed{Order: "1", Customer: "ann"})
	r.append(t, paid{"1"}, placed{Order: "2", Customer: "ann"})
	runner := projection.Runner[any]{Log: r.log, Views: r.views}
	must(t, runner.CatchUpTo(t.Context(), at, orders))
	wantCheckpointOf(r, orders, at)
	row, err := projection.Of(r.views, orders).Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "status", row.Status, "placed")
	must(t, runner.CatchUpTo(t.Context(), at+1, orders))
	wantCheckpointOf(r, orders, at+1)
}

// RunShared tests what several processes do with the same views: open gives a function that opens them once more.
func RunShared(t *testing.T, store func(t *testing.T) annals.Store, open func(t *testing.T) func() projection.Views) {
	t.Helper()
	for _, test := range []struct {
		rule string
		test func(t *testing.T, one, two *rig)
	}{
		{"one process runs a projection and the other stands by", standsBy},
		{"a process sees how far another is over events that do not match", seesProgress},
		{"a process that is paused longer than its lease is taken over and cannot write", takenOver},
		{"a process is paused by another", pausedByAnother},
		{"a version is switched for all processes at once", switchedForAll},
	} {
		t.Run(test.rule, func(t *testing.T) {
			t.Parallel()
			again := open(t)
			log := store(t)
			test.test(t, newRig(t, log, again()), newRig(t, log, again()))
		})
	}
}

// runLeased runs the projections under leases until the returned function is called.
func (r *rig) runLeased(t *testing.T, lease time.Duration, defs ...projection.Definition[any]) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- projection.Runner[any]{Log: r.log, Views: r.views, Lease: lease}.Run(ctx, defs...)
	}()
	stop = func() error {
		cancel()
		err := <-done
		done <- err
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func standsBy(t *testing.T, one, two *rig) {
	t.Helper()
	stop := one.runLeased(t, time.Minute, orders, products)
	must(t, projection.Of(one.views, orders).Wait(t.Context(), one.append(t, placed{Order: "1", Customer: "ann", Products: []string{"tea"}})))
	two.runLeased(t, time.Minute, orders, products)
	var last annals.Position
	for range 30 {
		last = one.append(t, placed{Order: "1", Customer: "ann", Products: []string{"tea"}})
	}
	must(t, projection.Of(one.views, products).Wait(t.Context(), last))
	eventually(t, "the first one runs it", func() bool { return one.report(t, "orders", 1).State == projection.StateRunning })
	wantError(t, stop(), context.Canceled) // gives the lease back
	last = one.append(t, placed{Order: "1", Customer: "ann", Products: []string{"tea"}})
	must(t, projection.Of(two.views, products).Wait(projection.WithPatience(t.Context(), 20*time.Second), last))
	row, err := projection.Of(one.views, products).Get(t.Context(), "tea")
	must(t, err)
	wantEqual(t, "sold", row.Sold, 32)
}

func seesProgress(t *testing.T, one, two *rig) {
	t.Helper()
	one.runLeased(t, time.Minute, customers)
	patient := projection.WithPatience(t.Context(), 20*time.Second)
	must(t, projection.Of(one.views, customers).Wait(patient, one.append(t, named{"ann", "Ann"})))
	last := one.append(t, paid{"1"}, paid{"2"})
	must(t, projection.Of(two.views, customers).Wait(patient, last))

	two.runLeased(t, time.Minute, customers) // which stands by
	eventually(t, "the other one stands by", func() bool { return projection.Of(two.views, customers).Status().Running })
	began := time.Now()
	for range 20 {
		last = one.append(t, paid{"1"}, named{"ann", "Ann"})
		must(t, projection.Of(two.views, customers).Wait(patient, last))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("reads of the one that stands by took %v", took)
	}
}

func takenOver(t *testing.T, one, two *rig) {
	t.Helper()
	const lease = 400 * time.Millisecond
	frozen := &frozenViews{Views: one.views}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	tea := []string{"tea"}
	one.append(t, placed{Order: "1", Customer: "ann", Products: tea})
	go func() {
		ended <- projection.Runner[any]{Log: one.log, Views: frozen, Lease: lease, BatchEvents: 1}.Run(ctx, products)
	}()
	must(t, projection.Of(one.views, products).Wait(t.Context(), 1))
	frozen.freeze()
	last := one.append(t, placed{Order: "2", Customer: "ann", Products: tea}, placed{Order: "3", Customer: "ann", Products: tea})
	two.runLeased(t, lease, products)
	must(t, projection.Of(two.views, products).Wait(projection.WithPatience(t.Context(), 20*time.Second), last))
	frozen.thaw()
	last = one.append(t, placed{Order: "4", Customer: "ann", Products: tea})
	must(t, projection.Of(two.views, products).Wait(projection.WithPatience(t.Context(), 20*time.Second), last))
	row, err := projection.Of(two.views, products).Get(t.Context(), "tea")
	must(t, err)
	wantEqual(t, "sold", row.Sold, 4)
	cancel()
	wantError(t, <-ended, context.Canceled)
}

func pausedByAnother(t *testing.T, one, two *rig) {
	t.Helper()
	v := projection.Of(one.views, orders)
	one.run(t, orders)
	must(t, v.Wait(t.Context(), one.append(t, placed{Order: "1", Customer: "ann"})))
	must(t, projection.Pause(t.Context(), two.views, "orders", 1))
	eventually(t, "it is paused", func() bool { return two.report(t, "orders", 1).State == projection.StatePaused })
	last := one.append(t, paid{"1"})
	wantError(t, v.Wait(projection.WithPatience(t.Context(), 10*time.Millisecond), last), projection.ErrLagging)
	must(t, projection.Resume(t.Context(), two.views, "orders", 1))
	must(t, v.Wait(projection.WithPatience(t.Context(), 20*time.Second), last))
}

func switchedForAll(t *testing.T, one, two *rig) {
	t.Helper()
	one.append(t, placed{Order: "1", Customer: "ann"})
	one.catchUp(t, orders)
	one.wantServing(t, 1, "placed")
	two.catchUp(t, changed())
	one.wantServing(t, 2, "placed!")
	must(t, projection.Rollback(t.Context(), one.views, "orders"))
	two.wantServing(t, 1, "placed")
	must(t, projection.Drop(t.Context(), two.views, "orders", 2))
	one.wantServing(t, 1, "placed")
}

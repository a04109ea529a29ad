package projectiontest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// parking is orders whose poison is parked; cured says whether Apply has learnt to take it.
func parking(cured bool) projection.Rows[orderRow, any] {
	def := orders
	def.Poison = projection.ParkPoison
	if cured {
		def.Apply = func(key string, row *orderRow, e annals.Entry[any]) error {
			if _, ok := e.Value.(poisoned); ok {
				row.Total++
				return nil
			}
			return applyOrder(key, row, e)
		}
	}
	return def
}

func (r *rig) parked(t *testing.T, name string) string {
	t.Helper()
	parked, err := projection.ParkedEvents(t.Context(), r.views, name, 1)
	must(t, err)
	var said []string
	for _, p := range parked {
		said = append(said, fmt.Sprintf("%d %s/%s %s", p.Position, p.Part, p.Key, p.Error))
	}
	return strings.Join(said, "; ")
}

func parks(r *rig) {
	t := r.T
	v := projection.Of(r.views, parking(false))
	stop := r.run(t, parking(false))
	r.append(t, placed{Order: "1", Customer: "ann", Total: 7}, placed{Order: "2", Customer: "ann"})
	bad := r.append(t, poisoned{Order: "1"})
	r.append(t, poisoned{Order: "2", Panic: true})
	last := r.append(t, paid{"1"}, placed{Order: "3", Customer: "ann"}, paid{"3"})
	must(t, v.Wait(t.Context(), last))
	fresh := annals.WithAtLeast(t.Context(), last)
	row, err := v.Get(fresh, "3")
	must(t, err)
	wantEqual(t, "the row of others", row.Status, "paid")
	_, err = v.Get(fresh, "1")
	wantError(t, err, projection.ErrParked)
	wantError(t, err, projection.ErrLagging)
	row, err = v.Get(annals.WithAtLeast(t.Context(), bad-1), "1")
	must(t, err)
	wantEqual(t, "the row that waits", row.Status, "placed")
	wantEqual(t, "parked", r.parked(t, "orders"), "3 /1 poison; 4 /2 panic: poison; 5 /1 ")
	wantEqual(t, "parked", v.Status().Parked, 3)
	_ = stop() // nothing but the end of its context

	r.catchUp(t, parking(false)) // tries again, and nothing is better
	wantEqual(t, "parked", r.parked(t, "orders"), "3 /1 poison; 4 /2 panic: poison; 5 /1 ")
	wantError(t, func() error { _, err := v.Get(fresh, "1"); return err }(), projection.ErrParked)

	r.catchUp(t, parking(true))
	wantEqual(t, "parked", r.parked(t, "orders"), "")
	row, err = v.Get(fresh, "1")
	must(t, err)
	wantEqual(t, "status", row.Status, "paid")
	wantEqual(t, "total", row.Total, 8)
	was := all(t, v)
	must(t, projection.Rebuild(t.Context(), r.log, r.views, parking(true)))
	wantEqual(t, "rebuilt rows", all(t, v), was)
}

func parksUndecodable(r *rig) {
	t := r.T
	def := products
	def.Poison = projection.ParkPoison
	r.append(t, placed{Order: "1", Customer: "ann", Products: []string{"cup", "tea"}})
	_, err := r.log.Store().Append(t.Context(), []annals.Event{{Type: "placed", Stream: "order-2", Tags: []string{"product:cup", "product:tea"}, Data: []byte("[]")}})
	must(t, err)
	last := r.append(t, placed{Order: "3", Customer: "ann", Products: []string{"pot", "tea"}})
	r.catchUp(t, def)
	wantCheckpointOf(r, def, last)
	parked, err := projection.ParkedEvents(t.Context(), r.views, "products", 1)
	must(t, err)
	wantEqual(t, "parked", len(parked), 3)
	if parked[0].Position != 2 || parked[0].Error == "" || parked[2].Position != 3 || parked[2].Key != "tea" || parked[2].Error != "" {
		t.Fatalf("parked is %+v", parked)
	}
	wantEqual(t, "rows", all(t, projection.Of(r.views, def)),
		`[{"key":"cup","value":{"sold":1}},{"key":"pot","value":{"sold":1}},{"key":"tea","value":{"sold":1}}]`)
	must(t, projection.Skip(t.Context(), r.views, "products", 1, 2))
	r.catchUp(t, def)
	wantEqual(t, "parked", r.parked(t, "products"), "")
	wantEqual(t, "rows", all(t, projection.Of(r.views, def)),
		`[{"key":"cup","value":{"sold":1}},{"key":"pot","value":{"sold":1}},{"key":"tea","value":{"sold":2}}]`)
}

func parksRefresh(r *rig) {
	t := r.T
	refuse := true
	def := orders
	def.Poison = projection.ParkPoison
	def.Joins = []projection.Joined[orderRow, any]{projection.Join(customers,
		func(o orderRow) string { return o.Customer },
		func(o *orderRow, c customerRow) {
			if refuse && c.Name == "Bad" && o.Total == 2 {
				panic(errPoison)
			}
			o.Name = c.Name
		})}
	last := r.append(t, named{"ann", "Ann"}, placed{Order: "1", Customer: "ann", Total: 1}, placed{Order: "2", Customer: "ann", Total: 2},
		named{"ann", "Bad"}, paid{"1"}, paid{"2"})
	r.catchUp(t, def)
	v := projection.Of(r.views, def)
	fresh := annals.WithAtLeast(t.Context(), last)
	row, err := v.Get(fresh, "1")
	must(t, err)
	wantEqual(t, "name", row.Name, "Bad")
	_, err = v.Get(fresh, "2")
	wantError(t, err, projection.ErrParked)
	wantEqual(t, "parked", r.parked(t, "orders"), "4 /2 panic: poison; 6 /2 ")
	refuse = false
	r.catchUp(t, def)
	row, err = v.Get(fresh, "2")
	must(t, err)
	wantEqual(t, "name", row.Name, "Bad")
	wantEqual(t, "status", row.Status, "paid")
}

func skips(r *rig) {
	t := r.T
	def := parking(false)
	r.append(t, placed{Order: "1", Customer: "ann"}, poisoned{Order: "1"}, paid{"1"}, poisoned{Order: "1"}, paid{"1"})
	r.catchUp(t, def)
	wantEqual(t, "parked", r.parked(t, "orders"), "2 /1 poison; 3 /1 ; 4 /1 ; 5 /1 ")
	wantError(t, projection.Skip(t.Context(), r.views, "orders", 1, 1), projection.ErrNotFound)
	wantError(t, projection.Skip(t.Context(), r.views, "orders", 9, 2), projection.ErrNotFound)
	must(t, projection.Skip(t.Context(), r.views, "orders", 1, 2))
	r.catchUp(t, def)
	wantEqual(t, "parked", r.parked(t, "orders"), "4 /1 poison; 5 /1 ")
	row, err := projection.Of(r.views, def).Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "status", row.Status, "paid")
	must(t, projection.Skip(t.Context(), r.views, "orders", 1, 4))
	r.catchUp(t, def)
	wantEqual(t, "parked", r.parked(t, "orders"), "")
}

// skippedWhileRunning is skips beside a runner, which is neither stopped nor misled by it.
func skippedWhileRunning(r *rig) {
	t := r.T
	def := parking(false)
	v := projection.Of(r.views, def)
	stop := r.run(t, def)
	last := r.append(t, placed{Order: "1", Customer: "ann"}, poisoned{Order: "1"}, paid{"1"})
	must(t, v.Wait(t.Context(), last))
	must(t, projection.Skip(t.Context(), r.views, "orders", 1, 2))
	last = r.append(t, placed{Order: "2", Customer: "ann"}, paid{"2"})
	must(t, v.Wait(t.Context(), last))
	must(t, projection.Retry(t.Context(), r.views, "orders", 1))
	eventually(t, "the row is whole", func() bool {
		row, err := v.Get(annals.WithAtLeast(t.Context(), last), "1")
		return err == nil && row.Status == "paid"
	})
	wantError(t, stop(), context.Canceled)
}

func parksTooMuch(r *rig) {
	t := r.T
	def := parking(false)
	many := make([]any, 100)
	for i := range many {
		many[i] = poisoned{Order: fmt.Sprint(i % 7)}
	}
	for range projection.ParkedMax / len(many) {
		r.append(t, many...)
	}
	r.catchUp(t, def)
	last := r.append(t, many...)
	wantError(t, projection.CatchUp(t.Context(), r.log, r.views, def), projection.ErrTooManyParked)
	wantCheckpointOf(r, def, last-annals.Position(len(many)))
	r.catchUp(t, parking(true))
	wantEqual(t, "parked", r.parked(t, "orders"), "")
	wantCheckpointOf(r, def, last)
}

func wantCheckpointOf(r *rig, def projection.Definition[any], want annals.Position) {
	r.Helper()
	shape, err := def.Shape()
	must(r.T, err)
	wantCheckpoint(r.T, r.table(r.T, shape), want)
}

func parkedEqualsRebuilt(r *rig) {
	t := r.T
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	v := projection.Of(r.views, parking(true))
	for range 15 {
		for _, e := range history(random, 1+random.IntN(8)) {
			r.append(t, e)
			if random.IntN(6) == 0 {
				r.append(t, poisoned{Order: fmt.Sprint("o", random.IntN(6)), Panic: random.IntN(2) == 0})
			}
		}
		def := parking(random.IntN(5) == 0)
		must(t, projection.Runner[any]{Log: r.log, Views: r.views, BatchEvents: 1 + random.IntN(9)}.CatchUp(t.Context(), def))
	}
	r.catchUp(t, parking(true))
	wantEqual(t, "parked", r.parked(t, "orders"), "")
	live := all(t, v)
	must(t, projection.Rebuild(t.Context(), r.log, r.views, parking(true)))
	wantEqual(t, "rebuilt", all(t, v), live)
}

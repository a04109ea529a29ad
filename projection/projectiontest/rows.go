package projectiontest

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

func rowsFollow(r *rig) {
	t := r.T
	r.append(t, placed{Order: "1", Customer: "ann", Total: 5}, paid{"1"}, placed{Order: "2", Customer: "bob"})
	r.catchUp(t, orders)
	v := projection.Of(r.views, orders)
	row, err := v.Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "status", row.Status, "paid")
	wantEqual(t, "total", row.Total, 5)
	row, err = v.Get(t.Context(), "2")
	must(t, err)
	wantEqual(t, "status", row.Status, "placed")
	p, err := v.Position(t.Context())
	must(t, err)
	wantEqual(t, "position", p, 3)
}

func severalKeys(r *rig) {
	t := r.T
	r.append(t,
		placed{Order: "1", Customer: "ann", Products: []string{"tea", "cup"}},
		placed{Order: "2", Customer: "ann", Products: []string{"tea"}},
		placed{Order: "3", Customer: "ann"})
	r.catchUp(t, products)
	wantEqual(t, "rows", all(t, projection.Of(r.views, products)), `[{"key":"cup","value":{"sold":1}},{"key":"tea","value":{"sold":2}}]`)
}

func deleteDrops(r *rig) {
	t := r.T
	v := projection.Of(r.views, orders)
	r.append(t, placed{Order: "1", Customer: "ann", Total: 5}, cancelled{"1"}, cancelled{"2"})
	r.catchUp(t, orders)
	wantEqual(t, "rows", all(t, v), `[]`)
	r.append(t, paid{"1"})
	r.catchUp(t, orders)
	row, err := v.Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "total of the row that began anew", row.Total, 0)
	r.append(t, cancelled{"1"})
	r.catchUp(t, orders)
	wantEqual(t, "rows", all(t, v), `[]`)
}

func notFound(r *rig) {
	t := r.T
	_, err := projection.Of(r.views, orders).Get(t.Context(), "1")
	wantError(t, err, projection.ErrNotFound)
	_, err = projection.AsOf(t.Context(), r.log, orders, "1")
	wantError(t, err, projection.ErrNotFound)
}

func joins(r *rig) {
	t := r.T
	v := projection.Of(r.views, orders)
	name := func(key, want string) {
		t.Helper()
		r.catchUp(t, orders)
		row, err := v.Get(t.Context(), key)
		must(t, err)
		wantEqual(t, "name in order "+key, row.Name, want)
		found := keys(t, v, projection.Where("name", want))
		if want != "" {
			wantEqual(t, "orders of "+want, found, key)
		}
	}
	r.append(t, named{"ann", "Ann"}, placed{Order: "1", Customer: "ann"})
	name("1", "Ann") // known before the row
	r.append(t, named{"ann", "Anna"}, placed{Order: "2", Customer: "bob"})
	name("1", "Anna") // changed after it
	name("2", "")
	r.append(t, named{"bob", "Bob"})
	name("2", "Bob") // known after it
	r.append(t, moved{"2", "eve"}, named{"bob", "Bert"})
	name("2", "") // refers to somebody unknown
	r.append(t, named{"eve", "Eve"})
	name("2", "Eve")
	r.append(t, forgotten{"ann"})
	name("1", "")
	r.append(t, cancelled{"2"}, named{"eve", "Eva"})
	r.catchUp(t, orders)
	_, err := v.Get(t.Context(), "2")
	wantError(t, err, projection.ErrNotFound) // a join makes no rows
}

func resume(r *rig) {
	t := r.T
	v := projection.Of(r.views, products)
	r.append(t, placed{Order: "1", Customer: "ann", Products: []string{"tea"}})
	r.catchUp(t, products)
	r.catchUp(t, products)
	wantEqual(t, "after one event", all(t, v), `[{"key":"tea","value":{"sold":1}}]`)
	for n := range 3 {
		stop := r.run(t, products)
		p := r.append(t, placed{Order: fmt.Sprint("x", n), Customer: "ann", Products: []string{"tea"}}, paid{"1"})
		must(t, v.Wait(t.Context(), p))
		wantError(t, stop(), context.Canceled)
	}
	wantEqual(t, "after three runs", all(t, v), `[{"key":"tea","value":{"sold":4}}]`)
}

// history is a random past of few orders and customers.
func history(random *rand.Rand, n int) []any {
	var events []any
	order := func() string { return fmt.Sprint("o", random.IntN(6)) }
	customer := func() string { return fmt.Sprint("c", random.IntN(3)) }
	for range n {
		switch random.IntN(8) {
		case 0, 1:
			events = append(events, placed{
				Order: order(), Customer: customer(), Total: random.Int64N(200), At: day(1 + random.IntN(28)),
				Products: []string{fmt.Sprint("p", random.IntN(3))},
			})
		case 2:
			events = append(events, paid{order()})
		case 3:
			events = append(events, moved{order(), customer()})
		case 4:
			events = append(events, cancelled{order()})
		case 5, 6:
			events = append(events, named{customer(), fmt.Sprint("name ", random.IntN(100))})
		case 7:
			events = append(events, forgotten{customer()})
		}
	}
	return events
}

func rebuildEqualsLive(r *rig) {
	t := r.T
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	o, p := projection.Of(r.views, orders), projection.Of(r.views, products)
	stop := r.run(t, orders, products)
	for range 12 {
		last := r.append(t, history(random, 1+random.IntN(12))...)
		if random.IntN(2) == 0 {
			must(t, o.Wait(t.Context(), last))
		}
	}
	last, err := r.log.Store().Head(t.Context())
	must(t, err)
	must(t, o.Wait(t.Context(), last))
	must(t, p.Wait(t.Context(), last))
	_ = stop() // nothing but the end of its context
	liveOrders, liveProducts := all(t, o), all(t, p)
	for _, size := range []int{1, 2, 7, 500} {
		// The cache has room for a few rows, for none, for some, and for all.
		runner := projection.Runner[any]{Log: r.log, Views: r.views, BatchEvents: size, CacheBytes: map[int]int{1: 500, 2: -1, 7: 2000}[size]}
		must(t, projection.Reset(t.Context(), r.views, orders))
		must(t, projection.Reset(t.Context(), r.views, products))
		must(t, runner.CatchUp(t.Context(), orders, products))
		wantEqual(t, fmt.Sprintf("orders rebuilt by %d", size), all(t, o), liveOrders)
		wantEqual(t, fmt.Sprintf("products rebuilt by %d", size), all(t, p), liveProducts)
	}
}

func asOf(r *rig) {
	t := r.T
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	v := projection.Of(r.views, orders)
	past := map[annals.Position]string{}
	var last annals.Position
	for _, e := range history(rand.New(rand.NewPCG(seed, 0)), 60) {
		last = r.append(t, e)
		r.catchUp(t, orders)
		past[last] = all(t, v)
	}
	for p := range last {
		var rows []projection.Row[orderRow]
		for n := range 6 {
			key := fmt.Sprint("o", n)
			var complete annals.Position
			row, err := projection.AsOf(t.Context(), r.log, orders, key, annals.AsOf(p+1), annals.HeadInto(&complete))
			wantEqual(t, "complete up to", complete, p+1)
			if err == nil {
				rows = append(rows, projection.Row[orderRow]{Key: key, Value: row})
				continue
			}
			wantError(t, err, projection.ErrNotFound)
		}
		wantEqual(t, fmt.Sprint("orders as of ", p+1), asJSON(t, rows), past[p+1])
	}
	_, err := projection.AsOf(t.Context(), r.log, orders, "o1", annals.AsOf(last+1))
	wantError(t, err, annals.ErrAhead)
	_, err = projection.AsOf(t.Context(), r.log, orders, "o1", annals.Backwards())
	wantError(t, err, annals.ErrInvalid)
}

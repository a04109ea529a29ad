package projectiontest

import (
	"errors"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// swapped is about two products at once; who applies it has to know both.
type swapped struct {
	Products []string `json:"products" annals:"product"`
}

type swapRow struct {
	Known bool `json:"known"`
	Swaps int  `json:"swaps"`
}

var errUnknown = errors.New("a swap of an unknown product")

var swaps = projection.Rows[swapRow, any]{
	Name: "swaps", By: "product", Query: annals.All(),
	Apply: func(_ string, row *swapRow, e annals.Entry[any]) error {
		switch e.Value.(type) {
		case placed:
			row.Known = true
		case swapped:
			if !row.Known {
				return errUnknown
			}
			row.Swaps++
		}
		return nil
	},
}

// asOfOneKey folds an event that is about another row too, whose own events are not read.
func asOfOneKey(r *rig) {
	t := r.T
	r.append(t,
		placed{Order: "1", Customer: "ann", Products: []string{"tea"}},
		placed{Order: "2", Customer: "ann", Products: []string{"cup"}},
		swapped{Products: []string{"cup", "tea"}})
	r.catchUp(t, swaps)
	live, err := projection.Of(r.views, swaps).Get(t.Context(), "tea")
	must(t, err)
	past, err := projection.AsOf(t.Context(), r.log, swaps, "tea")
	must(t, err)
	wantEqual(t, "row as of now", past, live)
}

func asOfRevision(r *rig) {
	t := r.T
	r.append(t, named{"ann", "Ann"}, placed{Order: "1", Customer: "ann"}, named{"ann", "Anna"}, paid{"1"}, named{"ann", "Annie"})
	for _, want := range []struct {
		revision     annals.Revision
		status, name string
		position     annals.Position
	}{{0, "placed", "Ann", 2}, {1, "paid", "Anna", 4}} {
		var complete annals.Position
		row, err := projection.AsOf(t.Context(), r.log, orders, "1", annals.AsOfRevision(want.revision), annals.HeadInto(&complete))
		must(t, err)
		wantEqual(t, "status", row.Status, want.status)
		wantEqual(t, "name", row.Name, want.name)
		wantEqual(t, "complete up to", complete, want.position)
	}
	_, err := projection.AsOf(t.Context(), r.log, orders, "1", annals.AsOfRevision(2))
	wantError(t, err, annals.ErrAhead)
	_, err = projection.AsOf(t.Context(), r.log, orders, "none", annals.AsOfRevision(0))
	wantError(t, err, annals.ErrAhead)
	_, err = projection.AsOf(t.Context(), r.log, products, "tea", annals.AsOfRevision(0)) // no event has the stream product-tea
	wantError(t, err, annals.ErrInvalid)

	one := orders // whose query names a stream has that one's revisions
	one.Name, one.Query, one.Joins = "one", annals.Stream("order-1"), nil
	row, err := projection.AsOf(t.Context(), r.log, one, "1", annals.AsOfRevision(0))
	must(t, err)
	wantEqual(t, "status", row.Status, "placed")
}

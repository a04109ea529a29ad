package projectiontest

import (
	"errors"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// A customer refers to a region by the name of it, so that an order refers to one only by its customer.
type regionRow struct {
	Seen bool `json:"seen"`
}

var regions = projection.Rows[regionRow, any]{
	Name: "regions", By: "customer", Query: annals.Category("customer"),
	Apply: func(_ string, row *regionRow, _ annals.Entry[any]) error {
		row.Seen = true
		return nil
	},
}

type chainRow struct {
	Customer string `json:"customer"`
	Region   string `json:"region"`
	Seen     bool   `json:"seen"`
}

func chain(joins ...projection.Joined[chainRow, any]) projection.Rows[chainRow, any] {
	return projection.Rows[chainRow, any]{
		Name: "chain", By: "order", Query: annals.Category("order"), Joins: joins,
		Apply: func(_ string, row *chainRow, e annals.Entry[any]) error {
			if ev, ok := e.Value.(placed); ok {
				row.Customer = ev.Customer
			}
			return nil
		},
	}
}

func chainedJoins(r *rig) {
	t := r.T
	toRegion := projection.Join(customers, func(c chainRow) string { return c.Customer }, func(c *chainRow, o customerRow) { c.Region = o.Name })
	toSeen := projection.Join(regions, func(c chainRow) string { return c.Region }, func(c *chainRow, o regionRow) { c.Seen = o.Seen })
	right, wrong := chain(toRegion, toSeen), chain(toSeen, toRegion)
	wrong.Version = 2
	self := chain(projection.Join(customers, func(c chainRow) string { return c.Customer }, func(c *chainRow, o customerRow) { c.Customer = o.Name }))
	self.Version = 3

	r.append(t, placed{Order: "1", Customer: "ann"}, named{"eu", ""}, named{"ann", "eu"})
	r.catchUp(t, right)
	v := projection.Of(r.views, right)
	row, err := v.Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "row", row, chainRow{"ann", "eu", true})
	r.append(t, named{"ann", "us"})
	r.catchUp(t, right)
	row, err = v.Get(t.Context(), "1")
	must(t, err)
	wantEqual(t, "row of another region", row, chainRow{"ann", "us", false})

	for remedy, def := range map[string]projection.Definition[any]{
		`declare "customers" before "regions"`: wrong,
		"into another field":                   self,
	} {
		err := projection.CatchUp(t.Context(), r.log, r.views, def)
		wantError(t, err, projection.ErrApply)
		if !strings.Contains(err.Error(), remedy) {
			t.Errorf("the remedy %q is not in: %v", remedy, err)
		}
	}
}

type secretRow struct {
	Customer string `json:"customer"`
	Name     string `json:"name"`
	Secret   string `json:"-"`
}

// columnsAsKept lists the same, whether the row was written last for its own event or for that of a joined row.
func columnsAsKept(r *rig) {
	t := r.T
	def := projection.Rows[secretRow, any]{
		Name: "secrets", By: "order", Query: annals.Category("order"),
		Apply: func(_ string, row *secretRow, e annals.Entry[any]) error {
			if ev, ok := e.Value.(placed); ok {
				row.Customer, row.Secret = ev.Customer, "s"
			}
			return nil
		},
		Columns: []projection.Column[secretRow]{{Name: "secret", Value: func(s secretRow) any { return s.Secret }}},
		Joins: []projection.Joined[secretRow, any]{projection.Join(customers,
			func(s secretRow) string { return s.Customer },
			func(s *secretRow, c customerRow) { s.Name = c.Name + s.Secret })},
	}
	r.append(t, named{"ann", "Ann"}, placed{Order: "1", Customer: "ann"}, placed{Order: "2", Customer: "bob"}, named{"bob", "Bob"})
	r.catchUp(t, def)
	v := projection.Of(r.views, def)
	page, err := v.List(t.Context(), projection.Where("secret", "s"))
	must(t, err)
	wantEqual(t, "rows found by what is not kept", len(page.Rows), 0)
	page, err = v.List(t.Context(), projection.Where("secret", ""))
	must(t, err)
	wantEqual(t, "rows", len(page.Rows), 2)
	wantEqual(t, "name", page.Rows[0].Value.Name, "Ann")
	wantEqual(t, "name", page.Rows[1].Value.Name, "Bob")
}

var errFire = errors.New("the disk is on fire")

func deleteAlone(r *rig) {
	t := r.T
	def := products
	say := projection.Delete
	def.Apply = func(_ string, row *productRow, _ annals.Entry[any]) error {
		if row.Sold++; row.Sold == 2 {
			return say
		}
		return nil
	}
	r.append(t, placed{Order: "1", Customer: "ann", Products: []string{"tea"}}, placed{Order: "2", Customer: "ann", Products: []string{"tea"}})
	say = errors.Join(projection.Delete, errFire)
	err := projection.CatchUp(t.Context(), r.log, r.views, def)
	wantError(t, err, projection.ErrApply)
	wantError(t, err, errFire)
	wantEqual(t, "rows", all(t, projection.Of(r.views, def)), `[{"key":"tea","value":{"sold":1}}]`)
	say = projection.Delete
	r.catchUp(t, def)
	wantEqual(t, "rows", all(t, projection.Of(r.views, def)), `[]`)
}

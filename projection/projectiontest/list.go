package projectiontest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

// keys are those of one page, joined by blanks.
func keys(t *testing.T, v *projection.View[orderRow], opts ...projection.ListOption) string {
	t.Helper()
	page, err := v.List(t.Context(), opts...)
	must(t, err)
	return keysOf(page)
}

func keysOf(page projection.Page[orderRow]) string {
	var keys []string
	for _, row := range page.Rows {
		keys = append(keys, row.Key)
	}
	return strings.Join(keys, " ")
}

func (r *rig) someOrders(t *testing.T) *projection.View[orderRow] {
	t.Helper()
	r.append(t, named{"ann", "Ann"}, named{"bob", "Bob ' \" % é"},
		placed{Order: "a", Customer: "ann", Total: 300, At: day(3)},
		placed{Order: "b", Customer: "bob", Total: 20, At: day(1)},
		placed{Order: "c", Customer: "ann", Total: -5, At: day(2)},
		placed{Order: "d", Customer: "bob", Total: 300, At: day(4)},
		placed{Order: "é", Customer: "cid", Total: 100},
		paid{"b"}, paid{"d"})
	r.catchUp(t, orders)
	return projection.Of(r.views, orders)
}

func lists(r *rig) {
	t := r.T
	v := r.someOrders(t)
	for _, test := range []struct {
		name string
		want string
		opts []projection.ListOption
	}{
		{"all by key", "a b c d é", nil},
		{"descending", "é d c b a", []projection.ListOption{projection.Descending()}},
		{"by an integer", "c b é a d", []projection.ListOption{projection.OrderBy("total")}},
		{"by an integer, descending", "d a é b c", []projection.ListOption{projection.OrderBy("total"), projection.Descending()}},
		{"by a time", "é b c a d", []projection.ListOption{projection.OrderBy("at")}},
		{"where a string", "b d", []projection.ListOption{projection.Where("status", "paid")}},
		{"where several", "a b c d é", []projection.ListOption{projection.Where("status", "paid", "placed")}},
		{"where nothing", "", []projection.ListOption{projection.Where("status")}},
		{"where a bool", "a d é", []projection.ListOption{projection.Where("large", true)}},
		{"where a time", "c", []projection.ListOption{projection.Where("at", day(2))}},
		{"where a joined value", "b d", []projection.ListOption{projection.Where("name", "Bob ' \" % é")}},
		{"where two columns", "d", []projection.ListOption{projection.Where("large", true), projection.Where("status", "paid")}},
		{"a range of integers", "b é", []projection.ListOption{projection.From("total", 20), projection.Below("total", 300)}},
		{"a range of times", "b c", []projection.ListOption{projection.From("at", day(1)), projection.Below("at", day(3))}},
		{"a limit", "a b", []projection.ListOption{projection.Limit(2)}},
	} {
		wantEqual(t, test.name, keys(t, v, test.opts...), test.want)
	}
	page, err := v.List(t.Context())
	must(t, err)
	wantEqual(t, "position of the page", page.Position, 9)
	wantEqual(t, "value", page.Rows[1].Value.Name, "Bob ' \" % é")
}

func listsRefuse(r *rig) {
	t := r.T
	v := r.someOrders(t)
	page, err := v.List(t.Context(), projection.Limit(1))
	must(t, err)
	some, err := v.List(t.Context(), projection.Limit(1), projection.Where("status", "placed", "p", "aid"))
	must(t, err)
	second := orders
	second.Version = 2
	others, err := projection.Of(r.views, second).List(t.Context())
	must(t, err)
	wantEqual(t, "rows of another version", len(others.Rows), 0)
	for name, opts := range map[string][]projection.ListOption{
		"unknown column":           {projection.Where("colour", "red")},
		"column of our own":        {projection.Where("_join_0", "ann")},
		"unknown order":            {projection.OrderBy("colour")},
		"value of another kind":    {projection.Where("total", "300")},
		"value of no kind":         {projection.From("total", 1.5)},
		"no limit":                 {projection.Limit(0)},
		"too large a limit":        {projection.Limit(1001)},
		"no cursor":                {projection.Cursor("!")},
		"cursor of another order":  {projection.Cursor(page.Next), projection.OrderBy("total")},
		"cursor of another filter": {projection.Cursor(page.Next), projection.Where("status", "paid")},
		"cursor of other values":   {projection.Cursor(some.Next), projection.Where("status", "placed", "pa", "id")},
		"too many values":          {projection.Where("total", make([]any, 1001)...)},
		"too many filters":         slices.Repeat([]projection.ListOption{projection.From("total", 0)}, 51),
	} {
		if _, err := v.List(t.Context(), opts...); err == nil {
			t.Errorf("%s: no error", name)
		} else {
			wantError(t, err, annals.ErrInvalid)
		}
	}
	_, err = projection.Of(r.views, second).List(t.Context(), projection.Cursor(page.Next))
	wantError(t, err, annals.ErrInvalid)
	many := slices.Repeat([]any{300}, 951)
	filters := slices.Repeat([]projection.ListOption{projection.From("total", 0)}, 49)
	wantEqual(t, "as many filters and values as there may be", keys(t, v, append(filters, projection.Where("total", many...))...), "a d")
}

func pages(r *rig) {
	t := r.T
	v := r.someOrders(t)
	for _, column := range []string{"", "status", "total", "at", "large", "name"} {
		for _, opts := range [][]projection.ListOption{nil, {projection.Descending()}, {projection.Where("large", false, true)}} {
			if column != "" {
				opts = append(slices.Clone(opts), projection.OrderBy(column))
			}
			want := keys(t, v, opts...)
			for limit := 1; limit <= 5; limit++ {
				var got []string
				for next, more := "", true; more; {
					page, err := v.List(t.Context(), append(slices.Clone(opts), projection.Limit(limit), projection.Cursor(next))...)
					must(t, err)
					got = append(got, keysOf(page))
					next, more = page.Next, page.Next != ""
				}
				wantEqual(t, fmt.Sprintf("pages of %d by %q", limit, column), strings.Join(got, " "), want)
			}
		}
	}
}

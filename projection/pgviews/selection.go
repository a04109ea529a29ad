package pgviews

import (
	"fmt"
	"strings"

	"github.com/annalsdb/annals/projection"
)

// selectRows is the statement that lists what s selects, with the value of the ordering column, or NULL. It lists
// nothing if the table is not the one that the catalog has under this id.
func (t *table) selectRows(s projection.Selection) (query string, args []any, err error) {
	p := t.parts[s.Part]
	if p == nil {
		return "", nil, fmt.Errorf("no part %q", s.Part)
	}
	arg := func(value any) string {
		args = append(args, value)
		return fmt.Sprintf("$%d", len(args))
	}
	where := []string{"EXISTS (SELECT 1 FROM " + t.views.name("projections") + " WHERE id = " + arg(t.id) + ")"}
	for _, f := range s.Filters {
		kind, ok := p.columns[f.Column]
		if !ok {
			return "", nil, fmt.Errorf("no column %q", f.Column)
		}
		name := quote(f.Column)
		switch f.Op {
		case projection.OpFrom:
			where = append(where, name+" >= "+arg(f.Values[0]))
		case projection.OpBelow:
			where = append(where, name+" < "+arg(f.Values[0]))
		default:
			where = append(where, name+" = ANY("+arg(listOf(kind, f.Values))+")")
		}
	}
	order, direction, beyond := "NULL", "", ">"
	if s.Descending {
		direction, beyond = " DESC", "<"
	}
	by := "_key" + direction
	if s.Order != "" {
		if _, ok := p.columns[s.Order]; !ok {
			return "", nil, fmt.Errorf("no column %q", s.Order)
		}
		order = quote(s.Order)
		by = order + direction + ", " + by
	}
	switch {
	case s.From == nil:
	case s.Order == "":
		where = append(where, "_key "+beyond+" "+arg(s.From.Key))
	default:
		where = append(where, fmt.Sprintf("(%s, _key) %s (%s, %s)", order, beyond, arg(s.From.Value), arg(s.From.Key)))
	}
	query = fmt.Sprintf("/* %d */ SELECT _key, _json, %s FROM %s WHERE %s ORDER BY %s LIMIT %s",
		t.id, order, p.table, strings.Join(where, " AND "), by, arg(s.Limit))
	return query, args, nil
}

// listOf is values of one kind as an array.
func listOf(kind projection.Kind, values []any) any {
	if kind.IsInteger() {
		return typed[int64](values)
	}
	return typed[string](values)
}

func typed[T any](values []any) []T {
	list := make([]T, len(values))
	for i, v := range values {
		list[i], _ = v.(T) // the values of a column are of one kind
	}
	return list
}

package sqliteviews

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
	where := []string{"EXISTS (SELECT 1 FROM projections WHERE id = ?)"}
	args = append(args, t.id)
	for _, f := range s.Filters {
		if !p.columns[f.Column] {
			return "", nil, fmt.Errorf("no column %q", f.Column)
		}
		condition, values := conditionOf(f)
		where, args = append(where, condition), append(args, values...)
	}
	order, direction, beyond := "NULL", "", ">"
	if s.Descending {
		direction, beyond = " DESC", "<"
	}
	by := "_key" + direction
	if s.Order != "" {
		if !p.columns[s.Order] {
			return "", nil, fmt.Errorf("no column %q", s.Order)
		}
		order = quote(s.Order)
		by = order + direction + ", " + by
	}
	switch {
	case s.From == nil:
	case s.Order == "":
		where, args = append(where, "_key "+beyond+" ?"), append(args, s.From.Key)
	default:
		where = append(where, fmt.Sprintf("(%s, _key) %s (?, ?)", order, beyond))
		args = append(args, s.From.Value, s.From.Key)
	}
	query = "SELECT _key, _json, " + order + " FROM " + p.table + " WHERE " + strings.Join(where, " AND ")
	return query + " ORDER BY " + by + " LIMIT ?", append(args, s.Limit), nil
}

func conditionOf(f projection.Filter) (condition string, values []any) {
	name := quote(f.Column)
	switch f.Op {
	case projection.OpFrom:
		return name + " >= ?", f.Values
	case projection.OpBelow:
		return name + " < ?", f.Values
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(f.Values)), ", ")
	return name + " IN (" + marks + ")", f.Values
}

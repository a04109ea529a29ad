package projection

import (
	"context"
	"fmt"
	"slices"

	"github.com/annalsdb/annals"
)

const (
	limitDefault = 100
	limitMax     = 1000
	// filtersMax and valuesMax bound what a backend has to put into one statement.
	filtersMax = 50
	valuesMax  = 1000
)

// Page is a part of a list.
type Page[V any] struct {
	Rows []Row[V] `json:"rows"`
	// Next is the [Cursor] of the page that follows; "" if this is the last.
	Next string `json:"next,omitempty"`
	// Position is one up to which every event is in the rows.
	Position annals.Position `json:"position"`
}

// ListOption says which rows to list, and how.
type ListOption func(*listing)

type listing struct {
	selection Selection
	filters   []rawFilter
	cursor    string
}

type rawFilter struct {
	column string
	op     Op
	values []any
}

func (l *listing) filter(column string, op Op, values ...any) {
	l.filters = append(l.filters, rawFilter{column, op, values})
}

// Where wants the column to equal one of the values. Several options narrow the list: all must hold. A list takes at
// most 50 of them, with 1000 values in all.
func Where(column string, values ...any) ListOption {
	return func(l *listing) { l.filter(column, OpEqual, values...) }
}

// From wants the column to be at or after the value.
func From(column string, value any) ListOption {
	return func(l *listing) { l.filter(column, OpFrom, value) }
}

// Below wants the column to be before the value.
func Below(column string, value any) ListOption {
	return func(l *listing) { l.filter(column, OpBelow, value) }
}

// OrderBy orders by a column, and by key where that is equal. Without it rows are in the order of their keys.
func OrderBy(column string) ListOption {
	return func(l *listing) { l.selection.Order = column }
}

// Descending turns the order round.
func Descending() ListOption { return func(l *listing) { l.selection.Descending = true } }

// Limit lists at most n rows, from 1 to 1000. By default 100.
func Limit(n int) ListOption { return func(l *listing) { l.selection.Limit = n } }

// Cursor goes on after the page whose [Page.Next] it was, under the same other options. "" is the first page.
func Cursor(next string) ListOption { return func(l *listing) { l.cursor = next } }

// List is one page of the rows, as they were at one moment. A column that is not declared, a value of another kind, a
// limit out of range, too many filters or values, or a foreign cursor is an [annals.InvalidError]. From page to page, a
// row that does not move in the order is listed once; one that moves while the pages are read may be listed twice, or
// not at all.
func (v *View[V]) List(ctx context.Context, opts ...ListOption) (Page[V], error) {
	selection, err := v.selection(opts)
	if err != nil {
		return Page[V]{}, err
	}
	limit := selection.Limit
	selection.Limit++ // one more tells whether there is a next page
	var docs []Document
	var position annals.Position
	err = v.read(ctx, annals.AtLeastFrom(ctx), func(t shown) (err error) {
		if err := v.columnsIn(t.shape, selection); err != nil {
			return err
		}
		if position, err = v.position(ctx, t); err != nil { // before the rows, so that it never promises too much
			return err
		}
		docs, err = t.List(ctx, selection)
		return err
	})
	if err != nil {
		return Page[V]{}, fmt.Errorf("projection: %s: list: %w", v.shape, err)
	}
	return v.page(docs, selection, limit, position)
}

func (v *View[V]) page(docs []Document, s Selection, limit int, position annals.Position) (Page[V], error) {
	more := len(docs) > limit
	if more {
		docs = docs[:limit]
	}
	page := Page[V]{Position: position, Rows: make([]Row[V], len(docs))}
	for i, d := range docs {
		page.Rows[i].Key = d.Key
		if err := decodeRow(d.JSON, &page.Rows[i].Value); err != nil {
			return Page[V]{}, fmt.Errorf("projection: %s: list: %q: %w", v.shape, d.Key, err)
		}
	}
	if more {
		last := docs[limit-1]
		page.Next = cursorAt(v.shape, s, last)
	}
	return page, nil
}

func (v *View[V]) selection(opts []ListOption) (Selection, error) {
	l := listing{selection: Selection{Limit: limitDefault}}
	for _, o := range opts {
		o(&l)
	}
	s := l.selection
	if s.Limit < 1 || s.Limit > limitMax {
		return s, v.invalid(fmt.Sprintf("the limit is from 1 to %d, not %d", limitMax, s.Limit))
	}
	if s.Order != "" {
		if _, err := v.column(s.Order); err != nil {
			return s, err
		}
	}
	if err := v.checkSize(l.filters); err != nil {
		return s, err
	}
	for _, raw := range l.filters {
		f, err := v.filter(raw)
		if err != nil {
			return s, err
		}
		s.Filters = append(s.Filters, f)
	}
	if l.cursor != "" {
		from, ok := s.place(v.shape, l.cursor)
		if !ok {
			return s, v.invalid("the cursor is not of this list: it goes with the same filters and order")
		}
		s.From = &from
	}
	return s, nil
}

func (v *View[V]) checkSize(filters []rawFilter) error {
	values := 0
	for _, f := range filters {
		values += len(f.values)
	}
	switch {
	case len(filters) > filtersMax:
		return v.invalid(fmt.Sprintf("%d filters are more than %d", len(filters), filtersMax))
	case values > valuesMax:
		return v.invalid(fmt.Sprintf("%d values to compare with are more than %d", values, valuesMax))
	}
	return nil
}

func (v *View[V]) invalid(problem string) error {
	return &annals.InvalidError{What: "list of " + v.shape.Name, Problem: problem}
}

func (v *View[V]) column(name string) (ColumnShape, error) {
	columns := v.shape.Parts[0].Columns
	i := slices.IndexFunc(columns, func(c ColumnShape) bool { return c.Name == name })
	if i < 0 || !columnNameRule.MatchString(name) {
		return ColumnShape{}, v.invalid(fmt.Sprintf("no column %q is declared", name))
	}
	return columns[i], nil
}

func (v *View[V]) filter(raw rawFilter) (Filter, error) {
	c, err := v.column(raw.column)
	if err != nil {
		return Filter{}, err
	}
	f := Filter{Column: c.Name, Op: raw.op}
	for _, value := range raw.values {
		n, kind, err := normal(value)
		if err != nil {
			return f, v.invalid(fmt.Sprintf("column %q: %v", c.Name, err))
		}
		if kind != c.Kind {
			return f, v.invalid(fmt.Sprintf("column %q is compared with a %s: it is a %s", c.Name, kind, c.Kind))
		}
		f.Values = append(f.Values, n)
	}
	return f, nil
}

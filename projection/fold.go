package projection

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/annalsdb/annals"
)

// foldFunc applies an event to the document of a key, or, without an event, refreshes what is joined into it. It
// tells whether the document changed.
type foldFunc[E any] func(ctx context.Context, b Batch, key string, e *annals.Entry[E]) (changed bool, err error)

// folder folds rows of type V.
type folder[V, E any] struct {
	name    string // of the part
	apply   func(key string, row *V, e annals.Entry[E]) error
	columns []column[V]
	joins   []Joined[V, E]
}

// column is a checked column.
type column[V any] struct {
	ColumnShape
	value func(V) any
}

func shapesOf[V any](columns []column[V]) []ColumnShape {
	shapes := make([]ColumnShape, len(columns))
	for i, c := range columns {
		shapes[i] = c.ColumnShape
	}
	return shapes
}

// userError is a failure of the definition's functions, at a row, in contrast to one of the backend.
type userError struct {
	key string
	err error
}

func (e *userError) Error() string { return fmt.Sprintf("row %q: %v", e.key, e.err) }
func (e *userError) Unwrap() error { return e.err }

// guard calls the definition's code: a panic there is an error.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return f()
}

func (f *folder[V, E]) fold(ctx context.Context, b Batch, key string, e *annals.Entry[E]) (bool, error) {
	old, found, err := b.Get(ctx, f.name, key)
	if err != nil || e == nil && !found {
		return false, err
	}
	var row V
	err = guard(func() error {
		if found {
			if err := decodeRow(old, &row); err != nil {
				return err
			}
		}
		if e == nil {
			return nil
		}
		return f.apply(key, &row, *e)
	})
	switch {
	case err != nil && errors.Is(err, Delete):
		if !found {
			return false, nil
		}
		return true, b.Delete(ctx, f.name, key)
	case err != nil:
		return false, &userError{key, err}
	}
	joined := make([]any, len(f.joins))
	for i, j := range f.joins {
		if joined[i], err = f.join(ctx, b, j, key, &row); err != nil {
			return false, err
		}
	}
	doc, values, err := f.encode(row)
	if err != nil {
		return false, &userError{key, err}
	}
	changed := !found || !bytes.Equal(doc, old)
	if !changed && e == nil {
		return false, nil
	}
	return changed, b.Put(ctx, f.name, Document{Key: key, JSON: doc}, append(values, joined...))
}

// join puts into the row what it refers to by one join, and tells by which key.
func (f *folder[V, E]) join(ctx context.Context, b Batch, j Joined[V, E], key string, row *V) (string, error) {
	var other string
	if err := guard(func() error { other = j.on(*row); return nil }); err != nil {
		return "", &userError{key, err}
	}
	var doc []byte
	if other != "" {
		var err error
		if doc, _, err = b.Get(ctx, j.name, other); err != nil {
			return "", err
		}
	}
	if err := guard(func() error { return j.into(row, doc) }); err != nil {
		return "", &userError{key, err}
	}
	return other, nil
}

// encode makes the document and the values of the declared columns.
func (f *folder[V, E]) encode(row V) (doc []byte, values []any, err error) {
	err = guard(func() error {
		if doc, err = json.Marshal(row); err != nil {
			return err
		}
		for _, c := range f.columns {
			v, kind, err := normal(c.value(row))
			if err == nil && kind != c.Kind {
				err = fmt.Errorf("it is of kind %s, and %s in the zero row", kind, c.Kind)
			}
			if err != nil {
				return fmt.Errorf("column %s: %w", c.Name, err)
			}
			values = append(values, v)
		}
		return nil
	})
	return doc, values, err
}

func decodeRow[V any](doc []byte, row *V) error {
	if err := json.Unmarshal(doc, row); err != nil {
		return fmt.Errorf("decode row: %w", err)
	}
	return nil
}

// apply gives one event to all parts that it belongs to: the joined ones first, so that the own rows see them.
func (p *plan[E]) apply(ctx context.Context, b Batch, e annals.Entry[E]) error {
	for _, part := range p.parts {
		if !part.query.Match(e.Recorded) {
			continue
		}
		for _, key := range e.TagValues(part.by) {
			changed, err := part.fold(ctx, b, key, &e)
			if err == nil && changed {
				err = p.spread(ctx, b, part, key)
			}
			if err != nil {
				return p.failed(e.Recorded, err)
			}
		}
	}
	return nil
}

// spread refreshes the own rows that refer to a joined one.
func (p *plan[E]) spread(ctx context.Context, b Batch, from *part[E], key string) error {
	var rows []string
	for _, column := range from.feeds {
		keys, err := b.Keys(ctx, p.own.name, column, key)
		if err != nil {
			return err
		}
		rows = append(rows, keys...)
	}
	slices.Sort(rows)
	for _, row := range slices.Compact(rows) {
		if _, err := p.own.fold(ctx, b, row, nil); err != nil {
			return err
		}
	}
	return nil
}

// failed makes what the definition's code did wrong an ApplyError, and leaves other errors as they are.
func (p *plan[E]) failed(r annals.Recorded, err error) error {
	if u, ok := errors.AsType[*userError](err); ok {
		return &ApplyError{Projection: p.shape.String(), Position: r.Position, Type: r.Type, Key: u.key, Err: u.err}
	}
	return err
}

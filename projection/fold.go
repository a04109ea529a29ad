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
type foldFunc[E any] func(ctx context.Context, rows *pending, key string, e *annals.Entry[E]) (changed bool, err error)

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
	slot
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

func (f *folder[V, E]) fold(ctx context.Context, rows *pending, key string, e *annals.Entry[E]) (bool, error) {
	old, err := rows.get(ctx, f.name, key)
	found := old != nil
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
		if err := f.apply(key, &row, *e); err != nil || len(f.joins) == 0 {
			return err
		}
		_, row, err = kept(row) // joins see the same row now as when it is refreshed
		return err
	})
	switch {
	case deletes(err):
		if !found {
			return false, nil
		}
		rows.set(f.name, key, nil, nil)
		return true, nil
	case err != nil:
		return false, &userError{slot{f.name, key}, err}
	}
	joined := make([]any, len(f.joins))
	for i, j := range f.joins {
		if joined[i], err = f.join(ctx, rows, j, key, &row); err != nil {
			return false, err
		}
		if err := f.settled(i, row, joined); err != nil {
			return false, &userError{slot{f.name, key}, err}
		}
	}
	doc, values, err := f.encode(row)
	if err != nil {
		return false, &userError{slot{f.name, key}, err}
	}
	changed := !found || !bytes.Equal(doc, old)
	if !changed && e == nil {
		return false, nil
	}
	rows.set(f.name, key, doc, append(values, joined...))
	return changed, nil
}

// join puts into the row what it refers to by one join, and tells by which key.
func (f *folder[V, E]) join(ctx context.Context, rows *pending, j Joined[V, E], key string, row *V) (string, error) {
	var other string
	if err := guard(func() error { other = j.on(*row); return nil }); err != nil {
		return "", &userError{slot{f.name, key}, err}
	}
	var doc []byte
	if other != "" {
		var err error
		if doc, err = rows.get(ctx, j.name, other); err != nil {
			return "", err
		}
	}
	if err := guard(func() error { return j.into(row, doc) }); err != nil {
		return "", &userError{slot{f.name, key}, err}
	}
	return other, nil
}

// settled wants what join i put into the row to leave the keys alone by which it and the joins before it refer: those
// have looked already, and would show what belongs to another key.
func (f *folder[V, E]) settled(i int, row V, joined []any) error {
	for k, j := range f.joins[:i+1] {
		var now string
		if err := guard(func() error { now = j.on(row); return nil }); err != nil {
			return err
		}
		switch {
		case now == joined[k]:
		case k == i:
			return fmt.Errorf("join %q changes the key by which it refers, from %q to %q: let it put what it brings into another field", j.name, joined[k], now)
		default:
			return fmt.Errorf("join %q changes the key by which join %q refers, from %q to %q: declare %q before %q",
				f.joins[i].name, j.name, joined[k], now, f.joins[i].name, j.name)
		}
	}
	return nil
}

// deletes reports whether err is [Delete], as it is or wrapped. Joined with another error, that one counts.
func deletes(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if err == Delete { //nolint:errorlint // errors.Is would find it among several, too
			return true
		}
	}
	return false
}

// kept is the row as a document, and what the document keeps of it.
func kept[V any](row V) (doc []byte, same V, err error) {
	if doc, err = json.Marshal(row); err == nil {
		err = decodeRow(doc, &same)
	}
	return doc, same, err
}

// encode makes the document and the values of the declared columns.
func (f *folder[V, E]) encode(row V) (doc []byte, values []any, err error) {
	err = guard(func() error {
		if len(f.columns) == 0 {
			doc, err = json.Marshal(row)
			return err
		}
		if doc, row, err = kept(row); err != nil {
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

// fetch reads the rows that the events will touch, so far as the events' tags tell.
func (p *plan[E]) fetch(ctx context.Context, rows *pending, events []item[E]) error {
	for _, part := range p.parts {
		var keys []string
		for _, e := range events {
			if e.poison == nil && part.query.Match(e.Recorded) {
				keys = append(keys, e.TagValues(part.by)...)
			}
		}
		if err := rows.fetch(ctx, part.name, keys); err != nil {
			return err
		}
	}
	return nil
}

// applyCustom gives events to a custom projection, in the batch's transaction.
func (p *plan[E]) applyCustom(ctx context.Context, b Batch, rows *pending, events []item[E]) error {
	for _, e := range events {
		err := e.poison
		if err != nil {
			err = rows.park(e.Recorded, slot{}, false, e.poison)
		} else {
			err = p.custom(ctx, b, e.Entry)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apply gives one event to all parts that it belongs to: the joined ones first, so that the own rows see them.
func (p *plan[E]) apply(ctx context.Context, rows *pending, e item[E]) error {
	for _, part := range p.parts {
		if !part.query.Match(e.Recorded) {
			continue
		}
		for _, key := range e.TagValues(part.by) {
			if part.only != "" && part.only != key {
				continue
			}
			if err := p.applyTo(ctx, rows, part, key, e); err != nil {
				return p.failed(e.Recorded, err)
			}
		}
	}
	return nil
}

// applyTo gives an event to one row, or parks it.
func (p *plan[E]) applyTo(ctx context.Context, rows *pending, part *part[E], key string, e item[E]) error {
	at := slot{part.name, key}
	if e.poison != nil || rows.lot.blocked[at] {
		return rows.park(e.Recorded, at, false, e.poison)
	}
	changed, err := part.fold(ctx, rows, key, &e.Entry)
	// Of an event that is several, some may be in the row already: the whole of it is given back, and parked in another try.
	if failed, ok := errors.AsType[*userError](err); ok && rows.lot.open && e.Parts <= 1 {
		return rows.park(e.Recorded, at, false, failed.err)
	}
	if err == nil && changed {
		err = p.spread(ctx, rows, part, key, e.Recorded)
	}
	return err
}

// spread refreshes the own rows that refer to a joined one. Rows that wait for a parked event are joined again when it is applied.
func (p *plan[E]) spread(ctx context.Context, rows *pending, from *part[E], key string, cause annals.Recorded) error {
	var referring []string
	for _, column := range from.feeds {
		keys, err := rows.keys(ctx, p.own.name, column, key)
		if err != nil {
			return err
		}
		referring = append(referring, keys...)
	}
	slices.Sort(referring)
	referring = slices.Compact(referring)
	if err := rows.fetch(ctx, p.own.name, referring); err != nil {
		return err
	}
	for _, row := range referring {
		at := slot{p.own.name, row}
		if rows.lot.blocked[at] {
			continue
		}
		_, err := p.own.fold(ctx, rows, row, nil)
		if failed, ok := errors.AsType[*userError](err); ok && rows.lot.open {
			err = rows.park(cause, at, true, failed.err)
		}
		if err != nil {
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

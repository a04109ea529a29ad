package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
)

// AsOf is the row with this key as it was when the store stood where the options say: [annals.AsOf],
// [annals.AsOfTime], [annals.AsOfRevision], or now if there are none. It is what [View.Get] would have answered, folded
// by today's definition, from the log alone: no views are needed. [ErrNotFound] if there was no row. [annals.HeadInto]
// tells the position that the row is complete up to; other options are an [annals.InvalidError].
//
// It reads the events of that key only. With joins it reads all events of the joined definitions too.
func AsOf[V, E any](ctx context.Context, log *annals.Log[E], rows Rows[V, E], key string, opts ...annals.ReadOption) (V, error) {
	var row V
	declared, err := rows.plan()
	if err != nil {
		return row, err
	}
	p, err := bind(declared, log.Schema())
	if err != nil {
		return row, err
	}
	if key == "" {
		return row, &NotFoundError{Projection: rows.Name, Key: key}
	}
	if o := annals.NewReadOptions(opts...); o.Backwards || o.Limit != 0 || o.After != 0 || o.FromRevision != nil {
		return row, &annals.InvalidError{What: "AsOf", Problem: "a row is folded from all its events: Backwards, Limit, After and FromRevision have no meaning"}
	}
	// Rows of other keys never show in this one, so its own events will do. The narrowing comes after the binding: a key
	// of a hashed tag is the hash already.
	p.own.query = p.own.query.Tags(annals.Tag(p.own.by, key))
	doc, err := foldAll(ctx, log, p, key, opts)
	if err != nil {
		return row, err
	}
	if doc == nil {
		return row, &NotFoundError{Projection: rows.Name, Key: key}
	}
	return row, decodeRow(doc, &row)
}

// foldAll folds the events into memory, and gives the document of the key, or nil.
func foldAll[E any](ctx context.Context, log *annals.Log[E], p *plan[E], key string, opts []annals.ReadOption) ([]byte, error) {
	views := NewMemory()
	defer func() { _ = views.Close() }() // never fails
	table, err := views.Table(ctx, p.shape)
	if err != nil {
		return nil, err
	}
	b, err := table.Begin(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Rollback() }() // never fails
	for r, err := range log.Store().Read(ctx, p.query(), opts...) {
		if err != nil {
			return nil, fmt.Errorf("projection: %s: read: %w", p.shape, err)
		}
		e, err := log.Schema().Decode(r)
		switch {
		case errors.Is(err, annals.ErrDropped) || errors.Is(err, annals.ErrUnknownType):
			continue
		case err != nil:
			return nil, &ApplyError{Projection: p.shape.String(), Position: r.Position, Type: r.Type, Err: err}
		}
		if err := p.apply(ctx, b, e); err != nil {
			return nil, err
		}
	}
	doc, _, err := b.Get(ctx, p.own.name, key)
	return doc, err
}

package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/annalsdb/annals"
)

// AsOf is the row with this key as it was when the store stood where the options say: [annals.AsOf],
// [annals.AsOfTime], [annals.AsOfRevision], or now if there are none. It is what [View.Get] would have answered, folded
// by today's definition, from the log alone: no views are needed. [ErrNotFound] if there was no row. [annals.HeadInto]
// tells the position that the row is complete up to; other options are an [annals.InvalidError].
//
// A revision is that of the one stream which the definition's query names. If it names none or several, it is that of
// the key's own: the stream that By, declared as `annals:"order,stream"`, gives to the key; if no event declares it so,
// a revision is an [annals.InvalidError].
//
// It reads the events of that key only. With joins it reads all events of the joined definitions too, unless the key has
// no event.
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
	// Rows of other keys never show in this one, so its own events will do, and only for its own key. The narrowing
	// comes after the binding: a key of a hashed tag is the hash already.
	p.own.query, p.own.only = p.own.query.Tags(annals.Tag(p.own.by, key)), key
	if opts, err = resolveRevision(ctx, log, p, key, opts); err != nil {
		return row, err
	}
	var doc []byte
	there, err := hasEvents(ctx, log, p, opts)
	if there {
		doc, err = foldAll(ctx, log, p, key, opts)
	}
	if err != nil {
		return row, err
	}
	if doc == nil {
		return row, &NotFoundError{Projection: rows.Name, Key: key}
	}
	return row, decodeRow(doc, &row)
}

// resolveRevision turns AsOfRevision into the position that it leads to, unless the store can do that by itself.
func resolveRevision[E any](ctx context.Context, log *annals.Log[E], p *plan[E], key string, opts []annals.ReadOption) ([]annals.ReadOption, error) {
	o := annals.NewReadOptions(opts...)
	if o.AsOfRevision == nil || p.query().Stream() != "" {
		return opts, nil
	}
	stream := annals.Stream(annals.StreamName(p.own.by, key))
	if _, err := log.Schema().Bind(stream); err != nil {
		return nil, &annals.InvalidError{What: "AsOfRevision", Problem: fmt.Sprintf(
			"the query of %s names no single stream, and no event declares `annals:\"%s,stream\"`, by which a key would be one", p.shape, p.own.by)}
	}
	var at annals.Position
	for _, err := range log.Store().Read(ctx, stream, annals.AsOfRevision(*o.AsOfRevision), annals.AtLeast(o.AtLeast), annals.Limit(1), annals.HeadInto(&at)) {
		if err != nil {
			return nil, fmt.Errorf("projection: %s: read: %w", p.shape, err)
		}
	}
	return append(slices.Clip(opts), func(o *annals.ReadOptions) {
		o.AsOfRevision, o.AsOf = nil, min(o.AsOf, at)
	}), nil
}

// hasEvents reports whether the key has events of its own: without, there is no row into which anything is joined. If
// there are no joins, folding tells as quickly.
func hasEvents[E any](ctx context.Context, log *annals.Log[E], p *plan[E], opts []annals.ReadOption) (bool, error) {
	if len(p.parts) == 1 {
		return true, nil
	}
	for _, err := range log.Store().Read(ctx, p.own.query, append(slices.Clip(opts), annals.Limit(1))...) {
		if err != nil {
			return false, fmt.Errorf("projection: %s: read: %w", p.shape, err)
		}
		return true, nil
	}
	return false, nil
}

// foldAll folds the events into memory, and gives the document of the key, or nil.
func foldAll[E any](ctx context.Context, log *annals.Log[E], p *plan[E], key string, opts []annals.ReadOption) ([]byte, error) {
	views := NewMemory()
	defer func() { _ = views.Close() }() // never fails
	table, err := views.Table(ctx, p.shape)
	if err != nil {
		return nil, err
	}
	rows := newPending(table, p.shape, lot{}.fork(), &rowCache{complete: true})
	var entries []annals.Entry[E]
	for r, err := range log.Store().Read(ctx, p.query(), opts...) {
		if err != nil {
			return nil, fmt.Errorf("projection: %s: read: %w", p.shape, err)
		}
		entries, err = log.Schema().Decode(entries[:0], r)
		switch {
		case errors.Is(err, annals.ErrDropped) || errors.Is(err, annals.ErrUnknownType):
			continue
		case err != nil:
			return nil, &ApplyError{Projection: p.shape.String(), Position: r.Position, Type: r.Type, Err: err}
		}
		for _, e := range entries {
			if err := p.apply(ctx, rows, item[E]{Entry: e}); err != nil {
				return nil, err
			}
		}
	}
	return rows.get(ctx, p.own.name, key)
}

package projection

import (
	"context"
	"maps"
	"slices"
)

// pending is the rows that a batch of events touches, kept in memory until they are written: each row is read once and written once,
// however many events change it. They are read before the batch of the views begins, which fails if the checkpoint has moved since, so that
// the views are held up only for the writing. It is used by one goroutine.
type pending struct {
	table Table
	parts map[string]*pendingPart
	lot   *lot
	cache *rowCache
}

// pendingPart is what is known of one kind of rows.
type pendingPart struct {
	columns []string
	rows    map[string]*pendingRow
	// index has, by column and value, the keys of the changed rows with that value.
	index map[columnValue]map[string]struct{}
}

// pendingRow is a row as it is now.
type pendingRow struct {
	json    []byte // nil if there is no row
	columns []any
	changed bool
}

func newPending(t Table, shape Shape, l *lot, c *rowCache) *pending {
	p := &pending{cache: c, table: t, parts: map[string]*pendingPart{}, lot: l}
	for _, part := range shape.Parts {
		now := &pendingPart{rows: map[string]*pendingRow{}, index: map[columnValue]map[string]struct{}{}}
		for _, c := range part.Columns {
			now.columns = append(now.columns, c.Name)
		}
		p.parts[part.Name] = now
	}
	return p
}

// fetch reads the rows with these keys that are not known yet, all at once.
func (p *pending) fetch(ctx context.Context, part string, keys []string) error {
	known := p.parts[part]
	var unknown []string
	for _, key := range keys {
		if known.rows[key] != nil {
			continue
		}
		doc, cached := p.cache.get(slot{part, key})
		if known.rows[key] = (&pendingRow{json: doc}); !cached {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	docs, err := p.table.Load(ctx, part, unknown)
	if err != nil {
		for _, key := range unknown {
			delete(known.rows, key)
		}
		return err
	}
	for _, d := range docs {
		known.rows[d.Key].json = d.JSON
	}
	return nil
}

// get is the document; nil if there is none.
func (p *pending) get(ctx context.Context, part, key string) ([]byte, error) {
	if row := p.parts[part].rows[key]; row != nil {
		return row.json, nil
	}
	if err := p.fetch(ctx, part, []string{key}); err != nil {
		return nil, err
	}
	return p.parts[part].rows[key].json, nil
}

// set makes doc the document, or removes it if it is nil. The row has been got before.
func (p *pending) set(part, key string, doc []byte, columns []any) {
	in := p.parts[part]
	row := in.rows[key]
	in.unindex(key, row)
	row.json, row.columns, row.changed = doc, columns, true
	if doc == nil {
		return
	}
	for i, c := range in.columns {
		at := columnValue{c, columns[i]}
		if in.index[at] == nil {
			in.index[at] = map[string]struct{}{}
		}
		in.index[at][key] = struct{}{}
	}
}

// put is set for a row that was not got.
func (p *pending) put(part, key string, doc []byte, columns []any) {
	if p.parts[part].rows[key] == nil {
		p.parts[part].rows[key] = &pendingRow{}
	}
	p.set(part, key, doc, columns)
}

func (p *pendingPart) unindex(key string, row *pendingRow) {
	if !row.changed || row.json == nil {
		return
	}
	for i, c := range p.columns {
		at := columnValue{c, row.columns[i]}
		delete(p.index[at], key)
		if len(p.index[at]) == 0 {
			delete(p.index, at)
		}
	}
}

// keys are those of the rows whose column has this value, ascending.
func (p *pending) keys(ctx context.Context, part, column string, value any) ([]string, error) {
	in := p.parts[part]
	stored, err := p.table.Keys(ctx, part, column, value)
	if err != nil {
		return nil, err
	}
	keys := slices.DeleteFunc(stored, func(key string) bool {
		row := in.rows[key]
		return row != nil && row.changed
	})
	keys = slices.AppendSeq(keys, maps.Keys(in.index[columnValue{column, value}]))
	slices.Sort(keys)
	return keys, nil
}

// write hands what has changed to a batch, in the order of the keys, so that two runs of the same events do the same.
func (p *pending) write(ctx context.Context, b Batch) error {
	for _, name := range slices.Sorted(maps.Keys(p.parts)) {
		var changes []Change
		rows := p.parts[name].rows
		for _, key := range slices.Sorted(maps.Keys(rows)) {
			if row := rows[key]; row.changed {
				changes = append(changes, Change{Key: key, JSON: row.json, Columns: row.columns})
			}
		}
		if len(changes) == 0 {
			continue
		}
		if err := b.Write(ctx, name, changes); err != nil {
			return err
		}
	}
	return nil
}

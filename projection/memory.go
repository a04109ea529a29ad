package projection

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Memory is [Views] that last as long as the process. Make one with [NewMemory]. It may be used concurrently.
type Memory struct {
	progress Progress
	writer   chan struct{} // holds a token while no batch is open
	closing  chan struct{} // closed by Close, for those who wait for the token

	mu     sync.RWMutex
	tables map[string]*memoryTable // by name@version; guarded by mu, as is what they hold
	notes  map[string][]byte       // guarded by mu
	made   int64                   // how many tables there ever were; guarded by mu
	closed bool
}

// memoryTable is one version of one projection. Its fields are guarded by the mutex of its views.
type memoryTable struct {
	views      *Memory
	shape      Shape
	number     int64 // its incarnation; it never changes
	checkpoint Checkpoint
	parts      map[string]*memoryPart
	dropped    bool
}

// memoryPart is one kind of rows.
type memoryPart struct {
	columns []string
	rows    map[string]memoryRow
	// index has, by column and value, the keys of the rows with that value.
	index map[columnValue]map[string]struct{}
}

type columnValue struct {
	column string
	value  any
}

// memoryRow never changes once it is made.
type memoryRow struct {
	json   []byte
	values []any
}

// NewMemory makes empty views.
func NewMemory() *Memory {
	m := &Memory{writer: make(chan struct{}, 1), closing: make(chan struct{}), tables: map[string]*memoryTable{}, notes: map[string][]byte{}}
	m.writer <- struct{}{}
	return m
}

// Progress implements [Views].
func (m *Memory) Progress() *Progress { return &m.progress }

// Close implements [Views].
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.closing)
	}
	return nil
}

// Table implements [Views].
func (m *Memory) Table(ctx context.Context, shape Shape) (Table, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if t := m.tables[shape.String()]; t != nil {
		if t.shape.Fingerprint != shape.Fingerprint {
			return nil, &ShapeError{Projection: shape.String(), Stored: t.shape.Fingerprint, Declared: shape.Fingerprint}
		}
		return t, nil
	}
	m.made++
	t := &memoryTable{views: m, shape: shape, number: m.made, parts: map[string]*memoryPart{}}
	for _, p := range shape.Parts {
		part := &memoryPart{rows: map[string]memoryRow{}, index: map[columnValue]map[string]struct{}{}}
		for _, c := range p.Columns {
			part.columns = append(part.columns, c.Name)
		}
		t.parts[p.Name] = part
	}
	m.tables[shape.String()] = t
	return t, nil
}

// Drop implements [Views].
func (m *Memory) Drop(ctx context.Context, name string, version int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if t := m.tables[tableName(name, version)]; t != nil {
		t.dropped = true
		delete(m.tables, tableName(name, version))
	}
	return nil
}

// Stored implements [Views].
func (m *Memory) Stored(ctx context.Context) ([]Shape, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	var shapes []Shape
	for _, t := range m.tables {
		shapes = append(shapes, t.shape)
	}
	slices.SortFunc(shapes, func(a, b Shape) int { return cmp.Or(cmp.Compare(a.Name, b.Name), a.Version-b.Version) })
	return shapes, nil
}

// Note implements [Views].
func (m *Memory) Note(ctx context.Context, key string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	return slices.Clone(m.notes[key]), nil
}

// SetNote implements [Views].
func (m *Memory) SetNote(ctx context.Context, key string, old, now []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	have, there := m.notes[key]
	if there != (old != nil) || !bytes.Equal(have, old) {
		return ErrNoteMoved
	}
	if now == nil {
		delete(m.notes, key)
	} else {
		m.notes[key] = slices.Clone(now)
	}
	return nil
}

// usableLocked says why the table cannot be used. The mutex of the views is held.
func (t *memoryTable) usableLocked(ctx context.Context) error {
	switch {
	case t.views.closed:
		return ErrClosed
	case t.dropped:
		return ErrReset
	}
	return ctx.Err()
}

func (t *memoryTable) Incarnation() int64 { return t.number }

func (t *memoryTable) Checkpoint(ctx context.Context) (Checkpoint, error) {
	t.views.mu.RLock()
	defer t.views.mu.RUnlock()
	return t.checkpoint, t.usableLocked(ctx)
}

func (t *memoryTable) Get(ctx context.Context, key string) ([]byte, bool, error) {
	t.views.mu.RLock()
	defer t.views.mu.RUnlock()
	if err := t.usableLocked(ctx); err != nil {
		return nil, false, err
	}
	row, ok := t.parts[""].rows[key]
	return row.json, ok, nil
}

func (t *memoryTable) List(ctx context.Context, s Selection) ([]Document, error) {
	t.views.mu.RLock()
	defer t.views.mu.RUnlock()
	if err := t.usableLocked(ctx); err != nil {
		return nil, err
	}
	p := t.parts[s.Part]
	if p == nil {
		return nil, fmt.Errorf("no part %q", s.Part)
	}
	return p.list(s)
}

// list goes through all rows: memory views are for tests and small things.
func (p *memoryPart) list(s Selection) ([]Document, error) {
	order := slices.Index(p.columns, s.Order)
	if s.Order != "" && order < 0 {
		return nil, fmt.Errorf("no column %q", s.Order)
	}
	compare := func(a, b Place) int {
		c := cmp.Or(compareValues(a.Value, b.Value), cmp.Compare(a.Key, b.Key))
		if s.Descending {
			return -c
		}
		return c
	}
	var docs []Document
	for key, row := range p.rows {
		if !p.selects(row, s.Filters) {
			continue
		}
		d := Document{Key: key, JSON: row.json}
		if order >= 0 {
			d.Order = row.values[order]
		}
		if s.From == nil || compare(Place{d.Order, key}, *s.From) > 0 {
			docs = append(docs, d)
		}
	}
	slices.SortFunc(docs, func(a, b Document) int { return compare(Place{a.Order, a.Key}, Place{b.Order, b.Key}) })
	return docs[:min(len(docs), s.Limit)], nil
}

func (p *memoryPart) selects(row memoryRow, filters []Filter) bool {
	for _, f := range filters {
		i := slices.Index(p.columns, f.Column)
		if i < 0 || !f.matches(row.values[i]) {
			return false
		}
	}
	return true
}

func (f Filter) matches(value any) bool {
	switch f.Op {
	case OpFrom:
		return compareValues(value, f.Values[0]) >= 0
	case OpBelow:
		return compareValues(value, f.Values[0]) < 0
	}
	return slices.Contains(f.Values, value)
}

// compareValues orders two values of one kind, or two nils.
func compareValues(a, b any) int {
	switch x := a.(type) {
	case string:
		y, _ := b.(string) // the values of a column are of one kind
		return cmp.Compare(x, y)
	case int64:
		y, _ := b.(int64) // the values of a column are of one kind
		return cmp.Compare(x, y)
	}
	return 0
}

func (t *memoryTable) Load(ctx context.Context, part string, keys []string) ([]Document, error) {
	t.views.mu.RLock()
	defer t.views.mu.RUnlock()
	if err := t.usableLocked(ctx); err != nil {
		return nil, err
	}
	var docs []Document
	for _, key := range keys {
		if row, ok := t.parts[part].rows[key]; ok {
			docs = append(docs, Document{Key: key, JSON: row.json})
		}
	}
	return docs, nil
}

func (t *memoryTable) Keys(ctx context.Context, part, column string, value any) ([]string, error) {
	t.views.mu.RLock()
	defer t.views.mu.RUnlock()
	if err := t.usableLocked(ctx); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(t.parts[part].index[columnValue{column, value}])), nil
}

// Begin waits for the writer's token, which the batch gives back.
func (t *memoryTable) Begin(ctx context.Context, at Checkpoint) (Batch, error) {
	select {
	case <-t.views.writer:
	case <-t.views.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	b := &memoryBatch{table: t, changes: map[string]map[string]*memoryRow{}}
	for name := range t.parts {
		b.changes[name] = map[string]*memoryRow{}
	}
	if err := b.begin(ctx, at); err != nil {
		return nil, cmp.Or(err, b.Rollback())
	}
	return b, nil
}

// memoryBatch keeps its changes apart until they are committed.
type memoryBatch struct {
	table   *memoryTable
	changes map[string]map[string]*memoryRow // by part and key; nil is a deletion
	done    bool
}

func (b *memoryBatch) begin(ctx context.Context, at Checkpoint) error {
	b.table.views.mu.RLock()
	defer b.table.views.mu.RUnlock()
	if err := b.table.usableLocked(ctx); err != nil {
		return err
	}
	if !b.table.checkpoint.Is(at) {
		return ErrCheckpointMoved
	}
	return nil
}

func (b *memoryBatch) Write(ctx context.Context, part string, changes []Change) error {
	for _, c := range changes {
		b.changes[part][c.Key] = nil
		if c.JSON != nil {
			b.changes[part][c.Key] = &memoryRow{json: c.JSON, values: slices.Clone(c.Columns)}
		}
	}
	return ctx.Err()
}

func (b *memoryBatch) Commit(ctx context.Context, checkpoint Checkpoint) error {
	b.table.views.mu.Lock()
	defer b.table.views.mu.Unlock()
	if err := b.table.usableLocked(ctx); err != nil {
		return err
	}
	for name, changes := range b.changes {
		for key, row := range changes {
			b.table.parts[name].set(key, row)
		}
	}
	b.table.checkpoint = checkpoint
	b.end()
	return nil
}

// set makes the row that of the key; nil removes it.
func (p *memoryPart) set(key string, row *memoryRow) {
	if old, ok := p.rows[key]; ok {
		delete(p.rows, key)
		for i, c := range p.columns {
			keys := p.index[columnValue{c, old.values[i]}]
			delete(keys, key)
			if len(keys) == 0 {
				delete(p.index, columnValue{c, old.values[i]})
			}
		}
	}
	if row == nil {
		return
	}
	p.rows[key] = *row
	for i, c := range p.columns {
		at := columnValue{c, row.values[i]}
		if p.index[at] == nil {
			p.index[at] = map[string]struct{}{}
		}
		p.index[at][key] = struct{}{}
	}
}

func (b *memoryBatch) Rollback() error {
	b.end()
	return nil
}

func (b *memoryBatch) end() {
	if !b.done {
		b.done = true
		b.table.views.writer <- struct{}{}
	}
}

package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/annalsdb/annals"
)

// Poison is what becomes of an event that a projection cannot apply: one that Apply refuses or that cannot be decoded, or whose row the
// views cannot keep.
type Poison uint8

const (
	// StopAtPoison stops the projection before the event, with an [ApplyError]. Nothing is wrong in the rows, and they get no newer until
	// the code is put right.
	StopAtPoison Poison = iota
	// ParkPoison puts the event aside, with its error, in the transaction that moves the checkpoint past it, and so every later event
	// of the same row, since a row is the fold of its events in their order. The other rows go on. What is parked is
	// tried again when a run begins, which is when new code comes, and when [Retry] asks for it; [Skip] gives an event up. A projection
	// that has parked [ParkedMax] events stops: then it is not the events that are wrong.
	ParkPoison
)

// ParkedMax is how many events a projection parks at most.
const ParkedMax = 1000

// partParked is the part of a shape that holds what is parked; columnRow is the row that it belongs to.
const (
	partParked = "_parked"
	columnRow  = "_row"
)

// Parked is an event that was put aside for one row.
type Parked struct {
	Position annals.Position `json:"position"`
	ID       annals.ID       `json:"id"`
	Type     string          `json:"type"`
	// Part is the joined definition whose row it is; "" is the projection's own.
	Part string `json:"part,omitempty"`
	// Key is that of the row; "" for a [Custom] projection, which has no rows that are known here.
	Key string `json:"key,omitempty"`
	// Refresh says that it is a row that the event's own row is joined into that could not be made.
	Refresh bool `json:"refresh,omitempty"`
	// Error is what the event failed with; "" if it waits for one before it, of the same row.
	Error string `json:"error,omitempty"`
}

// slot is a row that events can be parked for.
type slot struct{ part, key string }

func (s slot) String() string { return s.part + "/" + s.key }

func (p Parked) slot() slot { return slot{p.Part, p.Key} }

// documentKey orders what is parked as the events were.
func (p Parked) documentKey() string {
	kind := ""
	if p.Refresh {
		kind = "+"
	}
	return fmt.Sprintf("%020d%s/%s", p.Position, kind, p.slot())
}

// item is an entry that is to be applied, or an event that is known not to be applicable.
type item[E any] struct {
	annals.Entry[E]
	poison error
}

// lot is what a batch knows of parked events, and adds to it.
type lot struct {
	open    bool // events may be parked
	count   int
	blocked map[slot]bool // rows whose events are parked
}

// fork is a lot for one batch, which may come to nothing.
func (l lot) fork() *lot {
	blocked := make(map[slot]bool, len(l.blocked))
	for s := range l.blocked {
		blocked[s] = true
	}
	l.blocked = blocked
	return &l
}

// park puts an event aside.
func (p *pending) park(r annals.Recorded, at slot, refresh bool, failed error) error {
	l := p.lot
	record := Parked{Position: r.Position, ID: r.ID, Type: r.Type, Part: at.part, Key: at.key, Refresh: refresh}
	if p.parts[partParked].rows[record.documentKey()] != nil { // an event that is several is parked once
		return nil
	}
	if l.count++; l.count > ParkedMax {
		return errors.Join(fmt.Errorf("%w: %d", ErrTooManyParked, ParkedMax), failed)
	}
	if failed != nil {
		record.Error = failed.Error()
	}
	if at.key != "" {
		l.blocked[at] = true
	}
	return p.keep(record)
}

// keep writes the record of a parked event.
func (p *pending) keep(record Parked) error {
	doc, err := json.Marshal(record)
	if err == nil {
		p.put(partParked, record.documentKey(), doc, []any{record.slot().String()})
	}
	return err
}

// parkedIn is what is parked in a table, in the order of the events.
func parkedIn(ctx context.Context, t Table) ([]Parked, error) {
	docs, err := t.List(ctx, Selection{Part: partParked, Limit: ParkedMax})
	if err != nil {
		return nil, err
	}
	return decodeParked(docs)
}

func decodeParked(docs []Document) ([]Parked, error) {
	parked := make([]Parked, len(docs))
	for i, d := range docs {
		if err := decodeRow(d.JSON, &parked[i]); err != nil {
			return nil, fmt.Errorf("parked %q: %w", d.Key, err)
		}
	}
	return parked, nil
}

// firstParked is the first event that is parked for one of the projection's own rows; nil if there is none.
func firstParked(ctx context.Context, t Table, key string) (*Parked, error) {
	of := Filter{Column: columnRow, Op: OpEqual, Values: []any{slot{key: key}.String()}}
	docs, err := t.List(ctx, Selection{Part: partParked, Filters: []Filter{of}, Limit: 1})
	if err != nil || len(docs) == 0 {
		return nil, err
	}
	parked, err := decodeParked(docs)
	if err != nil {
		return nil, err
	}
	return &parked[0], nil
}

// ParkedEvents are the events that a projection has parked, in their order.
func ParkedEvents(ctx context.Context, views Views, name string, version int) ([]Parked, error) {
	t, err := storedTable(ctx, views, name, version)
	if err != nil {
		return nil, err
	}
	parked, err := parkedIn(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("projection: %s: parked: %w", tableName(name, version), err)
	}
	return parked, nil
}

// Skip gives up a parked event: it is never applied, and those behind it are, when the next [Retry] or run comes. It fails with
// [ErrNotFound] if no event of this position is parked.
func Skip(ctx context.Context, views Views, name string, version int, at annals.Position) error {
	t, err := storedTable(ctx, views, name, version)
	if err != nil {
		return err
	}
	for {
		err := skipIn(ctx, t, at)
		if errors.Is(err, ErrCheckpointMoved) { // by the runner, between the look and the lock
			continue
		}
		if err != nil {
			return fmt.Errorf("projection: %s: skip %d: %w", tableName(name, version), at, err)
		}
		return nil
	}
}

func skipIn(ctx context.Context, t Table, at annals.Position) error {
	c, err := t.Checkpoint(ctx)
	if err != nil {
		return err
	}
	b, err := t.Begin(ctx, c)
	if err != nil {
		return err
	}
	// Whoever parks waits now, so that what is parked is what is listed.
	parked, err := parkedIn(ctx, t)
	var changes []Change
	for _, p := range parked {
		if p.Position == at {
			changes = append(changes, Change{Key: p.documentKey()})
		}
	}
	switch {
	case err != nil:
	case len(changes) == 0:
		err = ErrNotFound
	default:
		err = b.Write(ctx, partParked, changes)
	}
	if err == nil {
		c.Commits++
		err = b.Commit(ctx, c)
	}
	if err != nil {
		return errors.Join(err, b.Rollback())
	}
	return nil
}

// storedTable opens a table that there is, without its definition.
func storedTable(ctx context.Context, views Views, name string, version int) (Table, error) {
	shape, err := storedShape(ctx, views, name, version)
	if err != nil {
		return nil, err
	}
	return views.Table(ctx, shape)
}

// storedShape is the shape of a table that there is.
func storedShape(ctx context.Context, views Views, name string, version int) (Shape, error) {
	shapes, err := views.Stored(ctx)
	if err != nil {
		return Shape{}, fmt.Errorf("projection: %s: %w", tableName(name, version), err)
	}
	for _, s := range shapes {
		if s.Name == name && s.Version == version {
			return s, nil
		}
	}
	return Shape{}, fmt.Errorf("projection: %s is not stored in these views: %w", tableName(name, version), ErrNotFound)
}

// openParked tries again what is parked, and remembers which rows wait.
func (j *job[E]) openParked(ctx context.Context) error {
	j.lot = lot{open: j.plan.poison == ParkPoison, blocked: map[slot]bool{}}
	var parked []Parked
	err := j.persist(ctx, func() (err error) {
		parked, err = parkedIn(ctx, j.table)
		return err
	})
	if err != nil {
		return fmt.Errorf("projection: %s: %w", j.id, err)
	}
	if len(parked) > 0 {
		if err := j.retry(ctx, parked); err != nil {
			return err
		}
		if parked, err = parkedIn(ctx, j.table); err != nil {
			return fmt.Errorf("projection: %s: %w", j.id, err)
		}
	}
	for _, p := range parked {
		j.lot.count++
		if p.Key != "" {
			j.lot.blocked[p.slot()] = true
		}
	}
	j.runner.Views.Progress().parked(j.id, j.lot.count)
	return nil
}

// retry applies what is parked, row by row. Each event is a batch of its own: one that the views cannot keep leaves the others alone.
func (j *job[E]) retry(ctx context.Context, parked []Parked) error {
	waiting := map[slot]bool{}
	for _, p := range parked {
		if waiting[p.slot()] && p.Key != "" {
			continue
		}
		err := j.retryOne(ctx, p)
		if err == nil {
			continue
		}
		if !ofEvent(err) {
			return err
		}
		waiting[p.slot()] = true
		if failed, ok := errors.AsType[*ApplyError](err); ok {
			err = failed.Err
		}
		p.Error = err.Error()
		if err := j.rewrite(ctx, func(rows *pending) error { return rows.keep(p) }); err != nil {
			return err
		}
	}
	return nil
}

// ofEvent reports whether it is the event that cannot be applied, and not that the views cannot do it now.
func ofEvent(err error) bool {
	return errors.Is(err, ErrApply) || errors.Is(err, ErrUnstorable) && !temporary(err)
}

// retryOne applies a parked event to its row, and removes its record.
func (j *job[E]) retryOne(ctx context.Context, p Parked) error {
	entries, err := j.entriesAt(ctx, p)
	if err != nil {
		return err
	}
	return j.rewrite(ctx, func(rows *pending) error {
		rows.put(partParked, p.documentKey(), nil, nil)
		return j.plan.again(ctx, rows, p, entries)
	}, entries...)
}

// entriesAt reads an event once more; there are none if the log does not have it any more, as a rebuild would not see it either.
func (j *job[E]) entriesAt(ctx context.Context, p Parked) ([]annals.Entry[E], error) {
	r, err := j.one(ctx, annals.After(p.Position-1))
	if err != nil || r.Position != p.Position {
		return nil, err
	}
	entries, err := j.runner.Log.Schema().Decode(nil, r)
	switch {
	case errors.Is(err, annals.ErrDropped) || errors.Is(err, annals.ErrUnknownType):
		return nil, nil
	case err != nil:
		return nil, &ApplyError{Projection: j.id, Position: p.Position, Type: p.Type, Key: p.Key, Err: err}
	}
	return entries, nil
}

// rewrite changes rows without moving the checkpoint, and gives entries to a custom projection.
func (j *job[E]) rewrite(ctx context.Context, change func(rows *pending) error, entries ...annals.Entry[E]) error {
	rows := newPending(j.table, j.plan.shape, lot{}.fork(), &j.cache)
	if err := j.persist(ctx, func() error { return change(rows) }); err != nil {
		return err
	}
	err := j.write(ctx, j.stored, func(b Batch) error {
		if j.plan.custom != nil {
			for _, e := range entries {
				if err := j.plan.custom(ctx, b, e); err != nil {
					return err
				}
			}
		}
		return rows.write(ctx, b)
	})
	if err == nil {
		j.cache.keep(rows)
	}
	return err
}

// again applies a parked event to the row that it was parked for.
func (p *plan[E]) again(ctx context.Context, rows *pending, parked Parked, entries []annals.Entry[E]) error {
	if parked.Refresh {
		_, err := p.own.fold(ctx, rows, parked.Key, nil)
		return p.failed(annals.Recorded{Event: annals.Event{Type: parked.Type}, Position: parked.Position}, err)
	}
	for _, e := range entries {
		i := slices.IndexFunc(p.parts, func(part *part[E]) bool { return part.name == parked.Part })
		if i < 0 {
			continue
		}
		if !p.parts[i].query.Match(e.Recorded) || !slices.Contains(e.TagValues(p.parts[i].by), parked.Key) {
			continue // it is of several, and about another row
		}
		changed, err := p.parts[i].fold(ctx, rows, parked.Key, &e)
		if err == nil && changed {
			err = p.spread(ctx, rows, p.parts[i], parked.Key, e.Recorded)
		}
		if err != nil {
			return p.failed(e.Recorded, err)
		}
	}
	return nil
}

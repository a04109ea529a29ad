package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
)

// View reads the rows of a projection. It may be used concurrently.
//
// A read honours annals.AtLeastFrom(ctx): it waits until the rows have seen that position, and else fails with
// [ErrLagging]. It waits as long as [WithPatience] says; if nobody did, nearly as long as ctx allows, or 2 seconds if ctx
// has no deadline. Waiting is woken by the runner of this process; if another process keeps the rows, the read looks at the checkpoint
// every 20 ms.
type View[V any] struct {
	views   Views
	shape   Shape
	serving bool // it reads the version that serves, if that is an older one
}

// Of is the handle to read the rows that [Run] keeps in these views. A wrong definition is a mistake in the program: Of
// panics with all that is wrong.
func Of[V, E any](views Views, rows Rows[V, E]) *View[V] {
	shape, err := rows.Shape()
	if err != nil {
		panic(err.Error())
	}
	return &View[V]{views: views, shape: shape}
}

// Row is a row and its key.
type Row[V any] struct {
	Key   string `json:"key"`
	Value V      `json:"value"`
}

// Get is the row with this key, or [ErrNotFound]. If a position is demanded and an event of the row up to it is parked, the error is a
// [ParkedError].
func (v *View[V]) Get(ctx context.Context, key string) (V, error) {
	var row V
	var doc []byte
	var found bool
	wanted := annals.AtLeastFrom(ctx)
	err := v.read(ctx, wanted, func(t shown) (err error) {
		if doc, found, err = t.Get(ctx, key); err == nil && wanted > 0 {
			err = v.unparked(ctx, t, key, wanted)
		}
		return err
	})
	if err != nil {
		return row, fmt.Errorf("projection: %s: get %q: %w", v.shape, key, err)
	}
	if !found {
		return row, &NotFoundError{Projection: v.shape.Name, Key: key}
	}
	if err := decodeRow(doc, &row); err != nil {
		return row, fmt.Errorf("projection: %s: get %q: %w", v.shape, key, err)
	}
	return row, nil
}

// unparked wants no event of a row up to a position to be parked.
func (v *View[V]) unparked(ctx context.Context, t shown, key string, wanted annals.Position) error {
	if now := v.views.Progress().look(t.shape.String()); now.running && now.waiting == 0 {
		return nil
	}
	p, err := firstParked(ctx, t.Table, key)
	if err == nil && p != nil && p.Position <= wanted {
		err = &ParkedError{Projection: v.shape.Name, Key: key, Parked: *p}
	}
	return err
}

// Wait returns once every event up to p is in the rows. It waits as reads do, see [View], and fails with a
// [LaggingError]: at once, with its cause, if the projection has stopped with an error.
func (v *View[V]) Wait(ctx context.Context, p annals.Position) error {
	there := func(t shown) error { // what was announced here may be of rows that another process has dropped since
		_, err := t.Checkpoint(ctx)
		return err
	}
	if err := v.read(ctx, p, there); err != nil {
		return fmt.Errorf("projection: %s: wait: %w", v.shape, err)
	}
	return nil
}

// Position is the one up to which every event is in the rows.
func (v *View[V]) Position(ctx context.Context) (annals.Position, error) {
	var p annals.Position
	err := v.read(ctx, 0, func(t shown) (err error) {
		p, err = v.position(ctx, t)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("projection: %s: position: %w", v.shape, err)
	}
	return p, nil
}

func (v *View[V]) position(ctx context.Context, t shown) (annals.Position, error) {
	announced := v.views.Progress().look(t.shape.String()).in(t.Incarnation())
	stored, err := t.Checkpoint(ctx)
	return max(stored.Position, announced), err
}

// Status is what the projection is doing in this process; of rows' own version, whichever serves.
func (v *View[V]) Status() Status {
	t := v.views.Progress().look(v.shape.String())
	return Status{Applied: t.applied, Running: t.running, Err: t.err, Parked: t.waiting, Retrying: t.retries}
}

// shown is the table that a view reads.
type shown struct {
	Table

	shape Shape
}

// read calls f with the table once everything up to wanted is in it, and once more if the table was dropped meanwhile:
// then there is a new one, which is to be waited for anew.
func (v *View[V]) read(ctx context.Context, wanted annals.Position, f func(shown) error) error {
	for again := true; ; again = false {
		shape, err := v.current(ctx)
		w := waiter{progress: v.views.Progress(), id: shape.String(), name: v.shape.Name}
		var t Table
		if err == nil {
			t, err = v.views.Table(ctx, shape)
		}
		switch {
		case err != nil && wanted > 0 && ctx.Err() != nil:
			return w.lagging(w.progress.look(w.id).applied, wanted, givenUp(ctx))
		case err != nil:
			return err
		case wanted > 0:
			w.table = t
			err = w.wait(ctx, wanted)
		}
		if err == nil {
			err = f(shown{t, shape})
		}
		if !again || !errors.Is(err, ErrReset) {
			return err
		}
	}
}

package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// Serving is which version of a projection answers the reads of [OfServing], as it is kept in the views.
type Serving struct {
	Version int `json:"version"`
	// Previous is the version that [Rollback] goes back to; 0 if there is none.
	Previous int `json:"previous,omitempty"`
	// Since is when it was switched to.
	Since time.Time `json:"since"`
	// Held says that a newer version does not take its place by itself: somebody has gone back to it.
	Held bool `json:"held,omitempty"`
}

func servingKey(name string) string { return "serving/" + name }

// ServingOf is which version serves; the zero value if no version was ever run.
func ServingOf(ctx context.Context, views Views, name string) (Serving, error) {
	s, _, err := servingNote(ctx, views, name)
	return s, err
}

func servingNote(ctx context.Context, views Views, name string) (s Serving, note []byte, err error) {
	if note, err = views.Note(ctx, servingKey(name)); err == nil && note != nil {
		err = json.Unmarshal(note, &s)
	}
	if err != nil {
		return s, nil, fmt.Errorf("projection: %s: which version serves: %w", name, err)
	}
	return s, note, nil
}

// Switch makes a version of a projection the one that serves, all at once for every process. It may be behind: readers who demand a
// position wait for it. It fails with [ErrNotFound] if the version is not stored. The version that served before is kept, and [Rollback] goes
// back to it until it is dropped.
func Switch(ctx context.Context, views Views, name string, version int) error {
	if _, err := storedShape(ctx, views, name, version); err != nil {
		return err
	}
	return changeServing(ctx, views, name, func(s Serving) (Serving, error) {
		if s.Version == version {
			s.Held = false
			return s, nil
		}
		return Serving{Version: version, Previous: s.Version, Since: time.Now()}, nil
	})
}

// Rollback makes the version serve that served before. The newer one is kept and goes on; it does not take its place again unless
// [Switch] says so. It fails with [ErrNotFound] if there is none, or it was dropped.
func Rollback(ctx context.Context, views Views, name string) error {
	return changeServing(ctx, views, name, func(s Serving) (Serving, error) {
		if s.Previous == 0 {
			return s, fmt.Errorf("projection: %s: there is no version to go back to: %w", name, ErrNotFound)
		}
		if _, err := storedShape(ctx, views, name, s.Previous); err != nil {
			return s, err
		}
		return Serving{Version: s.Previous, Previous: s.Version, Since: time.Now(), Held: true}, nil
	})
}

// Drop removes a version of a projection that does not serve: its rows and all that is noted of it. It fails with [ErrServing] if it
// serves, and with [ErrNotFound] if it is not stored. A runner that keeps it begins anew.
func Drop(ctx context.Context, views Views, name string, version int) error {
	if _, err := storedShape(ctx, views, name, version); err != nil {
		return err
	}
	s, err := ServingOf(ctx, views, name)
	if err != nil {
		return err
	}
	id := tableName(name, version)
	if s.Version == version {
		return fmt.Errorf("projection: drop %s: %w", id, ErrServing)
	}
	if err := views.Drop(ctx, name, version); err != nil {
		return fmt.Errorf("projection: drop %s: %w", id, err)
	}
	return errors.Join(forget(ctx, views, controlKey(id)), forget(ctx, views, reportKey(id)))
}

// forget removes a note.
func forget(ctx context.Context, views Views, key string) error {
	return changeNote(ctx, views, key, func([]byte) ([]byte, error) { return nil, nil })
}

// changeNote sets a note to what f makes of it, and again if it was set by somebody else meanwhile.
func changeNote(ctx context.Context, views Views, key string, f func(old []byte) ([]byte, error)) error {
	for {
		old, err := views.Note(ctx, key)
		if err != nil {
			return err
		}
		now, err := f(old)
		if err != nil {
			return err
		}
		if err := views.SetNote(ctx, key, old, now); !errors.Is(err, ErrNoteMoved) {
			return err
		}
	}
}

func changeServing(ctx context.Context, views Views, name string, change func(Serving) (Serving, error)) error {
	return changeNote(ctx, views, servingKey(name), func(old []byte) ([]byte, error) {
		var s Serving
		if old != nil {
			if err := json.Unmarshal(old, &s); err != nil {
				return nil, fmt.Errorf("projection: %s: which version serves: %w", name, err)
			}
		}
		s, err := change(s)
		if err != nil {
			return nil, err
		}
		return json.Marshal(s)
	})
}

// OfServing is the handle to read the version that serves: rows' own, or, while that is being built beside it, the older one.
// Rows of the older one are decoded as V: its JSON has to make sense there. A newer version than rows' own, which other programs have
// switched to, is never read. A column that the serving version lacks cannot be listed by until it is switched. It panics as [Of] does.
func OfServing[V, E any](views Views, rows Rows[V, E]) *View[V] {
	v := Of(views, rows)
	v.serving = true
	return v
}

// OfStored reads a version of which no definition is at hand, as tools do: its rows are JSON. [ErrNotFound] if it is not stored.
func OfStored(ctx context.Context, views Views, name string, version int) (*View[json.RawMessage], error) {
	shape, err := storedShape(ctx, views, name, version)
	if err != nil {
		return nil, err
	}
	return &View[json.RawMessage]{views: views, shape: shape}, nil
}

// current is the shape to read.
func (v *View[V]) current(ctx context.Context) (Shape, error) {
	if !v.serving {
		return v.shape, nil
	}
	s, err := ServingOf(ctx, v.views, v.shape.Name)
	if err != nil || s.Version == 0 || s.Version >= v.shape.Version {
		return v.shape, err
	}
	shape, err := storedShape(ctx, v.views, v.shape.Name, s.Version)
	if errors.Is(err, ErrNotFound) {
		return v.shape, nil
	}
	return shape, err
}

// columnsIn wants the columns that a list needs to be those of a shape.
func (v *View[V]) columnsIn(shape Shape, s Selection) error {
	needed := []string{}
	if s.Order != "" {
		needed = append(needed, s.Order)
	}
	for _, f := range s.Filters {
		needed = append(needed, f.Column)
	}
	for _, name := range needed {
		there := slices.ContainsFunc(shape.Parts[0].Columns, func(c ColumnShape) bool { return c.Name == name })
		if !there {
			return v.invalid(fmt.Sprintf("%s, which serves, has no column %q: it is there once %s is switched to", shape, name, v.shape))
		}
	}
	return nil
}

// serve notes the version as the one that serves if none does, and else remembers that it is being built beside another.
func (j *job[E]) serve(ctx context.Context) error {
	name, version := j.plan.shape.Name, j.plan.shape.Version
	shapes, err := j.runner.Views.Stored(ctx)
	if err != nil {
		return fmt.Errorf("projection: %s: %w", j.id, err)
	}
	first := version
	for _, s := range shapes {
		if s.Name == name {
			first = min(first, s.Version)
		}
	}
	err = changeServing(ctx, j.runner.Views, name, func(s Serving) (Serving, error) {
		if s.Version == 0 {
			s = Serving{Version: first, Since: time.Now()}
		}
		j.building = s.Version < version && !s.Held && !j.runner.Hold
		return s, nil
	})
	if err != nil || !j.building {
		return err
	}
	if j.target, err = j.runner.Log.Store().Head(ctx); err != nil {
		return fmt.Errorf("projection: %s: head: %w", j.id, err)
	}
	j.target = min(j.target, j.until)
	j.logger.InfoContext(ctx, "projection is built beside the version that serves", slog.Uint64("position", uint64(j.stored.Position)),
		slog.Uint64("head", uint64(j.target)))
	return nil
}

// switchOver makes the version serve once it has come to where the log stood when it began.
func (j *job[E]) switchOver(ctx context.Context, at annals.Position) error {
	if !j.building || at < j.target {
		return nil
	}
	j.building = false
	name, version := j.plan.shape.Name, j.plan.shape.Version
	switched := false
	err := changeServing(ctx, j.runner.Views, name, func(s Serving) (Serving, error) {
		if switched = s.Version < version && !s.Held; !switched {
			return s, nil
		}
		return Serving{Version: version, Previous: s.Version, Since: time.Now()}, nil
	})
	if err != nil {
		return fmt.Errorf("projection: switch to %s: %w", j.id, err)
	}
	j.state(StateRunning)
	if switched {
		j.logger.InfoContext(ctx, "projection switched to its new version", slog.Uint64("position", uint64(at)))
	}
	return nil
}

package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// control is what people want of a projection. Runners look for it.
type control struct {
	Paused bool `json:"paused,omitempty"`
	// Retries counts how often it was asked for what is parked to be tried again.
	Retries int `json:"retries,omitempty"`
}

func controlKey(id string) string { return "control/" + id }

// Pause stops a projection where it stands, in whatever process runs it, within about a second. It stays paused until [Resume], also
// when programs are started anew: [Runner.Run] waits, [Runner.CatchUp] fails with [ErrPaused].
func Pause(ctx context.Context, views Views, name string, version int) error {
	return changeControl(ctx, views, name, version, func(c *control) { c.Paused = true })
}

// Resume lets a projection that was paused go on.
func Resume(ctx context.Context, views Views, name string, version int) error {
	return changeControl(ctx, views, name, version, func(c *control) { c.Paused = false })
}

// Retry asks whoever runs a projection to try again what is parked, within about a second.
func Retry(ctx context.Context, views Views, name string, version int) error {
	return changeControl(ctx, views, name, version, func(c *control) { c.Retries++ })
}

func changeControl(ctx context.Context, views Views, name string, version int, change func(*control)) error {
	if _, err := storedShape(ctx, views, name, version); err != nil {
		return err
	}
	id := tableName(name, version)
	err := changeNote(ctx, views, controlKey(id), func(old []byte) ([]byte, error) {
		c, err := decodeControl(old)
		if err != nil {
			return nil, err
		}
		change(&c)
		return json.Marshal(c)
	})
	if err != nil {
		return fmt.Errorf("projection: %s: %w", id, err)
	}
	views.Progress().nudge(id)
	return nil
}

func decodeControl(note []byte) (c control, err error) {
	if note != nil {
		err = json.Unmarshal(note, &c)
	}
	return c, err
}

// lookEvery is how often a runner looks for what other processes want of it.
const lookEvery = time.Second

// wanted is what people want of the projection now.
func (j *job[E]) wanted(ctx context.Context) (control, error) {
	note, err := j.runner.Views.Note(ctx, controlKey(j.id))
	if err == nil {
		var c control
		if c, err = decodeControl(note); err == nil {
			return c, nil
		}
	}
	return control{}, fmt.Errorf("projection: %s: what is wanted of it: %w", j.id, err)
}

// watch calls changed once people want something else than now, or the rows were dropped, which a runner that has nothing to do would not
// notice; it returns when ctx ends.
func (j *job[E]) watch(ctx context.Context, now control, changed func(cause error)) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		nudged := j.runner.Views.Progress().nudged(j.id)
		if c, err := j.wanted(ctx); err == nil && c != now {
			changed(errWanted)
			return
		}
		if _, err := j.table.Checkpoint(ctx); errors.Is(err, ErrReset) {
			changed(ErrReset)
			return
		}
		select {
		case <-nudged:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

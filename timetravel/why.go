package timetravel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// ErrNoReason says that no event has ever changed the field that was asked about.
var ErrNoReason = errors.New("timetravel: no event has changed it")

// causesMax bounds the chain of causes: a longer one is cut, as [Reason.Cut] says.
const causesMax = 100

// Cause is an event in a chain of causes.
type Cause struct {
	annals.Recorded
	// Metadata says who did it, by which command.
	Metadata annals.Metadata
}

// Reason is why a state says what it says.
type Reason struct {
	// Path is the field that was asked about.
	Path string
	// Value is what the state says there, as JSON, and Before what it said before Event.
	Value, Before json.RawMessage
	// Event has changed it.
	Event Cause
	// Causes led to the event, the nearest first: the events that its command, or the process that gave it, answered, also in
	// other streams. Empty: somebody gave the command of their own accord.
	Causes []Cause
	// Request is the id of what the first cause names in turn and is no event of this store: a request from outside.
	Request string
	// Cut says that there are more causes than are listed.
	Cut bool
}

// Why finds the last event that has changed a field of a state, and what led to it. The path is as [Change.Path] has it; one that
// stands for an object or an array stands for all that lies in it. Options say as of when. It fails with [ErrNoReason] if no
// event has changed the field.
func Why[S decider.State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, path string, opts ...annals.ReadOption) (Reason, error) {
	doc, err := encode(initial)
	if err != nil {
		return Reason{}, err
	}
	value, err := valueAt(doc, path)
	if err != nil {
		return Reason{}, err
	}
	r := Reason{Path: path}
	for step, err := range steps(ctx, log, initial, opts...) {
		if err != nil {
			return Reason{}, fmt.Errorf("timetravel: why %q of %T: %w", path, initial, err)
		}
		before := value
		if value, err = valueAt(step.JSON, path); err != nil {
			return Reason{}, err
		}
		if !bytes.Equal(before, value) {
			r.Before, r.Value, r.Event = before, value, Cause{step.Entry.Recorded, step.Entry.Meta()}
		}
	}
	if r.Event.Position == 0 {
		return Reason{}, fmt.Errorf("%w: %q of %T", ErrNoReason, path, initial)
	}
	return r, r.follow(ctx, log.Store())
}

// follow reads the causes of the event, until there is none, or one that was seen.
func (r *Reason) follow(ctx context.Context, store annals.Store) error {
	seen := map[annals.ID]bool{r.Event.ID: true}
	for next := r.Event.Metadata.CausationID; next != ""; {
		id, notOurs := annals.ParseID(next)
		if notOurs != nil {
			r.Request = next
			break
		}
		if seen[id] {
			break
		}
		if len(r.Causes) == causesMax {
			r.Cut = true
			return nil
		}
		seen[id] = true
		cause, found, err := read(ctx, store, id)
		if err != nil {
			return err
		}
		if !found {
			r.Request = next
			return nil
		}
		r.Causes = append(r.Causes, cause)
		next = cause.Metadata.CausationID
	}
	return nil
}

func read(ctx context.Context, store annals.Store, id annals.ID) (c Cause, found bool, err error) {
	for e, err := range store.Read(ctx, annals.ByID(id).WithSystem(), annals.Limit(1)) {
		if err != nil {
			return c, false, fmt.Errorf("timetravel: read the cause %s: %w", id, err)
		}
		return Cause{e, e.Meta()}, true, nil
	}
	return c, false, nil
}

// valueAt is what a document has at a path; null if nothing.
func valueAt(doc []byte, path string) (json.RawMessage, error) {
	v, err := decode(doc)
	if err != nil {
		return nil, err
	}
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' }) {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			var i int
			if _, err := fmt.Sscanf(step, "%d]", &i); err != nil || i < 0 || i >= len(in) {
				v = nil
			} else {
				v = in[i]
			}
		default:
			v = nil
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("timetravel: %w", err)
	}
	return b, nil
}

package timetravel

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Change is a field that an event has changed.
type Change struct {
	// Path is where the field is, in the names of its JSON, such as "status" or "lines[0].count". "" is all of a state
	// that is no object.
	Path string `json:"path"`
	// Before and After are the values as JSON; null where there was or is none.
	Before json.RawMessage `json:"before"`
	After  json.RawMessage `json:"after"`
}

// String writes the change for people.
func (c Change) String() string { return fmt.Sprintf("%s: %s → %s", c.Path, c.Before, c.After) }

// Changes lists what differs between two JSON documents, in the order of the paths. Elements of arrays are compared by their
// place. Values that only one of them has are listed as a whole.
func Changes(before, after []byte) ([]Change, error) {
	b, err := decode(before)
	if err != nil {
		return nil, err
	}
	a, err := decode(after)
	if err != nil {
		return nil, err
	}
	var d differ
	if err := d.compare("", b, a); err != nil {
		return nil, err
	}
	return d.changes, nil
}

// decode keeps numbers as they are written.
func decode(b []byte) (v any, err error) {
	if len(b) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("timetravel: %w", err)
	}
	return v, nil
}

type differ struct{ changes []Change }

func (d *differ) compare(path string, before, after any) error {
	switch b := before.(type) {
	case map[string]any:
		if a, ok := after.(map[string]any); ok {
			return d.objects(path, b, a)
		}
	case []any:
		if a, ok := after.([]any); ok {
			return d.arrays(path, b, a)
		}
	case nil, bool, string, json.Number:
		switch after.(type) {
		case nil, bool, string, json.Number:
			if before == after {
				return nil
			}
		}
	}
	return d.add(path, before, after)
}

func (d *differ) objects(path string, before, after map[string]any) error {
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		at := name
		if path != "" {
			at = path + "." + name
		}
		b, had := before[name]
		a, has := after[name]
		if had != has && (b != nil || a != nil) {
			if err := d.add(at, b, a); err != nil {
				return err
			}
			continue
		}
		if err := d.compare(at, b, a); err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) arrays(path string, before, after []any) error {
	for i := range max(len(before), len(after)) {
		at := path + "[" + strconv.Itoa(i) + "]"
		var err error
		switch {
		case i >= len(before):
			err = d.add(at, nil, after[i])
		case i >= len(after):
			err = d.add(at, before[i], nil)
		default:
			err = d.compare(at, before[i], after[i])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *differ) add(path string, before, after any) error {
	b, err := json.Marshal(before)
	if err != nil {
		return fmt.Errorf("timetravel: %w", err)
	}
	a, err := json.Marshal(after)
	if err != nil {
		return fmt.Errorf("timetravel: %w", err)
	}
	d.changes = append(d.changes, Change{Path: path, Before: b, After: a})
	return nil
}

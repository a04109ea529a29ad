package timetravel

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/annalsdb/annals"
)

// Merged is the state of a stream for tools that know nothing of its types: the data of its events, merged as a JSON merge patch
// merges ([RFC 7396]). A later value takes the place of an earlier one of the same name, objects are merged, null takes away. The
// member [LastType] is the type of the last event. Data that is no JSON object changes only that.
//
// It goes with a log of annals.StoredSchema. Make one with the name of the stream alone.
//
// [RFC 7396]: https://www.rfc-editor.org/rfc/rfc7396
type Merged struct {
	Stream string
	doc    map[string]any
}

// LastType is the member of a [Merged] state that says what happened last.
const LastType = "$type"

// Boundary is the stream.
func (m Merged) Boundary() annals.Query {
	q := annals.Stream(m.Stream)
	if strings.HasPrefix(m.Stream, "$") {
		q = q.WithSystem()
	}
	return q
}

// Evolve merges an event into the state.
func (m Merged) Evolve(e annals.Recorded) Merged {
	if m.doc == nil {
		m.doc = map[string]any{}
	}
	if data, err := decode(e.Data); err == nil {
		if patch, ok := data.(map[string]any); ok {
			merge(m.doc, patch)
		}
	}
	m.doc[LastType] = e.Type
	return m
}

// merge applies a merge patch.
func merge(doc, patch map[string]any) {
	for name, value := range patch {
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(doc, name)
		case isObject:
			target, ok := doc[name].(map[string]any)
			if !ok {
				target = map[string]any{}
				doc[name] = target
			}
			merge(target, inner)
		default:
			doc[name] = value
		}
	}
}

// MarshalJSON is the merged document.
func (m Merged) MarshalJSON() ([]byte, error) {
	if m.doc == nil {
		return []byte("{}"), nil
	}
	b, err := json.Marshal(m.doc)
	if err != nil {
		return nil, fmt.Errorf("timetravel: merged state of %s: %w", m.Stream, err)
	}
	return b, nil
}

package annals

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// TypeTracked is the type of the system event by which a store keeps the position that a consumer has come to. It stands
// in the stream that [TrackingStream] names, and is written by [TrackingAt] alone. Its data is a JSON object with the
// member position, a decimal string.
const TypeTracked = "$tracked"

const trackingPrefix = "$tracked-"

// TrackingStream is the system stream that holds the positions of a source.
func TrackingStream(source string) string { return trackingPrefix + source }

// Tracker is implemented by stores that keep the positions of consumers, written in one with what the consumers
// append. Such a store accepts the condition [TrackingAt], and says so in [Limits.Tracking].
type Tracker interface {
	// Tracked is the position that was last stored for a source, 0 if none was. Safe for concurrent use.
	Tracked(ctx context.Context, source string) (Position, error)
}

// Tracked is the position that s has last stored for a source, 0 if none: where a consumer that names itself so goes on.
// It fails with [ErrUnsupported] if s is no [Tracker].
func Tracked(ctx context.Context, s Store, source string) (Position, error) {
	if t, ok := s.(Tracker); ok {
		return t.Tracked(ctx, source)
	}
	return 0, fmt.Errorf("tracking of source %s: %w", source, ErrUnsupported)
}

type trackedData struct {
	Position Position `json:"position"`
}

// TrackedEvents are the system events by which a store keeps what the conditions among conds that are [TrackingAt]
// say, in their order, without ids. It is for those who implement stores, which append them behind the events.
func TrackedEvents(conds []Condition) []Event {
	var events []Event
	for _, c := range conds {
		if c.kind != KindTracking {
			continue
		}
		data, err := json.Marshal(trackedData{c.after})
		if err != nil {
			panic("annals: encoding a position: " + err.Error()) // a number always encodes
		}
		events = append(events, Event{Type: TypeTracked, Stream: TrackingStream(c.source), Data: data})
	}
	return events
}

// TrackedPosition is the position that an event of type [TypeTracked] holds. It is for those who implement stores.
func TrackedPosition(e Event) (Position, error) {
	var data trackedData
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return 0, invalid("event "+TypeTracked, "data: "+err.Error())
	}
	return data.Position, nil
}

// CheckSource reports what is wrong with the name of a source, as an [InvalidError] or [LimitError]. It is for those who
// implement stores.
func CheckSource(source string, limits Limits) error { return checkSource("source", source, limits) }

func checkSource(what, source string, limits Limits) error {
	if isSystemName(source) {
		return &InvalidError{What: what, Problem: fmt.Sprintf("%q: names beginning with \"$\" are the system's", source), reserved: true}
	}
	return checkName(place{thing: what, index: noIndex}, source, limits.StreamBytes-len(trackingPrefix))
}

// isTracking reports whether e is, or would be taken for, what [TrackingAt] writes.
func isTracking(e *Event) bool {
	return e.Type == TypeTracked || strings.HasPrefix(e.Stream, trackingPrefix)
}

package annals

import (
	"fmt"
	"reflect"
)

// Encode makes the stored form of v: name, version, stream, tags, data and the content type of its [Codec]. The id is left
// for the caller, or the store, to choose.
func (s *Schema[E]) Encode(v E) (Event, error) {
	if s.stored != nil {
		e := s.stored(v).Event
		e.ID = ID{}
		return e, nil
	}
	t := reflect.TypeOf(v)
	et := s.byType[t]
	if et == nil {
		problem := fmt.Sprintf("%T is not among the types given to NewSchema", v)
		if t != nil && t.Kind() == reflect.Pointer && s.byType[t.Elem()] != nil {
			problem = fmt.Sprintf("%T is a pointer to an event: give the value, not a pointer", v)
		}
		return Event{}, &InvalidError{What: "event", Problem: problem}
	}
	data, err := et.codec.Encode(v)
	if err != nil {
		return Event{}, fmt.Errorf("annals: encode %s: %w", et.name, err)
	}
	e := Event{Type: et.name, Version: et.version, ContentType: et.contentType, Data: data}
	if err := s.label(&e, et, v); err != nil {
		return Event{}, err
	}
	return e, nil
}

// label gives e the stream and the tags of v.
func (s *Schema[E]) label(e *Event, et *eventType, v E) error {
	l := labels{hashKey: s.hashKey}
	if err := l.collect(et.plan, reflect.ValueOf(v)); err != nil {
		return fmt.Errorf("annals: encode %s: %w", et.name, err)
	}
	e.Stream, e.Tags = l.stream, sortedSet(l.tags)
	return nil
}

package annals

import "fmt"

// Entry is a recorded event with its decoded value.
type Entry[E any] struct {
	Recorded
	Value E
	// Part is the place of the value among those that the stored event was decoded to, from 0. See [Split]. A consumer that
	// stops between two parts of an event goes on at (Position, Part).
	Part int
	// Parts is how many values the stored event was decoded to, 1 for what is not split.
	Parts int
}

// Decode appends what a recorded event means to dst: its value, through the upcasters if it is of an older version, or the
// values that [Split] makes of it, which may be none. It fails with [ErrUnknownType] for a type that is not listed, unless
// [PassUnknown] was said, and with [ErrDropped] for one that is dropped; see [Schema.Skips]. With an error, dst is returned as
// it was.
func (s *Schema[E]) Decode(dst []Entry[E], r Recorded) ([]Entry[E], error) {
	et := s.byName[r.Type]
	if et == nil {
		return s.decodeOther(dst, r)
	}
	v, err := s.value(et, &r)
	if err != nil {
		return dst, err
	}
	return append(dst, Entry[E]{Recorded: r, Value: v, Parts: 1}), nil
}

// value is what an event of a type that the schema lists means.
func (s *Schema[E]) value(et *eventType, r *Recorded) (value E, err error) {
	v, err := et.decode(&s.codecs, r)
	if err != nil {
		return value, decodeError(*r, err)
	}
	value, ok := v.(E)
	if !ok {
		panic(fmt.Sprintf("annals: schema lists %T, which is not an event of it", v))
	}
	return value, nil
}

// decodeOther is Decode for types that the schema does not list.
func (s *Schema[E]) decodeOther(dst []Entry[E], r Recorded) ([]Entry[E], error) {
	if s.dropped[r.Type] {
		return dst, ErrDropped
	}
	if rt := s.retired[r.Type]; rt != nil {
		parts, err := s.split(dst, rt, r)
		if err != nil {
			return dst, decodeError(r, err)
		}
		return parts, nil
	}
	if s.pass != nil && (s.stored != nil || !isSystemName(r.Type)) {
		return append(dst, Entry[E]{Recorded: r, Value: s.pass(r), Parts: 1}), nil
	}
	return dst, &UnknownTypeError{Type: r.Type, Position: r.Position}
}

func decodeError(r Recorded, err error) error {
	return fmt.Errorf("annals: position %d: decode %s version %d: %w", r.Position, r.Type, r.Version, err)
}

// Skips reports whether err, of [Schema.Decode], means that the event is to be left out.
func (s *Schema[E]) Skips(err error) bool { return s.skips(err) }

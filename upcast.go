package annals

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// upcast makes today's value of the data of one version, or the data of the next version.
type upcast struct {
	raw   func([]byte) ([]byte, error)
	typed func(c Codec, data []byte) (any, error)
}

// Upcast reads data that was stored as version `from` of New as an Old, and makes of it, with f, a New as it is today. New's
// version is one more than the highest `from`, and each version before needs an upcaster. Typed ones lead from any version to
// today's type in one step, so that the compiler checks them all whenever New changes; [UpcastRaw] leads to the next version.
func Upcast[Old, New any](from uint16, f func(Old) New) SchemaOption {
	return addUpcast[New]("Upcast", from, upcast{typed: func(c Codec, data []byte) (any, error) {
		var old Old
		if err := c.Decode(data, &old); err != nil {
			return nil, err
		}
		return f(old), nil
	}})
}

// UpcastRaw turns the data of version `from` of New into that of version from+1, as bytes of the codec that they were stored
// by.
func UpcastRaw[New any](from uint16, f func(data []byte) ([]byte, error)) SchemaOption {
	return addUpcast[New]("UpcastRaw", from, upcast{raw: f})
}

func addUpcast[New any](option string, from uint16, u upcast) SchemaOption {
	return func(b *schemaBuilder) {
		et := b.eventType(option, reflect.TypeFor[New]())
		switch {
		case et == nil:
		case from == 0:
			b.mistake("%s to %s: versions begin at 1", option, et.goType)
		case et.has(from):
			b.mistake("%s to %s: a second upcaster from version %d", option, et.goType, from)
		default:
			et.upcasts[from] = u
			et.version = max(et.version, from+1)
		}
	}
}

func (et *eventType) has(from uint16) bool {
	_, ok := et.upcasts[from]
	return ok
}

// retiredType is a type of stored events that the program has no more, and whose events become several of others.
type retiredType struct {
	name   string
	into   map[reflect.Type]bool
	splits map[uint16]func(c Codec, data []byte) ([]any, error)
}

// Split reads events that were stored under a name that no type of the schema has any more, as version `from`, and makes of
// each, with f, events of today: several, in their order, or one, or none. into lists the types that f makes, by an example
// each. A type whose events said too much becomes two so:
//
//	annals.Split("OrderPlacedAndPaid", 1, []Event{OrderPlaced{}, OrderPaid{}},
//		func(o placedAndPaid) []Event { return []Event{OrderPlaced{o.Order}, OrderPaid{o.Order, o.Amount}} })
//
// Each version that was stored needs a Split. If the type goes on under its name with less in it, give it a new name with
// [Named], so that queries and conditions can tell the two apart.
//
// A part has the position, the id and the stream of the stored event, and the tags of its own value. A query delivers it if it
// matches the part and the stored event: what a part is about, the stored event has to be about, too.
func Split[Old, E any](name string, from uint16, into []E, f func(Old) []E) SchemaOption {
	return func(b *schemaBuilder) {
		rt := b.retired[name]
		if rt == nil {
			rt = &retiredType{name: name, into: map[reflect.Type]bool{}, splits: map[uint16]func(Codec, []byte) ([]any, error){}}
		}
		switch {
		case name == "":
			b.mistake("Split: no name")
			return
		case isSystemName(name):
			b.mistake("Split: %q is a system name", name)
			return
		case from == 0:
			b.mistake("Split of %q: versions begin at 1", name)
			return
		case rt.splits[from] != nil:
			b.mistake("Split of %q: a second one for version %d", name, from)
			return
		case len(into) == 0:
			b.mistake("Split of %q: it says not into what: use Dropped for events of no interest", name)
		}
		b.retired[name] = rt
		for _, e := range into {
			if t := reflect.TypeOf(e); b.byType[t] == nil {
				b.mistake("Split of %q: %v is not among the events", name, t)
			} else {
				rt.into[t] = true
			}
		}
		rt.splits[from] = func(c Codec, data []byte) ([]any, error) {
			var old Old
			if err := c.Decode(data, &old); err != nil {
				return nil, err
			}
			parts := f(old)
			values := make([]any, len(parts))
			for i, p := range parts {
				values[i] = p
			}
			return values, nil
		}
	}
}

// completeRetired checks a retired type when all options have spoken, and says to the types that it becomes where else to
// look for them.
func (b *schemaBuilder) completeRetired(rt *retiredType) {
	if b.dropped[rt.name] {
		b.mistake("the name %q is dropped and split", rt.name)
	}
	newest := uint16(0)
	for v := range rt.splits {
		newest = max(newest, v)
	}
	for v := uint16(1); v < newest; v++ {
		if rt.splits[v] == nil {
			b.mistake("Split of %q: none for version %d", rt.name, v)
		}
	}
	for t := range rt.into {
		b.byType[t].sources = append(b.byType[t].sources, rt.name)
	}
}

// split makes the parts of a stored event.
func (s *Schema[E]) split(dst []Entry[E], rt *retiredType, r Recorded) ([]Entry[E], error) {
	f := rt.splits[max(r.Version, 1)]
	if f == nil {
		return dst, errors.New("there is no Split for this version")
	}
	c, err := s.codecs.of(r.ContentType)
	if err != nil {
		return dst, err
	}
	values, err := f(c, r.Data)
	if err != nil {
		return dst, err
	}
	begin := len(dst)
	for i, v := range values {
		t := reflect.TypeOf(v)
		if !rt.into[t] {
			return dst[:begin], fmt.Errorf("its Split made a %v, which is not among the types that it named", t)
		}
		value, _ := v.(E) // it is one of the schema's events
		et := s.byType[t]
		part := r
		part.Type, part.Version = et.name, et.version
		l := labels{hashKey: s.hashKey, lenient: true}
		if err := l.collect(et.plan, reflect.ValueOf(v)); err != nil {
			return dst[:begin], err
		}
		part.Tags = sortedSet(l.tags)
		dst = append(dst, Entry[E]{Recorded: part, Value: value, Part: i, Parts: len(values)})
	}
	return dst, nil
}

// decode makes the value of an event of a type that the schema lists.
func (et *eventType) decode(all *codecs, r *Recorded) (any, error) {
	data := r.Data
	version := max(r.Version, 1)
	if version > et.version {
		return nil, fmt.Errorf("the newest version that this program knows is %d", et.version)
	}
	c, err := et.codec, error(nil)
	if r.ContentType != et.contentType {
		if c, err = all.of(r.ContentType); err != nil {
			return nil, err
		}
	}
	for ; version < et.version; version++ {
		u := et.upcasts[version]
		if u.typed != nil {
			return u.typed(c, data)
		}
		if data, err = u.raw(slices.Clone(data)); err != nil { // stored bytes are shared
			return nil, fmt.Errorf("upcast from version %d: %w", version, err)
		}
	}
	s, ok := et.scratch.Get().(*scratch)
	if !ok {
		p := reflect.New(et.goType)
		s = &scratch{pointer: p.Interface(), value: p.Elem()}
	}
	if err := c.Decode(data, s.pointer); err != nil {
		return nil, err // what is half decoded is not used again
	}
	v := s.value.Interface() // a copy
	s.value.SetZero()
	et.scratch.Put(s)
	return v, nil
}

// scratch is a zero value of an event type, which is decoded into and copied: the value that a reader gets is one allocation
// so, and not two.
type scratch struct {
	pointer any
	value   reflect.Value
}

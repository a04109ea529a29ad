package annals

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Schema is the event types of one bounded context: their names, versions and tags, and how stored data of older
// versions becomes today's values. E is the interface that the events share, or any. A Schema never changes; it may
// be used concurrently.
//
// Event types are plain structs, given as values. Their names are their Go names, unless [Named] says otherwise.
// Struct tags declare what an event is about, once and for every append of it:
//
//	Order string `json:"order" annals:"order,stream"` // the stream order-<value>, and the tag order:<value>
//	Product string `json:"product" annals:"product"`  // the tag product:<value>
//	Email string `json:"email" annals:"email,hash"`   // the tag email:<keyed hash of the value>: for personal data
//	Coupon string `json:"coupon" annals:"coupon,omitempty"` // no tag if the value is empty; else that is an error
//
// Tagged fields are strings, of any named type, or slices of them; they may lie in embedded and nested structs and in
// slices of structs, where each element gives its tags.
type Schema[E any] struct {
	byName  map[string]*eventType       // stored names, old ones included
	byType  map[reflect.Type]*eventType // the Go types
	dropped map[string]bool
	tags    map[string]tagUse // declared tag names
	hashKey []byte
	unknown UnknownPolicy
}

// tagUse is how a tag's name is declared.
type tagUse struct{ stream, hash bool }

type eventType struct {
	name    string   // as it is stored today
	names   []string // name, and those it was stored under before
	goType  reflect.Type
	version uint16 // as it is stored today
	plan    *tagPlan
	upcasts map[uint16]upcast
}

// upcast turns the data of one version into that of the next. A typed one ends the chain if it is the last.
type upcast struct {
	raw   func([]byte) ([]byte, error)
	typed func([]byte) (any, error)
}

// UnknownPolicy says what a [Log] does with a stored event whose type the schema does not list.
type UnknownPolicy uint8

const (
	// UnknownFail ends the read with [ErrUnknownType]: a decision must not be made on half of its facts. The default.
	UnknownFail UnknownPolicy = iota
	// UnknownSkip leaves the event out.
	UnknownSkip
)

// ErrUnknownType matches the error of decoding an event whose type the schema does not list. See [UnknownTypeError].
var ErrUnknownType = errors.New("annals: unknown event type")

// ErrDropped is the error of decoding an event whose type was [Dropped]. A [Log] leaves such events out.
var ErrDropped = errors.New("annals: dropped event type")

// UnknownTypeError names a stored event that the schema does not list. It matches [ErrUnknownType].
type UnknownTypeError struct {
	Type     string
	Position Position
}

// Error names the type and the position, and the remedy.
func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("annals: position %d: unknown event type %q: add it to NewSchema, or say Renamed or Dropped", e.Position, e.Type)
}

// Is matches ErrUnknownType.
func (e *UnknownTypeError) Is(target error) bool { return target == ErrUnknownType }

// SchemaOption adjusts a schema.
type SchemaOption func(*schemaBuilder)

type schemaBuilder struct {
	byType   map[reflect.Type]*eventType
	byName   map[string]*eventType
	dropped  map[string]bool
	hashKey  []byte
	unknown  UnknownPolicy
	mistakes []error
}

func (b *schemaBuilder) mistake(format string, args ...any) {
	b.mistakes = append(b.mistakes, fmt.Errorf(format, args...))
}

func (b *schemaBuilder) eventType(option string, t reflect.Type) *eventType {
	et := b.byType[t]
	if et == nil {
		b.mistake("%s: %s is not among the events", option, t)
	}
	return et
}

func (b *schemaBuilder) claim(name string, et *eventType) {
	switch {
	case name == "":
		b.mistake("event %s has no name: use Named", et.goType)
	case isSystemName(name):
		b.mistake("event %s: %q is a system name", et.goType, name)
	case b.byName[name] != nil && b.byName[name] != et:
		b.mistake("the name %q stands for %s and for %s", name, b.byName[name].goType, et.goType)
	case b.dropped[name]:
		b.mistake("the name %q is dropped and stands for %s", name, et.goType)
	default:
		b.byName[name] = et
	}
}

// Named stores events of type T under this name instead of T's Go name.
func Named[T any](name string) SchemaOption {
	return func(b *schemaBuilder) {
		if et := b.eventType("Named", reflect.TypeFor[T]()); et != nil {
			et.name = name
		}
	}
}

// Renamed reads events that were stored under an old name as T. Queries that name T's type find them too.
func Renamed[T any](old string) SchemaOption {
	return func(b *schemaBuilder) {
		if et := b.eventType("Renamed", reflect.TypeFor[T]()); et != nil {
			et.names = append(et.names, old)
		}
	}
}

// Dropped says that events stored under this name are of no interest any more: reads leave them out.
func Dropped(name string) SchemaOption {
	return func(b *schemaBuilder) { b.dropped[name] = true }
}

// Upcast reads data that was stored as version `from` of New as an Old, and makes a New of it with f. New's version
// is one more than the highest `from`. Versions between need an upcaster each; a typed one serves only as the last
// step, since it yields today's New: write the steps before it with [UpcastRaw].
func Upcast[Old, New any](from uint16, f func(Old) New) SchemaOption {
	return addUpcast[New]("Upcast", from, upcast{typed: func(data []byte) (any, error) {
		var old Old
		if err := json.Unmarshal(data, &old); err != nil {
			return nil, err
		}
		return f(old), nil
	}})
}

// UpcastRaw turns the data of version `from` of New into that of version from+1, as JSON.
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

// HashKey is the secret of tags declared with `hash`, and of [Schema.Fingerprint]: at least 16 bytes, the same for as long as the store lives. A
// schema with such tags needs one.
func HashKey(key []byte) SchemaOption {
	return func(b *schemaBuilder) {
		if len(key) < 16 {
			b.mistake("HashKey: %d bytes are too few, give at least 16", len(key))
		}
		b.hashKey = slices.Clone(key)
	}
}

// UnknownTypes says what reads do with stored events whose type the schema does not list.
func UnknownTypes(policy UnknownPolicy) SchemaOption {
	return func(b *schemaBuilder) { b.unknown = policy }
}

// NewSchema makes a schema of these event types. A wrong declaration is a mistake in the program: NewSchema panics,
// naming all mistakes at once.
func NewSchema[E any](events []E, opts ...SchemaOption) *Schema[E] {
	b := &schemaBuilder{byType: map[reflect.Type]*eventType{}, byName: map[string]*eventType{}, dropped: map[string]bool{}}
	types := make([]*eventType, 0, len(events))
	for i, e := range events {
		t := reflect.TypeOf(e)
		switch {
		case t == nil:
			b.mistake("event %d is nil", i)
		case t.Kind() == reflect.Pointer:
			b.mistake("event %s is a pointer: events are struct values", t)
		case t.Kind() != reflect.Struct:
			b.mistake("event %s is not a struct", t)
		case b.byType[t] != nil:
			b.mistake("event %s is listed twice", t)
		default:
			et := &eventType{name: goName(t), goType: t, version: 1, upcasts: map[uint16]upcast{}}
			b.byType[t] = et
			types = append(types, et)
		}
	}
	if len(events) == 0 {
		b.mistake("no events")
	}
	for _, o := range opts {
		o(b)
	}
	s := &Schema[E]{byName: b.byName, byType: b.byType, dropped: b.dropped, tags: map[string]tagUse{}, hashKey: b.hashKey, unknown: b.unknown}
	for _, et := range types {
		s.complete(b, et)
	}
	for name, use := range s.tags {
		if use.hash && b.hashKey == nil {
			b.mistake("tag %q is hashed: give HashKey", name)
		}
	}
	if err := errors.Join(b.mistakes...); err != nil {
		panic("annals: NewSchema:\n" + err.Error())
	}
	return s
}

// complete checks one event type's declaration when all options have spoken.
func (s *Schema[E]) complete(b *schemaBuilder, et *eventType) {
	et.names = append([]string{et.name}, et.names...)
	for _, n := range et.names {
		b.claim(n, et)
	}
	for v := uint16(1); v < et.version; v++ {
		u, ok := et.upcasts[v]
		if !ok {
			b.mistake("event %s: no upcaster from version %d", et.goType, v)
		}
		if u.typed != nil && v != et.version-1 {
			b.mistake("event %s: the typed upcaster from version %d is not the last: use UpcastRaw", et.goType, v)
		}
	}
	p := planner{mistake: b.mistake, owner: et.goType, tags: s.tags, within: map[reflect.Type]*tagPlan{}}
	et.plan = p.plan(et.goType)
	if p.streams > 1 {
		b.mistake("event %s: %d fields name its stream", et.goType, p.streams)
	}
}

// goName is a type's name without its package; none for generic types, whose names are not fit to be stored.
func goName(t reflect.Type) string {
	n := t.Name()
	for _, r := range n {
		if r == '[' {
			return ""
		}
	}
	return n
}

// Skips reports whether err, of Decode, means that the event is to be left out.
func (s *Schema[E]) Skips(err error) bool { return s.skips(err) }

// LeavesOut reports whether reads may leave events out: some types are dropped, or unknown ones are skipped.
func (s *Schema[E]) LeavesOut() bool { return len(s.dropped) > 0 || s.unknown == UnknownSkip }

// TypeName is the name under which values like v are stored, or "" if v is not one of the schema's events.
func (s *Schema[E]) TypeName(v E) string {
	if et := s.byType[reflect.TypeOf(v)]; et != nil {
		return et.name
	}
	return ""
}

// TypeNames are the names under which events are stored today, sorted.
func (s *Schema[E]) TypeNames() []string {
	names := make([]string, 0, len(s.byType))
	for _, et := range s.byType {
		names = append(names, et.name)
	}
	slices.Sort(names)
	return names
}

// Encode makes the stored form of v: name, version, stream, tags and JSON data. The id is left for the caller, or the
// store, to choose.
func (s *Schema[E]) Encode(v E) (Event, error) {
	t := reflect.TypeOf(v)
	et := s.byType[t]
	if et == nil {
		problem := fmt.Sprintf("%T is not among the types given to NewSchema", v)
		if t != nil && t.Kind() == reflect.Pointer && s.byType[t.Elem()] != nil {
			problem = fmt.Sprintf("%T is a pointer to an event: give the value, not a pointer", v)
		}
		return Event{}, &InvalidError{What: "event", Problem: problem}
	}
	data, err := json.Marshal(v)
	if err != nil {
		return Event{}, fmt.Errorf("annals: encode %s: %w", et.name, err)
	}
	e := Event{Type: et.name, Version: et.version, Data: data}
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

// Entry is a recorded event with its decoded value.
type Entry[E any] struct {
	Recorded
	Value E
}

// Decode makes the value of a recorded event, through the upcasters if it is of an older version. It fails with
// [ErrUnknownType] for a type that is not listed, [ErrDropped] for one that is dropped.
func (s *Schema[E]) Decode(r Recorded) (Entry[E], error) {
	et := s.byName[r.Type]
	if et == nil {
		if s.dropped[r.Type] {
			return Entry[E]{}, ErrDropped
		}
		return Entry[E]{}, &UnknownTypeError{Type: r.Type, Position: r.Position}
	}
	v, err := et.decode(r)
	if err != nil {
		return Entry[E]{}, fmt.Errorf("annals: position %d: decode %s version %d: %w", r.Position, r.Type, r.Version, err)
	}
	value, ok := v.(E)
	if !ok {
		panic(fmt.Sprintf("annals: schema lists %T, which is not an event of it", v))
	}
	return Entry[E]{Recorded: r, Value: value}, nil
}

func (et *eventType) decode(r Recorded) (any, error) {
	data := r.Data
	version := max(r.Version, 1)
	if version > et.version {
		return nil, fmt.Errorf("the newest version that this program knows is %d", et.version)
	}
	for ; version < et.version; version++ {
		u := et.upcasts[version]
		if u.typed != nil {
			return u.typed(data)
		}
		var err error
		if data, err = u.raw(slices.Clone(data)); err != nil { // stored bytes are shared
			return nil, fmt.Errorf("upcast from version %d: %w", version, err)
		}
	}
	p := reflect.New(et.goType)
	if err := json.Unmarshal(data, p.Interface()); err != nil {
		return nil, err
	}
	return p.Elem().Interface(), nil
}

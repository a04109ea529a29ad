package annals

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
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
	retired map[string]*retiredType // stored names of types that are split when they are read
	tags    map[string]tagUse       // declared tag names
	codecs  codecs
	hashKey []byte
	unknown UnknownPolicy
	pass    func(Recorded) E // what unknown types become, under PassUnknown
	stored  func(E) Recorded // of StoredSchema: values are events as they are stored
	digest  string
}

// tagUse is how a tag's name is declared.
type tagUse struct{ stream, hash bool }

type eventType struct {
	name    string   // as it is stored today
	names   []string // name, and those it was stored under before
	sources []string // the retired types that may have been split into it
	goType  reflect.Type
	codec   Codec // of what is stored today
	// contentType is the codec's, as it is stored.
	contentType string
	scratch     sync.Pool // of *scratch
	version     uint16    // as it is stored today
	plan        *tagPlan
	personal    bool // it has a field that is personal
	upcasts     map[uint16]upcast
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
	retired  map[string]*retiredType
	codecs   codecs
	hashKey  []byte
	unknown  UnknownPolicy
	pass     any // a func(Recorded) E
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
	case b.retired[name] != nil:
		b.mistake("the name %q is split and stands for %s: give that another name, with Named", name, et.goType)
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

// UnknownTypes says what reads do with stored events whose type the schema does not list. See [PassUnknown] for a third way.
func UnknownTypes(policy UnknownPolicy) SchemaOption {
	return func(b *schemaBuilder) { b.unknown, b.pass = policy, nil }
}

// PassUnknown hands stored events whose type the schema does not list on as what f makes of them: for an audit, or a copy,
// that must not miss any. E is the type that the schema's events share. f gets the event as it is stored, and must not change
// its bytes; what it returns is not appended again, for the schema does not list it.
func PassUnknown[E any](f func(Recorded) E) SchemaOption {
	return func(b *schemaBuilder) {
		if f == nil {
			b.mistake("PassUnknown: no function")
			return
		}
		b.pass = f
	}
}

// NewSchema makes a schema of these event types. A wrong declaration is a mistake in the program: NewSchema panics,
// naming all mistakes at once.
func NewSchema[E any](events []E, opts ...SchemaOption) *Schema[E] {
	b := &schemaBuilder{
		byType: map[reflect.Type]*eventType{}, byName: map[string]*eventType{},
		dropped: map[string]bool{}, retired: map[string]*retiredType{}, codecs: newCodecs(),
	}
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
	s := &Schema[E]{
		byName: b.byName, byType: b.byType, dropped: b.dropped, retired: b.retired,
		tags: map[string]tagUse{}, codecs: b.codecs, hashKey: b.hashKey, unknown: b.unknown,
	}
	for _, et := range types {
		s.complete(b, et)
	}
	for _, rt := range b.retired {
		b.completeRetired(rt)
	}
	if b.pass != nil {
		var ok bool
		if s.pass, ok = b.pass.(func(Recorded) E); !ok {
			b.mistake("PassUnknown: it is a %T, want one that gives %s", b.pass, reflect.TypeFor[E]())
		}
	}
	for name, use := range s.tags {
		if use.hash && b.hashKey == nil {
			b.mistake("tag %q is hashed: give HashKey", name)
		}
	}
	if err := errors.Join(b.mistakes...); err != nil {
		panic("annals: NewSchema:\n" + err.Error())
	}
	s.digest = s.makeDigest()
	return s
}

// StoredSchema is the schema of tools that know no types: values are the events as they are stored, whatever they are, the system's
// included. Queries are not checked against declarations, for there are none. What is appended is the event of the value, under a
// new id.
func StoredSchema() *Schema[Recorded] {
	same := func(r Recorded) Recorded { return r }
	s := &Schema[Recorded]{
		byName: map[string]*eventType{}, byType: map[reflect.Type]*eventType{}, tags: map[string]tagUse{}, codecs: newCodecs(), pass: same, stored: same,
	}
	s.digest = s.makeDigest()
	return s
}

// complete checks one event type's declaration when all options have spoken.
func (s *Schema[E]) complete(b *schemaBuilder, et *eventType) {
	et.names = append([]string{et.name}, et.names...)
	for _, n := range et.names {
		b.claim(n, et)
	}
	if et.codec == nil {
		et.codec = b.codecs.standard
	}
	et.contentType = storedContentType(et.codec.ContentType())
	for v := uint16(1); v < et.version; v++ {
		if _, ok := et.upcasts[v]; !ok {
			b.mistake("event %s: no upcaster from version %d", et.goType, v)
		}
	}
	if et.personal = isPersonal(et.goType, nil); et.personal && et.contentType != "" {
		b.mistake("event %s has personal fields, which only JSON can hold: give it no other codec", et.goType)
	}
	p := planner{mistake: b.mistake, owner: et.goType, tags: s.tags, within: map[reflect.Type]*tagPlan{}}
	et.plan = p.plan(et.goType)
	if p.streams > 1 {
		b.mistake("event %s: %d fields name its stream", et.goType, p.streams)
	}
}

// personal is what types of personal values have.
type personal interface{ IsPersonal() }

// isPersonal reports whether values of a type have, however deep, a value of a personal type in them. What lies behind interfaces is
// not seen.
func isPersonal(t reflect.Type, within []reflect.Type) bool {
	if t.Implements(reflect.TypeFor[personal]()) {
		return true
	}
	if slices.Contains(within, t) {
		return false
	}
	within = append(within, t)
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return isPersonal(t.Elem(), within)
	case reflect.Struct:
		for f := range t.Fields() {
			if isPersonal(f.Type, within) {
				return true
			}
		}
	}
	return false
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

// LeavesOut reports whether reads may leave events out: some types are dropped, or split into what a query does not want,
// or unknown ones are skipped.
func (s *Schema[E]) LeavesOut() bool {
	return len(s.dropped) > 0 || len(s.retired) > 0 || s.unknown == UnknownSkip && s.pass == nil
}

// TypeName is the name under which values like v are stored, or "" if v is not one of the schema's events.
func (s *Schema[E]) TypeName(v E) string {
	if s.stored != nil {
		return s.stored(v).Type
	}
	if et := s.byType[reflect.TypeOf(v)]; et != nil {
		return et.name
	}
	return ""
}

// EventType describes a type of a schema, for tools such as annalstest.Golden.
type EventType struct {
	// Name is the one under which events are stored today, and Version theirs.
	Name    string
	Version uint16
	// Old are the names under which they were stored before, see [Renamed].
	Old  []string
	Type reflect.Type
}

// EventTypes describes the event types, sorted by name.
func (s *Schema[E]) EventTypes() []EventType {
	types := make([]EventType, 0, len(s.byType))
	for _, et := range s.byType {
		types = append(types, EventType{Name: et.name, Version: et.version, Old: slices.Clone(et.names[1:]), Type: et.goType})
	}
	slices.SortFunc(types, func(a, b EventType) int { return strings.Compare(a.Name, b.Name) })
	return types
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

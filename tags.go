package annals

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Tag is the tag that a field declared as `annals:"name"` gives an event with this value: "name:value".
func Tag[T ~string](name string, value T) string { return name + ":" + string(value) }

// StreamName is the stream that a field declared as `annals:"name,stream"` gives an event with this value:
// "name-value".
func StreamName[T ~string](name string, value T) string { return name + "-" + string(value) }

// TagValues are the values of r's tags of this name: "tea" for the name "product" and the tag "product:tea".
func (e Event) TagValues(name string) []string {
	var values []string
	for _, t := range e.Tags {
		if len(t) > len(name) && t[len(name)] == ':' && t[:len(name)] == name {
			values = append(values, t[len(name)+1:])
		}
	}
	return values
}

// tagPlan is where in a struct type the tagged fields are, found once per type.
type tagPlan struct {
	fields []tagField
	again  bool // the type contains itself
}

type tagField struct {
	index     []int
	path      string // for errors
	name      string // of the tag; "" if only what is nested in the field is tagged
	stream    bool
	hash      bool
	omitEmpty bool
	slice     bool     // the field is a slice or an array, of strings or of structs
	nested    *tagPlan // of the field's, or its elements', struct type
}

// planner finds the tagged fields of one event type and complains about wrong declarations.
type planner struct {
	mistake func(format string, args ...any)
	owner   reflect.Type
	tags    map[string]tagUse         // of the whole schema: one use per name
	streams int                       // fields of this event that name its stream
	within  map[reflect.Type]*tagPlan // the struct types being looked into
	inSlice bool                      // one of them is the element of a slice
}

func (p *planner) plan(t reflect.Type) *tagPlan {
	plan := &tagPlan{}
	p.within[t] = plan
	defer delete(p.within, t)
	for f := range t.Fields() {
		spec, tagged := f.Tag.Lookup("annals")
		switch {
		case tagged && !f.IsExported():
			p.mistake("event %s: field %s.%s is tagged but not exported", p.owner, t.Name(), f.Name)
		case tagged:
			if tf, ok := p.tagged(t, f, spec); ok {
				plan.fields = append(plan.fields, tf)
			}
		case f.IsExported() || f.Anonymous:
			if tf, ok := p.nested(t, f); ok {
				plan.fields = append(plan.fields, tf)
			}
		}
	}
	if plan.again && slices.ContainsFunc(plan.fields, func(f tagField) bool { return f.stream }) {
		p.mistake("event %s: %s contains itself, and so cannot name the one stream", p.owner, t.Name())
	}
	return plan
}

func (p *planner) tagged(t reflect.Type, f reflect.StructField, spec string) (tagField, bool) {
	parts := strings.Split(spec, ",")
	tf := tagField{index: f.Index, path: t.Name() + "." + f.Name, name: parts[0]}
	for _, option := range parts[1:] {
		switch option {
		case "stream":
			tf.stream = true
		case "hash":
			tf.hash = true
		case "omitempty":
			tf.omitEmpty = true
		default:
			p.mistake("event %s: field %s: unknown option %q in `annals:%q`: there are stream, hash, omitempty", p.owner, tf.path, option, spec)
		}
	}
	kind := f.Type.Kind()
	if kind == reflect.Slice || kind == reflect.Array {
		tf.slice, kind = true, f.Type.Elem().Kind()
	}
	switch {
	case f.Tag.Get("json") == "-":
		p.mistake("event %s: field %s: it is tagged, but JSON leaves it out, so it is not stored", p.owner, tf.path)
	case tf.name == "" || strings.ContainsAny(tf.name, ":,") || isSystemName(tf.name):
		p.mistake("event %s: field %s: %q is no name for a tag", p.owner, tf.path, tf.name)
	case kind != reflect.String:
		p.mistake("event %s: field %s: only strings can be tags, not %s", p.owner, tf.path, f.Type)
	case tf.stream && (tf.slice || p.inSlice):
		p.mistake("event %s: field %s: a stream is one value, not several", p.owner, tf.path)
	case tf.stream && (tf.hash || tf.omitEmpty):
		p.mistake("event %s: field %s: a stream is neither hashed nor omitted", p.owner, tf.path)
	case tf.stream && strings.Contains(tf.name, "-"):
		p.mistake("event %s: field %s: the name of a stream holds no \"-\", which ends its category", p.owner, tf.path)
	default:
		p.declare(tf)
		return tf, true
	}
	return tf, false
}

func (p *planner) declare(tf tagField) {
	use, known := p.tags[tf.name]
	if known && use.hash != tf.hash {
		p.mistake("event %s: field %s: tag %q is hashed here and plain there", p.owner, tf.path, tf.name)
	}
	p.tags[tf.name] = tagUse{stream: use.stream || tf.stream, hash: tf.hash}
	if tf.stream {
		p.streams++
	}
}

func (p *planner) nested(t reflect.Type, f reflect.StructField) (tagField, bool) {
	tf := tagField{index: f.Index, path: t.Name() + "." + f.Name}
	inner := f.Type
	if k := inner.Kind(); k == reflect.Slice || k == reflect.Array {
		tf.slice, inner = true, inner.Elem()
	}
	if inner.Kind() != reflect.Struct {
		deep := inner
		for range 8 { // a type such as []T may be its own element
			switch deep.Kind() {
			case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Array:
				deep = deep.Elem()
			}
		}
		if plan := p.within[deep]; plan != nil && len(plan.fields) > 0 || plan == nil && deep.Kind() == reflect.Struct && len(p.plan(deep).fields) > 0 {
			p.mistake("event %s: field %s: tagged fields cannot lie behind a %s", p.owner, tf.path, inner.Kind())
		}
		return tf, false
	}
	if plan, recursive := p.within[inner]; recursive { // which goes on as long as values do
		plan.again = true
		tf.nested = plan
		return tf, true
	}
	outer := p.inSlice
	p.inSlice = p.inSlice || tf.slice
	tf.nested = p.plan(inner)
	p.inSlice = outer
	return tf, len(tf.nested.fields) > 0
}

// labels gathers the stream and the tags of one event.
type labels struct {
	hashKey []byte
	lenient bool // empty values are left out
	stream  string
	tags    []string
}

func (l *labels) collect(plan *tagPlan, v reflect.Value) error {
	for i := range plan.fields {
		f := &plan.fields[i]
		fv := v.FieldByIndex(f.index)
		if !f.slice {
			if err := l.one(f, fv); err != nil {
				return err
			}
			continue
		}
		for j := range fv.Len() {
			if err := l.one(f, fv.Index(j)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *labels) one(f *tagField, v reflect.Value) error {
	if f.nested != nil {
		return l.collect(f.nested, v)
	}
	value := v.String()
	if value == "" {
		if f.omitEmpty || l.lenient {
			return nil
		}
		return invalid(f.path, fmt.Sprintf("is empty, but `annals:%q` makes a tag of it", f.name))
	}
	if f.stream {
		l.stream = StreamName(f.name, value)
	}
	if f.hash {
		value = hashTag(l.hashKey, f.name, value)
	}
	l.tags = append(l.tags, Tag(f.name, value))
	return nil
}

// Fingerprint is a digest that tells lists of parts from each other. With a [HashKey] it is keyed, so that nobody who lacks the
// key can confirm a guess of what the parts say: personal data in them may be erased elsewhere.
func (s *Schema[E]) Fingerprint(parts ...string) string {
	h := sha256.New()
	if s.hashKey != nil {
		h = hmac.New(sha256.New, s.hashKey)
	}
	for _, p := range append([]string{"annals fingerprint"}, parts...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(p)))) // so that no two lists read alike
		h.Write([]byte(p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// hashTag is what stands in the index for a value that must not: a keyed hash, bound to the tag's name.
func hashTag(key []byte, name, value string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(name))
	m.Write([]byte{0})
	m.Write([]byte(value))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:16])
}

package rest

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// depthMax is how deep values may lie in a body: each level keeps something of its own while the body is read.
const depthMax = 100

// shape is what JSON a type is read from, as far as members go. It never changes once it is made. A nil shape is JSON
// of which nothing is known.
type shape struct {
	typ reflect.Type
	// nullable tells that null says something. Encoding/json takes it for any other type, too, and changes nothing.
	nullable bool
	// members are those of a struct, by name.
	members map[string]*shape
	// isStruct tells a struct without members from what is none. Encoding/json takes "ORDER" for its member "order".
	isStruct bool
	// opaque tells that the struct reads its own JSON, which may have other members.
	opaque bool
	// elem is that of an array's elements and of a map's values.
	elem *shape
}

func shapeOf(t reflect.Type, within map[reflect.Type]*shape) *shape {
	if s, ok := within[t]; ok {
		return s
	}
	s := &shape{typ: t, nullable: nullable(t)}
	within[t] = s
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	all, opaque := fieldsOf(t)
	switch {
	case t.Kind() == reflect.Struct:
		s.members, s.isStruct, s.opaque = map[string]*shape{}, true, opaque
		for name, f := range all {
			s.members[name] = nil
			if !opaque {
				s.members[name] = shapeOf(f.typ, within)
			}
		}
	case readsItself(t):
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map:
		s.elem = shapeOf(t.Elem(), within)
	}
	return s
}

// nullable reports whether a value of type t tells null from what was there before. Whoever reads their own JSON decides.
func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		return true
	default:
		return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
	}
}

// readBody takes a JSON body, or none.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, err
		}
		return nil, &MalformedError{Place: "body", Problem: "ends too early"}
	}
	if len(body) == 0 {
		return nil, nil
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, &mediaTypeError{"send the body without Content-Encoding"}
	}
	media, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, &mediaTypeError{"send application/json"}
	}
	if c, ok := parameters["charset"]; ok && !strings.EqualFold(c, "utf-8") {
		return nil, &mediaTypeError{"send JSON in UTF-8"}
	}
	if !utf8.Valid(body) { // encoding/json would take replacement characters instead
		return nil, &MalformedError{Place: "body", Problem: "is not UTF-8"}
	}
	return body, nil
}

// read is the names of the members that the body's object has. Encoding/json takes "ORDER" for "order", the last of two
// members with one name, null for anything, and half a character for the replacement character. All of that would get
// past the comparison with the path, or past whoever reads the same body in another way, so none is allowed, at any depth.
func (s *shape) read(body []byte) (map[string]bool, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, s.bodyError(err)
	}
	if err := wholeCharacters(body); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, &MalformedError{Place: "body", Problem: "is not a JSON object"}
	}
	return s.object(dec, member{depth: 1})
}

// wholeCharacters wants both halves of each character that well-formed JSON escapes in two.
func wholeCharacters(body []byte) error {
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			continue
		}
		first := escaped(body[i:])
		if !utf16.IsSurrogate(first) {
			i++ // what is escaped may be a backslash
			continue
		}
		if utf16.DecodeRune(first, escaped(body[i+escapeBytes:])) == utf8.RuneError {
			return &MalformedError{Place: fmt.Sprintf("body byte %d", i+1), Problem: "is half of a character"}
		}
		i += 2*escapeBytes - 1
	}
	return nil
}

// escapeBytes are those of an escape such as \u00e9.
const escapeBytes = 6

// escaped is what an escape at the beginning of b stands for, 0 if there is none that is a number.
func escaped(b []byte) rune {
	if len(b) < escapeBytes || b[0] != '\\' || b[1] != 'u' {
		return 0
	}
	n, err := strconv.ParseUint(string(b[2:escapeBytes]), 16, 16)
	if err != nil {
		return 0
	}
	return rune(n)
}

// member is where a value lies: so deep, in the member of this name of the object around it. It is written out only for
// an error: a text for each level would take the square of the body's size.
type member struct {
	around *member // nil: the body itself
	name   string
	depth  int
}

// path is the names of the members on the way, elements of arrays aside.
func (m *member) path() string {
	var names []string
	for ; m.around != nil; m = m.around {
		names = append(names, m.name)
	}
	slices.Reverse(names)
	return strings.Join(names, ".")
}

// object reads what follows the opening brace.
func (s *shape) object(dec *json.Decoder, in member) (map[string]bool, error) {
	names, folded := map[string]bool{}, map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, s.bodyError(err)
		}
		name, _ := t.(string) // what stands there in well-formed JSON
		m := member{around: &in, name: name, depth: in.depth + 1}
		if !s.takes(name) {
			return nil, &MalformedError{Place: memberPlace(m.path()), Problem: "is not known here"}
		}
		if names[name] || s != nil && s.isStruct && folded[fold(name)] {
			return nil, &MalformedError{Place: memberPlace(m.path()), Problem: "is there more than once"}
		}
		names[name], folded[fold(name)] = true, true
		if err := s.inside(name).value(dec, m); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return names, err
}

func (s *shape) value(dec *json.Decoder, in member) error {
	t, err := dec.Token()
	switch {
	case err != nil:
		return s.bodyError(err)
	case t == nil && s != nil && !s.nullable:
		return &MalformedError{Place: memberPlace(in.path()), Problem: fmt.Sprintf("want %s, not null", wordFor(s.typ))}
	case t != json.Delim('{') && t != json.Delim('['):
		return nil
	case in.depth > depthMax:
		return &MalformedError{Place: "body", Problem: fmt.Sprintf("is more than %d levels deep", depthMax)}
	case t == json.Delim('{'):
		_, err = s.object(dec, in)
		return err
	}
	in.depth++
	for dec.More() {
		if err := s.inside("").value(dec, in); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}

// takes reports whether an object may have a member of this name.
func (s *shape) takes(name string) bool {
	if s == nil || !s.isStruct {
		return true
	}
	if _, known := s.members[name]; known {
		return true
	}
	folded := fold(name)
	for other := range s.members {
		if fold(other) == folded {
			return false
		}
	}
	return s.opaque
}

// inside is the shape of a member, or of any element.
func (s *shape) inside(name string) *shape {
	switch {
	case s == nil:
		return nil
	case s.isStruct:
		return s.members[name]
	}
	return s.elem
}

// fold gives names that encoding/json takes for one another the same form.
func fold(name string) string { return strings.ToLower(strings.ToUpper(name)) }

// unmarshal reads the body into what target points to.
func (s *shape) unmarshal(body []byte, target any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(target); err != nil {
		return s.bodyError(err)
	}
	return nil
}

// bodyError says in words for clients what encoding/json says in words for Go programmers.
func (s *shape) bodyError(err error) error {
	if e, ok := errors.AsType[*MalformedError](err); ok { // of a type that reads its own JSON
		return e
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &MalformedError{Place: fmt.Sprintf("body byte %d", e.Offset), Problem: e.Error()}
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return &MalformedError{Place: s.place(e.Field), Problem: fmt.Sprintf("want %s, not %s", wordFor(e.Type), e.Value)}
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return &MalformedError{Place: memberPlace(strings.Trim(name, `"`)), Problem: "is not known here"}
	}
	return &MalformedError{Place: "body", Problem: "a value is not well-formed"}
}

// place finds a field, as encoding/json names it, among the members. It names embedded structs too, by their Go names,
// which are nobody's business.
func (s *shape) place(field string) string {
	var path []string
	for name := range strings.SplitSeq(field, ".") {
		for s != nil && s.elem != nil {
			s = s.elem
		}
		if s == nil {
			break
		}
		if inner, ok := s.members[name]; ok {
			path, s = append(path, name), inner
		}
	}
	if len(path) == 0 {
		return "body"
	}
	return memberPlace(strings.Join(path, "."))
}

// wordFor is what JSON calls values of a Go type.
func wordFor(t reflect.Type) string {
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return "a string"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return "a whole number from 0 that is not too large"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number that is not too large"
	default:
		return "something else"
	}
}

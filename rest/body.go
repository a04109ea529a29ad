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
	"strings"
	"unicode/utf8"
)

// shape is what JSON a type is read from, as far as members go. It never changes once it is made. A nil shape is JSON
// of which nothing is known.
type shape struct {
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
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s, ok := within[t]; ok {
		return s
	}
	s := &shape{}
	within[t] = s
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

// read is the names of the members that the body's object has. Encoding/json takes "ORDER" for "order" and the last of
// two members with one name; both would get past the comparison with the path, and past whoever reads the same body in
// another way, so neither is allowed, at any depth.
func (s *shape) read(body []byte) (map[string]bool, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, s.bodyError(err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, &MalformedError{Place: "body", Problem: "is not a JSON object"}
	}
	return s.object(dec, "")
}

// object reads what follows the opening brace.
func (s *shape) object(dec *json.Decoder, path string) (map[string]bool, error) {
	names, folded := map[string]bool{}, map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, s.bodyError(err)
		}
		name, _ := t.(string) // what stands there in well-formed JSON
		if !s.takes(name) {
			return nil, &MalformedError{Place: memberPlace(path + name), Problem: "is not known here"}
		}
		if names[name] || s != nil && s.isStruct && folded[fold(name)] {
			return nil, &MalformedError{Place: memberPlace(path + name), Problem: "is there more than once"}
		}
		names[name], folded[fold(name)] = true, true
		if err := s.inside(name).value(dec, path+name+"."); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return names, err
}

func (s *shape) value(dec *json.Decoder, path string) error {
	t, err := dec.Token()
	switch {
	case err != nil:
		return s.bodyError(err)
	case t == json.Delim('{'):
		_, err = s.object(dec, path)
	case t == json.Delim('['):
		for err == nil && dec.More() {
			err = s.inside("").value(dec, path)
		}
		if err == nil {
			_, err = dec.Token()
		}
	}
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
	for other := range s.members {
		if fold(other) == fold(name) {
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

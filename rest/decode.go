package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
)

// decoder reads values of one type from requests. It never changes.
type decoder struct {
	typ    reflect.Type
	fields fields
	opaque bool
}

func newDecoder[T any]() *decoder {
	t := reflect.TypeFor[T]()
	all, opaque := fieldsOf(t)
	return &decoder{typ: t, fields: all, opaque: opaque}
}

// command fills *target from body, path and the route's own fillers.
func (d *decoder) command(w http.ResponseWriter, r *http.Request, target reflect.Value, o *commandOptions) error {
	body, err := readBody(w, r, o.maxBody)
	if err != nil {
		return err
	}
	var sent map[string]bool
	if len(body) > 0 {
		if sent, err = d.members(body); err != nil {
			return err
		}
		if err := unmarshal(body, target.Addr().Interface()); err != nil {
			return err
		}
	}
	if err := d.path(r, target, func(name string) error {
		if sent[name] {
			return &MalformedError{Place: memberPlace(name), Problem: "differs from the path"}
		}
		return nil
	}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o.fill)) {
		v := d.fields[name].in(target)
		text, err := o.fill[name](r, o.name, v.String())
		if err != nil {
			return err
		}
		v.SetString(text)
	}
	return nil
}

// query fills *target from path and parameters.
func (d *decoder) query(r *http.Request, target reflect.Value) error {
	sent, err := parametersOf(r)
	if err != nil {
		return err
	}
	if err := d.parameters(sent, target); err != nil {
		return err
	}
	return d.path(r, target, func(name string) error {
		if sent.Has(name) {
			return &MalformedError{Place: parameterPlace(name), Problem: "differs from the path"}
		}
		return nil
	})
}

func (d *decoder) parameters(sent url.Values, target reflect.Value) error {
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		f, ok := d.fields[name]
		if !ok || !fromText(f.typ) && (f.typ.Kind() != reflect.Slice || !fromText(f.typ.Elem())) {
			return &MalformedError{Place: parameterPlace(name), Problem: "is not known here"}
		}
		if err := setParameter(f.in(target), sent[name]); err != nil {
			return &MalformedError{Place: parameterPlace(name), Problem: err.Error()}
		}
	}
	return nil
}

func parameterPlace(name string) string { return "parameter " + name }

func parametersOf(r *http.Request) (url.Values, error) {
	parameters, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, &MalformedError{Place: "parameters", Problem: "the URL's query is not well-formed"}
	}
	return parameters, nil
}

// setParameter sets v from a parameter that was given as often as there are texts.
func setParameter(v reflect.Value, texts []string) error {
	if v.Kind() == reflect.Slice && !fromText(v.Type()) {
		s := reflect.MakeSlice(v.Type(), len(texts), len(texts))
		for i, text := range texts {
			if err := setText(s.Index(i), text); err != nil {
				return err
			}
		}
		v.Set(s)
		return nil
	}
	if len(texts) != 1 {
		return errors.New("is there more than once")
	}
	return setText(v, texts[0])
}

// path fills fields from the pattern's wildcards of the same name. differs is asked for its opinion where that changes
// a field.
func (d *decoder) path(r *http.Request, target reflect.Value, differs func(name string) error) error {
	for name, f := range d.fields {
		text := r.PathValue(name)
		if text == "" || !fromText(f.typ) {
			continue
		}
		v := f.in(target)
		before := reflect.New(f.typ).Elem()
		before.Set(v)
		if err := setText(v, text); err != nil {
			return &MalformedError{Place: "path " + name, Problem: err.Error()}
		}
		if !reflect.DeepEqual(before.Interface(), v.Interface()) {
			if err := differs(name); err != nil {
				return err
			}
		}
	}
	return nil
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
	return body, nil
}

// members are the names that the body's object has. Encoding/json takes "ORDER" for "order" and the last of two
// members with one name; both would get past the comparison with the path, so neither is allowed.
func (d *decoder) members(body []byte) (map[string]bool, error) {
	var whole json.RawMessage
	if err := json.Unmarshal(body, &whole); err != nil {
		return nil, bodyError(err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, &MalformedError{Place: "body", Problem: "is not a JSON object"}
	}
	names := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, bodyError(err)
		}
		name, _ := t.(string) // what stands there in well-formed JSON
		if _, known := d.fields[name]; !known && !d.opaque {
			return nil, &MalformedError{Place: memberPlace(name), Problem: "is not known here"}
		}
		if names[name] {
			return nil, &MalformedError{Place: memberPlace(name), Problem: "is there more than once"}
		}
		names[name] = true
		var skipped json.RawMessage
		if err := dec.Decode(&skipped); err != nil {
			return nil, bodyError(err)
		}
	}
	return names, nil
}

func unmarshal(body []byte, target any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(target); err != nil {
		return bodyError(err)
	}
	return nil
}

// bodyError says in words for clients what encoding/json says in words for Go programmers.
func bodyError(err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return &MalformedError{Place: fmt.Sprintf("body byte %d", e.Offset), Problem: e.Error()}
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		place := "body"
		if e.Field != "" {
			place = memberPlace(e.Field)
		}
		return &MalformedError{Place: place, Problem: fmt.Sprintf("want %s, not %s", wordFor(e.Type), e.Value)}
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return &MalformedError{Place: memberPlace(strings.Trim(name, `"`)), Problem: "is not known here"}
	}
	return &MalformedError{Place: "body", Problem: strings.TrimPrefix(err.Error(), "json: ")}
}

// wordFor is what JSON calls values of a Go type.
func wordFor(t reflect.Type) string {
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

// parameters fills *target from the URL's parameters alone.
func parameters[T any](r *http.Request, target *T) error {
	sent, err := parametersOf(r)
	if err != nil {
		return err
	}
	return newDecoder[T]().parameters(sent, reflect.ValueOf(target).Elem())
}

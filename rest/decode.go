package rest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

// errWildcard: the pattern of a route has a wildcard for nothing; a mistake in the program.
var errWildcard = errors.New("rest: the route's pattern has a wildcard that fills no field")

// decoder reads values of one type from requests. It never changes.
type decoder struct {
	typ    reflect.Type
	fields fields
	opaque bool
	shape  *shape
}

// newDecoder panics for a pointer type: nothing would be there to be filled.
func newDecoder[T any](route string) *decoder {
	t := reflect.TypeFor[T]()
	if t.Kind() == reflect.Pointer {
		panic(fmt.Sprintf("rest: %s: %s is a pointer: give the methods value receivers and take %s", route, t, t.Elem()))
	}
	all, opaque := fieldsOf(t)
	return &decoder{typ: t, fields: all, opaque: opaque, shape: shapeOf(t, map[reflect.Type]*shape{})}
}

// command fills *target from body, path and the route's own fillers. The URL has nothing to add to the path.
func (d *decoder) command(w http.ResponseWriter, r *http.Request, target reflect.Value, o *commandOptions) error {
	if err := parameters(r, &struct{}{}); err != nil {
		return err
	}
	body, err := readBody(w, r, o.maxBody)
	if err != nil {
		return err
	}
	var sent map[string]bool
	if len(body) > 0 {
		if sent, err = d.shape.read(body); err != nil {
			return err
		}
		if err := d.shape.unmarshal(body, target.Addr().Interface()); err != nil {
			return err
		}
	}
	if err := d.path(r, target, &o.routeOptions, func(name string, was reflect.Value) error {
		if sent[name] || d.opaque && !was.IsZero() { // nobody knows which member an opaque type has it from
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
func (d *decoder) query(r *http.Request, target reflect.Value, o *routeOptions) error {
	sent, err := parametersOf(r)
	if err != nil {
		return err
	}
	if err := d.parameters(sent, target); err != nil {
		return err
	}
	return d.path(r, target, o, func(name string, _ reflect.Value) error {
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
	for name, values := range parameters {
		if !utf8.ValidString(name) || !utf8.ValidString(strings.Join(values, "")) {
			return nil, &MalformedError{Place: "parameters", Problem: "the URL's query is not UTF-8"}
		}
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
func (d *decoder) path(r *http.Request, target reflect.Value, o *routeOptions, differs func(name string, was reflect.Value) error) error {
	if err := d.fits(r.Pattern, o); err != nil {
		return err
	}
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
			if err := differs(name, before); err != nil {
				return err
			}
		}
	}
	return nil
}

// fits wants each wildcard of the pattern to fill a field. A misspelt one would leave it to the body to say what the
// path was to say.
func (d *decoder) fits(pattern string, o *routeOptions) error {
	for segment := range strings.SplitSeq(pattern, "/") {
		name, opened := strings.CutPrefix(segment, "{")
		name, closed := strings.CutSuffix(name, "}")
		name = strings.TrimSuffix(name, "...")
		if !opened || !closed || name == "$" || o.wildcards[name] {
			continue
		}
		if f, ok := d.fields[name]; !ok || !fromText(f.typ) {
			return fmt.Errorf("%w: %q in %q: %s has no field of text or number that JSON calls so, see rest.Wildcards", errWildcard, name, pattern, d.typ)
		}
	}
	return nil
}

// parameters fills *target from the URL's parameters alone.
func parameters[T any](r *http.Request, target *T) error {
	sent, err := parametersOf(r)
	if err != nil {
		return err
	}
	return newDecoder[T]("parameters").parameters(sent, reflect.ValueOf(target).Elem())
}

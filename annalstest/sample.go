package annalstest

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// sampleDepth is how deep types are followed that contain themselves.
const sampleDepth = 4

// sample is a value of a type with all fields set, always the same.
func sample(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	fill(v, sampleDepth)
	return v
}

func fill(v reflect.Value, depth int) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(Epoch))
		return
	}
	if v.Type() == reflect.TypeFor[json.RawMessage]() {
		v.SetBytes([]byte(`"text"`))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(1)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1.5)
	case reflect.String:
		v.SetString("text")
	case reflect.Struct:
		for field, f := range v.Fields() {
			if f.CanSet() || field.Anonymous && f.Kind() == reflect.Struct { // whose own exported fields can be
				fill(f, depth)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), depth)
		}
	case reflect.Slice:
		if depth > 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0), depth-1)
		}
	case reflect.Map:
		if depth > 0 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, depth-1)
			fill(value, depth-1)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(key, value)
		}
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth-1)
		}
	}
}

// Kinds of fields, as JSON has them.
const kindString, kindBool, kindInteger, kindNumber, kindAny = "a string", "true or false", "an integer", "a number", "anything"

// fieldsOf adds the kinds of what lies in a type, by the paths at which encoding/json writes them.
func fieldsOf(t reflect.Type, path string, fields map[string]string, within []reflect.Type) {
	pointer := reflect.PointerTo(t)
	switch {
	case pointer.Implements(reflect.TypeFor[json.Marshaler]()), pointer.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		fields[path] = "a " + t.String()
		return
	case t == reflect.TypeFor[[]byte]():
		fields[path] = kindString + " of bytes"
		return
	}
	switch t.Kind() {
	case reflect.Bool:
		fields[path] = kindBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		fields[path] = kindInteger
	case reflect.Float32, reflect.Float64:
		fields[path] = kindNumber
	case reflect.String:
		fields[path] = kindString
	case reflect.Pointer:
		fieldsOf(t.Elem(), path, fields, within)
	case reflect.Slice, reflect.Array:
		fieldsOf(t.Elem(), path+"[]", fields, within)
	case reflect.Map:
		fieldsOf(t.Elem(), path+"{}", fields, within)
	case reflect.Struct:
		structFields(t, path, fields, within)
	default:
		fields[path] = kindAny
	}
}

func structFields(t reflect.Type, path string, fields map[string]string, within []reflect.Type) {
	if slices.Contains(within, t) {
		fields[path] = fmt.Sprintf("a %s again", t)
		return
	}
	within = append(slices.Clip(within), t)
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		embedded := f.Anonymous && name == "" && indirect(f.Type).Kind() == reflect.Struct
		switch {
		case name == "-" && f.Tag.Get("json") == "-", !f.IsExported() && !embedded:
			continue
		case embedded:
			fieldsOf(f.Type, path, fields, within)
			continue
		case name == "":
			name = f.Name
		}
		if path != "" {
			name = path + "." + name
		}
		fieldsOf(f.Type, name, fields, within)
	}
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

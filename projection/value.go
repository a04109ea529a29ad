package projection

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
)

// timeLayout has one width, and "Z" for all, so that strings order as times do.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// normal is v as backends keep it, string or int64, and its kind.
func normal(v any) (any, Kind, error) {
	if t, ok := v.(time.Time); ok {
		t = t.UTC()
		if t.Year() < 0 || t.Year() > 9999 {
			return nil, 0, fmt.Errorf("the year %d is out of range", t.Year())
		}
		return t.Format(timeLayout), KindTime, nil
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.String:
		return r.String(), KindString, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int(), KindInt, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if r.Uint() > math.MaxInt64 {
			return nil, 0, fmt.Errorf("%d is out of range", r.Uint())
		}
		return int64(r.Uint()), KindInt, nil
	case reflect.Bool:
		if r.Bool() {
			return int64(1), KindBool, nil
		}
		return int64(0), KindBool, nil
	}
	return nil, 0, fmt.Errorf("%T is neither string, integer, bool nor time.Time", v)
}

// fieldsOf are the JSON fields of V, by path, with the Go kind of each: what of a row's type can be seen to change.
func fieldsOf[V any]() map[string]string {
	fields := map[string]string{}
	walkFields(reflect.TypeFor[V](), "", nil, fields)
	return fields
}

func walkFields(t reflect.Type, path string, within []reflect.Type, fields map[string]string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if slices.Contains(within, t) {
		fields[path] = "recursive " + t.Name()
		return
	}
	switch {
	case marshalsItself(t):
		fields[path] = "custom " + t.String()
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		walkFields(t.Elem(), path+"[]", append(within, t), fields)
	case t.Kind() == reflect.Map:
		walkFields(t.Elem(), path+"{}", append(within, t), fields)
	case t.Kind() == reflect.Struct:
		for f := range t.Fields() {
			walkField(f, path, append(within, t), fields)
		}
	default:
		fields[path] = t.Kind().String()
	}
}

func walkField(f reflect.StructField, path string, within []reflect.Type, fields map[string]string) {
	tag := f.Tag.Get("json")
	name, options, _ := strings.Cut(tag, ",")
	if tag == "-" || !f.IsExported() && !f.Anonymous {
		return
	}
	if f.Anonymous && name == "" {
		walkFields(f.Type, path, within, fields)
		return
	}
	if name == "" {
		name = f.Name
	}
	if path != "" {
		name = path + "." + name
	}
	if strings.Contains(","+options+",", ",string,") {
		fields[name] = "quoted " + f.Type.Kind().String()
		return
	}
	walkFields(f.Type, name, within, fields)
}

func marshalsItself(t reflect.Type) bool {
	for _, i := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()} {
		if t.Implements(i) || reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

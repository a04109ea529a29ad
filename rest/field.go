package rest

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// fields are a struct type's fields by their names in JSON, those of embedded structs included.
type fields map[string]field

type field struct {
	index []int
	typ   reflect.Type
}

// fieldsOf finds the fields of t. What encoding/json would hide, such as the deeper of two with one name, is left out.
// opaque tells that t reads its own JSON, whose members nobody knows.
func fieldsOf(t reflect.Type) (all fields, opaque bool) {
	all = fields{}
	opaque = t.Kind() != reflect.Struct || readsItself(t)
	if t.Kind() != reflect.Struct {
		return all, opaque
	}
	type level struct {
		typ   reflect.Type
		index []int
	}
	visited := map[reflect.Type]bool{t: true}
	for current := []level{{typ: t}}; len(current) > 0; {
		found, next := map[string][]field{}, []level(nil)
		for _, l := range current {
			for i := range l.typ.NumField() {
				f := l.typ.Field(i)
				index := append(append([]int(nil), l.index...), i)
				tag := f.Tag.Get("json")
				name, _, _ := strings.Cut(tag, ",")
				switch {
				case tag == "-":
				case f.Anonymous && name == "" && embeds(f):
					if inner := indirect(f.Type); !visited[inner] {
						visited[inner] = true
						next = append(next, level{typ: inner, index: index})
					}
				case f.IsExported() && name == "":
					found[f.Name] = append(found[f.Name], field{index: index, typ: f.Type})
				case f.IsExported():
					found[name] = append(found[name], field{index: index, typ: f.Type})
				}
			}
		}
		for name, candidates := range found {
			if _, shadowed := all[name]; !shadowed && len(candidates) == 1 {
				all[name] = candidates[0]
			}
		}
		current = next
	}
	return all, opaque
}

// readsItself reports whether values of type t read their own JSON.
func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// embeds reports whether the members of an embedded field are those of the struct around it. Nobody can set a pointer
// to an unexported struct.
func embeds(f reflect.StructField) bool {
	return indirect(f.Type).Kind() == reflect.Struct && (f.IsExported() || f.Type.Kind() == reflect.Struct)
}

// in is the field in a value of its struct. Embedded pointers on the way are made to point to something.
func (f field) in(v reflect.Value) reflect.Value {
	for _, i := range f.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func indirect(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// fromText reports whether values of type t can be read from the text of a path or a parameter.
func fromText(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return true
	}
	switch t.Kind() {
	case reflect.Pointer:
		return fromText(t.Elem())
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	default:
		return false
	}
}

// setText sets v, of a type that fromText accepts. The error says what would have been wanted.
func setText(v reflect.Value, text string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		if u.UnmarshalText([]byte(text)) != nil {
			return fmt.Errorf("%q is not well-formed", text)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return setText(v.Elem(), text)
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		return setBool(v, text)
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || !json.Valid([]byte(text)) { // neither NaN nor 0x1p-2
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("%q is not a whole number from 0, or too large", text)
		}
		v.SetUint(n)
	default:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil || text[0] == '+' {
			return fmt.Errorf("%q is not a whole number, or too large", text)
		}
		v.SetInt(n)
	}
	return nil
}

func setBool(v reflect.Value, text string) error {
	if text != "true" && text != "false" {
		return fmt.Errorf("%q is neither true nor false", text)
	}
	v.SetBool(text == "true")
	return nil
}

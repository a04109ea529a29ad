package annalstest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// alike is reflect.DeepEqual, except that nil and empty slices and maps are equal: storing an event may turn one into
// the other.
func alike(a, b any) bool {
	return reflect.DeepEqual(a, b) || equal(reflect.ValueOf(a), reflect.ValueOf(b))
}

func equal(a, b reflect.Value) bool {
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if !equal(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !equal(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if a.Len() != b.Len() {
			return false
		}
		for it := a.MapRange(); it.Next(); {
			if v := b.MapIndex(it.Key()); !v.IsValid() || !equal(it.Value(), v) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		return a.Pointer() == b.Pointer() || equal(a.Elem(), b.Elem())
	case reflect.Interface:
		return equal(a.Elem(), b.Elem())
	case reflect.Func:
		return a.Pointer() == b.Pointer()
	}
	return a.Equal(b)
}

// show writes a value as its type and JSON, which is how it is stored; or as Go does, if it has none.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%T %+v", v, v)
	}
	return fmt.Sprintf("%T %s", v, b)
}

// fieldDiff is what two values of one type differ in: "-" is want, "+" is got. Empty if one is not like the other at all.
func fieldDiff(got, want any) string {
	if reflect.TypeOf(got) != reflect.TypeOf(want) {
		return ""
	}
	d := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty())
	return strings.TrimRight(strings.ReplaceAll(d, "\u00a0", " "), "\n")
}

// diff lists both sides, with a mark on what they do not have in common at the same place, and for values of one type
// the fields that differ.
func diff[T any](got, want []T) string {
	var b strings.Builder
	side := func(name string, a, o []T) {
		fmt.Fprintf(&b, "%s:\n", name)
		if len(a) == 0 {
			b.WriteString("    nothing\n")
		}
		for i, v := range a {
			mark := "!"
			if i < len(o) && alike(v, o[i]) {
				mark = " "
			}
			fmt.Fprintf(&b, "  %s %s\n", mark, show(v))
			if i < len(o) && mark == "!" && show(v) == show(o[i]) {
				fmt.Fprintf(&b, "    which is %+v\n", v)
			}
		}
	}
	side("got", got, want)
	side("want", want, got)
	for i := range min(len(got), len(want)) {
		if d := fieldDiff(got[i], want[i]); d != "" && !alike(got[i], want[i]) {
			fmt.Fprintf(&b, "%d. %T, - want, + got:\n    %s\n", i+1, got[i], strings.ReplaceAll(d, "\n", "\n    "))
		}
	}
	return b.String()
}

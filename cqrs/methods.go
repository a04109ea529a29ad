package cqrs

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// checkQuery refuses methods of a query that are meant to be those of [validator] or [authorizer] and would be passed
// over in silence. It is as strict as decider.CheckCommand is with commands.
func checkQuery[Q, R any]() error {
	t := reflect.TypeFor[Q]()
	if !t.Implements(reflect.TypeFor[validator]()) {
		if err := missed(t, "Validate", "() error"); err != nil {
			return err
		}
	}
	if !t.Implements(reflect.TypeFor[authorizer[R]]()) {
		if err := missed(t, "Authorize", fmt.Sprintf("(annals.Principal, %s) error", reflect.TypeFor[R]())); err != nil {
			return err
		}
	}
	for method := range withPointer(t).Methods() {
		for _, want := range []string{"Validate", "Authorize"} {
			if method.Name != want && nearly(strings.ToLower(method.Name), strings.ToLower(want)) {
				return fmt.Errorf("%s.%s: did you mean %s?", t, method.Name, want)
			}
		}
	}
	return nil
}

// missed finds a method of this name that t has in another way than it is called.
func missed(t reflect.Type, name, signature string) error {
	if _, ok := withPointer(t).MethodByName(name); ok {
		return fmt.Errorf("%s.%s must be func (%s) %s%s", t, name, t, name, signature)
	}
	if owner := hidden(t, name, nil); owner != nil {
		return fmt.Errorf("%s.%s is hidden: the embedded %s has it, and something else of %s has the same name", t, name, owner, t)
	}
	return nil
}

// withPointer has the methods of t, and those that a value of it lacks.
func withPointer(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return t
	}
	return reflect.PointerTo(t)
}

// hidden is the type embedded in t, however deep, that has a method of this name which t, known not to have it, would
// be expected to have got from it.
func hidden(t reflect.Type, name string, within []reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	if slices.Contains(within, t) {
		return nil
	}
	for f := range t.Fields() {
		if !f.Anonymous {
			continue
		}
		if _, ok := withPointer(f.Type).MethodByName(name); ok {
			return f.Type
		}
		if owner := hidden(f.Type, name, append(within, t)); owner != nil {
			return owner
		}
	}
	return nil
}

// nearly reports whether a lower-case name is a usual mistake for want, or one letter away from it.
func nearly(name, want string) bool {
	usual := map[string][]string{
		"authorize": {"authorised", "authorises", "authorisation", "authorization", "isauthorized", "isauthorised"},
		"validate":  {"valid", "isvalid", "validation"},
	}
	if name == want || slices.Contains(usual[want], name) {
		return true
	}
	longer, shorter := name, want
	if len(longer) < len(shorter) {
		longer, shorter = shorter, longer
	}
	if len(longer)-len(shorter) > 1 {
		return false
	}
	for i := range longer {
		switch {
		case len(longer) > len(shorter):
			if longer[:i]+longer[i+1:] == shorter { // a letter too many, or missing
				return true
			}
		case longer[:i] == shorter[:i] && longer[i+1:] == shorter[i+1:]: // another letter
			return true
		case i > 0 && longer == shorter[:i-1]+shorter[i:i+1]+shorter[i-1:i]+shorter[i+1:]: // two that changed places
			return true
		}
	}
	return false
}

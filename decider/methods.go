package decider

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
)

// CheckCommand reports what is wrong with commands of type C, as a [DeclarationError]: a method that looks like
// Validate or Authorize but has another name, other parameters or a pointer receiver, and would be skipped in silence.
// With requireAuthorize, a command without Authorize is an error that matches [ErrNoAuthorize]. [Execute] checks every
// command; whoever registers commands calls this, to find the mistake when the program starts.
func CheckCommand[C Command[S, E], S State[S, E], E any](requireAuthorize bool) error {
	return checkMethods[S](reflect.TypeFor[C](), requireAuthorize)
}

// declarations keeps what is known of each type of command: a reflect.Type is looked at once. A command's type
// determines that of its state.
var declarations sync.Map // of reflect.Type to declaration

type declaration struct {
	problem    error
	authorizes bool
}

func checkMethods[S any](t reflect.Type, requireAuthorize bool) error {
	d, ok := declarations.Load(t)
	if !ok {
		d, _ = declarations.LoadOrStore(t, declare[S](t))
	}
	found, ok := d.(declaration)
	switch {
	case !ok:
		panic(fmt.Sprintf("decider: a %T among the declarations", d))
	case found.problem != nil:
		return found.problem
	case requireAuthorize && !found.authorizes:
		return &DeclarationError{Command: typeName(t), Method: "Authorize", Problem: "is missing, but the log requires it", missing: true}
	}
	return nil
}

func declare[S any](t reflect.Type) declaration {
	c := checker{t: t}
	c.signature("Validate", reflect.TypeFor[validator](), "func() error")
	c.signature("Authorize", reflect.TypeFor[authorizer[S]](), fmt.Sprintf("func(annals.Principal, %s) error", stateName[S]()))
	c.names()
	return declaration{problem: c.problem, authorizes: t.Implements(reflect.TypeFor[authorizer[S]]())}
}

// checker finds the first near miss of one type.
type checker struct {
	t       reflect.Type
	problem error
}

func (c *checker) complain(method, problem string) {
	if c.problem == nil {
		c.problem = &DeclarationError{Command: typeName(c.t), Method: method, Problem: problem}
	}
}

// signature wants the method, if the type has one of this name in any way, to be the one that is looked for.
func (c *checker) signature(method string, want reflect.Type, signature string) {
	if c.t.Implements(want) {
		return
	}
	if _, ok := c.t.MethodByName(method); ok {
		c.complain(method, "must be "+signature)
		return
	}
	if c.t.Kind() == reflect.Interface || c.t.Kind() == reflect.Pointer {
		return
	}
	if _, ok := reflect.PointerTo(c.t).MethodByName(method); ok {
		c.complain(method, "has a pointer receiver, but the command is a value")
		return
	}
	if c.t.Kind() != reflect.Struct {
		return
	}
	for f := range c.t.Fields() {
		if !f.Anonymous {
			continue
		}
		if _, ok := f.Type.MethodByName(method); ok {
			c.complain(method, fmt.Sprintf("is hidden: several embedded structs have one, %s among them", f.Name))
		}
	}
}

// names wants no method to be called nearly like an optional one.
func (c *checker) names() {
	types := []reflect.Type{c.t}
	if c.t.Kind() != reflect.Interface && c.t.Kind() != reflect.Pointer {
		types = append(types, reflect.PointerTo(c.t))
	}
	for _, t := range types {
		for m := range t.Methods() {
			for _, want := range []string{"Validate", "Authorize"} {
				if m.Name != want && nearly(strings.ToLower(m.Name), strings.ToLower(want)) {
					c.complain(m.Name, "is it to be "+want+"? Rename it, for it would never be called")
				}
			}
		}
	}
}

// nearly reports whether a lower-case name is a usual mistake for want, or one letter away from it.
func nearly(name, want string) bool {
	switch name {
	case want, "authorised", "authorises", "authorisation", "authorization", "isauthorized", "isauthorised":
		return want == "authorize" || name == want
	case "valid", "isvalid", "validation":
		return want == "validate"
	}
	for i := range want { // a letter missing, another, or two that changed places
		if name == want[:i]+want[i+1:] || len(name) == len(want) && name[:i] == want[:i] && name[i+1:] == want[i+1:] {
			return true
		}
		if i > 0 && name == want[:i-1]+want[i:i+1]+want[i-1:i]+want[i+1:] {
			return true
		}
	}
	for i := range name { // a letter too many
		if name[:i]+name[i+1:] == want {
			return true
		}
	}
	return false
}

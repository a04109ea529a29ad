package privacy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"unicode/utf8"
)

// Personal is a value that is personal data of a subject. The zero value is of nobody, and stands for a field that was never filled
// in. It is a plain value: copying it is fine, and so is keeping it in states.
//
// It writes its value nowhere but in JSON, where it is marked: not in texts that fmt makes of it, not in errors, not in other encodings. A
// logger that writes a whole event as JSON does write it; so does fmt in a struct that keeps it in a field that is not exported, which
// Go gives no say in how it is printed.
type Personal[T any] struct {
	subject string
	value   T
	erased  bool
}

// Of makes a personal value of a subject, whose name must not be empty.
func Of[T any](subject string, value T) Personal[T] {
	if subject == "" {
		panic("privacy: Of: a personal value must be somebody's: the subject is empty")
	}
	return Personal[T]{subject: subject, value: value}
}

// Get gives the value; ok is false, and the value zero, if it was erased, or never there.
func (p Personal[T]) Get() (value T, ok bool) { return p.value, p.subject != "" && !p.erased }

// Or gives the value, or another if there is none.
func (p Personal[T]) Or(other T) T {
	if v, ok := p.Get(); ok {
		return v
	}
	return other
}

// Subject is whose it is, "" of the zero value.
func (p Personal[T]) Subject() string { return p.subject }

// Erased reports whether the value was erased.
func (p Personal[T]) Erased() bool { return p.erased }

// IsZero reports whether p is the zero value, for `json:",omitzero"`.
func (p Personal[T]) IsZero() bool { return p.subject == "" }

// IsPersonal tells annals that types which have such a field must be stored protected.
func (p Personal[T]) IsPersonal() {}

// String says that there is something, and not what.
func (p Personal[T]) String() string {
	switch {
	case p.erased:
		return "(erased)"
	case p.subject == "":
		return "(none)"
	}
	return "(personal)"
}

// Format prints what String says, under every verb.
func (p Personal[T]) Format(f fmt.State, _ rune) {
	_, _ = f.Write([]byte(p.String())) // nobody is told by fmt either
}

// LogValue shows what String says.
func (p Personal[T]) LogValue() slog.Value { return slog.StringValue(p.String()) }

var (
	errSealed = errors.New("privacy: the value is sealed: read it through Protect")
	errJSON   = errors.New("privacy: personal values can be stored as JSON only")
)

// MarshalJSON marks the value, so that a [Store] finds and encrypts it.
func (p Personal[T]) MarshalJSON() ([]byte, error) {
	switch {
	case p.subject == "":
		return []byte("null"), nil
	case p.erased:
		return envelope{Erased: &erased{p.subject}}.append(nil), nil
	}
	if !utf8.ValidString(p.subject) {
		return nil, errors.New("privacy: the name of a subject is not UTF-8")
	}
	value, err := json.Marshal(p.value)
	if err != nil { // which may quote the value
		return nil, fmt.Errorf("privacy: a %s cannot be written as JSON", reflect.TypeFor[T]())
	}
	return envelope{Personal: &plain{p.subject, value}}.append(nil), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (p *Personal[T]) UnmarshalJSON(b []byte) error {
	if bytes.Equal(b, []byte("null")) {
		*p = Personal[T]{}
		return nil
	}
	e, _, err := parseEnvelope(b)
	if err != nil || !hasMark(b) {
		return errors.New("privacy: not a personal value") // what it says instead is not for errors
	}
	switch {
	case e.Sealed != nil:
		return errSealed
	case e.Erased != nil && e.Erased.Subject != "":
		*p = Personal[T]{subject: e.Erased.Subject, erased: true}
	case e.Personal != nil && e.Personal.Subject != "":
		var value T
		if err := json.Unmarshal(e.Personal.Value, &value); err != nil {
			return fmt.Errorf("privacy: a personal value is no %s", reflect.TypeFor[T]())
		}
		*p = Personal[T]{subject: e.Personal.Subject, value: value}
	default:
		return errors.New("privacy: not a personal value")
	}
	return nil
}

// MarshalText refuses: a text could not be marked.
func (p Personal[T]) MarshalText() ([]byte, error) { return nil, errJSON }

// MarshalBinary refuses, for gob and the like.
func (p Personal[T]) MarshalBinary() ([]byte, error) { return nil, errJSON }

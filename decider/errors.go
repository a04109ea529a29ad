package decider

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/annalsdb/annals"
)

// Sentinels to branch on with errors.Is. The type beside each carries the facts.
var (
	// ErrRejected: the decision was no. See [RejectedError].
	ErrRejected = errors.New("decider: rejected")
	// ErrInvalid: the command is malformed in itself. See [InvalidError].
	ErrInvalid = errors.New("decider: invalid command")
	// ErrForbidden: the principal may not give this command. See [ForbiddenError].
	ErrForbidden = errors.New("decider: forbidden")
	// ErrKeyReused: the idempotency key was used before, for another command. See [KeyReusedError].
	ErrKeyReused = errors.New("decider: idempotency key reused")
	// ErrNoAuthorize: the log requires commands to have a method Authorize. See [DeclarationError].
	ErrNoAuthorize = errors.New("decider: command without Authorize")
	// ErrDeclaration: a command or a state is declared wrongly. See [DeclarationError] and [BoundaryError].
	ErrDeclaration = errors.New("decider: wrong declaration")
	// ErrPanic: a method of a command or a state panicked. See [PanicError].
	ErrPanic = errors.New("decider: panic")
)

// Rule is a business rule, as an error with a stable name:
//
//	const ErrSoldOut = decider.Rule("sold out")
//
// Return it from Decide as it is, or wrap it for detail: fmt.Errorf("%w: %d left", ErrSoldOut, n).
type Rule string //nolint:errname // it is read as a word: decider.Rule("sold out")

// Error is the rule's name.
func (r Rule) Error() string { return string(r) }

// RejectedError is what Decide answered instead of events. It matches [ErrRejected], and what Err matches.
type RejectedError struct {
	// Command is the command's name; for an [Update] that of the state's type.
	Command string
	Err     error
}

// Error names the command and the reason.
func (e *RejectedError) Error() string { return e.Command + " rejected: " + e.Err.Error() }

// Unwrap gives the reason.
func (e *RejectedError) Unwrap() error { return e.Err }

// Is matches ErrRejected.
func (e *RejectedError) Is(target error) bool { return target == ErrRejected }

// ForbiddenError is what Authorize answered. It matches [ErrForbidden], and what Err matches.
type ForbiddenError struct {
	Command string
	Err     error
}

// Error names the command and the reason.
func (e *ForbiddenError) Error() string { return e.Command + " forbidden: " + e.Err.Error() }

// Unwrap gives the reason.
func (e *ForbiddenError) Unwrap() error { return e.Err }

// Is matches ErrForbidden.
func (e *ForbiddenError) Is(target error) bool { return target == ErrForbidden }

// Field is a field of a command, by the name that its sender knows, and what is wrong with it.
type Field struct{ Name, Problem string }

// Invalid collects what is wrong with the fields of a command, so that its sender learns everything at once. The zero
// Invalid is ready to use.
//
//	func (c AddItem) Validate() error {
//		var v decider.Invalid
//		v.Check(c.Product != "", "product", "is required")
//		v.Check(c.Count > 0, "count", "must be positive")
//		return v.Err()
//	}
type Invalid struct{ fields []Field }

// Check notes the problem unless ok.
func (v *Invalid) Check(ok bool, field, problem string) {
	if !ok {
		v.fields = append(v.fields, Field{Name: field, Problem: problem})
	}
}

// Err is an [InvalidError] of everything noted, or nil.
func (v *Invalid) Err() error {
	if len(v.fields) == 0 {
		return nil
	}
	return &InvalidError{Fields: v.fields}
}

// InvalidError says what is wrong with a command's fields. It matches [ErrInvalid]. A Validate that answers with any
// other error is reported as one field without a name, and that error is matched too.
type InvalidError struct {
	Fields []Field
	cause  error
}

// Error lists the fields and their problems.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = strings.TrimSpace(f.Name + " " + f.Problem)
	}
	return ErrInvalid.Error() + ": " + strings.Join(parts, "; ")
}

// Unwrap gives the error of a Validate that did not collect fields, or nil.
func (e *InvalidError) Unwrap() error { return e.cause }

// Is matches ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// KeyReusedError names an idempotency key that the same principal used before for a command of the same name with
// other content. It matches [ErrKeyReused].
type KeyReusedError struct {
	Command, Key string
	// Position is that of the first event which the earlier command led to.
	Position annals.Position
}

// Error names the command and the key.
func (e *KeyReusedError) Error() string {
	return fmt.Sprintf("%v: %s: key %q was used for another command, at position %d", ErrKeyReused, e.Command, e.Key, e.Position)
}

// Is matches ErrKeyReused.
func (e *KeyReusedError) Is(target error) bool { return target == ErrKeyReused }

// DeclarationError says what is wrong with a command's type. It matches [ErrDeclaration], and [ErrNoAuthorize] if that
// is what it lacks.
type DeclarationError struct {
	Command string
	// Method is the method in question, as it is written.
	Method  string
	Problem string
	missing bool
}

// Error names the command and the problem.
func (e *DeclarationError) Error() string {
	return fmt.Sprintf("%v: %s.%s: %s", ErrDeclaration, e.Command, e.Method, e.Problem)
}

// Is matches ErrDeclaration, or ErrNoAuthorize.
func (e *DeclarationError) Is(target error) bool {
	return target == ErrDeclaration || e.missing && target == ErrNoAuthorize
}

// BoundaryError names a state whose boundary grows with every event that it brings in. It matches [ErrDeclaration].
type BoundaryError struct {
	State  string
	Rounds int
}

// Error names the state.
func (e *BoundaryError) Error() string {
	return fmt.Sprintf("%v: the boundary of %s still grows after %d reads", ErrDeclaration, e.State, e.Rounds)
}

// Is matches ErrDeclaration.
func (e *BoundaryError) Is(target error) bool { return target == ErrDeclaration }

// PanicError is a panic of a user's method. It matches [ErrPanic], and nothing that its value may be, lest a bug be
// taken for a conflict or a rejection.
type PanicError struct {
	// Command that was executed, or the name of the state for [Update]. Empty for [Load] and Validate.
	Command string
	// Method that panicked, with its type, such as "Order.Evolve".
	Method string
	// Position of the event that was folded in; elsewhere, the position up to which the state had been read.
	Position annals.Position
	Value    any
	// Stack is that of the goroutine, as runtime/debug.Stack writes it.
	Stack []byte
}

// Error names the method, the position and the value.
func (e *PanicError) Error() string {
	return fmt.Sprintf("%v in %s at position %d: %v", ErrPanic, e.Method, e.Position, e.Value)
}

// Is matches ErrPanic.
func (e *PanicError) Is(target error) bool { return target == ErrPanic }

// guard calls a user's method and makes an error of its panic.
func guard(owner, method string, at annals.Position, call func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Method: owner + method, Position: at, Value: v, Stack: debug.Stack()}
		}
	}()
	call()
	return nil
}

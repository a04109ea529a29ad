package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/annalsdb/annals"
)

// lineBytesMax bounds a line before memory is allocated for it. The largest append in base64 is smaller.
const lineBytesMax = 128 << 20

// lineJSON is a line of input: an event with conditions, or several of one append.
type lineJSON struct {
	recordedJSON
	Events     []recordedJSON  `json:"events"`
	Conditions []conditionJSON `json:"conditions"`
}

// conditionJSON is a condition: a stream with a revision or with whether it exists, or none of a query since a position.
type conditionJSON struct {
	Stream    string           `json:"stream"`
	Revision  *annals.Revision `json:"revision"`
	Exists    *bool            `json:"exists"`
	NoneSince *annals.Position `json:"noneSince"`
	Query     []itemJSON       `json:"query"`
}

// itemJSON is one alternative of a query. The empty one is everything.
type itemJSON struct {
	Types    []string  `json:"types"`
	Tags     []string  `json:"tags"`
	Stream   string    `json:"stream"`
	Category string    `json:"category"`
	ID       annals.ID `json:"id"`
}

// readAppends yields an append for each line that is not empty, and at most one error, last, with the number of its line.
func readAppends(r io.Reader) iter.Seq2[appendOf, error] {
	return func(yield func(appendOf, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, lineBytesMax)
		n := 1
		for ; lines.Scan(); n++ {
			b := bytes.TrimSpace(lines.Bytes())
			if len(b) == 0 {
				continue
			}
			a, err := parseAppend(b)
			a.line = n
			if err != nil {
				yield(a, usageError{err})
				return
			}
			if !yield(a, nil) {
				return
			}
		}
		if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
			yield(appendOf{line: n}, usageError{fmt.Errorf("it has more than %d bytes", lineBytesMax)})
		} else if err != nil {
			yield(appendOf{line: n}, fmt.Errorf("read the input: %w", err))
		}
	}
}

// interruptible reads r until ctx ends. What then still waits for r does so until the process ends: a terminal cannot be
// asked to let go.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	context.AfterFunc(ctx, func() { _ = in.CloseWithError(ctx.Err()) }) // never fails
	go func() {
		_, err := io.Copy(in, r)
		_ = in.CloseWithError(err) // never fails
	}()
	return out
}

func parseAppend(b []byte) (appendOf, error) {
	if !utf8.Valid(b) {
		return appendOf{}, errors.New("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var line lineJSON
	if err := d.Decode(&line); err != nil {
		return appendOf{}, parseError(err)
	}
	if at := d.InputOffset(); len(bytes.TrimSpace(b[at:])) > 0 {
		return appendOf{}, fmt.Errorf("something follows the JSON object, at byte %d", at+1)
	}
	events := line.Events
	switch alone := !reflect.ValueOf(line.recordedJSON).IsZero(); {
	case alone && events != nil:
		return appendOf{}, errors.New("it is an event and has events: put them all into events")
	case alone:
		events = []recordedJSON{line.recordedJSON}
	case len(events) == 0 && len(line.Conditions) == 0:
		return appendOf{}, errors.New("it has neither an event nor conditions")
	}
	var a appendOf
	for i := range events {
		e, err := events[i].event()
		if err != nil {
			return a, inList(err, "event", i, len(events))
		}
		if e.ID.IsZero() { // chosen here, so that it can be told whatever happens
			e.ID = annals.NewID()
		}
		a.events = append(a.events, e)
	}
	for i, c := range line.Conditions {
		condition, err := c.condition()
		if err != nil {
			return a, inList(err, "condition", i, len(line.Conditions))
		}
		a.conditions = append(a.conditions, condition)
	}
	return a, nil
}

// inList says which of several an error is about.
func inList(err error, what string, i, of int) error {
	if of == 1 {
		return err
	}
	return fmt.Errorf("%s %d of %d: %w", what, i+1, of, err)
}

// parseError says in the words of the input what encoding/json says in those of Go.
func parseError(err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("it is not JSON, at byte %d: %w", e.Offset, err)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		switch {
		case e.Field == "":
			return fmt.Errorf("it is a JSON %s, and not an object", e.Value)
		case strings.HasSuffix(e.Type.String(), reflect.TypeFor[annals.Position]().String()): // or a pointer to one
			return fmt.Errorf(`%s is a JSON %s: a position is a string, such as "17"`, e.Field, e.Value)
		}
		return fmt.Errorf("%s cannot be a JSON %s, at byte %d", e.Field, e.Value, e.Offset)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("it is not JSON: it ends too early")
	}
	return fmt.Errorf("it cannot be understood: %s", message(err))
}

func (c *conditionJSON) condition() (annals.Condition, error) {
	if c.NoneSince != nil {
		if c.Stream != "" || c.Revision != nil || c.Exists != nil {
			return annals.Condition{}, errors.New("a condition with noneSince names streams in its query")
		}
		items := make([]annals.Item, len(c.Query))
		for i, it := range c.Query {
			items[i] = annals.Item(it)
		}
		return annals.NoneSince(*c.NoneSince, annals.QueryOf(items...)), nil
	}
	switch {
	case c.Query != nil:
		return annals.Condition{}, errors.New(`a condition with a query has noneSince, which may be "0"`)
	case c.Stream == "":
		return annals.Condition{}, errors.New("a condition has a stream, or noneSince and a query")
	case (c.Revision == nil) == (c.Exists == nil):
		return annals.Condition{}, errors.New("a condition on a stream has either revision or exists")
	case c.Revision != nil:
		return annals.StreamAt(c.Stream, *c.Revision), nil
	case *c.Exists:
		return annals.StreamExists(c.Stream), nil
	}
	return annals.NoStream(c.Stream), nil
}

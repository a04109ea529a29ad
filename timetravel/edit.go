package timetravel

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/annalsdb/annals"
)

// ErrEdit matches what is wrong with an edit of the past. See [EditError].
var ErrEdit = errors.New("timetravel: edit")

// EditError says which edit cannot be made, and why. It matches [ErrEdit].
type EditError struct {
	// Index is the place of the edit among those given.
	Index   int
	Edit    Edit
	Problem string
	cause   error
}

// Error names the edit and the problem.
func (e *EditError) Error() string {
	text := fmt.Sprintf("%v %d, %s: %s", ErrEdit, e.Index, e.Edit, e.Problem)
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Is matches ErrEdit.
func (e *EditError) Is(target error) bool { return target == ErrEdit }

// Unwrap gives the reason, if another package has it.
func (e *EditError) Unwrap() error { return e.cause }

// editKind tells what an edit does.
type editKind uint8

const (
	editInsert editKind = iota + 1
	editDrop
	editReplace
	editMove
	editUntil
)

// Edit is a change of the past, to be tried out in a branch. Positions in it are those of the store that the branch is made of, and
// not of the branch: edits do not see each other. Make one with [Insert], [Drop], [Replace], [Move] or [Until].
type Edit struct {
	kind      editKind
	after     annals.Position   // where to insert, or to move to; of Until the last position
	positions []annals.Position // what to drop, replace or move
	events    []annals.Event
	at        time.Time
}

// Insert lets these events have happened right after a position; after 0 they come first. annals.Log.Encode makes them of values.
// Several inserts after one position stand in the order in which they are given.
func Insert(after annals.Position, events ...annals.Event) Edit {
	return Edit{kind: editInsert, after: after, events: slices.Clone(events)}
}

// Drop lets the events at these positions not have happened.
func Drop(positions ...annals.Position) Edit {
	return Edit{kind: editDrop, positions: slices.Clone(positions)}
}

// Replace lets other events have happened instead of one. A single one in the same stream takes the id and the metadata of the event
// that it replaces: what that led to still names it as its cause.
func Replace(p annals.Position, events ...annals.Event) Edit {
	return Edit{kind: editReplace, positions: []annals.Position{p}, after: p, events: slices.Clone(events)}
}

// Move lets events have happened elsewhere, one right after the other in the order given: right after a position, 0 being before all
// others.
func Move(after annals.Position, positions ...annals.Position) Edit {
	return Edit{kind: editMove, after: after, positions: slices.Clone(positions)}
}

// Until forgets all that happened after a position.
func Until(p annals.Position) Edit { return Edit{kind: editUntil, after: p} }

// At says when the events of an insert, a replacement or a move happened. It must lie between what is before and after them.
// Without it, they happened together with the event before them, or, where there is none, with the one after.
func (e Edit) At(t time.Time) Edit {
	e.at = t.UTC().Round(0)
	return e
}

// String writes the edit for people.
func (e Edit) String() string {
	switch e.kind {
	case editInsert:
		return fmt.Sprintf("insert %s after %d", types(e.events), e.after)
	case editDrop:
		return fmt.Sprintf("drop %d", e.positions)
	case editReplace:
		return fmt.Sprintf("replace %d by %s", e.after, types(e.events))
	case editMove:
		return fmt.Sprintf("move %d after %d", e.positions, e.after)
	case editUntil:
		return fmt.Sprintf("until %d", e.after)
	}
	return "nothing"
}

func types(events []annals.Event) string {
	const shown = 3
	var names []string
	for _, e := range events[:min(len(events), shown)] {
		names = append(names, e.Type)
	}
	if more := len(events) - shown; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// check reports what is wrong with an edit by itself, for a store whose head is at cut.
func (e Edit) check(cut annals.Position, limits annals.Limits) (problem string, cause error) {
	switch e.kind {
	case editInsert, editReplace:
		if len(e.events) == 0 {
			return "no events; to take one away is Drop", nil
		}
		for i := range e.events { // one by one: an insert may be larger than an append
			if err := annals.CheckAppend(e.events[i:i+1], nil, limits, false); err != nil {
				return fmt.Sprintf("event %d", i), err
			}
		}
	case editDrop, editMove:
		if len(e.positions) == 0 {
			return "no positions", nil
		}
	case editUntil:
	default:
		return "is the zero Edit: make one with Insert, Drop, Replace, Move or Until", nil
	}
	if year := e.at.Year(); year < 1 || year > 9999 {
		return "has a time that cannot be written", nil
	}
	if !e.at.IsZero() && (e.kind == editDrop || e.kind == editUntil) {
		return "has a time, but happens at none", nil
	}
	if e.after > cut {
		return fmt.Sprintf("position %d is past the end, %d", e.after, cut), &annals.AheadError{Position: e.after, Head: cut}
	}
	for _, p := range e.positions {
		if p == 0 || p > cut {
			return fmt.Sprintf("position %d is not between 1 and %d", p, cut), &annals.AheadError{Position: p, Head: cut}
		}
	}
	if sorted := slices.Sorted(slices.Values(e.positions)); len(slices.Compact(sorted)) < len(e.positions) {
		return "names a position twice", nil
	}
	return "", nil
}

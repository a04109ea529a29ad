package rest

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"github.com/annalsdb/annals"
)

func conflictProblem(r *http.Request, err error) (Problem, bool) {
	if !errors.Is(err, annals.ErrConflict) {
		return Problem{}, false
	}
	var c conflict
	if e, ok := errors.AsType[*annals.ConflictError](err); ok {
		c = conflictOf(e.Failures)
	}
	var p Problem
	if c.revision && r.Header.Get("If-Match") != "" {
		p = newProblem("revision-conflict", "Revision conflict", http.StatusPreconditionFailed, "It is not at the revision that If-Match names: read it again.")
	} else {
		p = newProblem("conflict", "Conflict", http.StatusConflict, "Others changed what this depends on: try again.")
		p.Retryable = true
	}
	p.ActualRevision, p.ConflictingEvents = c.actual, c.events
	return p, true
}

// conflict is what a client may know of the conditions that failed.
type conflict struct {
	revision bool // one of them wanted a stream to be at a revision
	actual   *annals.Revision
	events   []ConflictingEvent
}

// conflictOf gathers the events of the one stream that the command is about: what else its boundary holds belongs to
// others.
func conflictOf(failures []annals.Failure) (c conflict) {
	stream := ""
	for _, f := range failures {
		if s := f.Condition.Stream(); s != "" {
			stream, c.revision = s, true
			if f.Actual != annals.NoRevision {
				c.actual = &f.Actual
			}
			break
		}
		stream = cmp.Or(stream, f.Condition.Query().Stream())
	}
	if stream == "" {
		return c
	}
	at := map[annals.Position]ConflictingEvent{}
	for _, f := range failures {
		if onlyOf(stream, f.Condition) {
			for _, p := range f.Positions {
				if _, known := at[p]; !known {
					at[p] = ConflictingEvent{Position: p}
				}
			}
		}
		for _, e := range f.Events {
			if e.Stream == stream {
				at[e.Position] = ConflictingEvent{Position: e.Position, Revision: &e.Revision, Type: e.Type, ID: &e.ID, Time: &e.Time}
			}
		}
	}
	for _, e := range at {
		c.events = append(c.events, e)
	}
	slices.SortFunc(c.events, func(a, b ConflictingEvent) int { return cmp.Compare(a.Position, b.Position) })
	return c
}

// onlyOf reports whether all that can be in a condition's way is of the stream.
func onlyOf(stream string, c annals.Condition) bool {
	if c.Stream() == stream {
		return true
	}
	items := c.Query().Items()
	others := slices.ContainsFunc(items, func(it annals.Item) bool { return it.Stream != stream })
	return len(items) > 0 && !others
}

package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

const problemTypes = "https://annals.dev/problems/"

// Problem is an RFC 9457 problem detail: what clients learn of an error.
type Problem struct {
	// Type is a stable URL; its last part is the problem's name.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Retryable says that the same request may well succeed later.
	Retryable bool `json:"retryable,omitempty"`
	// Place is where a malformed request is.
	Place string `json:"place,omitempty"`
	// Rule is the text of the decider.Rule that was broken.
	Rule string `json:"rule,omitempty"`
	// Fields are what is invalid.
	Fields []ProblemField `json:"fields,omitempty"`
	// ActualRevision is that of the entity, if it has one, and ConflictingEvents the first that are in the way.
	ActualRevision    *annals.Revision   `json:"actualRevision,omitempty"`
	ConflictingEvents []ConflictingEvent `json:"conflictingEvents,omitempty"`
	// Projection lags: it has Applied less than was Wanted.
	Projection string           `json:"projection,omitempty"`
	Applied    *annals.Position `json:"applied,omitempty"`
	Wanted     *annals.Position `json:"wanted,omitempty"`
}

// ProblemField is a field of a command and what is wrong with it.
type ProblemField struct {
	Name    string `json:"name"`
	Problem string `json:"problem"`
}

// ConflictingEvent is an event that is in the way of a command. All but the position may be unknown.
type ConflictingEvent struct {
	Position annals.Position  `json:"position"`
	Revision *annals.Revision `json:"revision,omitempty"`
	Type     string           `json:"type,omitempty"`
	ID       *annals.ID       `json:"id,omitempty"`
	Time     *time.Time       `json:"time,omitempty"`
}

// WriteProblem answers r with what err is to its client, as application/problem+json. Where the client is not shown a
// cause that somebody may want to know, the request's logger is told, see [WithLogger] and [Logger]: as an error if the
// server failed, else as information.
//
// Headers that speak of an answer are taken away. A WWW-Authenticate that is there already stays as it is.
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	p := ProblemOf(r, err)
	if p.hidesCause(err) {
		logCause(r, p, err)
	}
	h := w.Header()
	h.Del("ETag")
	h.Del("Location")
	h.Del("Link")
	h.Del(headerPosition)
	h.Del(headerReplayed)
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case p.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "":
		h.Set("WWW-Authenticate", "Bearer")
	case p.Status == http.StatusServiceUnavailable && p.Retryable, p.Status == http.StatusTooManyRequests:
		h.Set("Retry-After", strconv.Itoa(p.retryAfter(err)))
	}
	b, err := json.Marshal(p)
	if err != nil {
		panic("rest: a problem of texts and numbers cannot fail to encode: " + err.Error())
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(b, '\n'))
}

// retryAfter is when the request may be sent again, in seconds.
func (p Problem) retryAfter(err error) int {
	if e, ok := errors.AsType[*cqrs.TooManyError](err); ok {
		return max(1, int(math.Ceil(e.Wait.Seconds())))
	}
	return 1
}

func logCause(r *http.Request, p Problem, err error) {
	attrs := []any{"method", r.Method, "route", r.Pattern, "status", p.Status, "error", err}
	if e, ok := errors.AsType[*cqrs.PanicError](err); ok {
		attrs = append(attrs, "stack", string(e.Stack))
	} else if e, ok := errors.AsType[*decider.PanicError](err); ok {
		attrs = append(attrs, "stack", string(e.Stack))
	}
	if p.Status >= http.StatusInternalServerError {
		loggerFrom(r.Context()).ErrorContext(r.Context(), "request failed", attrs...)
	} else {
		loggerFrom(r.Context()).InfoContext(r.Context(), "request refused", attrs...)
	}
}

// ProblemOf translates an error. Where several fit, the first does: what a decision, or a projection that stopped, gives
// as its reason is not taken for an error of the request.
//
//	503 projection-lagging      projection.ErrLagging
//	404 not-found               decider.ErrRejected, by a rule of [NotFound]
//	409 rule-broken             decider.ErrRejected
//	403 forbidden               decider.ErrForbidden
//	422 invalid                 decider.ErrInvalid
//	422 key-reused              decider.ErrKeyReused
//	400 malformed               [ErrMalformed]
//	415 unsupported-media-type  a body that is not JSON
//	401 unauthenticated         [ErrUnauthenticated]
//	404 not-found               projection.ErrNotFound, annals.ErrAhead; a path that no route takes, see [Routes]
//	405 method-not-allowed      a method that no route of the path takes, see [Routes]
//	412 revision-conflict       annals.ErrConflict, of the revision that If-Match names
//	409 conflict                annals.ErrConflict: try again
//	413 too-large               http.MaxBytesError, annals.ErrTooLarge
//	422 invalid                 annals.ErrInvalid, and annals.ErrTooLarge of a query: no such name can be
//	504 timeout                 annals.ErrUnknownOutcome: nobody knows
//	503 timeout                 the end of a context: nothing was changed
//	429 too-many-requests       cqrs.ErrTooMany, with Retry-After
//	503 overloaded              annals.ErrOverloaded, cqrs.ErrBusy
//	503 unavailable             annals.ErrReadOnly, ErrFull, ErrClosed; projection.ErrReset, ErrClosed
//	500 internal                anything else, and any panic
//
// The detail of 401, of 5xx, and of an event or a query that is invalid, says nothing of the cause. Conflicting events
// are told of the one stream alone that If-Match, or else the command's boundary, is about: others may not be for the
// client's eyes.
func ProblemOf(r *http.Request, err error) Problem {
	for _, translate := range []func(*http.Request, error) (Problem, bool){
		panicProblem, limitProblem, laggingProblem, routeProblem, missingProblem, decisionProblem, requestProblem, accessProblem, conflictProblem, sizeProblem, timeProblem, storeProblem,
	} {
		if p, ok := translate(r, err); ok {
			return p
		}
	}
	return internal()
}

func internal() Problem {
	return newProblem("internal", "Internal error", http.StatusInternalServerError, "The server failed. It is not for you to mend.")
}

func newProblem(name, title string, status int, detail string) Problem {
	return Problem{Type: problemTypes + name, Title: title, Status: status, Detail: detail}
}

// hidesCause reports whether err says more than the client is shown, and not only that time, or patience, ran out.
func (p Problem) hidesCause(err error) bool {
	switch strings.TrimPrefix(p.Type, problemTypes) {
	case "internal", "unavailable", "unauthenticated":
		return true
	case "timeout":
		return p.Status == http.StatusGatewayTimeout
	case "invalid":
		return p.Fields == nil
	case "projection-lagging": // it may have stopped, and not only be late
		e, ok := errors.AsType[*projection.LaggingError](err)
		return ok && e.Cause != nil && !errors.Is(e.Cause, context.Canceled)
	}
	return false
}

// panicProblem is first: a panic may carry an error that others would recognise.
func panicProblem(_ *http.Request, err error) (Problem, bool) {
	if !errors.Is(err, cqrs.ErrPanic) {
		return Problem{}, false
	}
	return internal(), true
}

func limitProblem(_ *http.Request, err error) (Problem, bool) {
	switch {
	case errors.Is(err, cqrs.ErrTooMany):
		p := newProblem("too-many-requests", "Too many requests", http.StatusTooManyRequests, "You ask for more than you may in so short a time; nothing was changed.")
		p.Retryable = true
		return p, true
	case errors.Is(err, cqrs.ErrBusy):
		return overloaded(), true
	}
	return Problem{}, false
}

func overloaded() Problem {
	p := newProblem("overloaded", "Overloaded", http.StatusServiceUnavailable, "There is too much to do at the moment; nothing was changed.")
	p.Retryable = true
	return p
}

func requestProblem(_ *http.Request, err error) (Problem, bool) {
	if e, ok := errors.AsType[*MalformedError](err); ok {
		return malformed(e), true
	}
	if errors.Is(err, ErrMalformed) {
		return newProblem("malformed", "Malformed request", http.StatusBadRequest, ""), true
	}
	if e, ok := errors.AsType[*mediaTypeError](err); ok {
		return newProblem("unsupported-media-type", "Unsupported media type", http.StatusUnsupportedMediaType, e.problem), true
	}
	return Problem{}, false
}

func malformed(e *MalformedError) Problem {
	place := short(e.Place)
	p := newProblem("malformed", "Malformed request", http.StatusBadRequest, place+": "+short(e.Problem))
	p.Place = place
	return p
}

// shownBytesMax is how much is shown of a text that may quote the request: names and values can be as long as that.
const shownBytesMax = 300

func short(text string) string {
	if len(text) <= shownBytesMax {
		return text
	}
	end := shownBytesMax
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

func accessProblem(_ *http.Request, err error) (Problem, bool) {
	switch {
	case errors.Is(err, ErrUnauthenticated):
		return newProblem("unauthenticated", "Unauthenticated", http.StatusUnauthorized, "Say who you are, with credentials that hold."), true
	case errors.Is(err, projection.ErrNotFound):
		return newProblem("not-found", "Not found", http.StatusNotFound, "There is no such thing."), true
	case errors.Is(err, annals.ErrAhead):
		return newProblem("not-found", "Not found", http.StatusNotFound, "It has not come that far yet."), true
	}
	return Problem{}, false
}

func missingProblem(_ *http.Request, err error) (Problem, bool) {
	e, ok := errors.AsType[*missingError](err)
	if !ok {
		return Problem{}, false
	}
	p := newProblem("not-found", "Not found", http.StatusNotFound, e.rejected.Err.Error())
	p.Rule = string(e.rule)
	return p, true
}

func decisionProblem(_ *http.Request, err error) (Problem, bool) {
	if e, ok := errors.AsType[*decider.RejectedError](err); ok {
		p := newProblem("rule-broken", "Rule broken", http.StatusConflict, e.Err.Error())
		if rule, ok := errors.AsType[decider.Rule](e.Err); ok {
			p.Rule = string(rule)
		}
		return p, true
	}
	if errors.Is(err, decider.ErrForbidden) {
		return newProblem("forbidden", "Forbidden", http.StatusForbidden, reason(err)), true
	}
	if e, ok := errors.AsType[*decider.InvalidError](err); ok {
		p := newProblem("invalid", "Invalid", http.StatusUnprocessableEntity, "Some fields do not hold what they must.")
		p.Fields = make([]ProblemField, len(e.Fields))
		for i, f := range e.Fields {
			p.Fields[i] = ProblemField{Name: f.Name, Problem: f.Problem}
		}
		return p, true
	}
	if errors.Is(err, decider.ErrKeyReused) {
		return newProblem("key-reused", "Idempotency key reused", http.StatusUnprocessableEntity,
			"The Idempotency-Key was sent before, with another request."), true
	}
	return Problem{}, false
}

func sizeProblem(_ *http.Request, err error) (Problem, bool) {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newProblem("too-large", "Too large", http.StatusRequestEntityTooLarge, fmt.Sprintf("The body may have at most %d bytes.", e.Limit)), true
	}
	if e, ok := errors.AsType[*annals.InvalidError](err); ok && e.What == "Expect" {
		return malformed(&MalformedError{Place: "header If-Match", Problem: "what this changes has no revision: leave it out"}), true
	}
	switch {
	case errors.Is(err, annals.ErrTooLarge) && !ofQuery(err):
		return newProblem("too-large", "Too large", http.StatusRequestEntityTooLarge, "This is more than the store takes at once."), true
	case errors.Is(err, annals.ErrInvalid):
		return newProblem("invalid", "Invalid", http.StatusUnprocessableEntity, "A value is not fit for what it is used for: it may be empty, or hold what it must not."), true
	}
	return Problem{}, false
}

// ofQuery reports whether what is over a limit is what was asked for, and not what was sent: a name that is too long is
// that of nothing, whatever size the request has.
func ofQuery(err error) bool {
	e, ok := errors.AsType[*annals.LimitError](err)
	return ok && strings.HasPrefix(e.What, "query")
}

func laggingProblem(_ *http.Request, err error) (Problem, bool) {
	if !errors.Is(err, projection.ErrLagging) {
		return Problem{}, false
	}
	p := newProblem("projection-lagging", "Projection lagging", http.StatusServiceUnavailable, "What is asked has not seen that position yet.")
	p.Retryable = true
	if e, ok := errors.AsType[*projection.LaggingError](err); ok {
		p.Projection, p.Applied, p.Wanted = e.Projection, &e.Applied, &e.Wanted
	}
	return p, true
}

func timeProblem(r *http.Request, err error) (Problem, bool) {
	switch {
	case errors.Is(err, annals.ErrUnknownOutcome):
		p := newProblem("timeout", "Timeout", http.StatusGatewayTimeout,
			"Time ran out, and it is not known whether the command took effect. To send it again is safe only under the same Idempotency-Key.")
		p.Retryable = r.Header.Get(headerIdempotencyKey) != ""
		return p, true
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p := newProblem("timeout", "Timeout", http.StatusServiceUnavailable, "Time ran out; nothing was changed.")
		p.Retryable = true
		return p, true
	}
	return Problem{}, false
}

func storeProblem(_ *http.Request, err error) (Problem, bool) {
	if errors.Is(err, annals.ErrOverloaded) {
		return overloaded(), true
	}
	for _, target := range []error{annals.ErrReadOnly, annals.ErrFull, annals.ErrClosed, projection.ErrClosed, projection.ErrReset} {
		if errors.Is(err, target) {
			p := newProblem("unavailable", "Unavailable", http.StatusServiceUnavailable, "This cannot be done at the moment; nothing was changed.")
			p.Retryable = errors.Is(err, projection.ErrReset)
			return p, true
		}
	}
	return Problem{}, false
}

// reason is what an Authorize or an allow said.
func reason(err error) string {
	if e, ok := errors.AsType[*decider.ForbiddenError](err); ok {
		return e.Err.Error()
	}
	return "You may not do this."
}

package cqrs

import (
	"context"
	"errors"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

// Outcome is the class of what became of a message: a small, stable set for logs, metrics and audits.
type Outcome string

// The outcomes.
const (
	// OutcomeOK: the command was accepted, the query answered.
	OutcomeOK Outcome = "ok"
	// OutcomeRejected: the decision was no; a business rule.
	OutcomeRejected Outcome = "rejected"
	// OutcomeInvalid: the command, or an event it led to, is malformed.
	OutcomeInvalid Outcome = "invalid"
	// OutcomeForbidden: the principal may not do this.
	OutcomeForbidden Outcome = "forbidden"
	// OutcomeNotFound: there is no such thing, or it has not come that far.
	OutcomeNotFound Outcome = "not-found"
	// OutcomeConflict: others were faster, or the caller expected another revision.
	OutcomeConflict Outcome = "conflict"
	// OutcomeLagging: a read model has not applied what was asked for.
	OutcomeLagging Outcome = "lagging"
	// OutcomeLimited: the caller, or all callers together, ask for more than they may at once; nothing was decided.
	OutcomeLimited Outcome = "limited"
	// OutcomeCanceled: the caller went away.
	OutcomeCanceled Outcome = "canceled"
	// OutcomeTimeout: time ran out.
	OutcomeTimeout Outcome = "timeout"
	// OutcomeFailed: anything else; somebody should look.
	OutcomeFailed Outcome = "failed"
)

// Outcomes are all of them.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeOK, OutcomeRejected, OutcomeInvalid, OutcomeForbidden, OutcomeNotFound, OutcomeConflict, OutcomeLagging, OutcomeLimited,
		OutcomeCanceled, OutcomeTimeout, OutcomeFailed,
	}
}

// OutcomeOf classes an error.
func OutcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return OutcomeOK
	case errors.Is(err, ErrBusy) && errors.Is(err, context.Canceled): // while it waited for a place
		return OutcomeCanceled
	}
	for _, c := range []struct {
		target  error
		outcome Outcome
	}{
		// What comes first may carry any other error as its reason.
		{ErrPanic, OutcomeFailed},
		{ErrBusy, OutcomeLimited},
		{ErrTooMany, OutcomeLimited},
		{projection.ErrLagging, OutcomeLagging},
		{decider.ErrRejected, OutcomeRejected},
		{decider.ErrForbidden, OutcomeForbidden},
		{decider.ErrInvalid, OutcomeInvalid},
		{decider.ErrKeyReused, OutcomeInvalid},
		{projection.ErrNotFound, OutcomeNotFound},
		{annals.ErrAhead, OutcomeNotFound},
		{annals.ErrConflict, OutcomeConflict},
		{annals.ErrInvalid, OutcomeInvalid},
		{context.Canceled, OutcomeCanceled},
		{context.DeadlineExceeded, OutcomeTimeout},
	} {
		if errors.Is(err, c.target) {
			return c.outcome
		}
	}
	return OutcomeFailed
}

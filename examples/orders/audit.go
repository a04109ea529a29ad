package orders

import (
	"context"
	"fmt"
	"slices"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
)

// ListCommands asks who gave which commands, the newest first, those included that were refused. What is empty does not narrow it.
type ListCommands struct {
	Principal string       `json:"principal"`
	Subject   string       `json:"subject"` // a stream, such as order-1001
	Outcome   cqrs.Outcome `json:"outcome"`
	Limit     *int         `json:"limit"`
	// Before is the next of the page before.
	Before *annals.Position `json:"before"`
}

// CommandPage is a part of the audit trail.
type CommandPage struct {
	Commands []cqrs.Given `json:"commands"`
	// Next is what to ask for as before; absent if nothing is older.
	Next annals.Position `json:"next,omitzero"`
}

// Validate checks the parameters.
func (q ListCommands) Validate() error {
	var v decider.Invalid
	v.Check(q.Limit == nil || *q.Limit >= 1 && *q.Limit <= pageMax, "limit", fmt.Sprintf("must be from 1 to %d", pageMax))
	v.Check(q.Outcome == "" || slices.Contains(cqrs.Outcomes(), q.Outcome), "outcome", "is none")
	v.Check(q.Before == nil || *q.Before > 0, "before", "must be at least 1")
	return v.Err()
}

// Authorize is for clerks: the trail tells what everybody does.
func (q ListCommands) Authorize(p annals.Principal, _ CommandPage) error { return staffOnly(p) }

// answerAudit answers ListCommands from the trail.
func (s *Service) answerAudit(ctx context.Context, q ListCommands) (CommandPage, error) {
	limit := pageDefault
	if q.Limit != nil {
		limit = *q.Limit
	}
	opts := []annals.ReadOption{annals.Backwards(), annals.Limit(limit + 1), annals.AtLeast(annals.AtLeastFrom(ctx))}
	if q.Before != nil {
		head, err := s.log.Store().Head(ctx)
		if err != nil {
			return CommandPage{}, err
		}
		opts = append(opts, annals.AsOf(min(*q.Before-1, head)))
	}
	page := CommandPage{Commands: []cqrs.Given{}}
	for g, err := range s.trail.Read(ctx, cqrs.Asked{Principal: q.Principal, Subject: q.Subject, Outcome: q.Outcome}, opts...) {
		if err != nil {
			return CommandPage{}, err
		}
		if len(page.Commands) == limit {
			page.Next = page.Commands[limit-1].Position
			break
		}
		page.Commands = append(page.Commands, g)
	}
	return page, nil
}

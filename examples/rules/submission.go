package rules

import (
	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// ErrSubmitted refuses a form that was submitted before.
const ErrSubmitted = decider.Rule("form was submitted already")

// FormSubmitted is a form, with the token that its page was made with.
type FormSubmitted struct {
	Submission string `json:"submission" annals:"submission"`
	Text       string `json:"text"`
}

func (FormSubmitted) isEvent() {}

// Submission is the token of a form's page.
type Submission struct {
	Token string
	Used  bool
}

// Boundary is what was submitted with the token.
func (s Submission) Boundary() annals.Query { return annals.Tags("submission:" + s.Token) }

// Evolve folds one event in.
func (s Submission) Evolve(Event) Submission { s.Used = true; return s }

// SubmitForm submits a form, once for each page, whatever it says: who presses the button twice is told so. To answer the
// second time as the first, use [decider.IdempotencyKey] instead.
type SubmitForm struct{ Submission, Text string }

// Initial is the token before it was used.
func (c SubmitForm) Initial() Submission { return Submission{Token: c.Submission} }

// Decide accepts the first.
func (c SubmitForm) Decide(s Submission) ([]Event, error) {
	if s.Used {
		return nil, ErrSubmitted
	}
	return []Event{FormSubmitted(c)}, nil
}

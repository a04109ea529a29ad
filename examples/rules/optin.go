package rules

import (
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// TokenLife is for how long a sign-up can be confirmed.
const TokenLife = time.Hour

// The rules of a sign-up.
const (
	ErrUnknownToken = decider.Rule("token was never given out")
	ErrTokenUsed    = decider.Rule("token was used already")
	ErrTokenExpired = decider.Rule("token has expired")
)

// The events of a sign-up.
type (
	// SignUpRequested gives out a token, by mail.
	SignUpRequested struct {
		Token string    `json:"token" annals:"token"`
		User  string    `json:"user"`
		At    time.Time `json:"at"`
	}
	// SignUpConfirmed uses the token.
	SignUpConfirmed struct {
		Token string `json:"token" annals:"token"`
		User  string `json:"user"`
	}
)

func (SignUpRequested) isEvent() {}
func (SignUpConfirmed) isEvent() {}

// Token is one token.
type Token struct {
	Value string
	User  string
	Given time.Time
	Used  bool
}

// Boundary is what happened to the token.
func (t Token) Boundary() annals.Query { return annals.Tags("token:" + t.Value) }

// Evolve folds one event in.
func (t Token) Evolve(e Event) Token {
	switch e := e.(type) {
	case SignUpRequested:
		t.User, t.Given = e.User, e.At
	case SignUpConfirmed:
		t.Used = true
	}
	return t
}

// ConfirmSignUp is what the link in the mail does.
type ConfirmSignUp struct {
	Token string
	At    time.Time
}

// Initial is the token before anything happened.
func (c ConfirmSignUp) Initial() Token { return Token{Value: c.Token} }

// Decide accepts a token once, and in time.
func (c ConfirmSignUp) Decide(t Token) ([]Event, error) {
	switch {
	case t.Given.IsZero():
		return nil, ErrUnknownToken
	case t.Used:
		return nil, ErrTokenUsed
	case !within(c.At, t.Given, TokenLife):
		return nil, ErrTokenExpired
	}
	return []Event{SignUpConfirmed{Token: c.Token, User: t.User}}, nil
}

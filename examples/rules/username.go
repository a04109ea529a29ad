package rules

import (
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// UsernameKept is for how long a name that was given up is kept for its last owner.
const UsernameKept = 3 * 24 * time.Hour

// The rules of accounts and their names.
const (
	ErrUsernameTaken  = decider.Rule("username is taken")
	ErrAccountOpen    = decider.Rule("account is open already")
	ErrUnknownAccount = decider.Rule("account does not exist")
	ErrSameUsername   = decider.Rule("account has this username already")
)

// The events of accounts. A change of name is tagged with both names: it takes one and gives up the other.
type (
	// AccountOpened gives an account its first name.
	AccountOpened struct {
		Account  string `json:"account" annals:"account,stream"`
		Username string `json:"username" annals:"username"`
	}
	// UsernameChanged gives an account another name.
	UsernameChanged struct {
		Account  string    `json:"account" annals:"account,stream"`
		Username string    `json:"username" annals:"username"`
		Before   string    `json:"before" annals:"username"`
		At       time.Time `json:"at"`
	}
	// AccountClosed gives up the account's name.
	AccountClosed struct {
		Account  string    `json:"account" annals:"account,stream"`
		Username string    `json:"username" annals:"username"`
		At       time.Time `json:"at"`
	}
)

func (AccountOpened) isEvent()   {}
func (UsernameChanged) isEvent() {}
func (AccountClosed) isEvent()   {}

// Username is a name, among all accounts.
type Username struct {
	Name string
	// Owner is the account that has the name, or had it last.
	Owner string
	// Released is when the name was given up. Zero: it is in use, or was never.
	Released time.Time
}

// Boundary is everything that ever happened to the name.
func (u Username) Boundary() annals.Query { return annals.Tags("username:" + u.Name) }

// Evolve folds one event in.
func (u Username) Evolve(e Event) Username {
	switch e := e.(type) {
	case AccountOpened:
		u.Owner, u.Released = e.Account, time.Time{}
	case UsernameChanged:
		if e.Username == u.Name {
			u.Owner, u.Released = e.Account, time.Time{}
		} else {
			u.Released = e.At
		}
	case AccountClosed:
		u.Released = e.At
	}
	return u
}

// freeFor says whether an account may take the name.
func (u Username) freeFor(account string, at time.Time) bool {
	switch {
	case u.Owner == "":
		return true
	case u.Released.IsZero():
		return false
	}
	return u.Owner == account || !within(at, u.Released, UsernameKept)
}

// Account is one account.
type Account struct {
	ID       string
	Username string
}

// Boundary is the account's stream.
func (a Account) Boundary() annals.Query { return annals.Stream("account-" + a.ID) }

// Evolve folds one event in.
func (a Account) Evolve(e Event) Account {
	switch e := e.(type) {
	case AccountOpened:
		a.Username = e.Username
	case UsernameChanged:
		a.Username = e.Username
	case AccountClosed:
		a.Username = ""
	}
	return a
}

// Naming is an account and the name that it wants: one decision over both.
type Naming struct {
	Account  Account
	Username Username
}

// Boundary joins those of the parts.
func (n Naming) Boundary() annals.Query { return n.Account.Boundary().Or(n.Username.Boundary()) }

// Evolve hands an event to the parts that it is about.
func (n Naming) Evolve(e Event) Naming {
	if Schema.Match(n.Account.Boundary(), e) {
		n.Account = n.Account.Evolve(e)
	}
	if Schema.Match(n.Username.Boundary(), e) {
		n.Username = n.Username.Evolve(e)
	}
	return n
}

// naming is the state before anything happened.
func naming(account, username string) Naming {
	return Naming{Account: Account{ID: account}, Username: Username{Name: username}}
}

// OpenAccount opens an account under a name that nobody has.
type OpenAccount struct {
	Account, Username string
	At                time.Time
}

// Initial is the account and the name before anything happened.
func (c OpenAccount) Initial() Naming { return naming(c.Account, c.Username) }

// Decide opens the account if the name is free.
func (c OpenAccount) Decide(s Naming) ([]Event, error) {
	switch {
	case s.Account.Username != "":
		return nil, ErrAccountOpen
	case !s.Username.freeFor(c.Account, c.At):
		return nil, ErrUsernameTaken
	}
	return []Event{AccountOpened{Account: c.Account, Username: c.Username}}, nil
}

// ChangeUsername gives an account another name.
type ChangeUsername struct {
	Account, Username string
	At                time.Time
}

// Initial is the account and the new name before anything happened.
func (c ChangeUsername) Initial() Naming { return naming(c.Account, c.Username) }

// Decide changes the name if the new one is free.
func (c ChangeUsername) Decide(s Naming) ([]Event, error) {
	switch {
	case s.Account.Username == "":
		return nil, ErrUnknownAccount
	case s.Account.Username == c.Username:
		return nil, ErrSameUsername
	case !s.Username.freeFor(c.Account, c.At):
		return nil, ErrUsernameTaken
	}
	return []Event{UsernameChanged{Account: c.Account, Username: c.Username, Before: s.Account.Username, At: c.At}}, nil
}

// CloseAccount closes an account, whose name is free again after a while.
type CloseAccount struct {
	Account string
	At      time.Time
}

// Initial is the account before anything happened.
func (c CloseAccount) Initial() Account { return Account{ID: c.Account} }

// Decide closes an account that is open.
func (c CloseAccount) Decide(s Account) ([]Event, error) {
	if s.Username == "" {
		return nil, ErrUnknownAccount
	}
	return []Event{AccountClosed{Account: c.Account, Username: s.Username, At: c.At}}, nil
}

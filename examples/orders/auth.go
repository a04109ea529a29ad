package orders

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/rest"
)

// The roles that principals have. A customer's principal has the customer's id.
const (
	RoleCustomer = "customer"
	RoleClerk    = "clerk"
	RoleAdmin    = "admin"
	// roleProcess is that of what the service does by itself.
	roleProcess = "process"
)

var (
	errForeign   = errors.New("this belongs to another customer")
	errStaffOnly = errors.New("this is for clerks")
	errNobody    = errors.New("this is for customers and clerks")
)

// isStaff: clerks, and admins and the service itself, who may do what clerks may.
func isStaff(p annals.Principal) bool {
	return p.Has(RoleClerk) || p.Has(RoleAdmin) || p.Has(roleProcess)
}

// staffOnly is the rule of what only a clerk may do.
func staffOnly(p annals.Principal) error {
	if !isStaff(p) {
		return errStaffOnly
	}
	return nil
}

// isCustomer: somebody who may have orders of their own.
func isCustomer(p annals.Principal) bool { return p.Has(RoleCustomer) && p.ID != "" }

// customerOrStaff is the rule of what belongs to nobody: whoever may have something like it is told that it is not there.
// Ids of orders are made by the service and cannot be guessed, so it is no secret which are taken.
func customerOrStaff(p annals.Principal) error {
	if isStaff(p) || isCustomer(p) {
		return nil
	}
	return errNobody
}

// ownerOrStaff is the rule of what a customer may do with their own.
func ownerOrStaff(p annals.Principal, owner string) error {
	if isStaff(p) || isCustomer(p) && p.ID == owner {
		return nil
	}
	return errForeign
}

// customerOf fills in whom a request is about: for a customer that is who asks, for a clerk whom the body names.
func customerOf(r *http.Request, sent string) (string, error) {
	p := annals.PrincipalFrom(r.Context())
	switch {
	case p.IsZero():
		return "", rest.ErrUnauthenticated
	case isStaff(p):
		return sent, nil
	case sent != "" && sent != p.ID:
		return "", &decider.ForbiddenError{Command: r.Pattern, Err: errForeign}
	}
	return p.ID, nil
}

// DemoTokens tells principals by the bearer tokens demo-customer-1, demo-customer-2, demo-clerk and demo-admin. It is
// for demonstrations: anybody can know these tokens.
func DemoTokens() func(*http.Request) (annals.Principal, error) {
	principals := map[string]annals.Principal{
		"demo-customer-1": {ID: "customer-1", Roles: []string{RoleCustomer}},
		"demo-customer-2": {ID: "customer-2", Roles: []string{RoleCustomer}},
		"demo-clerk":      {ID: "clerk", Roles: []string{RoleClerk}},
		"demo-admin":      {ID: "admin", Roles: []string{RoleAdmin}},
	}
	return func(r *http.Request) (annals.Principal, error) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		p, known := principals[token]
		if !strings.EqualFold(scheme, "Bearer") || !known {
			return annals.Principal{}, fmt.Errorf("%w: no known bearer token", rest.ErrUnauthenticated)
		}
		return p, nil
	}
}

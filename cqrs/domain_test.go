package cqrs_test

import (
	"errors"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

// Doors that open and close, and remember who passed.

type DoorOpened struct {
	Door string `json:"door" annals:"door,stream"`
}

type DoorClosed struct {
	Door string `json:"door" annals:"door,stream"`
}

var schema = annals.NewSchema([]any{DoorOpened{}, DoorClosed{}})

type Door struct {
	ID   string
	Open bool
}

func (d Door) Boundary() annals.Query { return annals.Stream(annals.StreamName("door", d.ID)) }

func (d Door) Evolve(e any) Door {
	switch e.(type) {
	case DoorOpened:
		d.Open = true
	case DoorClosed:
		d.Open = false
	}
	return d
}

const errOpen = decider.Rule("door is open")

// OpenDoor has no Authorize, CloseDoor has.
type OpenDoor struct {
	Door string `json:"door"`
}

func (c OpenDoor) Initial() Door { return Door{ID: c.Door} }

func (c OpenDoor) Decide(d Door) ([]any, error) {
	if d.Open {
		return nil, errOpen
	}
	return []any{DoorOpened(c)}, nil
}

type CloseDoor struct {
	Door string `json:"door"`
}

func (c CloseDoor) Initial() Door              { return Door{ID: c.Door} }
func (c CloseDoor) Decide(Door) ([]any, error) { return []any{DoorClosed(c)}, nil }
func (c CloseDoor) Authorize(p annals.Principal, _ Door) error {
	if !p.Has("porter") {
		return errors.New("porters only")
	}
	return nil
}

// SlamDoor is misspelt.
type SlamDoor struct {
	Door string `json:"door"`
}

func (c SlamDoor) Initial() Door                          { return Door{ID: c.Door} }
func (c SlamDoor) Decide(Door) ([]any, error)             { return nil, nil }
func (c SlamDoor) Authorise(annals.Principal, Door) error { return nil }

// IsOpen asks whether a door is open.
type IsOpen struct {
	Door string `json:"door"`
}

// Passers asks who passed; the answer is for porters.
type Passers struct{ Door string }

func (Passers) Authorize(p annals.Principal, names []string) error {
	if len(names) > 0 && !p.Has("porter") {
		return errors.New("porters only")
	}
	return nil
}

var porter = annals.Principal{ID: "pat", Roles: []string{"porter"}}

func newBus(t *testing.T, mw ...cqrs.Middleware) *cqrs.Bus[any] {
	t.Helper()
	return cqrs.New(annals.NewLog[any](memory.New(), schema), mw...)
}

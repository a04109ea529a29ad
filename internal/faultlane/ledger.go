package faultlane

import (
	"fmt"
	"slices"
	"strings"

	"github.com/annalsdb/annals"
)

// Ledger is what writers tried and what they were told, kept where the store's disk is not. It is not safe for concurrent
// use.
type Ledger struct {
	entries map[Attempt]*entry
	acked   int // events
	tried   int // attempts
	// open are the attempts whose outcome nobody was told, in the order in which they were tried.
	open []Attempt
}

// entry is what became of an attempt, as far as its writer knows.
type entry struct {
	said  outcome
	first annals.Position // if it was acknowledged
}

type outcome uint8

const (
	open    outcome = iota // no answer, or that it is not known
	acked                  // it is there
	refused                // it is not there, nor will be
)

// NewLedger is an empty one.
func NewLedger() *Ledger { return &Ledger{entries: map[Attempt]*entry{}} }

// Acked is how many events were acknowledged.
func (l *Ledger) Acked() int { return l.acked }

// Tried is how many appends were tried.
func (l *Ledger) Tried() int { return l.tried }

// Lines in a ledger are made by these and read by [Ledger.Line].
func tryLine(a Attempt) string { return fmt.Sprintf("try %s", a) }

func ackLine(a Attempt, first annals.Position, hash string) string {
	return fmt.Sprintf("ack %s %d %s", a, first, hash)
}

func refusedLine(a Attempt, why error) string { return because("refused", a, why) }

func openLine(a Attempt, why error) string { return because("open", a, why) }

func because(verb string, a Attempt, why error) string {
	return fmt.Sprintf("%s %s %s", verb, a, strings.ReplaceAll(why.Error(), "\n", "; "))
}

// Line enters what a writer said. An answer that no writer can have been given is an error.
func (l *Ledger) Line(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	name, rest, _ := strings.Cut(rest, " ")
	a, err := ParseAttempt(name)
	if err != nil {
		return fmt.Errorf("%w, in %q", err, line)
	}
	switch verb {
	case "try":
		return l.try(a)
	case "ack":
		var first annals.Position
		var hash string
		if _, err := fmt.Sscan(rest, &first, &hash); err != nil {
			return fmt.Errorf("faultlane: %q: %w", line, err)
		}
		if want := a.Hash(); hash != want {
			return fmt.Errorf("faultlane: %q: its events have the hash %s", line, want)
		}
		return l.answer(a, acked, first)
	case "refused":
		return l.answer(a, refused, 0)
	case "open":
		return l.answer(a, open, 0)
	}
	return fmt.Errorf("faultlane: a ledger has no line %q", line)
}

func (l *Ledger) try(a Attempt) error {
	if l.entries[a] != nil {
		return fmt.Errorf("faultlane: %s is tried twice", a)
	}
	l.entries[a] = &entry{}
	l.tried++
	l.open = append(l.open, a)
	return nil
}

func (l *Ledger) answer(a Attempt, said outcome, first annals.Position) error {
	e := l.entries[a]
	if e == nil || e.said != open {
		return fmt.Errorf("faultlane: an answer to %s, which waits for none", a)
	}
	e.said, e.first = said, first
	if said == acked {
		l.acked += len(a.Events())
	}
	if said != open {
		l.open = slices.DeleteFunc(l.open, func(o Attempt) bool { return o == a })
	}
	return nil
}

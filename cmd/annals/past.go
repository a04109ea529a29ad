package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/timetravel"
)

// errNoEvents says that a stream has nothing to look at.
var errNoEvents = errors.New("the stream has no event")

// pastFlags say as of when a stream is looked at.
type pastFlags struct {
	revision, asOf uint64
	at             string
}

func (f *pastFlags) flag(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Uint64Var(&f.revision, "revision", 0, "as it was at this `REVISION`")
	flags.Uint64Var(&f.asOf, "as-of", 0, "as it was when the store stood at this `POSITION`")
	flags.StringVar(&f.at, "at", "", "as it was at this `TIME`, such as 2026-01-02T15:04:05Z")
}

func (f *pastFlags) options(cmd *cobra.Command) ([]annals.ReadOption, error) {
	said := cmd.Flags().Changed
	given := 0
	for _, name := range []string{"revision", "as-of", "at"} {
		if said(name) {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, usageError{errors.New("give one of --revision, --as-of and --at")}
	case said("revision"):
		return []annals.ReadOption{annals.AsOfRevision(annals.Revision(f.revision))}, nil
	case said("as-of"):
		return []annals.ReadOption{annals.AsOf(annals.Position(f.asOf))}, nil
	case said("at"):
		t, err := time.Parse(time.RFC3339, f.at)
		if err != nil {
			return nil, usageError{fmt.Errorf("--at %q is no time such as 2026-01-02T15:04:05Z", f.at)}
		}
		return []annals.ReadOption{annals.AsOfTime(t)}, nil
	}
	return nil, nil
}

// merged is the log of a store for tools that know no types.
func merged(s annals.Store) *annals.Log[annals.Recorded] {
	return annals.NewLog(s, annals.StoredSchema())
}

// loadMerged is the merged state of a stream that has events.
func loadMerged(cmd *cobra.Command, s annals.Store, stream string, opts []annals.ReadOption) (decider.Loaded[timetravel.Merged], error) {
	l, err := decider.Load(cmd.Context(), merged(s), timetravel.Merged{Stream: stream}, opts...)
	if err == nil && !l.Found {
		err = fmt.Errorf("%s: %w", printable(stream), errNoEvents)
	}
	return l, err
}

// revisions reads A..B.
func revisions(text string) (from, to annals.Revision, err error) {
	a, b, ok := strings.Cut(text, "..")
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	if !ok || errX != nil || errY != nil || x > y {
		return 0, 0, usageError{fmt.Errorf("--diff %q: want two revisions such as 2..5", text)}
	}
	return annals.Revision(x), annals.Revision(y), nil
}

// by says who did something, for people.
func by(m annals.Metadata) string {
	text := ""
	if m.Actor != "" {
		text += " by " + printable(m.Actor)
	}
	if m.Command != "" {
		text += " by command " + printable(m.Command)
	}
	if m.Reason != "" {
		text += ": " + printable(m.Reason)
	}
	return text
}

// changeLine is a change for people.
func changeLine(c timetravel.Change) string {
	return fmt.Sprintf("%s  %s → %s", printable(c.Path), preview(c.Before), preview(c.After))
}

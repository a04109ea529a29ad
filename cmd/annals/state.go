package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/timetravel"
)

// stateFlags are what `annals state` can be asked for.
type stateFlags struct {
	output output
	past   pastFlags
	diff   string
}

func newState() *cobra.Command {
	var f stateFlags
	cmd := &cobra.Command{
		Use:   "state DIR STREAM",
		Short: "Print the state of a stream, as it is or as it was",
		Long: `Prints the data of a stream's events, merged: a later value takes the place of an earlier one of the same name, null takes it away, and
$type is the type of the last event. That is a look at the events, and not what the program that wrote them makes of them.

With --diff, prints what each event between two revisions has changed.`,
		Example: `  annals state annals-data/store order-1001
  annals state annals-data/store order-1001 --at 2026-01-02T15:04:05Z
  annals state annals-data/store order-1001 --diff 2..5`,
		Args: argsNamed("DIR", "STREAM"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1]) },
	}
	f.output.flag(cmd)
	f.past.flag(cmd)
	cmd.Flags().StringVar(&f.diff, "diff", "", "what each event between two `REVISIONS` has changed: 2..5 for those behind 2, up to 5")
	return cmd
}

// stateJSON is a state as a line of JSON.
type stateJSON struct {
	Stream   string          `json:"stream"`
	Revision annals.Revision `json:"revision"`
	Position annals.Position `json:"position"` // up to which the store was read
	State    json.RawMessage `json:"state"`
}

func (f *stateFlags) run(cmd *cobra.Command, dir, stream string) (err error) {
	opts, err := f.past.options(cmd)
	if err != nil {
		return err
	}
	if f.diff != "" && opts != nil {
		return usageError{errors.New("--diff says as of when: leave out --revision, --as-of and --at")}
	}
	out, err := f.output.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	return withReadOnly(cmd.Context(), dir, func(s annals.Store) error {
		if cmd.Flags().Changed("diff") {
			return f.changes(cmd, out, s, stream)
		}
		l, err := loadMerged(cmd, s, stream, opts)
		if err != nil {
			return err
		}
		doc, err := l.State.MarshalJSON()
		if err != nil {
			return err
		}
		if out.json != nil {
			out.object(stateJSON{stream, l.Revision, l.Position, doc})
			return nil
		}
		var shown bytes.Buffer
		if err := json.Indent(&shown, doc, "", "  "); err != nil {
			return err
		}
		out.line("%s at revision %d", printable(stream), l.Revision)
		for line := range bytes.Lines(shown.Bytes()) {
			out.line("%s", printable(string(bytes.TrimSuffix(line, []byte("\n")))))
		}
		return nil
	})
}

// stepJSON is an event of a history as a line of JSON.
type stepJSON struct {
	Revision annals.Revision     `json:"revision"`
	Position annals.Position     `json:"position"`
	Type     string              `json:"type"`
	Time     time.Time           `json:"time"`
	Actor    string              `json:"actor,omitempty"`
	Command  string              `json:"command,omitempty"`
	Reason   string              `json:"reason,omitempty"`
	Changes  []timetravel.Change `json:"changes"`
}

// changes prints what the events behind one revision, up to another, have changed.
func (f *stateFlags) changes(cmd *cobra.Command, out *printer, s annals.Store, stream string) error {
	from, to, err := revisions(f.diff)
	if err != nil {
		return err
	}
	for step, err := range timetravel.History(cmd.Context(), merged(s), timetravel.Merged{Stream: stream}, annals.AsOfRevision(to)) {
		if err != nil {
			return err
		}
		e := step.Entry
		if e.Revision <= from {
			continue
		}
		m := e.Meta()
		if out.json != nil {
			out.object(stepJSON{e.Revision, e.Position, e.Type, e.Time, m.Actor, m.Command, m.Reason, step.Changes})
			continue
		}
		out.line("%s @%d  %s%s", printable(e.Type), e.Revision, e.Time.Format(time.RFC3339), by(m))
		for _, c := range step.Changes {
			if c.Path != timetravel.LastType {
				out.line("  %s", changeLine(c))
			}
		}
	}
	return nil
}

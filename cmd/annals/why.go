package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/timetravel"
)

// whyFlags are what `annals why` can be asked for.
type whyFlags struct {
	output output
	past   pastFlags
}

func newWhy() *cobra.Command {
	var f whyFlags
	cmd := &cobra.Command{
		Use:   "why DIR STREAM PATH",
		Short: "Find the event behind a value of a stream's state, and what led to it",
		Long: `Finds the last event that has changed a value of the state that annals state prints, and the events that caused it, also in other streams.
PATH is a name as state prints it, such as status, address.city or lines[0].count.`,
		Example: `  annals why annals-data/store order-1001 '$type'
  annals why annals-data/store order-1001 product --revision 4`,
		Args: argsNamed("DIR", "STREAM", "PATH"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1], args[2]) },
	}
	f.output.flag(cmd)
	f.past.flag(cmd)
	return cmd
}

// reasonJSON is an answer as a line of JSON.
type reasonJSON struct {
	Path    string          `json:"path"`
	Before  json.RawMessage `json:"before"`
	Value   json.RawMessage `json:"value"`
	Event   recordedJSON    `json:"event"`
	Causes  []recordedJSON  `json:"causes,omitempty"`  // the nearest first
	Request string          `json:"request,omitempty"` // what the first cause came from, if that is no event of the store
	Cut     bool            `json:"cut,omitempty"`     // there are more causes
}

func (f *whyFlags) run(cmd *cobra.Command, dir, stream, path string) (err error) {
	opts, err := f.past.options(cmd)
	if err != nil {
		return err
	}
	out, err := f.output.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	return withReadOnly(cmd.Context(), dir, func(s annals.Store) error {
		r, err := timetravel.Why(cmd.Context(), merged(s), timetravel.Merged{Stream: stream}, path, opts...)
		if errors.Is(err, timetravel.ErrNoReason) {
			if _, missing := loadMerged(cmd, s, stream, opts); missing != nil {
				return missing
			}
		}
		if err != nil {
			return err
		}
		if out.json != nil {
			answer := reasonJSON{Path: path, Before: r.Before, Value: r.Value, Event: toJSON(r.Event.Recorded), Request: r.Request, Cut: r.Cut}
			for _, c := range r.Causes {
				answer.Causes = append(answer.Causes, toJSON(c.Recorded))
			}
			out.object(answer)
			return nil
		}
		out.line("%s is %s since revision %d, before it was %s", printable(path), preview(r.Value), r.Event.Revision, preview(r.Before))
		out.line("  %s", causeLine(r.Event))
		for _, c := range r.Causes {
			out.line("  ← %s", causeLine(c))
		}
		switch {
		case r.Cut:
			out.line("  ← …")
		case r.Request != "":
			out.line("  ← request %s", printable(r.Request))
		}
		return nil
	})
}

func causeLine(c timetravel.Cause) string {
	where := ""
	if c.Revision != annals.NoRevision {
		where = " in " + c.Stream
	}
	return printable(c.Type+where) + " at position " + c.Position.String() + ", " + c.Time.Format(time.RFC3339) + by(c.Metadata)
}

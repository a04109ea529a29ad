package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/timetravel"
)

// whatIfFlags are what `annals whatif` can be asked for.
type whatIfFlags struct {
	output  output
	streams []string
}

func newWhatIf() *cobra.Command {
	var f whatIfFlags
	cmd := &cobra.Command{
		Use:   "whatif DIR FILE",
		Short: "Show what would be if other things had happened",
		Long: `Reads edits of the past from a file, and shows how the states of the streams that they touch would differ from what they are, as annals state
prints them. Nothing is stored. The file is a JSON document; positions are those of the store:

  {"annalsBranch": 1, "edits": [
    {"drop": ["7"]},
    {"insertAfter": "3", "events": [{"type": "OrderPaid", "stream": "order-1001", "data": {"order": "1001"}}], "at": "2026-01-02T15:04:05Z"},
    {"replace": "5", "events": [{"type": "ItemAdded", "stream": "order-1001", "data": {"order": "1001", "product": "tea", "count": 3}}]},
    {"move": ["9"], "after": "4"},
    {"until": "12"}
  ]}

A branch that a program has saved (timetravel.Branch.Save) is such a file.`,
		Example: `  annals whatif annals-data/store edits.json
  annals whatif annals-data/store edits.json --stream product-tea`,
		Args: argsNamed("DIR", "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0], args[1]) },
	}
	f.output.flag(cmd)
	cmd.Flags().StringArrayVar(&f.streams, "stream", nil, "this `STREAM` instead of those that the edits touch; given again: and that one")
	return cmd
}

// differenceJSON is how a stream's state differs in a branch, as a line of JSON.
type differenceJSON struct {
	Stream  string              `json:"stream"`
	Changes []timetravel.Change `json:"changes"`
}

func (f *whatIfFlags) run(cmd *cobra.Command, dir, name string) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = file.Close() }() // it was only read
	out, err := f.output.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	return withReadOnly(cmd.Context(), dir, func(s annals.Store) error {
		b, err := timetravel.OpenBranch(cmd.Context(), s, file)
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", name, err)}
		}
		streams := f.streams
		if streams == nil {
			streams = b.Streams()
		}
		log := merged(s)
		for _, stream := range streams {
			changes, err := timetravel.Compare(cmd.Context(), log, log.On(b), timetravel.Merged{Stream: stream})
			if err != nil {
				return err
			}
			if out.json != nil {
				out.object(differenceJSON{stream, append([]timetravel.Change{}, changes...)})
				continue
			}
			out.line("%s", printable(stream))
			if len(changes) == 0 {
				out.line("  no difference")
			}
			for _, c := range changes {
				out.line("  %s", changeLine(c))
			}
		}
		if len(streams) == 0 && out.json == nil {
			out.line("the edits touch no stream: give --stream")
		}
		return nil
	})
}

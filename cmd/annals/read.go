package main

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
)

// readFlags are what `annals read` can be asked for.
type readFlags struct {
	output               output
	stream, category, id string
	types, tags          []string
	system, backwards    bool
	after, asOf          uint64
	from, revision       uint64
	at                   string
	limit                int
}

func newRead() *cobra.Command {
	var f readFlags
	cmd := &cobra.Command{
		Use:   "read DIR",
		Short: "Print the events of a store, in a directory or on a server",
		Long: `Prints events in order of position, one line each. A directory is opened read-only: another process may
have it open, and what that has made durable so far is read. DIR may be the URL of a server, such as annals://127.0.0.1:2113.

Flags narrow: an event is printed if it is in the stream, in the category, of one of the types, and has all the tags.`,
		Example: `  annals read annals-data/store --stream order-42
  annals read annals-data/store --tag product:tea --type OrderPlaced -o ndjson
  annals read annals-data/store --backwards --limit 10`,
		Args: argsNamed("DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.output.flag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.stream, "stream", "", "events of this `STREAM`")
	flags.StringVar(&f.category, "category", "", "events of the streams of this `CATEGORY`: order for order-42")
	flags.StringVar(&f.id, "id", "", "events with this `ID`")
	flags.StringArrayVar(&f.types, "type", nil, "events of this `TYPE`; given again: or of that one")
	flags.StringArrayVar(&f.tags, "tag", nil, "events with this `TAG`; given again: and with that one")
	flags.BoolVar(&f.system, "system", false, "the system's own events too")
	flags.Uint64Var(&f.after, "after", 0, "events after this `POSITION`")
	flags.Uint64Var(&f.asOf, "as-of", 0, "events up to this `POSITION`")
	flags.StringVar(&f.at, "at", "", "events up to this `TIME`, such as 2026-01-02T15:04:05Z")
	flags.Uint64Var(&f.from, "from-revision", 0, "events from this `REVISION` of the stream on")
	flags.Uint64Var(&f.revision, "revision", 0, "events up to this `REVISION` of the stream")
	flags.BoolVar(&f.backwards, "backwards", false, "the last event first")
	flags.IntVar(&f.limit, "limit", 0, "at most `N` events")
	return cmd
}

func (f *readFlags) run(cmd *cobra.Command, dir string) (err error) {
	q, err := f.query(cmd)
	if err != nil {
		return err
	}
	opts, err := f.options(cmd)
	if err != nil {
		return err
	}
	out, err := f.output.to(cmd.OutOrStdout())
	if err != nil {
		return err
	}
	defer func() { err = out.close(err) }()
	return withReadOnly(cmd.Context(), dir, func(s annals.Store) error {
		events := s.Read(cmd.Context(), q, opts...)
		if out.json != nil {
			return printObjects(out, events)
		}
		return printTable(out, events)
	})
}

func (f *readFlags) query(cmd *cobra.Command) (annals.Query, error) {
	// A variable of a script that is not set must not widen what is read.
	for name, value := range map[string]string{"stream": f.stream, "category": f.category, "id": f.id, "at": f.at} {
		if cmd.Flags().Changed(name) && value == "" {
			return annals.Query{}, usageError{fmt.Errorf("--%s is empty", name)}
		}
	}
	item := annals.Item{Types: f.types, Tags: f.tags, Stream: f.stream, Category: f.category}
	if f.id != "" {
		id, err := annals.ParseID(f.id)
		if err != nil {
			return annals.Query{}, usageError{fmt.Errorf("--id: %s", message(err))}
		}
		item.ID = id
	}
	q := annals.QueryOf(item)
	if f.system {
		q = q.WithSystem()
	}
	return q, nil
}

func (f *readFlags) options(cmd *cobra.Command) ([]annals.ReadOption, error) {
	opts := []annals.ReadOption{annals.After(annals.Position(f.after))}
	said := cmd.Flags().Changed
	if f.stream == "" && (said("revision") || said("from-revision")) {
		return nil, usageError{errors.New("a revision is that of a stream: give --stream too")}
	}
	if said("as-of") {
		opts = append(opts, annals.AsOf(annals.Position(f.asOf)))
	}
	if said("revision") {
		opts = append(opts, annals.AsOfRevision(annals.Revision(f.revision)))
	}
	if said("from-revision") {
		opts = append(opts, annals.FromRevision(annals.Revision(f.from)))
	}
	if said("limit") {
		if f.limit < 1 {
			return nil, usageError{fmt.Errorf("--limit %d: there is nothing to print", f.limit)}
		}
		opts = append(opts, annals.Limit(f.limit))
	}
	if f.backwards {
		opts = append(opts, annals.Backwards())
	}
	if said("at") {
		t, err := time.Parse(time.RFC3339, f.at)
		if err != nil {
			return nil, usageError{fmt.Errorf("--at %q is no time such as 2026-01-02T15:04:05Z", f.at)}
		}
		opts = append(opts, annals.AsOfTime(t))
	}
	return opts, nil
}

func printObjects(out *printer, events iter.Seq2[annals.Recorded, error]) error {
	for r, err := range events {
		if err != nil {
			return err
		}
		if out.object(toJSON(r)); out.err != nil {
			return out.err
		}
	}
	return nil
}

// alignedRows is how many rows of a table are made equally wide: a store may have more than fit into memory.
const alignedRows = 500

func printTable(out *printer, events iter.Seq2[annals.Recorded, error]) error {
	table := tabwriter.NewWriter(out.w, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "POSITION\tTIME\tSTREAM\tREVISION\tTYPE\tDATA") // Flush tells
	rows := 0
	for r, err := range events {
		if err != nil {
			out.err = table.Flush()
			return err
		}
		stream, revision := "-", "-"
		if r.Revision != annals.NoRevision {
			stream, revision = r.Stream, strconv.FormatUint(uint64(r.Revision), 10)
		}
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%s\n",
			r.Position, r.Time.Format(time.RFC3339), printable(stream), revision, printable(r.Type), preview(r.Data))
		if rows++; rows%alignedRows == 0 {
			if err := table.Flush(); err != nil {
				return err
			}
		}
	}
	return table.Flush()
}

// preview is data fit for one line of a table.
func preview(data []byte) string {
	const shown = 100
	if !utf8.Valid(data) {
		return fmt.Sprintf("(%d bytes)", len(data))
	}
	line := []rune(printable(string(data[:min(len(data), shown*utf8.UTFMax)])))
	if len(line) > shown || len(data) > shown*utf8.UTFMax {
		return string(line[:shown]) + "…"
	}
	return string(line)
}

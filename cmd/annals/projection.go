package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/projection/pgviews"
	"github.com/annalsdb/annals/projection/sqliteviews"
)

// projectionFlags are what the commands of `annals projection` need to know.
type projectionFlags struct {
	output  output
	schema  string
	samples int
	yes     bool
}

func newProjection() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "projection",
		Short: "Look after the projections of a program that runs, or of one that does not",
		Long: `Shows and steers projections through the views that they are kept in, whatever process runs them: VIEWS is a SQLite file such as
annals-data/views.db, the directory that it lies in, or the URL of a PostgreSQL database. What is asked for is done by the process that runs the projection,
within about a second; if none does, by the next.

NAME is that of a projection, and means the version that serves; NAME@VERSION means that one.`,
		Example: `  annals projection ls annals-data
  annals projection pause annals-data orders
  annals projection diff annals-data orders@1 orders@2`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usageError{fmt.Errorf("there is no command %q: see %s --help", args[0], cmd.CommandPath())}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newProjectionLs(), newProjectionShow(), newProjectionDiff(), newProjectionSchema(),
		steer("pause", "Stop a projection where it stands, until it is resumed", "paused", projection.Pause),
		steer("resume", "Let a projection go on that was paused", "resumed", projection.Resume),
		steer("retry", "Try again what a projection has parked", "asked to try again what is parked", projection.Retry),
		newProjectionSkip(), newProjectionSwitch(), newProjectionRollback(), newProjectionRebuild(), newProjectionReset(), newProjectionDrop(),
	)
	return cmd
}

// command makes one of them, whose arguments begin with VIEWS.
func (f *projectionFlags) command(use, short, long, example string, names []string, run func(cmd *cobra.Command, v projection.Views, args []string, out *printer) error) *cobra.Command {
	names = append([]string{"VIEWS"}, names...)
	cmd := &cobra.Command{
		Use: use + " " + strings.Join(names, " "), Short: short, Long: long, Example: example, Args: argsNamed(names...),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			out, err := f.output.to(cmd.OutOrStdout())
			if err != nil {
				return err
			}
			defer func() { err = out.close(err) }()
			views, err := openViews(cmd.Context(), args[0], f.schema)
			if err != nil {
				return err
			}
			defer func() {
				if closing := views.Close(); err == nil {
					err = closing
				}
			}()
			return run(cmd, views, args[1:], out)
		},
	}
	f.output.flag(cmd)
	cmd.Flags().StringVar(&f.schema, "schema", pgviews.SchemaDefault, "the `SCHEMA` of a PostgreSQL database")
	return cmd
}

// openViews opens views that there are.
func openViews(ctx context.Context, where, schema string) (projection.Views, error) {
	if strings.HasPrefix(where, "postgres://") || strings.HasPrefix(where, "postgresql://") {
		return pgviews.Open(ctx, where, pgviews.Schema(schema), pgviews.Existing())
	}
	info, err := os.Stat(where)
	if err == nil && info.IsDir() {
		where = filepath.Join(where, viewsName)
		_, err = os.Stat(where)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: %w", where, projection.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return sqliteviews.Open(ctx, where)
}

// versionOf reads NAME or NAME@VERSION.
func versionOf(ctx context.Context, v projection.Views, text string) (name string, version int, err error) {
	name, number, given := strings.Cut(text, "@")
	if given {
		version, err = strconv.Atoi(number)
		if err != nil || version < 1 {
			return "", 0, usageError{fmt.Errorf("%q: want a name, or a name and a version such as orders@2", text)}
		}
		return name, version, nil
	}
	s, err := projection.ServingOf(ctx, v, name)
	if err == nil && s.Version == 0 {
		err = fmt.Errorf("no version of %q was ever run on these views: %w", printable(name), projection.ErrNotFound)
	}
	return name, s.Version, err
}

func newProjectionLs() *cobra.Command {
	var f projectionFlags
	return f.command("ls", "List projections with their state and their lag",
		`Lists every version of every projection: whether it serves, what its runner does, how far it is, how many positions and seconds it is behind
and whether that grows (↑) or shrinks (↓), its speed, and how many events it has parked. A projection that is behind and applies nothing is stalled.`,
		"  annals projection ls annals-data\n  annals projection ls postgres://shop@db/shop", nil,
		func(cmd *cobra.Command, v projection.Views, _ []string, out *printer) error {
			reports, err := projection.Reports(cmd.Context(), v)
			if err != nil {
				return err
			}
			if out.json != nil {
				for _, r := range reports {
					out.object(r)
				}
				return nil
			}
			return out.reports(reports)
		})
}

// reports writes a table for people.
func (p *printer) reports(reports []projection.Report) error {
	table := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "PROJECTION\tSERVES\tSTATE\tPOSITION\tHEAD\tLAG\tSECONDS\tTREND\tPER SECOND\tPARKED\tERROR") // Flush tells
	for _, r := range reports {
		serves := ""
		switch {
		case r.Serving:
			serves = "yes"
		case r.Previous:
			serves = "before"
		}
		state := string(r.State)
		if r.Stalled {
			state += ", stalled"
		}
		_, _ = fmt.Fprintf(table, "%s@%d\t%s\t%s\t%d\t%d\t%d\t%.0f\t%s\t%.0f\t%d\t%s\n", // Flush tells
			printable(r.Name), r.Version, serves, state, r.Applied, r.Head, r.Lag, r.LagSeconds, trend(r.Trend), r.PerSecond, r.Parked, printable(r.Error))
	}
	return table.Flush()
}

func trend(change int64) string {
	switch {
	case change > 0:
		return "↑"
	case change < 0:
		return "↓"
	}
	return "→"
}

func newProjectionShow() *cobra.Command {
	var f projectionFlags
	return f.command("show", "Show one projection, with its columns and what it has parked", "", "  annals projection show annals-data orders", []string{"NAME"},
		func(cmd *cobra.Command, v projection.Views, args []string, out *printer) error {
			ctx := cmd.Context()
			name, version, err := versionOf(ctx, v, args[0])
			if err != nil {
				return err
			}
			parked, err := projection.ParkedEvents(ctx, v, name, version)
			if err != nil {
				return err
			}
			r, err := reportOf(ctx, v, name, version)
			if err != nil {
				return err
			}
			shapes, err := v.Stored(ctx)
			if err != nil {
				return err
			}
			var definition string
			for _, s := range shapes {
				if s.Name == name && s.Version == version {
					definition = s.Fingerprint
				}
			}
			if out.json != nil {
				out.object(struct {
					projection.Report

					Definition   []string            `json:"definition"`
					ParkedEvents []projection.Parked `json:"parkedEvents"`
				}{r, strings.Split(definition, "\n"), parked})
				return nil
			}
			if err := out.reports([]projection.Report{r}); err != nil {
				return err
			}
			out.line("")
			for line := range strings.SplitSeq(definition, "\n") {
				out.line("  %s", printable(line))
			}
			for _, p := range parked {
				out.line("parked: %d %s, row %q: %s", p.Position, printable(p.Type), p.Key, waits(p))
			}
			return nil
		})
}

func waits(p projection.Parked) string {
	if p.Error == "" {
		return "waits for the one before it"
	}
	return printable(p.Error)
}

func reportOf(ctx context.Context, v projection.Views, name string, version int) (projection.Report, error) {
	reports, err := projection.Reports(ctx, v)
	for _, r := range reports {
		if r.Name == name && r.Version == version {
			return r, nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%s@%d is not stored in these views: %w", printable(name), version, projection.ErrNotFound)
	}
	return projection.Report{}, err
}

func newProjectionDiff() *cobra.Command {
	var f projectionFlags
	cmd := f.command("diff", "Compare two versions of a projection, row by row",
		`Compares every row of A with the row of the same key of B, and shows some of those that are not the same. The exit code is 1 if any is not.`,
		"  annals projection diff annals-data orders@1 orders@2", []string{"A", "B"}, f.diff)
	cmd.Flags().IntVar(&f.samples, "samples", 10, "show this `NUMBER` of rows that are not the same")
	return cmd
}

// errDiffer is the answer of a comparison that found differences, and has said so where its findings go.
var errDiffer = errors.New("the rows are not the same")

func (f *projectionFlags) diff(cmd *cobra.Command, v projection.Views, args []string, out *printer) error {
	ctx := cmd.Context()
	var sides []*projection.View[json.RawMessage]
	for _, arg := range args {
		name, version, err := versionOf(ctx, v, arg)
		if err != nil {
			return err
		}
		side, err := projection.OfStored(ctx, v, name, version)
		if err != nil {
			return err
		}
		sides = append(sides, side)
	}
	c, err := projection.Compare(ctx, sides[0], sides[1], f.samples)
	if err != nil {
		return err
	}
	if out.json != nil {
		out.object(map[string]int{"same": c.Same, "differ": c.Differ, "onlyA": c.OnlyA, "onlyB": c.OnlyB})
		for _, d := range c.Samples {
			out.object(d)
		}
	} else {
		for _, d := range c.Samples {
			out.line("%s", printable(d.Key))
			out.side("-", d.A)
			out.side("+", d.B)
		}
		out.line("same %d, differ %d, only in %s %d, only in %s %d", c.Same, c.Differ, args[0], c.OnlyA, args[1], c.OnlyB)
	}
	if !c.Equal() {
		return errDiffer
	}
	return nil
}

// side writes a row of one side.
func (p *printer) side(sign string, row *json.RawMessage) {
	if row != nil {
		p.line("%s %s", sign, printable(string(*row)))
	}
}

func newProjectionSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the statements that make the tables of a PostgreSQL schema",
		Long: `Prints what pgviews.Open runs in a new schema, for those who let no program do so. Tables of projections are made when they are first run.`,
		Args: argsNamed(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			steps, err := pgviews.Migrations()
			if err == nil {
				_, err = fmt.Fprint(cmd.OutOrStdout(), strings.Join(steps, "\n"))
			}
			return err
		},
	}
}

// done tells what was done to a version.
func (p *printer) done(name string, version int, what string) {
	if p.json != nil {
		p.object(map[string]any{"name": name, "version": version, "done": what})
		return
	}
	p.line("%s@%d is %s", printable(name), version, what)
}

// steer makes a command that asks something of whoever runs the projection.
func steer(use, short, done string, do func(ctx context.Context, v projection.Views, name string, version int) error) *cobra.Command {
	var f projectionFlags
	return f.command(use, short, "", "  annals projection "+use+" annals-data orders", []string{"NAME"},
		func(cmd *cobra.Command, v projection.Views, args []string, out *printer) error {
			name, version, err := versionOf(cmd.Context(), v, args[0])
			if err == nil {
				err = do(cmd.Context(), v, name, version)
			}
			if err == nil {
				out.done(name, version, done)
			}
			return err
		})
}

func newProjectionSkip() *cobra.Command {
	var f projectionFlags
	return f.command("skip", "Give up a parked event, and try again those behind it",
		`Removes the event at POSITION from what is parked: it is never applied to the row, unless the projection is built anew.`,
		"  annals projection skip annals-data orders 4711", []string{"NAME", "POSITION"},
		func(cmd *cobra.Command, v projection.Views, args []string, out *printer) error {
			ctx := cmd.Context()
			at, err := strconv.ParseUint(args[1], 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("%q is no position", args[1])}
			}
			name, version, err := versionOf(ctx, v, args[0])
			if err == nil {
				err = projection.Skip(ctx, v, name, version, annals.Position(at))
			}
			if err == nil {
				err = projection.Retry(ctx, v, name, version)
			}
			if err == nil {
				out.done(name, version, "going on without the event at "+args[1])
			}
			return err
		})
}

func newProjectionSwitch() *cobra.Command {
	var f projectionFlags
	return f.command("switch", "Make a version the one that serves", `Readers see it at once, in all processes. The version that served is kept, and rollback goes back to it.`,
		"  annals projection switch annals-data orders@2", []string{"NAME@VERSION"},
		func(cmd *cobra.Command, v projection.Views, args []string, out *printer) error {
			if !strings.Contains(args[0], "@") {
				return usageError{fmt.Errorf("%q: say which version, such as %s@2", args[0], args[0])}
			}
			name, version, err := versionOf(cmd.Context(), v, args[0])
			if err == nil {
				err = projection.Switch(cmd.Context(), v, name, version)
			}
			if err == nil {
				out.done(name, version, "serving")
			}
			return err
		})
}

func newProjectionRollback() *cobra.Command {
	var f projectionFlags
	return f.command("rollback", "Go back to the version that served before", `The newer version is kept, and does not take its place again unless it is switched to.`,
		"  annals projection rollback annals-data orders", []string{"NAME"},
		func(cmd *cobra.Command, v projection.Views, args []string, out *printer) error {
			name, _, _ := strings.Cut(args[0], "@")
			err := projection.Rollback(cmd.Context(), v, name)
			if err != nil {
				return err
			}
			s, err := projection.ServingOf(cmd.Context(), v, name)
			if err == nil {
				out.done(name, s.Version, "serving")
			}
			return err
		})
}

func newProjectionDrop() *cobra.Command {
	var f projectionFlags
	cmd := f.command("drop", "Remove a version that does not serve", "", "  annals projection drop annals-data orders@1 --yes", []string{"NAME@VERSION"},
		func(cmd *cobra.Command, v projection.Views, args []string, out *printer) error {
			if !strings.Contains(args[0], "@") {
				return usageError{fmt.Errorf("%q: say which version, such as %s@1", args[0], args[0])}
			}
			if err := f.confirmed("drop"); err != nil {
				return err
			}
			name, version, err := versionOf(cmd.Context(), v, args[0])
			if err == nil {
				err = projection.Drop(cmd.Context(), v, name, version)
			}
			if err == nil {
				out.done(name, version, "dropped")
			}
			return err
		})
	f.yesFlag(cmd)
	return cmd
}

func (f *projectionFlags) yesFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.yes, "yes", false, "do it: rows are removed, and made of the events only as long as a program declares them")
}

func (f *projectionFlags) confirmed(what string) error {
	if f.yes {
		return nil
	}
	return usageError{fmt.Errorf("%s removes rows: say --yes", what)}
}

const resetLong = `Removes the rows and the checkpoint. Whoever runs the projection makes the rows anew, from the first event; until then reads find less, and
those who demand a position wait. To build beside the rows that serve, raise the version in the program instead.`

func newProjectionReset() *cobra.Command {
	var f projectionFlags
	cmd := f.command("reset", "Remove the rows of a version, so that they are made anew", resetLong, "  annals projection reset annals-data orders --yes", []string{"NAME"},
		func(cmd *cobra.Command, v projection.Views, args []string, out *printer) error {
			name, version, err := f.reset(cmd.Context(), v, args[0])
			if err == nil {
				out.done(name, version, "to be made anew")
			}
			return err
		})
	f.yesFlag(cmd)
	return cmd
}

func (f *projectionFlags) reset(ctx context.Context, v projection.Views, arg string) (name string, version int, err error) {
	if err := f.confirmed("a reset"); err != nil {
		return "", 0, err
	}
	if name, version, err = versionOf(ctx, v, arg); err != nil {
		return name, version, err
	}
	if _, err := projection.OfStored(ctx, v, name, version); err != nil {
		return name, version, err
	}
	return name, version, v.Drop(ctx, name, version)
}

// rebuildLook is how often a rebuild that is waited for is looked at.
const rebuildLook = time.Second

func newProjectionRebuild() *cobra.Command {
	var f projectionFlags
	cmd := f.command("rebuild", "Reset a version, and wait until the program that runs it has made its rows anew",
		resetLong+`

It tells how far it is, at what speed and when it will be there, and ends when the rows have seen what the store had when it began.`,
		"  annals projection rebuild annals-data orders --yes", []string{"NAME"}, f.rebuild)
	f.yesFlag(cmd)
	return cmd
}

func (f *projectionFlags) rebuild(cmd *cobra.Command, v projection.Views, args []string, out *printer) error {
	ctx := cmd.Context()
	name, version, err := versionOf(ctx, v, args[0])
	if err != nil {
		return err
	}
	before, err := reportOf(ctx, v, name, version)
	if err != nil {
		return err
	}
	if before.State == projection.StateStopped || before.State == projection.StateFailed {
		return fmt.Errorf("no program runs %s@%d, which is %s: start it, or use reset", name, version, before.State)
	}
	if _, _, err := f.reset(ctx, v, fmt.Sprintf("%s@%d", name, version)); err != nil {
		return err
	}
	tick := time.NewTicker(rebuildLook)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		r, err := reportOf(ctx, v, name, version)
		if errors.Is(err, projection.ErrNotFound) { // not begun yet
			continue
		}
		if err != nil {
			return err
		}
		out.progress(r, before.Head)
		if err := out.flush(); err != nil {
			return err
		}
		switch {
		case r.State == projection.StateFailed:
			return fmt.Errorf("%s@%d has failed: %s", name, version, printable(r.Error))
		case r.Applied >= before.Head:
			out.done(name, version, "made anew")
			return nil
		}
	}
}

// progress tells how far a rebuild is.
func (p *printer) progress(r projection.Report, target annals.Position) {
	if p.json != nil {
		p.object(r)
		return
	}
	percent := 100.0
	if target > 0 {
		percent = min(100, 100*float64(r.Applied)/float64(target))
	}
	eta := "unknown"
	if d := r.ETA(); d >= 0 {
		eta = d.Round(time.Second).String()
	}
	p.line("%s  %d of %d  %.0f%%  %.0f per second  eta %s  %d parked", time.Now().Format(time.TimeOnly), r.Applied, target, percent, r.PerSecond, eta, r.Parked)
}

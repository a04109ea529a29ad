// Command bench measures the embedded store beside its peers and the floors of the machine, in one run, and prints a
// table for each workload. All stores sync before they answer. See package peer for what was made of each.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/annalsdb/annals/bench/peer"
	"github.com/annalsdb/annals/internal/workload"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/engine/segment"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Whoever asks a second time does not want to wait for a clean end.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// targets are the store of this repository and its peers. The first is what the others are compared with.
func targets() []workload.Target {
	own := workload.Of("annals", segment.DefaultSegmentBytes, func(ctx context.Context, dir string) (workload.OwnStore, error) {
		return disk.Open(ctx, dir)
	})
	return []workload.Target{own, peer.RaftWAL(), peer.Pebble(), peer.SQLite(), peer.Bbolt()}
}

// Exit codes.
const (
	exitOK, exitFailure, exitUsage, exitInterrupted = 0, 1, 2, 130
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

func run(ctx context.Context, args []string, out, talk io.Writer) int {
	err := compare(ctx, args, out, talk)
	_, isUsage := errors.AsType[usageError](err)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case ctx.Err() != nil:
		return exitInterrupted
	}
	_, _ = fmt.Fprintln(talk, "error:", err) // nobody is left to tell if this fails
	if isUsage || errors.Is(err, workload.ErrOptions) || errors.Is(err, workload.ErrNotEmpty) || errors.Is(err, workload.ErrUnknown) {
		return exitUsage
	}
	return exitFailure
}

func compare(ctx context.Context, args []string, out, talk io.Writer) (err error) {
	var o workload.Options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(talk)
	flags.Usage = func() {
		_, _ = fmt.Fprintln(talk, "usage: bench [flags] [WORKLOAD...]; without a name, all are run")
		flags.PrintDefaults()
		for _, w := range workload.All() {
			_, _ = fmt.Fprintf(talk, "  %-10s %s\n", w.Name, w.Title)
		}
	}
	flags.DurationVar(&o.Duration, "duration", 1500*time.Millisecond, "how long a case is measured in each run, a `TIME`")
	flags.IntVar(&o.Runs, "runs", 5, "measure each case `N` times")
	flags.IntVar(&o.Events, "events", 1_000_000, "load `N` events to be read")
	flags.IntVar(&o.Sustained, "sustained", 0, "append `N` events in the workload sustained; 0: as many as -events")
	flags.Uint64Var(&o.Seed, "seed", 1, "make the data from `N`")
	flags.StringVar(&o.Dir, "dir", "", "measure in this empty `DIR`; by default a new one in the working directory")
	payload := flags.String("payload", string(workload.PayloadRandom), "the `KIND` of data: random or json")
	writers := flags.String("writers", "1,16,64,256", "append with `N,...` writers")
	stores := flags.String("stores", "", "measure only these `STORES`, separated by commas, and annals")
	format := flags.String("o", "table", "the `FORMAT`: table (Markdown) or json")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if *format != "table" && *format != "json" {
		return usageError{fmt.Errorf("-o %q: there are table and json", *format)}
	}
	o.Payload = workload.Payload(*payload)
	if o.Writers, err = numbers(*writers); err != nil {
		return usageError{err}
	}
	selected, err := workload.Select(flags.Args()...)
	if err != nil {
		return err
	}
	rivals, err := only(*stores)
	if err != nil {
		return usageError{err}
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp(".", "compare-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	}
	report, err := workload.Run(ctx, rivals, selected, o, func(what string) { _, _ = fmt.Fprintln(talk, what) })
	if len(report.Measurements) == 0 {
		return err
	}
	if *format == "table" {
		return errors.Join(err, report.WriteTables(out))
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return errors.Join(err, e.Encode(report))
}

func numbers(list string) (all []int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("%q is no list of numbers", list)
		}
		all = append(all, n)
	}
	return all, nil
}

// only keeps the stores that are named, and the first.
func only(list string) ([]workload.Target, error) {
	all := targets()
	if list == "" {
		return all, nil
	}
	named := strings.Split(list, ",")
	for _, n := range named {
		if !slices.ContainsFunc(all, func(t workload.Target) bool { return t.Name() == n }) {
			return nil, fmt.Errorf("there is no store %q", n)
		}
	}
	return slices.DeleteFunc(all, func(t workload.Target) bool {
		return t.Name() != all[0].Name() && !slices.Contains(named, t.Name())
	}), nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annalsdb/annals/internal/workload"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/engine/segment"
)

// benchFlags are what `annals bench` can be asked for.
type benchFlags struct {
	options workload.Options
	payload string
	format  string
	profile string
}

const formatJSON = "json"

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench [WORKLOAD...]",
		Short: "Measure the embedded store on this machine, beside what the machine can do",
		Long: `Runs workloads on a store on disk, and in the same run the floors: a bare log that writes and syncs for all who
wait, a copy in memory, a checksum, a decoder. Every case is measured several times, in turn with its floor, which is measured
before and after. Medians are told, and ratios to the floor: they say more than the figures, since machines differ.

The file system that is measured is that of --dir. What is made there is removed again, also after Ctrl-C, which prints
what was measured so far.

Workloads:
` + workloadList(),
		Example: `  annals bench
  annals bench W1 W5 --runs 3 --duration 1s
  annals bench W7 --events 10000000 --dir /mnt/nvme/empty -o json`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&f.options.Duration, "duration", 1500*time.Millisecond, "how long a case is measured in each run, a `TIME`")
	flags.IntVar(&f.options.Runs, "runs", 5, "measure each case `N` times")
	flags.IntVar(&f.options.Events, "events", 1_000_000, "load `N` events to be read")
	flags.IntVar(&f.options.Sustained, "sustained", 0, "append `N` events in the workload sustained (default as many as --events)")
	flags.IntSliceVar(&f.options.Writers, "writers", []int{1, 16, 64, 256}, "append with so many writers, `NUMBERS` such as 1,64")
	flags.Uint64Var(&f.options.Seed, "seed", 1, "make the data from `N`")
	flags.StringVar(&f.options.Dir, "dir", "", "measure in this empty `DIR` (default a new one in the working directory)")
	flags.StringVar(&f.payload, "payload", string(workload.PayloadRandom), "the `KIND` of data: random or json")
	flags.StringVar(&f.profile, "cpu-profile", "", "write a CPU profile to `FILE`; see it with go tool pprof -tagfocus store=annals")
	flags.StringVarP(&f.format, "output", "o", "", "the `FORMAT`: table (Markdown), or json (default table on a terminal, else json)")
	return cmd
}

func workloadList() string {
	var list strings.Builder
	for _, w := range workload.All() {
		fmt.Fprintf(&list, "  %-10s %s\n", w.Name, w.Title)
	}
	return strings.TrimSuffix(list.String(), "\n")
}

// ownStore is the embedded store, as everybody opens it.
func ownStore() workload.Target {
	return workload.Of("annals", segment.DefaultSegmentBytes, func(ctx context.Context, dir string) (workload.OwnStore, error) {
		return disk.Open(ctx, dir)
	})
}

func (f *benchFlags) run(cmd *cobra.Command, args []string) (err error) {
	selected, err := workload.Select(args...)
	if err != nil {
		return usageError{errors.New(strings.TrimPrefix(err.Error(), "workload: "))}
	}
	out := cmd.OutOrStdout()
	switch f.format {
	case formatTable, formatJSON:
	case "":
		if f.format = formatJSON; isTerminal(out) {
			f.format = formatTable
		}
	default:
		return usageError{fmt.Errorf("--output %q: there are table and json", f.format)}
	}
	for _, name := range []string{"duration", "runs", "events", "sustained", "seed"} {
		if flag := cmd.Flags().Lookup(name); flag.Changed && strings.Trim(flag.Value.String(), "0s") == "" {
			return usageError{fmt.Errorf("--%s %s: there is nothing to measure", name, flag.Value)}
		}
	}
	o := f.options
	o.Payload = workload.Payload(f.payload)
	remove, err := f.directory(cmd, &o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	stop, err := f.profiling()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	report, err := workload.Run(cmd.Context(), []workload.Target{ownStore()}, selected, o, func(what string) {
		// What is measured is the point, not that its name could be shown.
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), what)
	})
	if errors.Is(err, workload.ErrNotEmpty) || errors.Is(err, workload.ErrOptions) {
		return usageError{errors.New(strings.TrimPrefix(err.Error(), "workload: "))}
	}
	// Whatever an append says that was cut off: it was the measurement that was.
	if cause := cmd.Context().Err(); err != nil && cause != nil {
		err = cause
	}
	if len(report.Measurements) == 0 {
		return err
	}
	if f.format == formatTable {
		return errors.Join(err, report.WriteTables(out))
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return errors.Join(err, e.Encode(report))
}

// profiling begins the profile, if one is asked for.
func (f *benchFlags) profiling() (stop func() error, err error) {
	if f.profile == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(f.profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// directory makes the directory to measure in, if none was given.
func (f *benchFlags) directory(cmd *cobra.Command, o *workload.Options) (remove func() error, err error) {
	if cmd.Flags().Changed("dir") {
		if o.Dir == "" { // a variable of a script that is not set must not mean the directory that it runs in
			return nil, usageError{errors.New("--dir is empty")}
		}
		return func() error { return nil }, nil
	}
	if o.Dir, err = os.MkdirTemp(".", "annals-bench-"); err != nil {
		return nil, fmt.Errorf("make a directory to measure in, see --dir: %w", err)
	}
	return func() error { return os.RemoveAll(o.Dir) }, nil
}

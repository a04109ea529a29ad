package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/annalsdb/annals"
)

// errWrong: a store did something else than it was asked to, so that its figures mean nothing.
var errWrong = errors.New("workload: wrong result")

// Errors to branch on.
var (
	// ErrNotEmpty: the directory that was given has something in it.
	ErrNotEmpty = errors.New("workload: the directory is not empty")
	// ErrUnknown: there is no such workload.
	ErrUnknown = errors.New("workload: unknown workload")
)

// Workload is one of those that [Run] knows.
type Workload struct {
	// Name is what it is asked for by, such as "W1".
	Name string
	// Title says what is measured.
	Title string

	run func(*bench, context.Context) error
}

// All are the workloads there are, in the order in which they run: those that change what is loaded come last.
func All() []Workload {
	return []Workload{
		{"W1", "durable appends of one event of 256 bytes, each writer to a stream of its own, one tag", (*bench).w1},
		{"W2", "durable appends of 100 events of 256 bytes", (*bench).w2},
		{"W3", "16 writers race for one stream by its revision, and try again; appends that were accepted", (*bench).w3},
		{"ids", "durable appends as in W1, with ids in order of time and with random ones", (*bench).ids},
		{"W4", "streams loaded whole, out of all events", (*bench).w4},
		{"W5", "all events read from the first to the last", (*bench).w5},
		{"W6", "from before an append to a live subscriber; and what subscribers that match nothing cost", (*bench).w6},
		{"W7", "opening with all events, closed before or killed; its size and memory", (*bench).w7},
		{"W8", "events by tags, and appends on the condition that tags have no event; three tags an event", (*bench).w8},
		{"heavy", "appends of 56 writers without a condition, alone and beside (+) 8 with one that is dear", (*bench).heavy},
		{"sustained", "durable appends of 64 writers, until the store is large", (*bench).sustained},
	}
}

// Select finds workloads by name, in any case; without names it is all. [ErrUnknown] names the first that does not exist.
func Select(names ...string) ([]Workload, error) {
	all := All()
	if len(names) == 0 {
		return all, nil
	}
	for _, n := range names {
		if !slices.ContainsFunc(all, func(w Workload) bool { return strings.EqualFold(w.Name, n) }) {
			known := make([]string, len(all))
			for i, w := range all {
				known[i] = w.Name
			}
			return nil, fmt.Errorf("%w %q: there are %s", ErrUnknown, n, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(w Workload) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(w.Name, n) })
	}), nil
}

// Run measures the targets, in turn. The first target is the one that the others are compared with. Progress is told what is being
// measured; it may be nil. If ctx ends, or a store fails, what was measured so far is returned beside the error.
func Run(ctx context.Context, targets []Target, workloads []Workload, o Options, progress func(string)) (Report, error) {
	o, err := o.Complete()
	if err != nil {
		return Report{}, err
	}
	for i, t := range targets {
		if t.Name() == floorName || slices.ContainsFunc(targets[:i], func(o Target) bool { return o.Name() == t.Name() }) {
			return Report{}, fmt.Errorf("%w: two stores are called %s", ErrOptions, t.Name())
		}
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil {
		return Report{}, fmt.Errorf("workload: %w", err)
	}
	if len(entries) > 0 {
		return Report{}, fmt.Errorf("%w: %s", ErrNotEmpty, o.Dir)
	}
	if progress == nil {
		progress = func(string) {}
	}
	b := &bench{Options: o, targets: targets, progress: progress}
	b.report = Report{Machine: machineOf(o.Dir), Options: summaryOf(o)}
	for _, w := range workloads {
		b.workload = w
		if err = w.run(b, ctx); err != nil {
			err = fmt.Errorf("%s: %w", w.Name, err)
			break
		}
	}
	return b.report, errors.Join(err, b.clean())
}

// bench is one run of workloads. It is used by one goroutine, save for what it measures.
type bench struct {
	Options
	targets  []Target
	progress func(string)
	workload Workload
	report   Report

	stores []*loaded
	replay *replayLog // made when it is needed
}

// clean removes everything below the directory, which was empty.
func (b *bench) clean() error {
	err := b.replay.close()
	for _, l := range b.stores {
		err = errors.Join(err, l.close())
	}
	entries, reading := os.ReadDir(b.Dir)
	err = errors.Join(err, reading)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(b.Dir, e.Name())))
	}
	return err
}

// source makes the events of one worker.
func (b *bench) source(worker int) *source {
	return newSource(b.Seed, uint64(worker)+1, b.Payload)
}

// inFreshDir lends a new directory.
func (b *bench) inFreshDir(name string, use func(dir string) (Sample, error)) (s Sample, err error) {
	dir, err := os.MkdirTemp(b.Dir, name+"-")
	if err != nil {
		return Sample{}, fmt.Errorf("workload: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	runtime.GC() // nobody pays for the one before
	return use(dir)
}

// inFreshStore lends a new store.
func (b *bench) inFreshStore(ctx context.Context, t Target, use func(Store) (Sample, error)) (Sample, error) {
	return b.inFreshDir(t.Name(), func(dir string) (sample Sample, err error) {
		s, err := t.Open(ctx, dir)
		if err != nil {
			return Sample{}, err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		return use(s)
	})
}

// testCase is one line of a workload.
type testCase struct {
	name, unit string
	// less says that smaller values are better.
	less bool
}

// rival is what takes part in a case.
type rival struct {
	name    string
	measure measure
}

// rivals are all targets, measured in the same way.
func (b *bench) rivals(with func(Target) measure) []rival {
	all := make([]rival, len(b.targets))
	for i, t := range b.targets {
		all[i] = rival{t.Name(), with(t)}
	}
	return all
}

// contest measures the rivals in turn, run after run, the floor before and after each. The floor may be nil. Who does not support
// the case drops out.
func (b *bench) contest(ctx context.Context, c testCase, floor measure, rivals []rival) error {
	under := newSeries(b.workload, c, floorName)
	all := make([]*series, len(rivals))
	for i, r := range rivals {
		all[i] = newSeries(b.workload, c, r.name)
	}
	taking := len(rivals)
	for run := range b.Runs {
		if taking == 0 {
			return nil
		}
		b.progress(fmt.Sprintf("%s %s, run %d of %d", b.workload.Name, c.name, run+1, b.Runs))
		var before Sample
		var err error
		if floor != nil {
			if before, err = floor(ctx); err != nil {
				return fmt.Errorf("%s, the floor: %w", c.name, err)
			}
			under.add(before, 0)
		}
		for i, r := range rivals {
			if all[i] == nil {
				continue
			}
			s, err := labelled(ctx, r)
			if errors.Is(err, annals.ErrUnsupported) {
				all[i] = nil
				taking--
				continue
			}
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, r.name, err)
			}
			if floor == nil {
				all[i].add(s, 0)
				continue
			}
			after, err := floor(ctx)
			if err != nil {
				return fmt.Errorf("%s, the floor: %w", c.name, err)
			}
			under.add(after, 0)
			all[i].add(s, (before.Value+after.Value)/2)
			before = after
		}
	}
	if floor != nil && taking > 0 {
		b.report.Measurements = append(b.report.Measurements, under.measurement())
	}
	for _, s := range all {
		if s != nil {
			b.report.Measurements = append(b.report.Measurements, s.measurement())
		}
	}
	return nil
}

// labelled measures under labels, by which a profile tells the stores from each other and from the floors.
func labelled(ctx context.Context, r rival) (s Sample, err error) {
	pprof.Do(ctx, pprof.Labels("store", r.name), func(ctx context.Context) { s, err = r.measure(ctx) })
	return s, err
}

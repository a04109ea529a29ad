package workload_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/workload"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/memory"
)

// few are options for figures that nobody reads.
func few(dir string) workload.Options {
	return workload.Options{
		Dir: dir, Duration: 2 * time.Millisecond, Runs: 2, Events: 2000, Sustained: 500,
		Writers: []int{1, 3}, Readers: []int{1, 2}, Subscribers: []int{0, 5}, StreamEvents: []int{10, 1000},
	}
}

const segmentBytes = 256 << 10

func diskTarget() workload.Target {
	return workload.Of("disk", segmentBytes, func(ctx context.Context, dir string) (workload.OwnStore, error) {
		return disk.Open(ctx, dir, disk.SegmentBytes(segmentBytes))
	})
}

// memoryTarget has a store for each directory, which survives Close.
func memoryTarget() workload.Target {
	var mu sync.Mutex
	stores := map[string]*memory.Store{}
	return workload.Of("memory", 0, func(_ context.Context, dir string) (workload.OwnStore, error) {
		mu.Lock()
		defer mu.Unlock()
		if stores[dir] == nil {
			stores[dir] = memory.New()
		}
		return lasting{stores[dir]}, nil
	})
}

type lasting struct{ *memory.Store }

func (lasting) Close() error { return nil }

func TestEveryWorkloadMeasuresTheEmbeddedStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r, err := workload.Run(t.Context(), []workload.Target{diskTarget()}, workload.All(), few(dir), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range workload.All() {
		if !slices.ContainsFunc(r.Measurements, func(m workload.Measurement) bool { return m.Workload == w.Name && m.Target == "disk" }) {
			t.Errorf("%s measured nothing", w.Name)
		}
	}
	for _, m := range r.Measurements {
		checkMeasurement(t, m)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v was left in the directory, %v", left, err)
	}
}

func checkMeasurement(t *testing.T, m workload.Measurement) {
	t.Helper()
	name := fmt.Sprintf("%s %s, %s", m.Workload, m.Case, m.Target)
	runs := 2
	switch {
	case m.Workload == "sustained":
		runs = 1
	case m.Target == "floor": // before and after, and between
		runs = 4
		if m.Workload == "W5" && strings.HasPrefix(m.Case, "owned, warm") {
			runs = 8 // beside memcpy and crc32c too
		}
	}
	if len(m.Runs) != runs {
		t.Errorf("%s was measured %d times, want %d", name, len(m.Runs), runs)
	}
	if m.Median <= 0 && !strings.Contains(m.Case, "after opening") {
		t.Errorf("%s came to %f %s", name, m.Median, m.Unit)
	}
	if m.P50 > m.P99 || m.P99 > m.P999 {
		t.Errorf("%s has the latencies %f, %f and %f µs", name, m.P50, m.P99, m.P999)
	}
	if (m.Workload == "W1" || m.Workload == "W2" || m.Workload == "W3") && m.Target != "floor" && m.ToFloor <= 0 {
		t.Errorf("%s has no ratio to the floor", name)
	}
}

func TestStoresAreMeasuredBesideEachOther(t *testing.T) {
	t.Parallel()
	selected, err := workload.Select("W1", "W3", "W4", "W5", "W6", "W8", "heavy")
	if err != nil {
		t.Fatal(err)
	}
	o := few(t.TempDir())
	o.Payload, o.Runs, o.StreamEvents = workload.PayloadJSON, 1, []int{10}
	r, err := workload.Run(t.Context(), []workload.Target{memoryTarget(), diskTarget()}, selected, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	measured := map[string]map[string]bool{}
	for _, m := range r.Measurements {
		if measured[m.Workload+m.Case] == nil {
			measured[m.Workload+m.Case] = map[string]bool{}
		}
		measured[m.Workload+m.Case][m.Target] = true
	}
	for name, targets := range measured {
		// What is in memory is never cold; but other tests of this process read the device meanwhile.
		if !strings.Contains(name, "cold") && (!targets["memory"] || !targets["disk"]) {
			t.Errorf("%s measured %v, want both stores", name, targets)
		}
	}
	var tables, encoded bytes.Buffer
	if err := r.WriteTables(&tables); err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(&encoded).Encode(r); err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{tables.String(), encoded.String()} {
		if strings.Contains(out, o.Dir) || strings.Contains(out, filepath.Dir(o.Dir)) || len(host) > 3 && strings.Contains(out, host) {
			t.Errorf("the output names the machine or the directory:\n%s", out)
		}
	}
	var back workload.Report
	if err := json.Unmarshal(encoded.Bytes(), &back); err != nil || len(back.Measurements) != len(r.Measurements) {
		t.Errorf("the JSON reads as %d measurements, %v; want %d", len(back.Measurements), err, len(r.Measurements))
	}
}

// faulty is a store that does something wrong.
type faulty struct {
	workload.Store
	loses, doubles, hides, repeats bool
	calls                          *atomic.Int64
}

// every seventh call goes wrong.
func (f faulty) now() bool { return f.calls.Add(1)%7 == 0 }

func (f faulty) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) error {
	switch {
	case f.loses && f.now():
		return nil
	case f.doubles && f.now():
		again := slices.Clone(events)
		for i := range again {
			again[i].ID = annals.NewID()
		}
		if err := f.Store.Append(ctx, again); err != nil {
			return err
		}
	}
	return f.Store.Append(ctx, events, conds...)
}

func (f faulty) Read(ctx context.Context, q annals.Query, visit func(*annals.Event)) error {
	return f.Store.Read(ctx, q, func(e *annals.Event) {
		if !f.hides || !f.now() {
			visit(e)
		}
	})
}

func (f faulty) Follow(ctx context.Context, q annals.Query, ready func(), visit func(*annals.Event)) error {
	return f.Store.Follow(ctx, q, ready, func(e *annals.Event) {
		if f.repeats && f.now() {
			visit(e)
		}
		visit(e)
	})
}

type faultyTarget struct {
	workload.Target
	fault faulty
}

func (t faultyTarget) Open(ctx context.Context, dir string) (workload.Store, error) {
	s, err := t.Target.Open(ctx, dir)
	t.fault.Store, t.fault.calls = s, &atomic.Int64{}
	return t.fault, err
}

func TestAStoreThatAnswersWronglyHasNoFigures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, workloads string
		fault           faulty
	}{
		{"loses what it acknowledged", "W1 W2 W8 heavy sustained", faulty{loses: true}},
		{"stores twice", "W1 W2 ids W8", faulty{doubles: true}},
		{"hides events", "W4 W5 W7 W8", faulty{hides: true}},
		{"delivers twice", "W6", faulty{repeats: true}},
	} {
		for name := range strings.FieldsSeq(c.workloads) {
			t.Run(c.name+" in "+name, func(t *testing.T) {
				t.Parallel()
				selected, err := workload.Select(name)
				if err != nil {
					t.Fatal(err)
				}
				o := few(t.TempDir())
				o.Duration, o.Runs = 60*time.Millisecond, 1
				_, err = workload.Run(t.Context(), []workload.Target{faultyTarget{memoryTarget(), c.fault}}, selected, o, nil)
				if err == nil || !strings.Contains(err.Error(), "wrong result") {
					t.Errorf("it was measured, and answered with %v", err)
				}
			})
		}
	}
}

func TestARunThatIsInterruptedCleansUpAndTellsWhatItHas(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	o := few(t.TempDir())
	o.Runs = 1
	r, err := workload.Run(ctx, []workload.Target{diskTarget()}, workload.All(), o, func(what string) {
		if strings.HasPrefix(what, "W5") {
			interrupt()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v, want that of the context", err)
	}
	if !slices.ContainsFunc(r.Measurements, func(m workload.Measurement) bool { return m.Workload == "W1" }) {
		t.Error("what was measured before is missing")
	}
	if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
		t.Errorf("%v was left in the directory, %v", left, err)
	}
}

func TestADirectoryWithSomethingInItIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	o := few(t.TempDir())
	path := filepath.Join(o.Dir, "precious")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := workload.Run(t.Context(), []workload.Target{diskTarget()}, workload.All(), o, nil); !errors.Is(err, workload.ErrNotEmpty) {
		t.Errorf("the error is %v, want that it is not empty", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestTwoStoresOfOneNameAreRefused(t *testing.T) {
	t.Parallel()
	targets := []workload.Target{diskTarget(), diskTarget()}
	if _, err := workload.Run(t.Context(), targets, workload.All(), few(t.TempDir()), nil); !errors.Is(err, workload.ErrOptions) {
		t.Errorf("the error is %v, want that the names are the same", err)
	}
}

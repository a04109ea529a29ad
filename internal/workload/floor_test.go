package workload

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annalsdb/annals"
)

func TestTheFloorWritesEveryEventOnceBeforeItAnswers(t *testing.T) {
	t.Parallel()
	const writers, each = 20, 25
	dir := t.TempDir()
	l, err := openFloorLog(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(dir, "floor.log")
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for n := range each {
				data := binary.LittleEndian.AppendUint32(nil, uint32(w*each+n))
				if err := l.append([]annals.Event{{Data: data}, {Data: data}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	found := map[uint32]int{}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != 1<<20 {
		t.Errorf("the file has %d bytes, want those that were written before", len(b))
	}
	for size := binary.LittleEndian.Uint32(b); size > 0; size = binary.LittleEndian.Uint32(b) {
		data := b[8 : 8+size]
		if crc32.Checksum(data, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
			t.Fatal("a checksum does not match")
		}
		found[binary.LittleEndian.Uint32(data)]++
		b = b[8+size:]
	}
	if len(found) != writers*each {
		t.Errorf("%d different events are in the log, want %d", len(found), writers*each)
	}
	for event, times := range found {
		if times != 2 {
			t.Errorf("event %d is there %d times, want 2", event, times)
		}
	}
}

func TestTheReplayFloorReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	b := benchFor(time.Millisecond)
	b.Dir, b.Events = t.TempDir(), 2000
	l, err := b.openReplayLog()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.close() }() // it is a test
	d, src := b.data(), newSource(b.Seed, 0, b.Payload)
	at := 0
	// The window is smaller than the file, and records cross its edges.
	n, err := l.scan(t.Context(), make([]byte, 10_000), func(e *annals.Event) {
		want := d.event(at, src)
		if got := e.Clone(); !reflect.DeepEqual(got, want) {
			t.Fatalf("event %d reads as %v, want %v", at, got, want)
		}
		at++
	})
	if err != nil || n != 2000 {
		t.Errorf("%d events were read, and %v; want 2000", n, err)
	}
	if _, err := l.file.WriteAt([]byte("spoilt"), 300_000); err != nil {
		t.Fatal(err)
	}
	if _, err := l.scan(t.Context(), make([]byte, replayWindow), func(*annals.Event) {}); !errors.Is(err, errWrong) {
		t.Errorf("a spoilt record reads with %v, want an error", err)
	}
}

func TestOptionsThatMakeNoSenseAreRefusedByName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		said string
		o    Options
	}{
		{"no directory", Options{}},
		{`payload "xml"`, Options{Dir: "d", Payload: "xml"}},
		{"a duration of -1s", Options{Dir: "d", Duration: -time.Second}},
		{"a duration of 1µs", Options{Dir: "d", Duration: time.Microsecond}},
		{"-1 runs", Options{Dir: "d", Runs: -1}},
		{"99 events", Options{Dir: "d", Events: 99}},
		{"5 events to sustain", Options{Dir: "d", Sustained: 5}},
		{"0 writers", Options{Dir: "d", Writers: []int{1, 0}}},
		{"-4 readers", Options{Dir: "d", Readers: []int{-4}}},
		{"-1 subscribers", Options{Dir: "d", Subscribers: []int{-1}}},
		{"streams of 7 events", Options{Dir: "d", StreamEvents: []int{7}}},
	} {
		if _, err := c.o.Complete(); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), c.said) {
			t.Errorf("%+v is answered with %v, want %q", c.o, err, c.said)
		}
	}
	if _, err := (Options{Dir: "d"}).Complete(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

func TestWorkloadsAreFoundByName(t *testing.T) {
	t.Parallel()
	found, err := Select("w5", "W1")
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, w := range found {
		names = append(names, w.Name)
	}
	if !slices.Equal(names, []string{"W1", "W5"}) {
		t.Errorf("found %v, want W1 and W5 in the order in which they run", names)
	}
	if _, err := Select("W1", "W99"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "W99") {
		t.Errorf("W99 is answered with %v", err)
	}
	if found, _ = Select(); len(found) != len(All()) {
		t.Errorf("without names %d workloads were found, want all", len(found))
	}
}

func TestTablesShowRatiosBothWays(t *testing.T) {
	t.Parallel()
	r := Report{Measurements: []Measurement{
		{Workload: "W1", Title: "appends", Case: "1 writer", Target: floorName, Unit: "events/s", Runs: []float64{9000, 10_000}, Median: 9500},
		{Workload: "W1", Title: "appends", Case: "1 writer", Target: "annals", Unit: "events/s", Runs: []float64{8000}, Median: 8000, ToFloor: 0.84, P50: 120},
		{Workload: "W1", Title: "appends", Case: "1 writer", Target: "peer", Unit: "events/s", Runs: []float64{4000}, Median: 4000, ToFloor: 0.42},
		{Workload: "W7", Title: "open", Case: "clean", Target: "annals", Unit: "ms", Runs: []float64{10}, Median: 10, LessIsBetter: true},
		{Workload: "W7", Title: "open", Case: "clean", Target: "peer", Unit: "ms", Runs: []float64{30}, Median: 30, LessIsBetter: true},
	}}
	var out strings.Builder
	if err := r.WriteTables(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"## W1: appends", "## W7: open", "| 1 writer | floor  | 9500   | events/s | 9000–10.0k |",
		"| 0.84    |                     |", "| 0.42    | 2.00×               |", "3.00×",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}

func TestFiguresHaveThreeDigitsThatCount(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{
		0.5: "0.50", 9.994: "9.99", 12.34: "12.3", 123.4: "123", 9994: "9994", 9996: "10.0k", 99_940: "99.9k", 99_960: "100k",
		123_456: "123k", 999_600: "1.00M", 1_234_567: "1.23M", 9_996_000: "10.0M", 123_456_789: "123.5M",
	} {
		if got := figure(v); got != want {
			t.Errorf("%f is written %s, want %s", v, got, want)
		}
	}
}

// It is not parallel: others read the device too.
func TestColdMeansThatTheDeviceWasRead(t *testing.T) {
	nothing := func() (Sample, error) { return Sample{Value: 1}, nil }
	if _, err := cold(nothing); !errors.Is(err, annals.ErrUnsupported) {
		t.Errorf("a measurement that read nothing is answered with %v, want that there is no cold figure", err)
	}
	broken := errors.New("broken")
	if _, ok := deviceBytesRead(); !ok {
		return // it is never cold here
	}
	if _, err := cold(func() (Sample, error) { return Sample{}, broken }); !errors.Is(err, broken) {
		t.Errorf("the error of the measurement came back as %v", err)
	}
}

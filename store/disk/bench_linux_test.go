package disk_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

// What `annals bench` does not tell: processor time, allocations, and what opening and rebuilding take.

const payloadBytes = 256

// measured is an append of so many events of 256 bytes.
func measured(stream string, batch int) []annals.Event {
	es := make([]annals.Event, batch)
	for i := range es {
		es[i] = annals.Event{ID: annals.NewID(), Type: "Measured", Stream: stream, Tags: []string{"x:1"}, Data: make([]byte, payloadBytes)}
	}
	return es
}

// BenchmarkAppend appends with fdatasync, and tells what an event takes of the processors and how many share a frame, beside the
// bare fdatasyncs that the same directory does in the same run.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct{ writers, batch int }{{1, 1}, {16, 1}, {64, 1}, {256, 1}, {16, 100}} {
		b.Run(fmt.Sprintf("writers=%d/batch=%d/sync=always", c.writers, c.batch), func(b *testing.B) { benchmarkAppend(b, c.writers, c.batch) })
	}
}

func benchmarkAppend(b *testing.B, writers, batch int) {
	b.Helper()
	dir := b.TempDir()
	s, err := disk.Open(b.Context(), filepath.Join(dir, "store"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	bare := newBareSync(b, dir)
	before := bare.rate(b)
	b.ReportAllocs()
	b.ResetTimer()
	took, busy := appendAll(b, s, writers, batch, b.N)
	b.StopTimer()
	st := s.Stats()
	rate, syncs := float64(st.Head)/took.Seconds(), (before+bare.rate(b))/2
	b.ReportMetric(rate, "events/s")
	b.ReportMetric(rate/syncs, "events/bare-fdatasync")
	b.ReportMetric(float64(busy.Nanoseconds())/float64(st.Head), "cpu-ns/event")
	b.ReportMetric(float64(st.Head)/float64(st.Frame), "events/frame")
}

// appendAll makes n appends of a batch from some writers, and tells how long that took, and of processor time in the whole process.
func appendAll(b *testing.B, s *disk.Store, writers, batch, n int) (took, busy time.Duration) {
	b.Helper()
	start, before := time.Now(), processorTime(b)
	var left atomic.Int64
	left.Store(int64(n))
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := s.Append(b.Context(), measured(fmt.Sprint("s-", w), batch)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	return time.Since(start), processorTime(b) - before
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bareSync writes the bytes of one event into a file that has its blocks, again and again.
type bareSync struct {
	f  *os.File
	at int64
}

const bareSyncFile = 16 << 20

func newBareSync(b *testing.B, dir string) *bareSync {
	b.Helper()
	f, err := os.CreateTemp(dir, "bare")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	if _, err := f.Write(make([]byte, bareSyncFile)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return &bareSync{f: f}
}

func (s *bareSync) do(b *testing.B) time.Duration {
	b.Helper()
	event := make([]byte, 640)
	start := time.Now()
	if _, err := s.f.WriteAt(event, s.at); err != nil {
		b.Fatal(err)
	}
	if err := syscall.Fdatasync(int(s.f.Fd())); err != nil {
		b.Fatal(err)
	}
	s.at = (s.at + int64(len(event))) % (bareSyncFile - int64(len(event)))
	return time.Since(start)
}

// rate is how many it does a second.
func (s *bareSync) rate(b *testing.B) float64 {
	b.Helper()
	const syncs = 500
	spent := time.Duration(0)
	for range syncs {
		spent += s.do(b)
	}
	return syncs / spent.Seconds()
}

// storedEvents is how many events are read again.
const storedEvents = 200_000

// fill makes a store of events of 256 bytes, each with one of 5,000 streams and a tag, in appends of 1,000.
func fill(b *testing.B, dir string) *disk.Store {
	b.Helper()
	s, err := disk.Open(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	const batch = 1000
	for i := range storedEvents / batch {
		es := measured("", batch)
		for j := range es {
			es[j].Stream = fmt.Sprint("s-", (i*batch+j)%5000)
		}
		if _, err := s.Append(b.Context(), es); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkOpen opens a closed store: as it is, and when its index has to be made anew from the log.
func BenchmarkOpen(b *testing.B) {
	for name, prepare := range map[string]func(dir string) error{
		"closed":            func(string) error { return nil },
		"without its index": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "index")) },
	} {
		b.Run(name, func(b *testing.B) {
			dir := b.TempDir()
			if err := fill(b, dir).Close(); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				if err := prepare(dir); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				s, err := disk.Open(b.Context(), dir)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(storedEvents*b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkReplay reads the whole log, owned and lent.
func BenchmarkReplay(b *testing.B) {
	s := fill(b, b.TempDir())
	defer s.Close()
	replay := func(b *testing.B, read func() (int, error)) {
		b.Helper()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		allocs, n := m.Mallocs, 0
		b.SetBytes(storedEvents * payloadBytes)
		for b.Loop() {
			got, err := read()
			if err != nil || got != storedEvents {
				b.Fatal(got, err)
			}
			n += got
		}
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		b.ReportMetric(float64(m.Mallocs-allocs)/float64(n), "allocs/event")
	}
	b.Run("owned", func(b *testing.B) {
		replay(b, func() (n int, err error) {
			for _, err := range s.Read(b.Context(), annals.All()) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		})
	})
	b.Run("lent", func(b *testing.B) {
		replay(b, func() (n int, err error) {
			for _, err := range s.Scan(b.Context(), annals.All()) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		})
	})
}

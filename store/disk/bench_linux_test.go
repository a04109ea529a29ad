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

const payloadBytes = 256

// BenchmarkAppend appends one event of 256 bytes at a time, with fdatasync, beside the bare fdatasyncs that the same
// directory does in the same run.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d/sync=always", writers), func(b *testing.B) { benchmarkAppend(b, writers) })
	}
}

func benchmarkAppend(b *testing.B, writers int) {
	b.Helper()
	dir := b.TempDir()
	s, err := disk.Open(b.Context(), filepath.Join(dir, "store"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	before := bareSyncs(b, dir)
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for left.Add(-1) >= 0 {
				e := annals.Event{ID: annals.NewID(), Type: "Measured", Stream: fmt.Sprint("s-", w), Tags: []string{"x:1"}, Data: make([]byte, payloadBytes)}
				if _, err := s.Append(b.Context(), []annals.Event{e}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	writing.Wait()
	b.StopTimer()
	rate := float64(b.N) / b.Elapsed().Seconds()
	bare := (before + bareSyncs(b, dir)) / 2
	b.ReportMetric(rate, "events/s")
	b.ReportMetric(bare, "bare-fdatasyncs/s")
	b.ReportMetric(rate/bare, "events/bare-fdatasync")
}

// bareSyncs is how many writes of one event's size, each with an fdatasync, a file that has its blocks takes a second.
func bareSyncs(b *testing.B, dir string) float64 {
	b.Helper()
	const size, syncs = 4 << 20, 500
	f, err := os.CreateTemp(dir, "bare")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close() // the directory is removed in the end
	if _, err := f.Write(make([]byte, size)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	event := make([]byte, 640)
	for i := range event {
		event[i] = byte(i)
	}
	start := time.Now()
	for i := range syncs {
		if _, err := f.WriteAt(event, int64(i*len(event))); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			b.Fatal(err)
		}
	}
	return syncs / time.Since(start).Seconds()
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
		es := make([]annals.Event, batch)
		for j := range es {
			es[j] = annals.Event{Type: "Measured", Stream: fmt.Sprint("s-", (i*batch+j)%5000), Tags: []string{"x:1"}, Data: make([]byte, payloadBytes)}
		}
		if _, err := s.Append(b.Context(), es); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkOpen opens a closed store, which verifies every frame and makes the index anew, and tells what that takes of
// memory.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	if err := fill(b, dir).Close(); err != nil {
		b.Fatal(err)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, opened := heap(), uint64(0)
	b.ResetTimer()
	for range b.N {
		s, err := disk.Open(b.Context(), dir)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		opened = heap()
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(storedEvents*b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(opened-before)/storedEvents, "index-B/event")
}

// BenchmarkReplay reads the whole log.
func BenchmarkReplay(b *testing.B) {
	s := fill(b, b.TempDir())
	defer s.Close()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	allocs, n := m.Mallocs, 0
	b.SetBytes(storedEvents * payloadBytes)
	for b.Loop() {
		for _, err := range s.Read(b.Context(), annals.All()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
	}
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(m.Mallocs-allocs)/float64(n), "allocs/event")
}

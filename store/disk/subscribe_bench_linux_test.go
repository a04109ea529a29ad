package disk_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

func measured(stream string) []annals.Event {
	return []annals.Event{{ID: annals.NewID(), Type: "Measured", Stream: stream, Tags: []string{"x:1"}, Data: make([]byte, payloadBytes)}}
}

// subscribed is subscriptions that run, each on a goroutine of its own.
type subscribed struct {
	stop  context.CancelFunc
	ready sync.WaitGroup
	ended sync.WaitGroup
}

// subscribe starts n subscriptions at the head, and waits until they are there. Each update goes to what.
func subscribe(b *testing.B, s *disk.Store, n int, q func(i int) annals.Query, what func(annals.Update)) *subscribed {
	b.Helper()
	ctx, stop := context.WithCancel(b.Context())
	sub := &subscribed{stop: stop}
	head, err := s.Head(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		sub.ready.Add(1)
		sub.ended.Go(func() {
			first := true
			for u, err := range s.Subscribe(ctx, q(i), head) {
				if err != nil {
					return
				}
				if first {
					sub.ready.Done()
					first = false
				}
				what(u)
			}
		})
	}
	sub.ready.Wait()
	return sub
}

func (s *subscribed) end() {
	s.stop()
	s.ended.Wait()
}

// BenchmarkDelivery tells how long it takes from the call of Append until a live subscription has the event, beside what a
// bare write of that size and fdatasync take in the same seconds.
func BenchmarkDelivery(b *testing.B) {
	for _, idle := range []int{0, 100, 10_000} {
		b.Run(fmt.Sprintf("idle=%d/sync=always", idle), func(b *testing.B) { benchmarkDelivery(b, idle) })
	}
}

func benchmarkDelivery(b *testing.B, idle int) {
	b.Helper()
	dir := b.TempDir()
	s, err := disk.Open(b.Context(), filepath.Join(dir, "store"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	others := subscribe(b, s, idle, func(i int) annals.Query { return annals.Tags(fmt.Sprint("order:", i)) }, func(annals.Update) {})
	defer others.end()
	arrived := make(chan time.Time, 1)
	one := subscribe(b, s, 1, func(int) annals.Query { return annals.Types("Measured") }, func(u annals.Update) {
		if u.Event != nil {
			arrived <- time.Now()
		}
	})
	defer one.end()
	bare := newBareSync(b, dir)
	var took, acked, behind, sync []time.Duration
	b.ResetTimer()
	for range b.N {
		sync = append(sync, bare.do(b))
		start := time.Now()
		if _, err := s.Append(b.Context(), measured("s-1")); err != nil {
			b.Fatal(err)
		}
		acked = append(acked, time.Since(start))
		took = append(took, (<-arrived).Sub(start))
		behind = append(behind, max(0, took[len(took)-1]-acked[len(acked)-1]))
	}
	b.StopTimer()
	unit := quantile(sync, 0.5)
	b.ReportMetric(float64(unit.Microseconds()), "fdatasync-p50-µs")
	b.ReportMetric(float64(quantile(acked, 0.5))/float64(unit), "ack-p50/fdatasync")
	b.ReportMetric(float64(quantile(took, 0.5))/float64(unit), "p50/fdatasync")
	b.ReportMetric(float64(quantile(took, 0.99))/float64(unit), "p99/fdatasync")
	b.ReportMetric(float64(quantile(behind, 0.5).Microseconds()), "behind-ack-p50-µs")
	b.ReportMetric(float64(quantile(behind, 0.99).Microseconds()), "behind-ack-p99-µs")
	b.ReportMetric(float64(quantile(sync, 0.99))/float64(unit), "fdatasync-p99/p50")
}

func quantile(all []time.Duration, q float64) time.Duration {
	slices.Sort(all)
	return all[int(q*float64(len(all)-1))]
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

// BenchmarkAppendBesideSubscribers appends beside 10,000 subscriptions that nothing matches, and beside none, in turns of the
// same run, and tells what the subscriptions cost.
func BenchmarkAppendBesideSubscribers(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("idle=10000/writers=%d/sync=always", writers), func(b *testing.B) { benchmarkBeside(b, writers, 10_000) })
	}
}

func benchmarkBeside(b *testing.B, writers, idle int) {
	b.Helper()
	s, err := disk.Open(b.Context(), filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	const turns = 10
	var alone, beside, aloneCPU, besideCPU time.Duration
	var updates atomic.Int64
	b.ResetTimer()
	for range turns {
		took, busy := appendAll(b, s, writers, b.N/turns)
		alone, aloneCPU = alone+took, aloneCPU+busy
		others := subscribe(b, s, idle, func(i int) annals.Query { return annals.Tags(fmt.Sprint("order:", i)) }, func(annals.Update) { updates.Add(1) })
		updates.Add(-int64(idle))
		took, busy = appendAll(b, s, writers, b.N/turns)
		beside, besideCPU = beside+took, besideCPU+busy
		others.end()
	}
	b.StopTimer()
	n := float64(b.N / turns * turns)
	b.ReportMetric(n/alone.Seconds(), "alone-events/s")
	b.ReportMetric(n/beside.Seconds(), "beside-events/s")
	b.ReportMetric(100*(1-alone.Seconds()/beside.Seconds()), "cost-%")
	b.ReportMetric(float64(aloneCPU.Nanoseconds())/n, "alone-cpu-ns/event")
	b.ReportMetric(100*(besideCPU-aloneCPU).Seconds()/beside.Seconds(), "subscribers-%-of-a-cpu") // for as many events
	b.ReportMetric(float64(updates.Load())/beside.Seconds(), "updates/s")
}

// appendAll appends n events from some writers, and tells how long that took, and of processor time in the whole process.
func appendAll(b *testing.B, s *disk.Store, writers, n int) (took, busy time.Duration) {
	b.Helper()
	start, before := time.Now(), processorTime(b)
	var left atomic.Int64
	left.Store(int64(n))
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := s.Append(b.Context(), measured(fmt.Sprint("s-", w))); err != nil {
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

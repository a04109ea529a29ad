package disk_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/disk"
)

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
		if _, err := s.Append(b.Context(), measured("s-1", 1)); err != nil {
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
		took, busy := appendAll(b, s, writers, 1, b.N/turns)
		alone, aloneCPU = alone+took, aloneCPU+busy
		others := subscribe(b, s, idle, func(i int) annals.Query { return annals.Tags(fmt.Sprint("order:", i)) }, func(annals.Update) { updates.Add(1) })
		updates.Add(-int64(idle))
		took, busy = appendAll(b, s, writers, 1, b.N/turns)
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

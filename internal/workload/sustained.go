package workload

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annalsdb/annals"
)

// idsWriters and sustainedWriters are how many append.
const (
	idsWriters       = 64
	sustainedWriters = 64
)

// ids measures what ids of no order cost.
func (b *bench) ids(ctx context.Context) error {
	for _, kind := range []struct {
		name string
		id   func(*source) annals.ID
	}{{"UUIDv7", (*source).id}, {"UUIDv4", (*source).id4}} {
		c := testCase{name: fmt.Sprintf("%s, %s", kind.name, plural(idsWriters, "writer")), unit: "events/s"}
		rivals := b.rivals(func(t Target) measure { return b.appends(t, idsWriters, 1, kind.id) })
		if err := b.contest(ctx, c, b.appendFloor(idsWriters, 1), rivals); err != nil {
			return err
		}
	}
	return nil
}

// sustainedParts is in how many parts the rate is told.
const sustainedParts = 10

// sustained fills a store once, and tells the rate of each tenth: what the first million is like says little of the
// tenth. The floor is measured before and after all of it.
func (b *bench) sustained(ctx context.Context) error {
	var cases [sustainedParts]testCase
	for i := range cases {
		cases[i] = testCase{name: fmt.Sprintf("%d0 %% of %s events", i+1, figure(float64(b.Sustained))), unit: "events/s"}
	}
	floor := b.appendFloor(sustainedWriters, 1)
	found := make([][]Measurement, sustainedParts)
	for _, t := range b.targets {
		b.progress(fmt.Sprintf("%s %s, %d events", b.workload.Name, t.Name(), b.Sustained))
		before, err := floor(ctx)
		if err != nil {
			return err
		}
		var parts []Sample
		_, err = b.inFreshStore(ctx, t, func(s Store) (Sample, error) {
			parts, err = b.fill(ctx, s)
			if err != nil {
				return Sample{}, err
			}
			return Sample{}, mustHold(ctx, s, int64(b.Sustained))
		})
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name(), err)
		}
		after, err := floor(ctx)
		if err != nil {
			return err
		}
		for i, part := range parts {
			series := newSeries(b.workload, cases[i], t.Name())
			series.add(part, (before.Value+after.Value)/2)
			found[i] = append(found[i], series.measurement())
		}
	}
	for _, part := range found {
		b.report.Measurements = append(b.report.Measurements, part...)
	}
	return nil
}

// fill appends the events, and gives a sample for each part.
func (b *bench) fill(ctx context.Context, s Store) ([]Sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		taken, done atomic.Int64
		total       = int64(b.Sustained)
		partOf      = func(n int64) int { return int(n * sustainedParts / total) }
		latencies   [sustainedWriters][sustainedParts]*Latency
		ends        [sustainedParts]time.Time // each written by whoever ends the part
		running     sync.WaitGroup
	)
	begin := time.Now()
	for w := range sustainedWriters {
		appendOne := b.appender(s, w, 1, (*source).id)
		for p := range sustainedParts {
			latencies[w][p] = newLatency()
		}
		running.Go(func() {
			for {
				n := taken.Add(1) - 1
				if n >= total {
					return
				}
				at := time.Now()
				_, err := appendOne(ctx)
				if err == nil {
					err = context.Cause(ctx)
				}
				if err != nil {
					cancel(err)
					return
				}
				now := time.Now()
				latencies[w][partOf(n)].record(now.Sub(at))
				if d := done.Add(1); partOf(d) > partOf(d-1) {
					ends[partOf(d-1)] = now
				}
			}
		})
	}
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return partsOf(total, begin, ends, func(p int) *Latency {
		l := newLatency()
		for w := range latencies {
			l.merge(latencies[w][p])
		}
		return l
	}), nil
}

func partsOf(total int64, begin time.Time, ends [sustainedParts]time.Time, latency func(part int) *Latency) []Sample {
	parts, first := make([]Sample, sustainedParts), int64(0)
	for p := range parts {
		last := (total*int64(p+1) + sustainedParts - 1) / sustainedParts // the first event of the next part
		parts[p] = Sample{Value: float64(last-first) / ends[p].Sub(begin).Seconds(), Latency: latency(p), Done: last - first}
		first, begin = last, ends[p]
	}
	return parts
}

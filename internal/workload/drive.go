package workload

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Sample is one measurement of one case.
type Sample struct {
	// Value is in the unit of the case.
	Value float64
	// Latency is of the calls that were measured, nil if calls are not what was.
	Latency *Latency
	// Done is how much was done altogether, before, while and after it was measured.
	Done int64
}

// measure takes one sample.
type measure func(ctx context.Context) (Sample, error)

// step is one call, and tells how much it did: events, as a rule. It is called by one goroutine.
type step func(ctx context.Context) (n int, err error)

// warmUpPart is the part of the duration that goes before it, unmeasured.
const warmUpPart = 5

// drive has so many workers take steps as fast as they can, each when its last one has ended, and measures the rate a
// second of what they did and how long a step took. A step counts if it ends within the duration; if none does, the first
// that ends is waited for. The first error stops all.
func (b *bench) drive(ctx context.Context, workers int, worker func(w int) step) (Sample, error) {
	return b.driveSome(ctx, workers, func(int) bool { return true }, worker)
}

// driveSome is drive where the steps of some workers alone are measured.
func (b *bench) driveSome(ctx context.Context, workers int, counts func(w int) bool, worker func(w int) step) (Sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		warm      = b.Duration / warmUpPart
		end       = warm + b.Duration
		calls     atomic.Int64 // that were measured
		each      = make([]tally, workers)
		steps     = make([]step, workers)
		running   sync.WaitGroup
		begin     time.Time
		beginning = make(chan struct{})
	)
	for w := range workers {
		steps[w] = worker(w)
		each[w].latency = newLatency()
	}
	for w := range workers {
		running.Go(func() {
			<-beginning
			t, counted := &each[w], counts(w)
			for at := time.Since(begin); at < end || calls.Load() == 0; {
				n, err := steps[w](ctx)
				if err == nil {
					err = context.Cause(ctx)
				}
				if err != nil {
					cancel(err)
					return
				}
				done := time.Since(begin)
				t.done += int64(n)
				if counted && done >= warm && (done < end || calls.Load() == 0) {
					calls.Add(1)
					t.measured += int64(n)
					t.last = done
					t.latency.record(done - at)
				}
				at = done
			}
		})
	}
	begin = time.Now()
	close(beginning)
	running.Wait()
	if err := context.Cause(ctx); err != nil {
		return Sample{}, err
	}
	s, measured, last := Sample{Latency: newLatency()}, int64(0), end
	for w := range each {
		t := &each[w]
		s.Done += t.done
		s.Latency.merge(t.latency)
		measured += t.measured
		last = max(last, t.last)
	}
	s.Value = float64(measured) / (last - warm).Seconds()
	return s, nil
}

// timed takes one step, and gives its rate a second.
func timed(ctx context.Context, s step) (Sample, error) {
	return timedEach(ctx, 0, 1, func() error { return nil }, s)
}

// timedEach takes so many steps one after the other, fewer if they take longer than the duration. Before each something
// is done that is not timed.
func timedEach(ctx context.Context, most time.Duration, steps int, before func() error, s step) (Sample, error) {
	sample, spent := Sample{Latency: newLatency()}, time.Duration(0)
	for i := 0; i < steps && (i == 0 || spent < most); i++ {
		if err := before(); err != nil {
			return Sample{}, err
		}
		begin := time.Now()
		n, err := s(ctx)
		took := time.Since(begin)
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return Sample{}, err
		}
		spent += took
		sample.Done += int64(n)
		sample.Latency.record(took)
	}
	sample.Value = float64(sample.Done) / spent.Seconds()
	return sample, nil
}

// tally is what one worker did.
type tally struct {
	done, measured int64
	last           time.Duration // when the last step that was measured ended
	latency        *Latency
}

// mustHold is an error if a store has not what it acknowledged.
func mustHold(ctx context.Context, s Store, want int64) error {
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	if int64(head) != want {
		return fmt.Errorf("%w: %d events were acknowledged, and the store has %d", errWrong, want, head)
	}
	return nil
}

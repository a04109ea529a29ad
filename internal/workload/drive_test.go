package workload

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func benchFor(duration time.Duration) *bench {
	return &bench{Options: Options{Seed: 1, Payload: PayloadRandom, Duration: duration, Runs: 1, Events: 1000}}
}

// pause is a step that takes so long, in the time of the bubble.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestTheRateAndTheLatencyAreThoseOfTheSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const workers, perStep, takes = 4, 3, 10 * time.Millisecond
		var calls atomic.Int64
		s, err := benchFor(time.Second).drive(t.Context(), workers, func(int) step {
			return func(ctx context.Context) (int, error) {
				calls.Add(1)
				return perStep, pause(ctx, takes)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := float64(workers * perStep * 100); math.Abs(s.Value-want) > want/100 {
			t.Errorf("the rate is %f, want %f", s.Value, want)
		}
		if s.Done != perStep*calls.Load() {
			t.Errorf("%d were done in %d steps of %d", s.Done, calls.Load(), perStep)
		}
		if n := s.Latency.Count(); n != workers*100 {
			t.Errorf("%d steps were timed, want those that end within the second: %d", n, workers*100)
		}
		for _, q := range []float64{0.5, 0.99, 0.999} {
			if got := s.Latency.Quantile(q); got < takes || got > takes+takes/100 {
				t.Errorf("the quantile %g is %s, and every step took %s", q, got, takes)
			}
		}
	})
}

func TestAStepLongerThanTheMeasurementIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := benchFor(time.Millisecond).drive(t.Context(), 1, func(int) step {
			return func(ctx context.Context) (int, error) { return 100, pause(ctx, time.Second) }
		})
		if err != nil {
			t.Fatal(err)
		}
		if s.Done != 100 || s.Latency.Count() != 1 || s.Value < 99 || s.Value > 101 {
			t.Errorf("%d done, %d timed, %f a second; want one step of 100 in a second", s.Done, s.Latency.Count(), s.Value)
		}
	})
}

func TestOnlyTheWorkersThatCountAreMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := benchFor(time.Second).driveSome(t.Context(), 10, func(w int) bool { return w == 0 }, func(w int) step {
			return func(ctx context.Context) (int, error) { return 1, pause(ctx, time.Duration(10*(w+1))*time.Millisecond) }
		})
		if err != nil {
			t.Fatal(err)
		}
		if s.Latency.Count() != 100 || s.Value < 99 || s.Value > 101 {
			t.Errorf("%d steps were timed at %f a second, want the 100 of the first worker", s.Latency.Count(), s.Value)
		}
		if s.Done <= 120 {
			t.Errorf("%d were done, want those of all workers", s.Done)
		}
	})
}

func TestTheFirstErrorStopsAllWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		_, err := benchFor(time.Hour).drive(t.Context(), 8, func(w int) step {
			return func(ctx context.Context) (int, error) {
				if w == 3 {
					return 0, broken
				}
				return 1, pause(ctx, time.Second)
			}
		})
		if !errors.Is(err, broken) {
			t.Errorf("the error is %v, want that of the step", err)
		}
	})
}

func TestQuantilesAreThoseOfAllCallsToOnePercent(t *testing.T) {
	t.Parallel()
	odd, all := newLatency(), newLatency()
	for i := 1; i <= 10_000; i++ {
		l := all
		if i%2 == 1 {
			l = odd
		}
		l.record(time.Duration(i) * time.Microsecond)
	}
	all.merge(odd)
	if all.Count() != 10_000 {
		t.Errorf("%d calls, want 10000", all.Count())
	}
	for q, want := range map[float64]float64{0.5: 5000, 0.99: 9900, 0.999: 9990, 1: 10_000} {
		if got := all.micros(q); math.Abs(got-want) > want/100 {
			t.Errorf("the quantile %g is %f µs, want %f", q, got, want)
		}
	}
	if got := newLatency().micros(0.5); got != 0 {
		t.Errorf("the median of nothing is %f, want 0", got)
	}
}

func TestTheMedianIsTheMiddle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 100, 2}, 3}} {
		if got := median(c.values); got != c.want {
			t.Errorf("the median of %v is %f, want %f", c.values, got, c.want)
		}
	}
}

func TestARatioIsTakenToTheFloorsBesideIt(t *testing.T) {
	t.Parallel()
	// The machine becomes half as fast with each measurement; the store is always half as fast as it.
	speed := 1024.0
	next := func(part float64) measure {
		return func(context.Context) (Sample, error) {
			speed /= 2
			return Sample{Value: speed * part}, nil
		}
	}
	b := benchFor(time.Second)
	b.Runs, b.progress = 3, func(string) {}
	if err := b.contest(t.Context(), testCase{name: "c", unit: "u"}, next(1), []rival{{"store", next(0.5)}}); err != nil {
		t.Fatal(err)
	}
	floor, store := b.report.Measurements[0], b.report.Measurements[1]
	if len(floor.Runs) != 6 || len(store.Runs) != 3 {
		t.Errorf("%d floors and %d samples of the store, want the floor before and after each of 3", len(floor.Runs), len(store.Runs))
	}
	// Twice as fast before, half as fast after: 0.5 / 1.25.
	if math.Abs(store.ToFloor-0.4) > 1e-9 {
		t.Errorf("the ratio is %f, want 0.4, whatever else the machine did", store.ToFloor)
	}
}

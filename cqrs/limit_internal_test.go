package cqrs

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestRatesForgetWhoHasBeenQuiet(t *testing.T) {
	t.Parallel()
	r := newRates(10, 1)
	now := time.Now()
	most := 0
	for i := range 20 * sweepMin {
		r.wait(fmt.Sprint(i), now)
		now = now.Add(time.Millisecond)
		most = max(most, len(r.buckets))
	}
	if most > 2*sweepMin {
		t.Errorf("%d buckets are kept, of which 100 are not full", most)
	}
}

func TestAFloodIsForgotten(t *testing.T) {
	t.Parallel()
	r := newRates(1, 5)
	now := time.Now()
	for i := range 100_000 {
		r.wait(fmt.Sprint(strings.Repeat("x", 100), i), now)
	}
	if len(r.buckets) != 100_000 {
		t.Errorf("%d of them are known", len(r.buckets))
	}
	now = now.Add(time.Minute)
	r.wait("ann", now)
	if n := len(r.buckets); n > sweepMin {
		t.Errorf("%d buckets are kept, a minute after all of them were full", n)
	}
}

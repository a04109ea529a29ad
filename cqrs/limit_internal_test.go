package cqrs

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

func TestRatesForgetWhoHasBeenQuiet(t *testing.T) {
	t.Parallel()
	r := rates{limit: 10, burst: 1, buckets: map[string]*rate.Limiter{}, sweepAt: sweepMin}
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

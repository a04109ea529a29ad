package workload

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is how long calls took. It is for one goroutine; make one with newLatency.
type Latency struct{ h *hdrhistogram.Histogram }

// Latencies are kept to one part in a hundred, up to ten minutes.
const (
	latencyMost   = 10 * time.Minute
	latencyDigits = 2
)

func newLatency() *Latency {
	return &Latency{hdrhistogram.New(1, int64(latencyMost), latencyDigits)}
}

func (l *Latency) record(d time.Duration) {
	// It fails for what is out of range only.
	_ = l.h.RecordValue(int64(min(max(d, 1), latencyMost)))
}

func (l *Latency) merge(o *Latency) {
	if o != nil {
		l.h.Merge(o.h)
	}
}

// Count is how many calls there were.
func (l *Latency) Count() int64 { return l.h.TotalCount() }

// Quantile is the latency that a part q of the calls, between 0 and 1, did not exceed.
func (l *Latency) Quantile(q float64) time.Duration {
	return time.Duration(l.h.ValueAtQuantile(100 * q))
}

// micros is a quantile in microseconds, 0 if nothing was recorded.
func (l *Latency) micros(q float64) float64 {
	if l == nil || l.Count() == 0 {
		return 0
	}
	return float64(l.Quantile(q).Nanoseconds()) / 1e3
}

package workload

import (
	"slices"
	"time"
)

// Report is what [Run] found.
type Report struct {
	Machine      Machine       `json:"machine"`
	Options      Summary       `json:"options"`
	Measurements []Measurement `json:"measurements"`
}

// Summary are the options that a figure depends on.
type Summary struct {
	Seed     uint64        `json:"seed"`
	Payload  Payload       `json:"payload"`
	Duration time.Duration `json:"durationNanos"`
	Runs     int           `json:"runs"`
	Events   int           `json:"events"`
}

func summaryOf(o Options) Summary {
	return Summary{Seed: o.Seed, Payload: o.Payload, Duration: o.Duration, Runs: o.Runs, Events: o.Events}
}

// Measurement is what one target, or a floor, came to in one case.
type Measurement struct {
	Workload string `json:"workload"` // such as W1
	Title    string `json:"title"`
	Case     string `json:"case"`
	Target   string `json:"target"`
	Unit     string `json:"unit"`
	// LessIsBetter of times and sizes.
	LessIsBetter bool `json:"lessIsBetter,omitempty"`
	// Runs are the values of the single runs, in their order, Median the middle one.
	Runs   []float64 `json:"runs"`
	Median float64   `json:"median"`
	// P50, P99 and P999 are the latencies of the calls of all runs, in microseconds; 0 where calls were not timed.
	P50  float64 `json:"p50Micros,omitempty"`
	P99  float64 `json:"p99Micros,omitempty"`
	P999 float64 `json:"p999Micros,omitempty"`
	// ToFloor is the median of the ratios, in each run, of the value to the mean of the floors measured before and
	// after it; 0 where there is no floor.
	ToFloor float64 `json:"toFloor,omitempty"`
}

// Least is the smallest value of the runs.
func (m Measurement) Least() float64 { return slices.Min(m.Runs) }

// Most is the largest value of the runs.
func (m Measurement) Most() float64 { return slices.Max(m.Runs) }

// series gathers the samples of one rival.
type series struct {
	facts   Measurement
	ratios  []float64
	latency *Latency
}

func newSeries(w Workload, c testCase, target string) *series {
	return &series{
		facts:   Measurement{Workload: w.Name, Title: w.Title, Case: c.name, Target: target, Unit: c.unit, LessIsBetter: c.less},
		latency: newLatency(),
	}
}

// add takes a sample with the floor around it, 0 if there is none.
func (s *series) add(sample Sample, floor float64) {
	s.facts.Runs = append(s.facts.Runs, sample.Value)
	if floor > 0 {
		s.ratios = append(s.ratios, sample.Value/floor)
	}
	s.latency.merge(sample.Latency)
}

func (s *series) measurement() Measurement {
	m := s.facts
	m.Median, m.ToFloor = median(m.Runs), median(s.ratios)
	m.P50, m.P99, m.P999 = s.latency.micros(0.5), s.latency.micros(0.99), s.latency.micros(0.999)
	return m
}

// median is the middle value, or the mean of the two in the middle; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

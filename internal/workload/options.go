package workload

import (
	"errors"
	"fmt"
	"time"
)

// Payload is what the data of events look like.
type Payload string

// The payloads. Both have 256 bytes; the random one does not compress.
const (
	PayloadRandom Payload = "random"
	PayloadJSON   Payload = "json"
)

// PayloadBytes is the size of an event's data.
const PayloadBytes = 256

// Options say how much is measured. The zero value of a field means its default, which [Options.Complete] puts in.
type Options struct {
	// Dir is an empty directory on the file system that is to be measured. Everything made in it is removed again.
	Dir string
	// Seed is what all data are made from. By default 1.
	Seed uint64
	// Payload is random by default.
	Payload Payload
	// Duration is how long a case is measured in each run, by default 1.5 s. A fifth of it goes before, to warm up.
	Duration time.Duration
	// Runs is how often each case is measured; medians are told. By default 5.
	Runs int
	// Events is how many events are loaded to be read. By default 1,000,000.
	Events int
	// Sustained is how many events the workload of that name appends. By default as many as Events.
	Sustained int
	// Writers are how many append at once, by default 1, 16, 64 and 256, and Readers how many read, 1 and 4.
	Writers, Readers []int
	// Subscribers are how many subscriptions that match nothing the appenders of W6 bear: by default 0, 100 and 10,000.
	Subscribers []int
	// StreamEvents are the lengths of the streams that W4 loads. They are those of the data: 10, 100 and 1000.
	StreamEvents []int
}

// Limits of the options.
const (
	runsMax    = 1000
	writersMax = 10_000
	eventsMax  = 1_000_000_000
	// subscribersMax is a goroutine each.
	subscribersMax = 1_000_000
	// eventsMin is so that every tag and every stream that is asked for exists.
	eventsMin = 100
)

// Complete is o with its defaults, or an error that names what makes no sense.
func (o Options) Complete() (Options, error) {
	o.Seed = orDefault(o.Seed, 1)
	o.Payload = orDefault(o.Payload, PayloadRandom)
	o.Duration = orDefault(o.Duration, 1500*time.Millisecond)
	o.Runs = orDefault(o.Runs, 5)
	o.Events = orDefault(o.Events, 1_000_000)
	o.Sustained = orDefault(o.Sustained, o.Events)
	if o.Writers == nil {
		o.Writers = []int{1, 16, 64, 256}
	}
	if o.Readers == nil {
		o.Readers = []int{1, 4}
	}
	if o.Subscribers == nil {
		o.Subscribers = []int{0, 100, 10_000}
	}
	if o.StreamEvents == nil {
		o.StreamEvents = []int{10, 100, 1000}
	}
	return o, o.check()
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// ErrOptions is what is wrong with options.
var ErrOptions = errors.New("workload")

func (o Options) check() error {
	switch {
	case o.Dir == "":
		return fmt.Errorf("%w: no directory was given", ErrOptions)
	case o.Payload != PayloadRandom && o.Payload != PayloadJSON:
		return fmt.Errorf("%w: payload %q: there are %s and %s", ErrOptions, o.Payload, PayloadRandom, PayloadJSON)
	case o.Duration < time.Millisecond:
		return fmt.Errorf("%w: a duration of %s: a millisecond is the least", ErrOptions, o.Duration)
	case o.Runs < 1 || o.Runs > runsMax:
		return fmt.Errorf("%w: %d runs: there are 1 to %d", ErrOptions, o.Runs, runsMax)
	case o.Events < eventsMin || o.Events > eventsMax:
		return fmt.Errorf("%w: %d events: there are %d to %d", ErrOptions, o.Events, eventsMin, eventsMax)
	case o.Sustained < eventsMin || o.Sustained > eventsMax:
		return fmt.Errorf("%w: %d events to sustain: there are %d to %d", ErrOptions, o.Sustained, eventsMin, eventsMax)
	}
	for _, n := range o.Writers {
		if n < 1 || n > writersMax {
			return fmt.Errorf("%w: %d writers: there are 1 to %d", ErrOptions, n, writersMax)
		}
	}
	for _, n := range o.Readers {
		if n < 1 || n > writersMax {
			return fmt.Errorf("%w: %d readers: there are 1 to %d", ErrOptions, n, writersMax)
		}
	}
	for _, n := range o.Subscribers {
		if n < 0 || n > subscribersMax {
			return fmt.Errorf("%w: %d subscribers: there are 0 to %d", ErrOptions, n, subscribersMax)
		}
	}
	for _, n := range o.StreamEvents {
		if !isStreamLength(n) {
			return fmt.Errorf("%w: streams of %d events: there are such of 10, 100 and 1000", ErrOptions, n)
		}
	}
	return nil
}

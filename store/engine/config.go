package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/journal"
)

// Config is what a store is made of.
type Config struct {
	// Journal makes frames durable. Required.
	Journal journal.Journal
	// Records reads single events of the journal. Required.
	Records journal.Records
	// Identity says whose log it is, as the journal knows it.
	Identity journal.Identity
	// Clock is where the time of events comes from. Required, and called concurrently. A clock that goes back is held at
	// the last time it gave.
	Clock func() time.Time
	// Random is where ids and blinds come from. Required, and must be fit for secrets.
	Random io.Reader
	// Logger is told of what an operator should know. Nil: nobody is.
	Logger *slog.Logger
	// Refuse is why the store takes no appends from the beginning; nil if it does. It is wrapped into
	// [annals.ErrReadOnly].
	Refuse error

	// Limits are what appends and queries are held to. The zero value stands for those of the format: events of
	// 16 MiB, appends of 64 MiB and 100,000 events, as far as the journal takes frames of that size.
	Limits annals.Limits
	// FrameBytes and FrameEvents are the size at which a frame takes no further append. By default 512 KiB and 1,000.
	FrameBytes, FrameEvents int
	// QueueAppends and QueueBytes bound what waits for the sequencer; once that much waits, appends are
	// [annals.ErrOverloaded]. By default 4,096 and 64 MiB.
	QueueAppends, QueueBytes int
	// LiveBytes and LiveEvents bound the last events that are kept for subscriptions, all of them together, and LiveBytes
	// again the frames that they are yet to be told of. LiveQueue bounds what waits for one of them, in runs of such events,
	// and a thousand times that what waits for all. Whoever is slower reads the log again. By default 8 MiB, 8,192 and
	// 1,024: with everything full about 32 MiB. Nothing is kept while nobody is subscribed.
	LiveBytes, LiveEvents, LiveQueue int
	// Index says where the index is kept and what it may use; without a file system, in memory. Identity, Events and Logger
	// are the store's.
	Index index.Config

	plan  planChoice
	heavy heavyChoice
}

const (
	defaultFrameBytes   = 512 << 10
	defaultFrameEvents  = 1000
	defaultQueueAppends = 4096
	defaultQueueBytes   = 64 << 20
	defaultLiveBytes    = 8 << 20
	defaultLiveEvents   = 8192
	defaultLiveQueue    = 1024
)

// complete checks c and fills in the defaults.
func (c Config) complete() (Config, error) {
	if c.Journal == nil || c.Records == nil || c.Clock == nil || c.Random == nil {
		return Config{}, errors.New("engine: Journal, Records, Clock and Random are required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Limits == (annals.Limits{}) {
		c.Limits = formatLimits(frameBytesMax(c.Journal))
	}
	c.Limits.Retention, c.Limits.Tracking = true, true
	if err := checkLimits(c.Limits); err != nil {
		return Config{}, err
	}
	for _, d := range []struct {
		value    *int
		standard int
	}{
		{&c.FrameBytes, defaultFrameBytes},
		{&c.FrameEvents, defaultFrameEvents},
		{&c.QueueAppends, defaultQueueAppends},
		{&c.QueueBytes, defaultQueueBytes},
		{&c.LiveBytes, defaultLiveBytes},
		{&c.LiveEvents, defaultLiveEvents},
		{&c.LiveQueue, defaultLiveQueue},
	} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	c.FrameBytes = min(c.FrameBytes, frameBytesMax(c.Journal)-frame.HeaderBytes)
	return c, nil
}

// checkLimits refuses limits under which events would be accepted that a record has no room for, or that would not be
// honoured.
func checkLimits(l annals.Limits) error {
	most := annals.Limits{
		EventBytes: 16 << 20, AppendBytes: 64 << 20, AppendEvents: 100_000,
		TypeBytes: 32 << 10, StreamBytes: 32 << 10, TagBytes: 32 << 10, EventTags: 255,
	}
	for _, c := range []struct {
		what         string
		limit, holds int
	}{
		{"EventBytes", l.EventBytes, most.EventBytes},
		{"AppendBytes", l.AppendBytes, most.AppendBytes},
		{"AppendEvents", l.AppendEvents, most.AppendEvents},
		{"TypeBytes", l.TypeBytes, most.TypeBytes},
		{"StreamBytes", l.StreamBytes, most.StreamBytes},
		{"TagBytes", l.TagBytes, most.TagBytes},
		{"EventTags", l.EventTags, most.EventTags},
	} {
		if c.limit > c.holds {
			return fmt.Errorf("engine: Limits.%s is %d, and the format has room for %d", c.what, c.limit, c.holds)
		}
	}
	return nil
}

// formatLimits are those of the format, cut down for a journal that takes small frames only. Half of a frame is left
// for what records are wrapped in.
func formatLimits(frameBytes int) annals.Limits {
	l := annals.MinLimits()
	l.EventBytes = max(l.EventBytes, min(16<<20, frameBytes/4))
	l.AppendBytes = max(l.AppendBytes, min(64<<20, frameBytes/2))
	l.AppendEvents = max(l.AppendEvents, min(100_000, frameBytes/1024))
	return l
}

func frameBytesMax(j journal.Journal) int {
	if n := j.Limits().FrameBytes; n > 0 {
		return min(n, frame.BytesMax)
	}
	return frame.BytesMax
}

// entropy is a source of randomness that may be used concurrently, whatever it was made of.
type entropy struct {
	mu sync.Mutex
	r  *bufio.Reader
}

func newEntropy(r io.Reader) *entropy { return &entropy{r: bufio.NewReaderSize(r, 4096)} }

func (e *entropy) fill(b []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := io.ReadFull(e.r, b)
	return err
}

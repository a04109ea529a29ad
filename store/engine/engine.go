package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/journal"
	"github.com/annalsdb/annals/store/engine/live"
	"github.com/annalsdb/annals/store/engine/retention"
)

// Store is an [annals.Store] over a journal. Make one with [Open]. It may be used concurrently.
type Store struct {
	journal  journal.Journal
	records  journal.Records
	identity journal.Identity
	clock    func() time.Time
	entropy  *entropy
	logger   *slog.Logger
	limits   annals.Limits
	config   Config
	index    *index.Index
	live     *live.Hub
	retained retention.Table
	lastTime atomic.Int64 // of the last event, in nanoseconds since 1970

	closeIndex sync.Once

	barren    barren
	sequencer sequencer

	closed  atomic.Bool
	closing chan struct{} // closed by Close
	// stop ends what waits for the journal in the background, which background counts.
	stop       context.CancelFunc
	lifetime   func() context.Context
	background sync.WaitGroup
}

var (
	_ annals.Store       = (*Store)(nil)
	_ annals.Limiter     = (*Store)(nil)
	_ annals.Scanner     = (*Store)(nil)
	_ annals.SystemStore = (*Store)(nil)
	_ annals.Retainer    = (*Store)(nil)
	_ annals.Tracker     = (*Store)(nil)
)

// Open reads the frames of the journal that the index does not know yet, and serves it. If frames are damaged, what they
// held is lost: reads that meet it end with an [annals.DataLossError], and no appends are taken. Close the store before
// the journal.
func Open(ctx context.Context, c Config) (*Store, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{
		journal: c.Journal, records: c.Records, identity: c.Identity, clock: c.Clock, entropy: newEntropy(c.Random),
		logger: c.Logger, limits: c.Limits, config: c, closing: make(chan struct{}),
		stop: stop, lifetime: func() context.Context { return background },
	}
	s.live = live.New(live.Config{
		Store: c.Identity.Store, Head: func() uint64 { return s.index.Head() }, Bytes: c.LiveBytes, Events: c.LiveEvents, Queue: c.LiveQueue,
	})
	s.barren.open()
	s.sequencer.idle = sync.NewCond(&s.sequencer.mu)
	if c.Refuse != nil {
		s.sequencer.refuse(readOnly(c.Refuse))
	}
	if err := s.load(ctx); err != nil {
		stop()
		if s.index != nil {
			s.index.Close()
		}
		return nil, fmt.Errorf("engine: open: %w", err)
	}
	return s, nil
}

// Close ends the store. The frame that is being made durable is waited for, and its appends are acknowledged, though perhaps a
// moment later; appends behind it, and
// every call and subscription from now on, are answered with [annals.ErrClosed]. It waits for everything the store
// started, and may be called again. The journal stays open.
func (s *Store) Close() error {
	if s.closed.CompareAndSwap(false, true) {
		close(s.closing)
	}
	s.stop()
	s.sequencer.close()
	s.live.Close()
	s.background.Wait()
	s.closeIndex.Do(s.index.Close)
	return nil
}

// Limits are what appends and queries are held to.
func (s *Store) Limits() annals.Limits { return s.limits }

// Head implements [annals.Store].
func (s *Store) Head(ctx context.Context) (annals.Position, error) {
	if err := s.ended(ctx); err != nil {
		return 0, err
	}
	return annals.Position(s.index.Head()), nil
}

// System is the same store with leave to append system events.
func (s *Store) System() annals.Store { return systemStore{s} }

type systemStore struct{ *Store }

// Append is [Store.Append] with leave to use names that begin with "$".
func (s systemStore) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	return s.append(ctx, events, conds, true)
}

// Stats are figures about an open store.
type Stats struct {
	// Head is the position of the last visible event, and Frame the number of the frame that holds it.
	Head  annals.Position
	Frame uint64
	// Lost are the positions that are known to be unreadable.
	Lost []*annals.DataLossError
	// Index is what the index is made of.
	Index index.Stats
	// Queued is how many appends wait for the sequencer.
	Queued int
	// ReadOnly is why appends are refused, if they are. It matches [annals.ErrReadOnly].
	ReadOnly error
	// Subscribers counts the subscriptions that are being ranged over, and Behind those among them that read the log
	// because they are not at its end. LiveBytes is what the events and frames take that are kept for the others.
	Subscribers, Behind, LiveBytes int
}

// Stats are figures about the store as it is now.
func (s *Store) Stats() Stats {
	st := s.sequencer.stats()
	head, frame := s.index.HeadFrame()
	st.Head, st.Frame, st.Lost = annals.Position(head), frame, s.index.Lost()
	st.Index = s.index.Stats()
	l := s.live.Stats()
	st.Subscribers, st.Behind, st.LiveBytes = l.Subscribers, l.Behind, l.Bytes
	return st
}

// ended is nil while the store is open and ctx runs.
func (s *Store) ended(ctx context.Context) error {
	if s.closed.Load() {
		return annals.ErrClosed
	}
	return contextEnd(ctx)
}

// contextEnd is nil while ctx runs; then an error that matches both the context's error and its cause.
func contextEnd(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// readOnly is the refusal of appends for a reason.
func readOnly(cause error) error { return fmt.Errorf("%w: %w", annals.ErrReadOnly, cause) }

// end names the last frame and what the next one goes on from. Only whoever holds the baton touches it.
type end struct {
	ref   frame.Ref
	epoch uint64 // in which frames are to be written
	time  time.Time
	// written is the epoch of the last frame; an epoch never decreases.
	written uint64
}

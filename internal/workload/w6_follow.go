package workload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/annalsdb/annals"
)

const (
	// liveEvery is the time between two appends of which the delivery is timed: 200 a second.
	liveEvery = 5 * time.Millisecond
	// liveWait is how long a delivery may take until it counts as lost.
	liveWait = 30 * time.Second
	// followedWriters is how many append beside subscriptions.
	followedWriters = 16
)

// w6 measures live subscriptions.
func (b *bench) w6(ctx context.Context) error {
	c := testCase{name: "append → delivered at 200/s, p50", unit: "µs", less: true}
	if err := b.contest(ctx, c, b.syncTime(), b.rivals(b.deliveries)); err != nil {
		return err
	}
	for _, n := range b.Subscribers {
		c := testCase{name: fmt.Sprintf("%d writers, %d subscribers without a match", followedWriters, n), unit: "events/s"}
		err := b.contest(ctx, c, b.appendFloor(followedWriters, 1), b.rivals(func(t Target) measure { return b.followed(t, n) }))
		if err != nil {
			return err
		}
	}
	return nil
}

// syncTime is the floor of a single durable append as a time.
func (b *bench) syncTime() measure {
	rate := b.appendFloor(1, 1)
	return func(ctx context.Context) (Sample, error) {
		s, err := rate(ctx)
		if err == nil {
			s.Value = s.Latency.micros(0.5)
		}
		return s, err
	}
}

// deliveries appends at a steady pace, and times from before each append to its delivery.
func (b *bench) deliveries(t Target) measure {
	return func(ctx context.Context) (Sample, error) {
		return b.inFreshStore(ctx, t, func(s Store) (Sample, error) {
			begun := make([]time.Time, max(1, int((b.Duration+b.Duration/warmUpPart)/liveEvery)))
			var mu sync.Mutex // orders what the appender and the subscriber know of begun
			latency, delivered := newLatency(), 0
			ctx, stop := context.WithTimeoutCause(ctx, b.Duration+b.Duration/warmUpPart+liveWait, errLost)
			defer stop()
			warm := len(begun) / (warmUpPart + 1)
			following := follow(ctx, s, annals.Tags("live:1"), func(e *annals.Event) error {
				now := time.Now()
				n := int(binary.LittleEndian.Uint32(e.Data))
				if n != delivered {
					return fmt.Errorf("%w: event %d was delivered where %d was due", errWrong, n, delivered)
				}
				if delivered++; n >= warm {
					mu.Lock()
					latency.record(now.Sub(begun[n]))
					mu.Unlock()
				}
				if delivered == len(begun) {
					return errAllDelivered
				}
				return nil
			})
			if err := following.ready(ctx); err != nil {
				return Sample{}, err
			}
			src, pace := b.source(0), time.NewTicker(liveEvery)
			defer pace.Stop()
			for n := range begun {
				select {
				case <-pace.C:
				case <-ctx.Done():
					return Sample{}, errors.Join(context.Cause(ctx), following.end())
				}
				e := annals.Event{ID: src.id(), Type: "Measured", Stream: "live-1", Tags: []string{"live:1"}, Data: src.data()}
				binary.LittleEndian.PutUint32(e.Data, uint32(n))
				mu.Lock()
				begun[n] = time.Now()
				mu.Unlock()
				if err := s.Append(ctx, []annals.Event{e}); err != nil {
					return Sample{}, errors.Join(err, following.end())
				}
			}
			if err := following.wait(); !errors.Is(err, errAllDelivered) {
				return Sample{}, err
			}
			return Sample{Value: latency.micros(0.5), Latency: latency, Done: int64(delivered)}, nil
		})
	}
}

var (
	errAllDelivered = errors.New("workload: all was delivered")
	errLost         = fmt.Errorf("%w: an event was not delivered", errWrong)
)

// followed is W1 beside subscriptions of which none has a match.
func (b *bench) followed(t Target, subscribers int) measure {
	return func(ctx context.Context) (Sample, error) {
		return b.inFreshStore(ctx, t, func(s Store) (sample Sample, err error) {
			if err := canFollow(ctx, s); err != nil {
				return Sample{}, err
			}
			all := make([]*follower, 0, subscribers)
			defer func() {
				for _, f := range all {
					f.stop(nil)
				}
				for _, f := range all {
					err = errors.Join(err, f.wait())
				}
			}()
			for n := range subscribers {
				all = append(all, follow(ctx, s, annals.Tags(fmt.Sprintf("nobody:%d", n)), func(e *annals.Event) error {
					return fmt.Errorf("%w: a subscriber was given %s, which it did not ask for", errWrong, e.Type)
				}))
			}
			for _, f := range all {
				if err := f.ready(ctx); err != nil {
					return Sample{}, err
				}
			}
			sample, err = b.drive(ctx, followedWriters, func(w int) step { return b.appender(s, w, 1, (*source).id) })
			if err != nil {
				return Sample{}, err
			}
			return sample, mustHold(ctx, s, sample.Done)
		})
	}
}

// canFollow asks for a subscription that ends at once.
func canFollow(ctx context.Context, s Store) error {
	ctx, stop := context.WithCancel(ctx)
	stop()
	if err := s.Follow(ctx, annals.All(), func() {}, func(*annals.Event) {}); errors.Is(err, annals.ErrUnsupported) {
		return err
	}
	return nil
}

// follower is a subscription with its goroutine.
type follower struct {
	live  chan struct{} // closed once it is live
	ended chan struct{}
	err   error // readable once it ended
	stop  context.CancelCauseFunc
}

// follow subscribes. The subscription ends with the first error of visit.
func follow(ctx context.Context, s Store, q annals.Query, visit func(*annals.Event) error) *follower {
	ctx, stop := context.WithCancelCause(ctx)
	f := &follower{live: make(chan struct{}), ended: make(chan struct{}), stop: stop}
	go func() {
		defer close(f.ended)
		f.err = s.Follow(ctx, q, func() { close(f.live) }, func(e *annals.Event) {
			if err := visit(e); err != nil {
				stop(err)
			}
		})
		// That it was asked to stop is no failure; why else it ended is.
		if cause := context.Cause(ctx); f.err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
			f.err = cause
		}
	}()
	return f
}

// ready waits until the subscription is live.
func (f *follower) ready(ctx context.Context) error {
	select {
	case <-f.live:
		return nil
	case <-f.ended:
		return f.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end stops the subscription and waits for it.
func (f *follower) end() error {
	f.stop(nil)
	return f.wait()
}

func (f *follower) wait() error {
	<-f.ended
	return f.err
}

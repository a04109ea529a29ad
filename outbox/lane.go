package outbox

import (
	"context"
	"errors"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/annalsdb/annals"
)

// delivery is a message on its way.
type delivery struct {
	Message
	position annals.Position
}

// laneOf spreads keys over lanes: messages of one key are in one.
func laneOf(key string, lanes int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash takes everything
	return int(h.Sum32() % uint32(lanes))
}

// deliver publishes a message, however often it has to be tried. An error stops the relay.
func (r *Running[E]) deliver(ctx context.Context, d delivery) error {
	pause := r.Backoff
	for tries := 1; !over(ctx); tries++ {
		err := guard(func() error { return r.Publisher.Publish(ctx, d.Message) })
		switch {
		case err == nil:
			r.recovered(ctx, d, tries)
			r.leave(d.position)
			return nil
		case over(ctx): // it is published another time
			continue
		case errors.Is(err, errPermanent):
			if err := r.park(ctx, d.Message, err); err != nil {
				return err
			}
			r.recovered(ctx, d, tries)
			r.leave(d.position)
			return nil
		}
		r.fails(ctx, d, tries, err)
		select {
		case <-time.After(pause/2 + rand.N(pause/2+1)):
		case <-ctx.Done():
		}
		pause = min(2*pause, r.BackoffMost)
	}
	return nil
}

func over(ctx context.Context) bool { return ctx.Err() != nil }

func (r *Running[E]) fails(ctx context.Context, d delivery, tries int, err error) {
	r.mu.Lock()
	if r.failing == nil {
		r.since = time.Now()
	}
	r.failing = err
	r.mu.Unlock()
	r.Logger.WarnContext(ctx, "a message is not published, and will be tried again", slog.String("topic", d.Topic), slog.String("id", d.ID.String()),
		slog.Uint64("position", uint64(d.position)), slog.Int("tries", tries), slog.Any("error", err))
}

func (r *Running[E]) recovered(ctx context.Context, d delivery, tries int) {
	if tries == 1 {
		return
	}
	r.mu.Lock()
	r.failing, r.since = nil, time.Time{}
	r.mu.Unlock()
	r.Logger.InfoContext(ctx, "a message is out at last", slog.String("topic", d.Topic), slog.String("id", d.ID.String()), slog.Int("tries", tries))
}

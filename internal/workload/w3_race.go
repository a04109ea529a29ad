package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/annalsdb/annals"
)

// racers is how many write to one stream.
const racers = 16

// w3 has writers race. There cannot be more winners than syncs, so the floor is that of one writer.
func (b *bench) w3(ctx context.Context) error {
	c := testCase{name: plural(racers, "racer"), unit: "accepted/s"}
	return b.contest(ctx, c, b.appendFloor(1, 1), b.rivals(b.race))
}

func (b *bench) race(t Target) measure {
	return func(ctx context.Context) (Sample, error) {
		return b.inFreshStore(ctx, t, func(s Store) (Sample, error) {
			known := &knownRevision{changed: make(chan struct{})}
			sample, err := b.drive(ctx, racers, func(w int) step { return b.racer(s, w, known) })
			if err != nil {
				return Sample{}, err
			}
			if int64(known.events) != sample.Done {
				return Sample{}, fmt.Errorf("%w: %d appends won, and the stream came to revision %d", errWrong, sample.Done, known.events-1)
			}
			return sample, mustHold(ctx, s, sample.Done)
		})
	}
}

const raceStream = "race-1"

// racer appends once for each step: it tries at the revision that is known until it has won.
func (b *bench) racer(s Store, w int, known *knownRevision) step {
	src := b.source(w)
	return func(ctx context.Context) (int, error) {
		e := annals.Event{ID: src.id(), Type: "Measured", Stream: raceStream, Tags: []string{"race:1"}, Data: src.data()}
		for {
			events, changed := known.look()
			err := s.Append(ctx, []annals.Event{e}, atLength(raceStream, events))
			switch {
			case err == nil:
				known.won(events + 1)
				return 1, nil
			case !errors.Is(err, annals.ErrConflict):
				return 0, err
			}
			if err := wait(ctx, changed, raceWait); err != nil {
				return 0, err
			}
		}
	}
}

// raceWait is how long a loser waits, at the most, until it hears of the winner.
const raceWait = 4 * time.Millisecond

// atLength wants a stream to have so many events.
func atLength(stream string, events uint64) annals.Condition {
	if events == 0 {
		return annals.NoStream(stream)
	}
	return annals.StreamAt(stream, annals.Revision(events-1))
}

// knownRevision is what all racers know of their stream: what was acknowledged last.
type knownRevision struct {
	mu      sync.Mutex
	events  uint64
	changed chan struct{} // closed with the next win
}

func (k *knownRevision) look() (events uint64, changed <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.events, k.changed
}

func (k *knownRevision) won(events uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = max(k.events, events) // acknowledgements may overtake each other
	close(k.changed)
	k.changed = make(chan struct{})
}

// wait until something happens, at the most so long.
func wait(ctx context.Context, happens <-chan struct{}, most time.Duration) error {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-happens:
	case <-timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

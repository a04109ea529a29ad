package workload

import (
	"context"
	"fmt"

	"github.com/annalsdb/annals"
)

// coldLoads is how many cold reads a run makes, at the most: the caches are dropped before each.
const coldLoads = 200

// w4 loads streams, as decisions do.
func (b *bench) w4(ctx context.Context) error {
	for _, length := range b.StreamEvents {
		class := streamClass(length)
		of := fmt.Sprintf("%d events", length)
		for _, readers := range b.Readers {
			c := testCase{name: fmt.Sprintf("%s, warm, %s", of, plural(readers, "reader")), unit: "streams/s"}
			err := b.contest(ctx, c, nil, b.overLoaded(func(ctx context.Context, l *loaded) (Sample, error) {
				return b.driveWarm(ctx, l, readers, func(w int) step { return b.streamLoader(l, class, w) })
			}))
			if err != nil {
				return err
			}
		}
		c := testCase{name: of + ", cold, 1 reader", unit: "streams/s"}
		err := b.contest(ctx, c, b.coldReadFloor(), b.overLoaded(func(ctx context.Context, l *loaded) (Sample, error) {
			if err := l.reopenCold(ctx); err != nil {
				return Sample{}, err
			}
			return cold(func() (Sample, error) {
				return timedEach(ctx, b.Duration, coldLoads, func() error { return dropCaches(l.dir) }, b.streamLoader(l, class, 0))
			})
		}))
		if err != nil {
			return err
		}
	}
	return nil
}

// streamLoader loads one stream of a class in each step.
func (b *bench) streamLoader(l *loaded, class, worker int) step {
	d, src := b.data(), b.source(worker)
	streams := uint64(d.streams(class))
	return func(ctx context.Context) (int, error) {
		n := int(src.random.Uint64() % streams)
		return 1, mustRead(ctx, l.store, annals.Stream(streamName(class, n)), d.streamEvents(class, n))
	}
}

// mustRead reads, and fails if there is another number of events than there should be.
func mustRead(ctx context.Context, s Store, q annals.Query, want int) error {
	var seen tasted
	if err := s.Read(ctx, q, seen.taste); err != nil {
		return err
	}
	if seen.events != want {
		return fmt.Errorf("%w: %d events were read of %s, where there are %d", errWrong, seen.events, q, want)
	}
	return nil
}

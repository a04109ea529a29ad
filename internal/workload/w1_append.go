package workload

import (
	"context"
	"fmt"

	"github.com/annalsdb/annals"
)

// w1 appends single events; every writer has its stream and its tag.
func (b *bench) w1(ctx context.Context) error {
	for _, n := range b.Writers {
		c := testCase{name: plural(n, "writer"), unit: "events/s"}
		rivals := b.rivals(func(t Target) measure { return b.appends(t, n, 1, (*source).id) })
		if err := b.contest(ctx, c, b.appendFloor(n, 1), rivals); err != nil {
			return err
		}
	}
	return nil
}

// batchEvents is the size of an append of W2.
const batchEvents = 100

// w2 appends a hundred events at once.
func (b *bench) w2(ctx context.Context) error {
	for _, n := range b.Writers {
		if n > 16 { // they saturate
			continue
		}
		c := testCase{name: plural(n, "writer"), unit: "events/s"}
		rivals := b.rivals(func(t Target) measure { return b.appends(t, n, batchEvents, (*source).id) })
		if err := b.contest(ctx, c, b.appendFloor(n, batchEvents), rivals); err != nil {
			return err
		}
	}
	return nil
}

// appends measures appends to a fresh store.
func (b *bench) appends(t Target, writers, batch int, id func(*source) annals.ID) measure {
	return func(ctx context.Context) (Sample, error) {
		return b.inFreshStore(ctx, t, func(s Store) (Sample, error) {
			sample, err := b.drive(ctx, writers, func(w int) step { return b.appender(s, w, batch, id) })
			if err != nil {
				return Sample{}, err
			}
			return sample, mustHold(ctx, s, sample.Done)
		})
	}
}

// appender appends to the stream of one writer.
func (b *bench) appender(s Store, writer, batch int, id func(*source) annals.ID) step {
	src, stream, tags := b.source(writer), fmt.Sprintf("writer-%d", writer), []string{fmt.Sprintf("writer:%d", writer)}
	return func(ctx context.Context) (int, error) {
		events := make([]annals.Event, batch)
		for i := range events {
			events[i] = annals.Event{ID: id(src), Type: "Measured", Stream: stream, Tags: tags, Data: src.data()}
		}
		return batch, s.Append(ctx, events)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

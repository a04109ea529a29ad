package workload

import (
	"context"
	"fmt"
	"hash/crc32"

	"github.com/annalsdb/annals"
)

// w5 reads everything. Beside it stand what reading without keeping anything takes, and what the same bytes take that are only
// copied, or only summed.
func (b *bench) w5(ctx context.Context) error {
	owned := func(l *loaded, visit func(*annals.Event)) func(context.Context) error {
		return func(ctx context.Context) error { return l.store.Read(ctx, annals.All(), visit) }
	}
	lent := func(l *loaded, visit func(*annals.Event)) func(context.Context) error {
		return func(ctx context.Context) error { return l.store.Scan(ctx, visit) }
	}
	buffer, sum := make([]byte, replayWindow), uint32(0)
	limits := []rival{
		{"memcpy", b.overBytes(func(bytes []byte) { copy(buffer, bytes) })},
		{"crc32c", b.overBytes(func(bytes []byte) { sum ^= crc32.Checksum(bytes, castagnoli) })},
	}
	for _, c := range []struct {
		name string
		cold bool
		how  scanOf
		more []rival
	}{
		{"owned, warm", false, owned, limits},
		{"lent, warm", false, lent, nil},
		{"owned, cold", true, owned, nil},
		{"lent, cold", true, lent, nil},
	} {
		rivals := append(b.scans(c.how, c.cold), c.more...)
		if err := b.contest(ctx, testCase{name: c.name, unit: "events/s"}, b.replayFloor(c.cold), rivals); err != nil {
			return err
		}
	}
	return nil
}

// scanOf is a way to read everything.
type scanOf func(l *loaded, visit func(*annals.Event)) func(context.Context) error

func (b *bench) scans(how scanOf, isCold bool) []rival {
	return b.overLoaded(func(ctx context.Context, l *loaded) (Sample, error) {
		once := func(ctx context.Context) (int, error) {
			var seen tasted
			if err := how(l, seen.taste)(ctx); err != nil {
				return 0, err
			}
			if int64(seen.events) != l.events {
				return 0, fmt.Errorf("%w: %d events were read of %d", errWrong, seen.events, l.events)
			}
			return seen.events, nil
		}
		if !isCold {
			return b.driveWarm(ctx, l, 1, func(int) step { return once })
		}
		if err := l.reopenCold(ctx); err != nil {
			return Sample{}, err
		}
		return cold(func() (Sample, error) { return timed(ctx, once) })
	})
}

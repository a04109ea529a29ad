package projection

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/annalsdb/annals"
)

// What views cannot do just now is tried again, after 0.1 s, 0.2 s and so on, for 26 seconds in all: a disk that was full
// for a moment does not stop a projection for ever, and one that stays full is told.
const (
	retriesMax   = 10
	retryFirst   = 100 * time.Millisecond
	retryLongest = 5 * time.Second
)

// persist calls f until it does not fail for a while only. Each failure is told to the logger and to [View.Status].
func (j *job[E]) persist(ctx context.Context, f func() error) error {
	progress := j.runner.Views.Progress()
	defer progress.retrying(j.id, nil)
	pause := retryFirst
	for retry := 1; ; retry++ {
		err := f()
		if !temporary(err) || retry > retriesMax {
			return err
		}
		progress.retrying(j.id, err)
		j.logger.WarnContext(ctx, "projection tries again", slog.Uint64("position", uint64(j.stored.Position)),
			slog.Int("retry", retry), slog.Duration("after", pause), slog.Any("error", err))
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(pause):
		}
		pause = min(2*pause, retryLongest)
	}
}

// temporary reports whether it is the views that failed, or the store, and may do better in a while: a store on a server that does not answer
// says so by a method. What a definition's functions fail with is their own, whatever it wraps.
func temporary(err error) bool {
	if errors.Is(err, ErrApply) {
		return false
	}
	says, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return errors.Is(err, ErrTemporary) || errors.Is(err, annals.ErrFull) || ok && says.Temporary()
}

package projection

import (
	"context"
	"errors"
	"time"
)

const (
	// waitMax is how long a read waits for freshness if nobody says.
	waitMax = 2 * time.Second
	// lastLookMax bounds the last look at the stored checkpoint when the time is up.
	lastLookMax = time.Second
	// keptBack is the part of the caller's time, one of so many, that is not waited for: the last look needs it, and the
	// read itself.
	keptBack = 10
)

type contextKey int

const patienceKey contextKey = iota

// WithPatience bounds how long reads under the returned context wait for the freshness that annals.WithAtLeast demands.
// It does not bound the reads themselves, as a deadline does. The sooner of both ends the waiting.
func WithPatience(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey, d)
}

// errPatience is the cause of a context that ended so that the caller's did not.
var errPatience = errors.New("projection: waited long enough")

// patient is ctx for as long as a read may wait: the patience that was said, else 2 seconds if ctx has no deadline, and
// always a bit less than ctx has left.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	now := time.Now()
	patience, said := ctx.Value(patienceKey).(time.Duration)
	end, bounded := ctx.Deadline()
	if bounded {
		left := end.Sub(now)
		left -= min(left/keptBack, lastLookMax)
		if !said || left < patience {
			patience = left
		}
	} else if !said {
		patience = waitMax
	}
	return context.WithDeadlineCause(ctx, now.Add(patience), errPatience)
}

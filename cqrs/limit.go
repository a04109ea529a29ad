package cqrs

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/annalsdb/annals"
)

// Sentinels of what limits refuse. Nothing was decided then.
var (
	// ErrBusy: as many messages are under way as may be. See [BusyError].
	ErrBusy = errors.New("cqrs: too many messages under way")
	// ErrTooMany: somebody gives more messages than they may. See [TooManyError].
	ErrTooMany = errors.New("cqrs: too many messages in a short time")
)

// BusyError says that a message found no place before its context ended, or its patience. It matches [ErrBusy], and the
// cause of its end if the context ended.
type BusyError struct {
	Message string
	// Places is how many messages may be under way.
	Places int
	cause  error // why the context ended, if it did
}

// Error names the message and the limit.
func (e *BusyError) Error() string {
	return fmt.Sprintf("%v: %s: all %d places are taken", ErrBusy, e.Message, e.Places)
}

// Is matches ErrBusy.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Unwrap gives the cause of the context's end, or nil.
func (e *BusyError) Unwrap() error { return e.cause }

// TooManyError says when a message that was refused by [Rate] may come again. It matches [ErrTooMany].
type TooManyError struct {
	Message string
	// Wait is how long it takes until there is room for one message.
	Wait time.Duration
}

// Error names the message and the time.
func (e *TooManyError) Error() string {
	return fmt.Sprintf("%v: %s: come again in %v", ErrTooMany, e.Message, e.Wait.Round(time.Millisecond))
}

// Is matches ErrTooMany.
func (e *TooManyError) Is(target error) bool { return target == ErrTooMany }

// Commands applies a middleware to commands alone, and Queries to queries: the two sides are scaled, and limited, apart.
func Commands(mw Middleware) Middleware { return only(false, mw) }

// Queries applies a middleware to queries alone, see [Commands].
func Queries(mw Middleware) Middleware { return only(true, mw) }

func only(queries bool, mw Middleware) Middleware {
	return func(next Handler) Handler {
		chosen := mw(next)
		return func(ctx context.Context, m Message) (any, error) {
			if m.Query == queries {
				return chosen(ctx, m)
			}
			return next(ctx, m)
		}
	}
}

// Concurrency lets this many messages, at least one, be under way at once. Others wait for a place, in the order in which they
// came, as long as patience, which may be 0, and their context allow; then they are refused by [BusyError]. A message that is given
// by another's handler takes a place of its own, and so may wait for the one that waits for it: give one limit to messages
// that give others, or a patience.
func Concurrency(places int, patience time.Duration) Middleware {
	if places < 1 || patience < 0 {
		panic(fmt.Sprintf("cqrs: Concurrency: %d places and a patience of %v: want at least one, and none that is negative", places, patience))
	}
	taken := make(chan struct{}, places)
	return func(next Handler) Handler {
		return func(ctx context.Context, m Message) (any, error) {
			if err := take(ctx, taken, patience); err != nil {
				return nil, &BusyError{Message: m.Name, Places: places, cause: causeOf(ctx)}
			}
			defer func() { <-taken }()
			return next(ctx, m)
		}
	}
}

// causeOf is the error of a context that has ended, and its cause.
func causeOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// take waits for a place.
func take(ctx context.Context, taken chan<- struct{}, patience time.Duration) error {
	select {
	case taken <- struct{}{}:
		return nil
	default:
	}
	if patience == 0 {
		return ErrBusy
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case taken <- struct{}{}:
		return nil
	case <-t.C:
		return ErrBusy
	case <-ctx.Done():
		return ErrBusy
	}
}

// Rate lets everybody give perSecond messages a second, and burst at once after a pause; what is more is refused by
// [TooManyError], which says when to come again. of says who somebody is, for instance by the address that a context carries;
// nil takes the principal, and all who have none as one. Keys are forgotten soon after
// nothing distinguishes them from new ones: memory grows with those who came lately.
//
// Put it outside of [Audit], whose every record is an append, unless refusals are to be recorded whatever that costs.
func Rate(perSecond float64, burst int, of func(context.Context, Message) string) Middleware {
	if !(perSecond > 0) || burst < 1 {
		panic(fmt.Sprintf("cqrs: Rate: %v messages a second, %d at once: nobody could give any", perSecond, burst))
	}
	if of == nil {
		of = func(ctx context.Context, _ Message) string { return annals.PrincipalFrom(ctx).ID }
	}
	r := newRates(rate.Limit(perSecond), burst)
	return func(next Handler) Handler {
		return func(ctx context.Context, m Message) (any, error) {
			if wait := r.wait(of(ctx, m), time.Now()); wait > 0 {
				return nil, &TooManyError{Message: m.Name, Wait: wait}
			}
			return next(ctx, m)
		}
	}
}

// rates are the buckets of all who gave messages lately.
type rates struct {
	limit rate.Limit
	burst int
	seed  maphash.Seed

	mu      sync.Mutex
	buckets map[uint64]*rate.Limiter // by a hash of the key, for keys are as long as somebody makes them
	sweepAt int                      // how many buckets there are when full ones are looked for
	sweepBy time.Time                // or when it is time to
}

const (
	// sweepMin is how many buckets are kept without a look at whether they are full.
	sweepMin = 1024
	// sweepEvery is the least time between two looks at them, unless they are many.
	sweepEvery = 10 * time.Second
)

func newRates(limit rate.Limit, burst int) *rates {
	return &rates{limit: limit, burst: burst, seed: maphash.MakeSeed(), buckets: map[uint64]*rate.Limiter{}, sweepAt: sweepMin}
}

// wait takes a token of the key, or says how long it would take until there is one.
func (r *rates) wait(key string, now time.Time) time.Duration {
	hash := maphash.String(r.seed, key)
	r.mu.Lock()
	defer r.mu.Unlock()
	bucket := r.buckets[hash]
	if bucket == nil {
		r.sweep(now)
		bucket = rate.NewLimiter(r.limit, r.burst)
		r.buckets[hash] = bucket
	}
	taken := bucket.ReserveN(now, 1)
	wait := taken.DelayFrom(now)
	if wait > 0 {
		taken.CancelAt(now)
	}
	return wait
}

// sweep forgets buckets that are full, for a new one would be. It does so when they have doubled, so that each costs little, and
// from time to time.
func (r *rates) sweep(now time.Time) {
	if len(r.buckets) < sweepMin || len(r.buckets) < r.sweepAt && now.Before(r.sweepBy) {
		return
	}
	for hash, bucket := range r.buckets {
		if bucket.TokensAt(now) >= float64(r.burst) {
			delete(r.buckets, hash)
		}
	}
	r.sweepAt, r.sweepBy = max(sweepMin, 2*len(r.buckets)), now.Add(sweepEvery)
}

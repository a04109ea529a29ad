package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/wire"
)

// within is a context that ends with ctx and with the store.
func (c *connection) within(ctx context.Context) (context.Context, context.CancelFunc) {
	both, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return both, func() {
		stop()
		cancel()
	}
}

// ended is why a context has.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// call calls f until it is answered. What f does must do no harm if it is done twice.
func (c *connection) call(ctx context.Context, f func(ctx context.Context) error) error {
	r := c.retries()
	for {
		here, cancel := c.within(ctx)
		err := f(here)
		cancel()
		if err == nil {
			return nil
		}
		if final, err := c.final(ctx, err); final {
			return err
		}
		if err := r.pause(ctx, err); err != nil {
			return err
		}
	}
}

// final tells whether a call has been answered, or never will be, and what its error means. If not, the connection has failed.
func (c *connection) final(ctx context.Context, err error) (final bool, means error) {
	if c.life.Err() != nil {
		return true, annals.ErrClosed
	}
	if status.Code(err) == codes.DeadlineExceeded { // ours, of which the server may know a moment before
		awaitEnd(ctx)
	}
	if ctx.Err() != nil {
		return true, ended(ctx)
	}
	if ours, of := wire.Error(err); ours {
		return true, of
	}
	return !ofConnection(err), err
}

// awaitEnd waits for the end of a context that is about to come.
func awaitEnd(ctx context.Context) {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// ofConnection reports whether a call has failed since its connection has: another one may do.
func ofConnection(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable:
		return true
	case codes.Internal, codes.Canceled, codes.Unknown:
		// Of a stream that was cut in the midst; an answer of the server would have a problem in it. Nobody here has cancelled.
		return true
	}
	return false
}

// retries is how often, and for how long, something is tried again. A limit of 0 is none.
type retries struct {
	connection *connection
	next       time.Duration
	began      time.Time
	limit      time.Duration
}

func (c *connection) retries() *retries {
	return &retries{connection: c, next: pauseFirst, began: time.Now(), limit: c.patience}
}

// reset begins anew, since there was an answer.
func (r *retries) reset() { r.next, r.began = pauseFirst, time.Now() }

// unavailableError is [ErrUnavailable], with what the last try said.
type unavailableError struct{ last error }

func (e *unavailableError) Error() string {
	return ErrUnavailable.Error() + ": " + e.last.Error()
}

func (e *unavailableError) Unwrap() error { return e.last }

func (e *unavailableError) Is(target error) bool { return target == ErrUnavailable }

// Temporary says that it may be there later. Projections wait for it.
func (e *unavailableError) Temporary() bool { return true }

// pause waits before the next try; it fails if there is to be none.
func (r *retries) pause(ctx context.Context, failed error) error {
	if r.limit > 0 && time.Since(r.began)+r.next > r.limit {
		return &unavailableError{failed}
	}
	timer := time.NewTimer(r.next)
	defer timer.Stop()
	r.next = min(2*r.next, pauseLongest)
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	case <-r.connection.life.Done():
		return annals.ErrClosed
	}
}

package annalstest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/annalstest"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/store/memory"
)

// A projection that runs, and who waits for it, are durably blocked in between: time passes by itself in a bubble.
func TestARunningProjectionInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, views := annals.NewLog(memory.New(), schema), projection.NewMemory()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- projection.Run(ctx, log, views, Shows) }()
		synctest.Wait()
		if _, err := log.Append(ctx, []any{opened}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if row, err := projection.Of(views, Shows).Get(ctx, "1"); err != nil || row.Seats != 3 {
			t.Errorf("after the append: %+v, %v", row, err)
		}
		began := time.Now()
		err := projection.Of(views, Shows).Wait(ctx, 1_000_000)
		if !errors.Is(err, projection.ErrLagging) || time.Since(began) != 2*time.Second {
			t.Errorf("waiting for what never comes took %v: %v", time.Since(began), err)
		}
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the runner says %v", err)
		}
	})
}

// A command that is cut off by the Timeout middleware takes exactly that long, and no real time.
func TestATimeoutInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := annalstest.NewSlice(t, schema).Through(cqrs.Timeout(time.Minute), func(next cqrs.Handler) cqrs.Handler {
			return func(ctx context.Context, m cqrs.Message) (any, error) {
				select {
				case <-ctx.Done():
				case <-time.After(time.Hour):
				}
				return next(ctx, m)
			}
		})
		s.Given(opened)
		began := time.Now()
		annalstest.Do(s, take).ThenError(context.DeadlineExceeded)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// The store's clock is the bubble's: events of an hour later are an hour later, and a follower is told.
func TestASubscriptionInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := annals.NewLog(memory.New(), schema)
		ctx, stop := context.WithCancel(t.Context())
		var seen []time.Time
		done := make(chan struct{})
		go func() {
			defer close(done)
			for u, err := range log.Store().Subscribe(ctx, annals.All(), 0) {
				if err != nil {
					return
				}
				if u.Event != nil {
					seen = append(seen, u.Event.Time)
				}
			}
		}()
		for range 2 {
			if _, err := decider.Execute(ctx, log, Enter{Show: "1", By: "ann"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour) //nolint:forbidigo // virtual
		}
		synctest.Wait()
		stop()
		<-done
		if len(seen) != 2 || seen[1].Sub(seen[0]) != time.Hour {
			t.Errorf("the follower saw events of %v", seen)
		}
	})
}

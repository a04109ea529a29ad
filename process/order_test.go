package process_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/store/memory"
)

func TestAfterACrashKeysWaitBehindWhatIsParked(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		synctest.Test(t, func(t *testing.T) {
			store := memory.New()
			var order []string
			fails := true
			g := &process.Gateway[string, string]{Name: "g", Call: func(_ context.Context, _ string, what string) (string, error) {
				if fails {
					return "", errors.New("no")
				}
				order = append(order, what)
				return what, nil
			}}
			m := deadlines
			m.Query = annals.Types("Placed", "Paid")
			m.React = func(_ Order, e annals.Entry[any], do *process.Effects[any]) {
				process.Call(do, g, e.Type, func(string) any { return Released{"all", "1"} })
			}
			add(t, newBus(store), Paid{"1", "r"}, Placed{"1", 1})
			ctx, cancel := context.WithCancel(t.Context())
			fuse := newFuse(store, n+3, true)
			p := newProcess(t, newBus(fuse), m, process.Options{Backoff: time.Minute})
			ended := make(chan error)
			go func() { ended <- p.Run(ctx) }()
			synctest.Wait()
			cancel()
			if err := <-ended; err != nil && !errors.Is(err, errKilled) {
				t.Error(err)
			}
			fails = false
			stop := running(t, newProcess(t, newBus(store), m, process.Options{}))
			pass(time.Hour)
			stop()
			if !slices.Equal(order, []string{"Paid", "Placed"}) {
				t.Errorf("killed at operation %d: got %q", n+3, order)
			}
		})
	}
}

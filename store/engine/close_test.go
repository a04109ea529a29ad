package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
)

// Closing meets appends, of which some leave, a journal that fails, and subscriptions. Whatever was acknowledged is in the
// log, whatever is known not to be written is not, and nothing is written when closing has returned.
func TestClosingAmidAppendsKeepsWhatWasSaid(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(40) {
		synctest.Test(t, func(t *testing.T) { closeAmid(t, seed) })
		if t.Failed() {
			t.Fatalf("-seed=%d", seed)
		}
	}
}

func closeAmid(t *testing.T, seed uint64) {
	t.Helper()
	h := &history{t: t, seed: seed, weather: weather{faults: true, tooLarge: true}, journal: newJournal()}
	s, err := engine.Open(t.Context(), config(h.journal))
	if err != nil {
		t.Fatal(err)
	}
	h.disturb(h.generator(0))
	var mu sync.Mutex
	answers := map[annals.ID]error{}
	var busy, closing sync.WaitGroup
	for w := range uint64(16) {
		busy.Go(func() {
			for g := h.generator(1 + w); ; {
				es := one("A", g.pick("s-1", "s-2"))
				err := appendInTime(t, s, g, es)
				mu.Lock()
				answers[es[0].ID] = err
				mu.Unlock()
				if errors.Is(err, annals.ErrClosed) {
					return
				}
			}
		})
	}
	for range 3 {
		busy.Go(func() {
			for _, err := range s.Subscribe(t.Context(), annals.All(), 0) {
				if err != nil {
					wantErr(t, "a subscription", err, annals.ErrClosed)
				}
			}
		})
	}
	<-time.After(time.Duration(rand.New(rand.NewPCG(seed, 1)).IntN(5000)) * time.Microsecond)
	for range 2 {
		closing.Go(func() { wantErr(t, "closing", s.Close(), nil) })
	}
	closing.Wait()
	frames := len(h.journal.snapshot())
	busy.Wait()
	if n := len(h.journal.snapshot()); n != frames {
		t.Errorf("%d frames were written after closing", n-frames)
	}
	h.calm.Store(true)
	kept := map[annals.ID]bool{}
	got, err := read(t, start(t, h.journal), annals.All())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range got {
		kept[e.ID] = true
	}
	for id, err := range answers {
		switch {
		case err == nil && !kept[id]:
			t.Errorf("%s was acknowledged and is gone", id)
		case err != nil && !errors.Is(err, annals.ErrUnknownOutcome) && kept[id]:
			t.Errorf("%s was answered with %v and is in the log", id, err)
		}
	}
}

// appendInTime appends with little patience, sometimes, and with a condition, sometimes.
func appendInTime(t *testing.T, s *engine.Store, g generator, es []annals.Event) error {
	t.Helper()
	ctx := t.Context()
	if g.IntN(3) == 0 {
		short, cancel := context.WithTimeout(ctx, time.Duration(g.IntN(800))*time.Microsecond)
		defer cancel()
		ctx = short
	}
	var conds []annals.Condition
	if head, err := s.Head(ctx); err == nil && g.IntN(2) == 0 {
		conds = append(conds, annals.NoneSince(head, annals.Stream(es[0].Stream)))
	}
	_, err := s.Append(ctx, es, conds...)
	return err
}

// brokenPart is a clock, or what a logger writes to, that panics when it is told to.
type brokenPart struct{ broken bool }

func (b *brokenPart) now() time.Time {
	b.use()
	return time.Now()
}

func (b *brokenPart) Write(p []byte) (int, error) {
	b.use()
	return len(p), nil
}

func (b *brokenPart) use() {
	if b.broken {
		b.broken = false
		panic("broken")
	}
}

// recovered begins an append that may panic, which its caller survives.
func recovered(t *testing.T, s annals.Store, events []annals.Event) <-chan result {
	t.Helper()
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("%w: %v", errPanic, p)
			}
			done <- r
		}()
		r.receipt, r.err = s.Append(t.Context(), events)
	}()
	synctest.Wait()
	return done
}

var errPanic = errors.New("panic")

// The clock and the logger are the program's. If one of them panics, it does so on the goroutine of the append that happens to
// write for others, and a server recovers.
func TestAPanicWhileAFrameIsWrittenLeavesAReadOnlyStore(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"of the clock": true, "of the logger": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				g := newGate(j)
				var part brokenPart
				s := start(t, j, func(c *engine.Config) {
					c.Clock = part.now
					c.Logger = slog.New(slog.NewTextHandler(&part, nil))
				})
				first := recovered(t, s, one("A", "s-1"))
				leads, follows := recovered(t, s, one("B", "s-2")), recovered(t, s, one("C", "s-3"))
				part.broken = early
				g.pass(t)
				if !early {
					<-g.arrived
					part.broken = true
					g.answer <- answer{false, errors.New("no answer")} // of which the logger is told
				}
				wantErr(t, "the append before", (<-first).err, nil)
				wantErr(t, "the append that wrote", (<-leads).err, errPanic)
				wantErr(t, "the append behind it", (<-follows).err, annals.ErrUnknownOutcome)
				_, err := s.Append(t.Context(), one("D", "s-4"))
				wantErr(t, "a later append", err, annals.ErrReadOnly)
				if got, err := read(t, s, annals.All()); err != nil || len(got) != 1 {
					t.Errorf("read %v, %v; want what was durable before", got, err)
				}
				wantErr(t, "closing", s.Close(), nil)
			})
		})
	}
}

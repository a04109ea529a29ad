package segment_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/segment"
)

var (
	seedFlag      = flag.Uint64("seed", 0, "simulate this history only")
	historiesFlag = flag.Uint64("histories", histories, "how many histories to simulate")
)

// history is a store that lives through crashes, at random places, also while it recovers.
type history struct {
	rng   *rand.Rand
	mem   *vfs.Mem
	acked []frame.Ref
	count map[string]int
	// Of this life: an operation failed, and it was one that reads.
	failed, unread bool
}

// life opens the store, appends, and ends: closed, killed, by a power cut, or by one in the middle of an operation.
func (h *history) life() error {
	mem := h.mem
	end := h.rng.IntN(120) + 1
	if h.rng.IntN(3) == 0 {
		end = 1 << 30
	}
	failing := 0
	h.failed, h.unread = false, false
	if h.rng.IntN(4) == 0 {
		failing = h.rng.IntN(80) + 1
	}
	var next *vfs.Mem
	fs := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		switch {
		case o.N == end:
			h.count["cut in an operation"]++
			h.failed = true
			return vfs.Fault{Err: errDead, Written: h.rng.IntN(max(o.Bytes, 1))}
		case o.N > end:
			if next == nil {
				next = h.after(mem)
			}
			return vfs.Fault{Err: errDead}
		case o.N == failing:
			h.count["fault"]++
			h.failed, h.unread = true, o.Kind == vfs.OpRead
			errs := []error{syscall.EIO, vfs.ErrNoSpace}
			return vfs.Fault{Err: errs[h.rng.IntN(2)], Written: h.rng.IntN(max(o.Bytes, 1)), Kept: h.rng.IntN(2) == 0}
		}
		return vfs.Fault{}
	})
	err := h.run(fs)
	if next == nil {
		next = h.after(mem)
	}
	h.mem = next
	return err
}

// after is what the end leaves.
func (h *history) after(mem *vfs.Mem) *vfs.Mem {
	switch h.rng.IntN(4) {
	case 0:
		h.count["killed"]++
		return mem.Kill()
	case 1:
		h.count["killed, then power cut"]++
		return mem.Kill().Crash(h.rng)
	}
	h.count["power cut"]++
	return mem.Crash(h.rng)
}

func (h *history) run(fs vfs.FS) error {
	d, err := segment.Open(context.Background(), fs, storeDir, options(h.rng.Uint64()))
	if err != nil {
		h.count["opening failed"]++
		if !h.failed {
			return fmt.Errorf("opening failed, and no operation did: %w", err)
		}
		return nil // the next life shows what became of the log
	}
	r := d.Recovered()
	for _, loss := range r.Damage {
		if !h.unread || loss.First != 0 {
			return fmt.Errorf("damage after crashes only: %w", loss)
		}
	}
	if r.CutBytes > 0 {
		h.count["torn tail"]++
	}
	if r.Clean {
		h.count["clean"]++
	}
	s, err := write(d)
	if err != nil {
		if h.died(err) {
			return nil
		}
		return err
	}
	if err := h.kept(s.acked); err != nil {
		return err
	}
	h.acked = s.acked
	for range h.rng.IntN(25) {
		if err := s.append(1+h.rng.IntN(3), h.rng.IntN(1500)); err != nil {
			h.count["append failed"]++
		}
		h.acked = s.acked
	}
	if h.rng.IntN(2) == 0 {
		if err := d.Close(); err == nil {
			h.count["closed"]++
		}
	}
	return nil
}

// died tells whether reading failed because of the simulated fault: what cannot be read is reported as lost.
func (h *history) died(err error) bool {
	h.count["reading failed"]++
	return err != nil && (errors.Is(err, errDead) || h.failed)
}

// kept checks that the log begins with what was acknowledged, and has one more frame at most.
func (h *history) kept(now []frame.Ref) error {
	if len(now) < len(h.acked) || len(now) > len(h.acked)+1 {
		return fmt.Errorf("%d frames were acknowledged, %d are there", len(h.acked), len(now))
	}
	for i, ref := range h.acked {
		if now[i] != ref {
			return fmt.Errorf("frame %d is another than the one that was acknowledged", i+1)
		}
	}
	return nil
}

func simulate(seed uint64, count map[string]int) error {
	h := &history{rng: rand.New(rand.NewPCG(seed, 3)), mem: vfs.NewMem(), count: count}
	for life := range 6 {
		if err := h.life(); err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
	}
	d, err := segment.Open(context.Background(), h.mem, storeDir, options(h.rng.Uint64()))
	if err != nil {
		return fmt.Errorf("at last: %w", err)
	}
	report, err := d.Verify(context.Background())
	if err == nil && len(report.Damage) > 0 {
		err = report.Damage[0]
	}
	return errors.Join(err, holds(d, h.acked), d.Close())
}

func TestALogSurvivesCrashesAtAnyMoment(t *testing.T) {
	t.Parallel()
	if *seedFlag != 0 {
		if err := simulate(*seedFlag, map[string]int{}); err != nil {
			t.Fatal(err)
		}
		return
	}
	total := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	workers := uint64(runtime.GOMAXPROCS(0))
	for worker := range workers {
		wg.Go(func() {
			count := map[string]int{}
			for seed := worker + 1; seed <= *historiesFlag; seed += workers {
				if err := simulate(seed, count); err != nil {
					t.Errorf("-seed=%d: %v", seed, err)
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for what, n := range count {
				total[what] += n
			}
		})
	}
	wg.Wait()
	t.Logf("%d histories: %v", *historiesFlag, total)
	for _, what := range []string{
		"cut in an operation", "fault", "killed", "killed, then power cut", "power cut", "opening failed", "torn tail", "clean",
		"append failed", "closed",
	} {
		if total[what] == 0 {
			t.Errorf("it never happened: %s", what)
		}
	}
}

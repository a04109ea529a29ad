package engine_test

import (
	"fmt"
	"maps"
	rand2 "math/rand/v2"
	"sync"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/storetest"
)

func openSegments(t *testing.T) annals.Store {
	t.Helper()
	return startSegments(t, vfs.NewMem())
}

func startSegments(t *testing.T, fs vfs.FS, change ...func(*engine.Config)) *engine.Store {
	t.Helper()
	l := openLog(t, fs, change...)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l.Store
}

func TestEveryAcknowledgedEventOutlivesAPowerCut(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			powerCut(t, rand2.New(rand2.NewPCG(seed, 7)))
		})
	}
}

// powerCut cuts the power while some write, and looks for what had been acknowledged before.
func powerCut(t *testing.T, rng *rand2.Rand) {
	t.Helper()
	fs := vfs.NewMem()
	epoch := 1 + rng.IntN(40)
	s := startSegments(t, fs, indexed(fs, "/log", epoch, false))
	var mu sync.Mutex
	acked := map[annals.Position]annals.ID{}
	enough, stop := make(chan struct{}), make(chan struct{})
	cutAt := 1 + rng.IntN(400)
	var writing sync.WaitGroup
	for w := range 4 {
		writing.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				es := one("A", fmt.Sprint("s-", w))
				es[0].Data = make([]byte, 700)
				r, err := s.Append(t.Context(), es)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[r.First] = es[0].ID
				if len(acked) == cutAt {
					close(enough)
				}
				mu.Unlock()
			}
		})
	}
	<-enough
	mu.Lock()
	before := maps.Clone(acked)
	mu.Unlock()
	left := fs.Crash(rng)
	after := startSegments(t, left, indexed(left, "/log", epoch, false))
	close(stop)
	writing.Wait()
	got, err := read(t, after, annals.All())
	if err != nil {
		t.Fatal(err)
	}
	for p, id := range before {
		if int(p) > len(got) || got[p-1].ID != id || got[p-1].Position != p {
			t.Errorf("position %d was acknowledged and is gone; %d events are left", p, len(got))
		}
	}
	if found, err := after.VerifyIndex(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("the index: %v, %v", found, err)
	}
	next, err := after.Append(t.Context(), one("B", "s-0"), annals.NoneSince(annals.Position(len(got)), annals.All()))
	if err != nil || int(next.First) != len(got)+1 {
		t.Errorf("the next append answered %+v, %v", next, err)
	}
}

func TestTheStoreKeepsEveryPromiseOverSegments(t *testing.T) {
	t.Parallel()
	storetest.Run(t, openSegments)
}

func TestRandomOperationsOverSegmentsGetTheAnswersOfTheReferenceStore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			storetest.Model(t, openSegments, seed)
		})
	}
}

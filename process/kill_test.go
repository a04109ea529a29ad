package process_test

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/memory"
)

var errKilled = errors.New("killed")

// fuse is a store whose process is killed at its n-th operation: that one and all that follow fail. An append may be done
// before the process dies, so that nobody hears of it.
type fuse struct {
	annals.Store
	state *fuseState
}

type fuseState struct {
	mu    sync.Mutex
	left  int
	late  bool // the operation is done, and then the process dies
	blown chan struct{}
}

func newFuse(s annals.Store, n int, late bool) *fuse {
	return &fuse{Store: s, state: &fuseState{left: n, late: late, blown: make(chan struct{})}}
}

// step counts an operation: whether it is done, and whether it is answered.
func (s *fuseState) step() (done, answered bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left--
	if s.left == 0 {
		close(s.blown)
		return s.late, false
	}
	return s.left > 0, s.left > 0
}

func (f *fuse) Limits() annals.Limits { return annals.LimitsOf(f.Store) }

func (f *fuse) System() annals.Store {
	system, err := annals.System(f.Store)
	if err != nil {
		panic(err)
	}
	return &fuse{Store: system, state: f.state}
}

func (f *fuse) Tracked(ctx context.Context, source string) (annals.Position, error) {
	if _, ok := f.state.step(); !ok {
		return 0, errKilled
	}
	return annals.Tracked(ctx, f.Store, source)
}

func (f *fuse) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (r annals.Receipt, err error) {
	done, answered := f.state.step()
	if done {
		r, err = f.Store.Append(ctx, events, conds...)
	}
	if !answered {
		return annals.Receipt{}, errKilled
	}
	return r, err
}

func (f *fuse) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		if _, ok := f.state.step(); !ok {
			yield(annals.Recorded{}, errKilled)
			return
		}
		f.Store.Read(ctx, q, opts...)(yield)
	}
}

// lives runs both managers on a store, until the fuse blows if there is one, and else for as long as everything takes.
func lives(t *testing.T, store annals.Store, outside *provider, blown <-chan struct{}) {
	t.Helper()
	bus := newBus(store)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, m := range []process.Manager[Order, any]{deadlines, payments(outside.gateway())} {
		all.Go(func() {
			p, err := process.New(bus, m, process.Options{Backoff: time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			if err := p.Run(ctx); err != nil && !errors.Is(err, errKilled) {
				t.Error(err)
			}
		})
	}
	select {
	case <-blown:
	case <-time.After(10 * deadline):
	}
	cancel()
	all.Wait()
}

// story is what happens: an order that is paid late, one that is refused for good and cancelled when its time is over.
func story(t *testing.T, store annals.Store) *provider {
	t.Helper()
	add(t, newBus(store), Placed{"1", 5}, Placed{"2", 6}, Placed{"3", 7})
	return &provider{fail: []error{errors.New("busy")}, why: func(cents int) error {
		if cents == 6 {
			return process.Permanent(errDeclined)
		}
		return nil
	}}
}

// ends is how the story ends, in any order.
func ends(t *testing.T, store annals.Store) []string {
	t.Helper()
	events := told(t, store)
	slices.Sort(events)
	return events
}

func TestAKillAtAnyStepDoublesAndLosesNothing(t *testing.T) {
	t.Parallel()
	var want []string
	steps := 0
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		outside := story(t, store)
		whole := newFuse(store, 1_000_000, false)
		lives(t, whole, outside, nil)
		want, steps = ends(t, store), 1_000_000-whole.state.left
		if len(outside.taken) != 2 || len(want) != 9 {
			t.Fatalf("the story ends with %q, and %v was taken", want, outside.taken)
		}
	})
	if steps < 50 {
		t.Fatalf("the story has %d steps", steps)
	}
	for n := 1; n <= steps; n++ {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				store := memory.New()
				outside := story(t, store)
				killed := newFuse(store, n, late)
				lives(t, killed, outside, killed.state.blown)
				lives(t, store, outside, nil)
				if got := ends(t, store); !slices.Equal(got, want) {
					t.Errorf("killed at step %d, late %v: got %q\nwant %q", n, late, got, want)
				}
				if len(outside.taken) != 2 {
					t.Errorf("killed at step %d, late %v: taken was %v", n, late, outside.taken)
				}
			})
		}
	}
}

func TestTwoOfOneManagerDoNothingTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		outside := story(t, store)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { lives(t, store, outside, nil) })
		}
		all.Wait()
		got := ends(t, store)
		if len(got) != 9 || len(outside.taken) != 2 {
			t.Errorf("got %q, and %v was taken", got, outside.taken)
		}
	})
}

func TestAReplayDoesNotReachTheOutside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		outside := story(t, store)
		lives(t, store, outside, nil)
		calls := len(outside.calls)

		// Everything is made anew from the events: another store, in which nobody knows how far the processes had come.
		copied := memory.New()
		system, err := annals.System(copied)
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range store.Read(t.Context(), annals.All().WithSystem()) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Type == annals.TypeTracked {
				e.Event = annals.Event{Type: "$gone"} // so that positions stay
			}
			if _, err := system.Append(t.Context(), []annals.Event{e.Event}); err != nil {
				t.Fatal(err)
			}
		}
		before := ends(t, copied)
		lives(t, copied, outside, nil)
		if got := ends(t, copied); !slices.Equal(got, before) {
			t.Errorf("got %q, want %q", got, before)
		}
		if len(outside.calls) != calls {
			t.Errorf("the outside was called %d times more", len(outside.calls)-calls)
		}
	})
}

func TestAProcessOnDiskGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	outside := &provider{fail: []error{errors.New("busy")}}
	for i := range 2 {
		store, err := disk.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		bus := newBus(store)
		p, err := process.New(bus, payments(outside.gateway()), process.Options{Backoff: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			add(t, bus, Placed{"1", 5})
		}
		stop := running(t, p)
		for u, err := range store.Subscribe(t.Context(), annals.Types("Paid"), 0) {
			if err != nil {
				t.Fatal(err)
			}
			if u.Event != nil {
				break
			}
		}
		head, err := store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(t.Context(), head); err != nil {
			t.Error(err)
		}
		stop()
		wantTold(t, store, "Placed{Order:1 Cents:5}", "Paid{Order:1 Receipt:receipt for 5}")
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(outside.calls) != 2 {
		t.Errorf("the outside was called %d times", len(outside.calls))
	}
}

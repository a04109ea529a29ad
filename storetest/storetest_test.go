package storetest_test

import (
	"context"
	"iter"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/storetest"
)

// shelves are stores that lie in directories: closing one puts it back.
type shelves struct {
	mu     sync.Mutex
	stores map[string]*memory.Store
}

type shelved struct{ *memory.Store }

func (shelved) Close() error { return nil }

func (s *shelves) open(_ *testing.T, dir string) annals.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stores[dir] == nil {
		s.stores[dir] = memory.New()
	}
	return shelved{s.stores[dir]}
}

func TestAStoreThatOutlivesItsCloseIsPersistent(t *testing.T) {
	t.Parallel()
	shelves := &shelves{stores: map[string]*memory.Store{}}
	storetest.RunPersistent(t, shelves.open, storetest.Operations(100))
}

func TestAStoreWithoutSystemEventsAndWithoutCloseCanDeclareThat(t *testing.T) {
	t.Parallel()
	open := func(*testing.T) annals.Store { return struct{ annals.Store }{memory.New()} }
	for seed := range uint64(3) {
		storetest.Model(t, open, seed, storetest.WithoutSystem(), storetest.Operations(100))
	}
}

// The promises are worth something only if a store that breaks one is found. A failing suite cannot run within a
// passing test, so each broken store is tried in a process of its own.
func TestTheSuiteFindsBrokenStores(t *testing.T) {
	t.Parallel()
	const which = "STORETEST_BROKEN"
	if name := os.Getenv(which); name != "" {
		open := func(*testing.T) annals.Store { return broken{memory.New(), name} }
		if strings.HasPrefix(name, "model ") {
			storetest.Model(t, open, 1)
			return
		}
		storetest.Run(t, open, storetest.Patience(time.Second))
		return
	}
	for name, want := range map[string]string{
		"forgets conditions":          "broken promise: of many that expect the same revision one wins",
		"counts after itself":         "broken promise: NoneSince ignores events at and before its position",
		"keeps one condition":         "broken promise: all conditions must hold",
		"forgets that it knows":       "broken promise: an append sent again has no second effect",
		"ends quietly":                "broken promise: the end of the context is an error",
		"loses an event":              "broken promise: a subscription misses nothing",
		"says nothing when idle":      "broken promise: progress comes when idle",
		"never says more":             "broken promise: More says that a further update is ready",
		"tells the head late":         "broken promise: HeadInto tells",
		"ignores backwards":           "broken promise: Backwards yields",
		"model forgets conditions":    "seed 1, operation",
		"model ignores backwards":     "seed 1, operation",
		"model forgets that it knows": "seed 1, operation",
		"model loses an event":        "seed 1, operation",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			suite := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheSuiteFindsBrokenStores$", "-test.timeout=60s")
			suite.Env = append(os.Environ(), which+"="+name)
			out, err := suite.CombinedOutput()
			if err == nil {
				t.Fatalf("a store that %s passed", name)
			}
			if !strings.Contains(string(out), want) {
				t.Errorf("a store that %s was refused, but not because of %q:\n%s", name, want, out)
			}
		})
	}
}

// broken is a store that breaks one promise, which is named.
type broken struct {
	*memory.Store
	how string
}

func (b broken) is(how string) bool { return strings.TrimPrefix(b.how, "model ") == how }

func (b broken) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	switch {
	case b.is("forgets conditions") && len(events) > 0:
		conds = nil
	case b.is("keeps one condition") && len(conds) > 1:
		conds = conds[:1]
	case b.is("counts after itself"):
		for i, c := range conds {
			if c.Kind() == annals.KindNoneSince && c.After() > 0 {
				conds[i] = annals.NoneSince(c.After()-1, c.Query())
			}
		}
	}
	receipt, err := b.Store.Append(ctx, events, conds...)
	if b.is("forgets that it knows") {
		receipt.Duplicate = false
	}
	return receipt, err
}

func (b broken) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	if b.is("ignores backwards") {
		opts = append(opts, func(o *annals.ReadOptions) { o.Backwards = false })
	}
	var told *annals.Position
	if b.is("tells the head late") {
		opts = append(opts, func(o *annals.ReadOptions) { told, o.HeadInto = o.HeadInto, nil })
	}
	return func(yield func(annals.Recorded, error) bool) {
		for e, err := range b.Store.Read(ctx, q, opts...) {
			if err != nil && ctx.Err() != nil && b.is("ends quietly") {
				return
			}
			if !yield(e, err) {
				return
			}
			if told != nil {
				*told = e.Position
			}
		}
	}
}

func (b broken) Subscribe(ctx context.Context, q annals.Query, after annals.Position, opts ...annals.SubscribeOption) iter.Seq2[annals.Update, error] {
	return func(yield func(annals.Update, error) bool) {
		first := true
		for u, err := range b.Store.Subscribe(ctx, q, after, opts...) {
			switch {
			case b.is("loses an event") && u.Event != nil && u.Position%7 == 5:
				u.Event = nil
			case b.is("says nothing when idle") && !first && u.Event == nil && err == nil:
				continue
			case b.is("never says more"):
				u.More = false
			}
			first = false
			if !yield(u, err) {
				return
			}
		}
	}
}

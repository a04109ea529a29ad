package storetest_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"os/exec"
	"runtime"
	"slices"
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
		open := func(*testing.T) annals.Store {
			if name == "retains without a claim" {
				s := memory.New()
				return struct {
					annals.Store
					annals.SystemStore
					annals.Limiter
				}{s, s, s}
			}
			return broken{memory.New(), name}
		}
		if strings.HasPrefix(name, "model ") {
			storetest.Model(t, open, 1, storetest.Patience(time.Second))
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
		"promises too much":           "broken promise: a subscription goes on from any update of another",
		"never says more":             "broken promise: More says that a further update is ready",
		"tells the head late":         "broken promise: HeadInto tells",
		"ignores backwards":           "broken promise: Backwards yields",
		"appends one by one":          "broken promise: an append is seen whole or not at all",
		"looks at the context first":  "broken promise: the shape of an append is checked before its context",
		"names every id":              "broken promise: an id reused names the ids whose content differs, and no others",
		"forgets what is far back":    "broken promise: a condition sees what it is about however much was appended since",
		"does not wait":               "broken promise: a read that waits yields nothing before its head is reached",
		"is not pinned":               "broken promise: a read is pinned to the head at which its ranging began",
		"loses the context's error":   "broken promise: an error about a context that ended for a reason matches",
		"goes on when cancelled":      "broken promise: a subscription whose context ends while it catches up",
		"uses its event again":        "broken promise: an event that a subscription yielded stays valid",
		"leaves out when it lends":    "broken promise: a lending scan yields what a read yields",
		"lends its own memory":        "broken promise: what a read yielded stays valid while others are lent the same",
		"forgets deletion":            "broken promise: what is deleted is hidden from every read",
		"forgets tombstones":          "broken promise: an append to a tombstoned stream is refused",
		"forgets counts":              "broken promise: MaxCount hides all but the last revisions",
		"tracks afterwards":           "broken promise: a consumer that replays has a conflict",
		"only claims retention":       "broken promise: a Retainer says so in its limits",
		"retains without a claim":     "broken promise: a store that is no Retainer says so",
		"model forgets counts":        "seed 1, operation",
		"model forgets tombstones":    "seed 1, operation",
		"model never catches up":      "context deadline exceeded",
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

func (b broken) Limits() annals.Limits {
	l := b.Store.Limits()
	l.Retention = l.Retention && !b.is("only claims retention")
	return l
}

// System is a view that does not pass on everything that is said about retention.
func (b broken) System() annals.Store {
	if b.is("forgets deletion") || b.is("forgets tombstones") || b.is("forgets counts") {
		return forgetful{b.Store.System(), b}
	}
	return b.Store.System()
}

type forgetful struct {
	annals.Store
	b broken
}

func (f forgetful) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	events = slices.Clone(events)
	for i, e := range events {
		change, ok, err := annals.RetentionChangeOf(e)
		if !ok || err != nil {
			continue
		}
		var other annals.Event
		switch {
		case f.b.is("forgets deletion") && e.Type == annals.TypeDeleted:
			other = annals.RetentionEvent(change.Stream, annals.Retention{})
		case f.b.is("forgets tombstones") && e.Type == annals.TypeTombstoned:
			other = annals.DeletionEvent(change.Stream)
		case f.b.is("forgets counts") && e.Type == annals.TypeRetention:
			change.Keep.MaxCount = 0
			other = annals.RetentionEvent(change.Stream, change.Keep)
		default:
			continue
		}
		other.ID = e.ID
		events[i] = other
	}
	return f.Store.Append(ctx, events, conds...)
}

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
	case b.is("tracks afterwards") && len(events) > 0:
		at := slices.IndexFunc(conds, func(c annals.Condition) bool { return c.Kind() == annals.KindTracking })
		if at < 0 {
			break
		}
		receipt, err := b.Store.Append(ctx, events, slices.Delete(slices.Clone(conds), at, at+1)...)
		if err == nil && !receipt.Duplicate {
			_, err = b.Store.Append(ctx, nil, conds[at])
		}
		return receipt, err
	case b.is("forgets what is far back"):
		conds = b.nearConditions(ctx, conds)
	case b.is("looks at the context first") && ctx.Err() != nil:
		return annals.Receipt{}, &annals.OutcomeError{Cause: context.Cause(ctx)}
	case b.is("appends one by one") && len(events) > 1:
		for _, e := range events[:len(events)-1] {
			if receipt, err := b.Store.Append(ctx, []annals.Event{e}, conds...); err != nil {
				return receipt, err
			}
			runtime.Gosched()
		}
		events = events[len(events)-1:]
	}
	receipt, err := b.Store.Append(ctx, events, conds...)
	if b.is("forgets that it knows") {
		receipt.Duplicate = false
	}
	if reused, ok := errors.AsType[*annals.IDReusedError](err); ok && b.is("names every id") {
		reused.IDs = nil
		for _, e := range events {
			reused.IDs = append(reused.IDs, e.ID)
		}
	}
	return receipt, err
}

// nearConditions look at the last thousand events only.
func (b broken) nearConditions(ctx context.Context, conds []annals.Condition) []annals.Condition {
	head, err := b.Head(ctx)
	if err != nil || head < 1000 {
		return conds
	}
	near := slices.Clone(conds)
	for i, c := range conds {
		if c.Kind() == annals.KindNoneSince {
			near[i] = annals.NoneSince(max(c.After(), head-1000), c.Query())
		}
	}
	return near
}

func (b broken) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	if b.is("does not wait") {
		opts = append(opts, func(o *annals.ReadOptions) { o.AtLeast = min(o.AtLeast, 2) })
	}
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
			if err != nil && ctx.Err() != nil && b.is("loses the context's error") {
				err = context.Cause(ctx)
			}
			if !yield(e, err) {
				return
			}
			if told != nil {
				*told = e.Position
			}
			if o := annals.NewReadOptions(opts...); b.is("is not pinned") && o.Limit == 0 && o.AsOf == annals.NoPosition && !o.Backwards {
				b.goOn(ctx, q, e.Position, yield)
				return
			}
		}
	}
}

// goOn reads until nothing is left, whatever the head was.
func (b broken) goOn(ctx context.Context, q annals.Query, at annals.Position, yield func(annals.Recorded, error) bool) {
	for more := true; more; {
		more = false
		for e, err := range b.Store.Read(ctx, q, annals.After(at), annals.Limit(1)) {
			if !yield(e, err) || err != nil {
				return
			}
			at, more = e.Position, true
		}
	}
}

func (b broken) Scan(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[*annals.Recorded, error] {
	return func(yield func(*annals.Recorded, error) bool) {
		for e, err := range b.Store.Read(ctx, q, opts...) {
			if b.is("leaves out when it lends") && e.Position%7 == 5 {
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&e, nil) {
				return
			}
			if b.is("lends its own memory") {
				copy(e.Data, "spoilt")
			}
		}
	}
}

func (b broken) Subscribe(ctx context.Context, q annals.Query, after annals.Position, opts ...annals.SubscribeOption) iter.Seq2[annals.Update, error] {
	return func(yield func(annals.Update, error) bool) {
		first := true
		var again annals.Recorded
		given := ctx
		ctx, cancel := context.WithCancel(ctx)
		if b.is("goes on when cancelled") { // until it is caught up
			ctx, cancel = context.WithCancel(context.WithoutCancel(ctx))
		}
		defer cancel()
		for u, err := range b.Store.Subscribe(ctx, q, after, opts...) {
			switch {
			case b.is("goes on when cancelled") && u.CaughtUp:
				context.AfterFunc(given, cancel)
			case b.is("uses its event again") && u.Event != nil:
				again = *u.Event
				u.Event = &again
			case b.is("never catches up"):
				u.CaughtUp = false
			case b.is("loses an event") && u.Event != nil && u.Position%7 == 5:
				u.Event = nil
			case b.is("says nothing when idle") && !first && u.Event == nil && err == nil:
				continue
			case b.is("promises too much") && u.Event == nil && u.More:
				u.Position++
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

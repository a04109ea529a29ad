package engine_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine"
)

// small leaves so little room that whoever does not keep up at once falls behind.
func small(c *engine.Config) { c.LiveBytes, c.LiveEvents, c.LiveQueue = 16<<10, 32, 4 }

// follow gives every update to what, until ctx is cancelled.
func follow(ctx context.Context, t *testing.T, s annals.Store, q annals.Query, what func(annals.Update)) {
	t.Helper()
	for u, err := range s.Subscribe(ctx, q, 0) {
		if err != nil {
			wantErr(t, "the subscription", err, context.Canceled)
			return
		}
		what(u)
	}
}

// wantNobody says that no subscription, and nothing that was kept for one, is left.
func wantNobody(t *testing.T, s *engine.Store) {
	t.Helper()
	if st := s.Stats(); st.Subscribers != 0 || st.Behind != 0 {
		t.Errorf("all subscriptions have ended, and the stats say %+v", st)
	}
}

// Subscriptions begin anywhere while others write, some slow, and some again and again from their last checkpoint. What they
// yield together is what is read in the end.
func TestSubscriptionsGoFromTheLogToWhatComesWithoutGapOrDoubling(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*testing.T) *engine.Store{
		"over a journal in memory": func(t *testing.T) *engine.Store { t.Helper(); return start(t, newJournal()) },
		"over segments":            func(t *testing.T) *engine.Store { t.Helper(); return startSegments(t, vfs.NewMem()) },
		"with little room":         func(t *testing.T) *engine.Store { t.Helper(); return start(t, newJournal(), small) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			const writers, frames = 3, 150
			var written atomic.Bool
			var writing, reading sync.WaitGroup
			for w := range uint64(writers) {
				writing.Go(func() {
					rng := rand.New(rand.NewPCG(w, 3))
					for range frames {
						es := one(fmt.Sprint("T", rng.IntN(5)), fmt.Sprint("s-", rng.IntN(4)), fmt.Sprint("t:", rng.IntN(4)))
						for range rng.IntN(4) {
							es = append(es, one(fmt.Sprint("T", rng.IntN(5)), "", fmt.Sprint("t:", rng.IntN(4)))...)
						}
						if _, err := s.Append(t.Context(), es); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for i := range uint64(12) {
				reading.Go(func() { followFromAnywhere(t, s, rand.New(rand.NewPCG(i, 4)), &written) })
			}
			writing.Wait()
			written.Store(true)
			if _, err := s.Append(t.Context(), one("last", "")); err != nil {
				t.Error(err)
			}
			reading.Wait()
			wantNobody(t, s)
		})
	}
}

// followFromAnywhere follows until everything is written, and compares.
func followFromAnywhere(t *testing.T, s annals.Store, rng *rand.Rand, written *atomic.Bool) {
	t.Helper()
	queries := []annals.Query{
		annals.All(), annals.Types("T1", "T3"), annals.Tags("t:2"), annals.Stream("s-1").Or(annals.Tags("t:0").Types("T2")), annals.Category("s"), annals.Types("none"),
	}
	q := queries[rng.IntN(len(queries))]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	head, err := s.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	from := annals.Position(rng.IntN(int(head) + 1))
	at, slow := from, rng.IntN(3)*rng.IntN(20)
	var got []annals.Recorded
	for done := false; !done; {
		for u, err := range s.Subscribe(ctx, q, at, annals.ProgressEvery(1+rng.IntN(50))) {
			if err != nil {
				t.Errorf("%s, at %d: %v", q, at, err)
				return
			}
			if at = u.Position; u.Event != nil {
				got = append(got, *u.Event)
			}
			if head, _ := s.Head(ctx); written.Load() && at == head {
				done = true
				break
			}
			if rng.IntN(200) == 0 {
				break
			}
			for range slow {
				runtime.Gosched()
			}
		}
	}
	want, err := read(t, s, q, annals.After(from), annals.AsOf(at))
	if err != nil || !slices.EqualFunc(got, want, func(a, b annals.Recorded) bool {
		return a.ID == b.ID && a.Position == b.Position && a.Revision == b.Revision && a.Time.Equal(b.Time) && a.SameContent(b.Event)
	}) {
		t.Errorf("%s after %d: got %v, want %v, %v", q, from, positions(got), positions(want), err)
	}
}

func TestASubscriptionThatEndsLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, s *engine.Store){
		"by break": func(t *testing.T, s *engine.Store) {
			t.Helper()
			for _, err := range s.Subscribe(t.Context(), annals.All(), 0) {
				wantErr(t, "the subscription", err, nil)
				break
			}
		},
		"by a panic": func(t *testing.T, s *engine.Store) {
			t.Helper()
			defer func() {
				if p := recover(); p != errPanic { //nolint:errorlint // a panic's value
					panic(p)
				}
			}()
			for u, err := range s.Subscribe(t.Context(), annals.All(), 0) {
				if wantErr(t, "the subscription", err, nil); u.CaughtUp {
					panic(errPanic)
				}
			}
		},
		"by the end of its context": func(t *testing.T, s *engine.Store) {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			for u, err := range s.Subscribe(ctx, annals.All(), 0) {
				if u.CaughtUp {
					cancel()
				}
				if err != nil {
					wantErr(t, "the subscription", err, context.Canceled)
				}
			}
			cancel()
		},
		"by an error": func(t *testing.T, s *engine.Store) {
			t.Helper()
			for _, err := range s.Subscribe(t.Context(), annals.All(), 7) {
				wantErr(t, "the subscription", err, annals.ErrAhead)
			}
		},
		"by a stop after what came": func(t *testing.T, s *engine.Store) {
			t.Helper()
			next, stop := iter.Pull2(s.Subscribe(t.Context(), annals.All(), 0))
			defer stop()
			for range 3 {
				if u, err, _ := next(); err != nil || u.Position == 2 {
					break
				}
				if _, err := s.Append(t.Context(), one("B", "")); err != nil {
					t.Error(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { // which does not end before its goroutines
				s, err := engine.Open(t.Context(), config(newJournal()))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Append(t.Context(), one("A", "s-1")); err != nil {
					t.Fatal(err)
				}
				end(t, s)
				synctest.Wait()
				wantNobody(t, s)
				if st := s.Stats(); st.LiveBytes > 0 {
					t.Errorf("%d bytes are kept for nobody", st.LiveBytes)
				}
			})
		})
	}
}

// What is told is not read again, by one who keeps up nor by one who is a little behind.
func TestWhoKeepsUpIsServedWithoutTheDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const events = 100
		j := newJournal()
		s := start(t, j)
		ctx, cancel := context.WithCancel(t.Context())
		pause := make(chan struct{})
		var got, gotSlowly []*annals.Recorded
		var reading sync.WaitGroup
		reading.Go(func() {
			follow(ctx, t, s, annals.Types("A"), func(u annals.Update) {
				if u.Event != nil {
					got = append(got, u.Event)
				}
			})
		})
		reading.Go(func() {
			follow(ctx, t, s, annals.Types("A"), func(u annals.Update) {
				if u.Event != nil {
					gotSlowly = append(gotSlowly, u.Event)
					<-pause
				}
			})
		})
		synctest.Wait()
		for range events {
			if _, err := s.Append(t.Context(), append(one("A", "s-1"), one("B", "s-1")...)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		close(pause)
		synctest.Wait()
		if len(got) != events || len(gotSlowly) != events {
			t.Fatalf("%d and %d events were told; want %d", len(got), len(gotSlowly), events)
		}
		if n := j.read.Load(); n > 0 {
			t.Errorf("%d records were read", n)
		}
		for i, e := range got {
			if e == gotSlowly[i] || e.Position != annals.Position(2*i+1) || gotSlowly[i].Position != e.Position {
				t.Fatalf("event %d: got %+v and %+v, which must be equal and each its own", i, e, gotSlowly[i])
			}
		}
		cancel()
		reading.Wait()
	})
}

// A consumer that commits when nothing more is ready must learn so though others go on writing.
func TestMoreIsSaidOnlyOfWhatIsReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newJournal())
		ctx, cancel := context.WithCancel(t.Context())
		var updates []annals.Update
		var reading sync.WaitGroup
		reading.Go(func() {
			follow(ctx, t, s, annals.Types("A"), func(u annals.Update) { updates = append(updates, u) })
		})
		synctest.Wait()
		for _, kinds := range []string{"A", "AB", "B", "BAA"} {
			var es []annals.Event
			for _, kind := range kinds {
				es = append(es, one(string(kind), "")...)
			}
			if _, err := s.Append(t.Context(), es); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		var said []string
		for _, u := range updates {
			said = append(said, fmt.Sprint(u.Position, " ", u.Event != nil, " ", u.CaughtUp, " ", u.More))
		}
		if want := []string{
			"0 false true false", "1 true true false", "2 true false true", "3 false true false", "4 false true false", "6 true false true", "7 true true false",
		}; !slices.Equal(said, want) {
			t.Errorf("position, event, caught up, more:\n\tgot  %q\n\twant %q", said, want)
		}
		cancel()
		reading.Wait()
	})
}

// Frames of another writer, and losses, are found out of turn.
func TestSubscriptionsAreToldOfWhatAnotherWriterAppended(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		other, s := start(t, j), start(t, j)
		ctx, cancel := context.WithCancel(t.Context())
		var got []annals.Recorded
		var reading sync.WaitGroup
		reading.Go(func() {
			follow(ctx, t, s, annals.All(), func(u annals.Update) {
				if u.Event != nil {
					got = append(got, *u.Event)
				}
			})
		})
		synctest.Wait()
		for range 5 {
			if _, err := other.Append(t.Context(), one("A", "s-1")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.Append(t.Context(), one("B", "s-1")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []annals.Position{1, 2, 3, 4, 5, 6}; !slices.Equal(positions(got), want) {
			t.Errorf("got %v, want %v", positions(got), want)
		}
		cancel()
		reading.Wait()
	})
}

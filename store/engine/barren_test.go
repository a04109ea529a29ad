package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/index"
)

// finding is what a condition was told while others appended.
type finding struct {
	after annals.Position
	query annals.Query
	head  annals.Position   // up to which it held, if it did
	met   []annals.Position // what was in its way, if it did not
}

// Whatever is remembered of earlier walks: a condition that holds has no match up to the head it was told, and one that fails is
// told the first matches.
func TestWhatIsRememberedOfConditionsChangesNoAnswerWhileOthersAppend(t *testing.T) {
	t.Parallel()
	for _, epoch := range []int{3, 40, 1 << 16} {
		t.Run(fmt.Sprintf("epochs of %d", epoch), func(t *testing.T) {
			t.Parallel()
			s := start(t, newJournal(), engine.HeavyAlways, func(c *engine.Config) {
				c.Index = index.Config{EpochEvents: epoch, Foreground: epoch == 40}
			})
			const askers, rounds = 6, 150
			var running sync.WaitGroup
			answers := make([][]finding, askers)
			for w := range askers {
				running.Go(func() {
					g := generator{rand.New(rand.NewPCG(uint64(epoch), uint64(w)))}
					for range rounds {
						if g.IntN(2) == 0 {
							if _, err := s.Append(t.Context(), []annals.Event{pairOf(g)}); err != nil {
								t.Error(err)
							}
						}
						a, err := ask(t.Context(), s, g)
						if err != nil {
							t.Error(err)
						}
						answers[w] = append(answers[w], a)
					}
				})
			}
			running.Wait()
			held, failed := 0, 0
			all, err := read(t, s, annals.All())
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range slices.Concat(answers...) {
				var want []annals.Position
				for i := range all {
					if all[i].Position > a.after && a.query.Accepts(&all[i].Event) {
						want = append(want, all[i].Position)
					}
				}
				if a.met == nil {
					held++
					if len(want) > 0 && want[0] <= a.head {
						t.Fatalf("none of %v after %d held up to %d, but %d matches", a.query, a.after, a.head, want[0])
					}
					continue
				}
				failed++
				if n := len(a.met); n > len(want) || !slices.Equal(a.met, want[:n]) {
					t.Fatalf("none of %v after %d met %v, but %v match", a.query, a.after, a.met, want)
				}
			}
			if held < 50 || failed < 50 {
				t.Errorf("%d conditions held and %d failed; this proves little", held, failed)
			}
		})
	}
}

// pairOf is an event with one of a few tags, and seldom with two.
func pairOf(g generator) annals.Event {
	one := g.IntN(8)
	e := annals.Event{ID: annals.NewID(), Type: g.pick("A", "B"), Tags: []string{fmt.Sprint("n:", one)}}
	if g.IntN(10) == 0 {
		e.Tags = append(e.Tags, fmt.Sprint("n:", (one+1+g.IntN(7))%8))
	}
	return e
}

// ask checks a condition, and appends nothing.
func ask(ctx context.Context, s annals.Store, g generator) (finding, error) {
	head, err := s.Head(ctx)
	if err != nil {
		return finding{}, err
	}
	one := g.IntN(8)
	a := finding{query: annals.Tags(fmt.Sprint("n:", one), fmt.Sprint("n:", (one+1+g.IntN(2))%8))}
	if g.IntN(3) == 0 {
		a.query = annals.Types(g.pick("A", "B")).Tags(fmt.Sprint("n:", one), fmt.Sprint("n:", (one+3)%8))
	}
	if g.IntN(2) == 0 {
		a.after = annals.Position(g.Uint64N(uint64(head) + 1))
	}
	r, err := s.Append(ctx, nil, annals.NoneSince(a.after, a.query))
	var conflict *annals.ConflictError
	switch {
	case errors.As(err, &conflict):
		a.met, err = conflict.Failures[0].Positions, nil
	default:
		a.head = r.Head
	}
	return a, err
}

func TestWhatIsRememberedOfConditionsOutlivesWhatRetentionHides(t *testing.T) {
	t.Parallel()
	s := start(t, newJournal(), engine.HeavyAlways)
	both := annals.NoneSince(0, annals.Tags("x:1", "x:2"))
	add := func(stream string, tags ...string) annals.Position {
		t.Helper()
		r, err := s.Append(t.Context(), []annals.Event{{ID: annals.NewID(), Type: "A", Stream: stream, Tags: tags}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Last
	}
	check := func(when string, want ...annals.Position) {
		t.Helper()
		for range 2 { // the second knows what the first has found
			_, err := s.Append(t.Context(), nil, both)
			var got []annals.Position
			if conflict, failed := errors.AsType[*annals.ConflictError](err); failed {
				got = conflict.Failures[0].Positions
			} else if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: the condition met %v; want %v", when, got, want)
			}
		}
	}
	add("s-1", "x:1")
	add("s-1", "x:2")
	check("before they meet")
	first := add("s-2", "x:1", "x:2")
	check("when they have met", first)
	if _, err := s.System().Append(t.Context(), []annals.Event{annals.DeletionEvent("s-2")}); err != nil {
		t.Fatal(err)
	}
	check("when their event is gone")
	check("when they have met again", add("s-3", "x:1", "x:2"))
}

func TestAConditionThatWaitsForItsTurnKeepsNobodyElseWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newJournal(), engine.HeavyAlways)
		if _, err := s.Append(t.Context(), []annals.Event{{ID: annals.NewID(), Type: "A", Tags: []string{"x:1"}}, {ID: annals.NewID(), Type: "A", Tags: []string{"x:2"}}}); err != nil {
			t.Fatal(err)
		}
		release := s.HoldTurns()
		both := annals.NoneSince(0, annals.Tags("x:1", "x:2"))
		ctx, cancel := context.WithCancel(t.Context())
		leaves, stays := begin(ctx, s, one("B", ""), both), begin(t.Context(), s, one("B", ""), both)
		synctest.Wait()
		for _, cond := range []annals.Condition{annals.NoneSince(0, annals.Tags("x:3")), annals.NoneSince(0, annals.Types("C")), annals.NoStream("s-1")} {
			if _, err := s.Append(t.Context(), one("B", ""), cond); err != nil {
				t.Errorf("beside conditions that wait: %v", err)
			}
		}
		cancel()
		wantErr(t, "the append whose caller left", (<-leaves).err, context.Canceled)
		select {
		case r := <-stays:
			t.Fatalf("the other did not wait: %+v", r)
		default:
		}
		release()
		if r := <-stays; r.err != nil || r.receipt.First != 6 {
			t.Errorf("the append that waited answered %+v; want position 6", r)
		}
	})
}

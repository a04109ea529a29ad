package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
)

// gate holds frames back until it is told what to do with them.
type gate struct {
	arrived chan []byte // a frame is at the gate
	answer  chan answer
}

type answer struct {
	keep bool
	err  error
}

func newGate(j *memJournal) *gate {
	g := &gate{arrived: make(chan []byte, 1), answer: make(chan answer)}
	j.onAppend = func(ctx context.Context, f []byte) (bool, error) {
		g.arrived <- slices.Clone(f)
		select {
		case a := <-g.answer:
			return a.keep, a.err
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return g
}

// pass waits for a frame, lets it through and gives the number of its events.
func (g *gate) pass(t *testing.T) int {
	t.Helper()
	return g.reply(t, true, nil)
}

func (g *gate) reply(t *testing.T, keep bool, err error) int {
	t.Helper()
	h, parseErr := frame.ParseHeader(<-g.arrived)
	if parseErr != nil {
		t.Fatal(parseErr)
	}
	g.answer <- answer{keep, err}
	return int(h.EventCount)
}

type result struct {
	receipt annals.Receipt
	err     error
}

// begin appends in the background, and returns when nothing moves any more.
func begin(ctx context.Context, s annals.Store, events []annals.Event, conds ...annals.Condition) <-chan result {
	done := make(chan result, 1)
	go func() {
		receipt, err := s.Append(ctx, events, conds...)
		done <- result{receipt, err}
	}()
	synctest.Wait()
	return done
}

func wantErr(t *testing.T, what string, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("%s: got %v, want %v", what, err, w)
		}
	}
}

func wantHead(t *testing.T, s annals.Store, want annals.Position) {
	t.Helper()
	if head, err := s.Head(t.Context()); head != want || err != nil {
		t.Errorf("the head is %d, %v; want %d", head, err, want)
	}
}

func TestNothingIsVisibleBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		done := begin(t.Context(), s, one("A", "s-1", "x:1"))
		wantHead(t, s, 0)
		for _, q := range []annals.Query{annals.All(), annals.Stream("s-1"), annals.Tags("x:1"), annals.Types("A"), annals.Category("s")} {
			if got, err := read(t, s, q); len(got) > 0 || err != nil {
				t.Errorf("%s reads %v, %v before it is durable", q, got, err)
			}
		}
		if _, err := s.Append(t.Context(), nil, annals.NoStream("s-1"), annals.NoneSince(0, annals.All())); err != nil {
			t.Errorf("a condition rests on an event that is not durable: %v", err)
		}
		g.pass(t)
		if r := <-done; r.err != nil || r.receipt.Last != 1 {
			t.Errorf("the append answered %+v", r)
		}
		wantHead(t, s, 1)
	})
}

func TestOneBadAppendDoesNotFailItsBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		first := begin(t.Context(), s, one("A", "s-0"))
		same := one("A", "s-1")
		changed := slices.Clone(same)
		changed[0].Data = []byte(`"other"`)
		var results []<-chan result
		for _, c := range []struct {
			events []annals.Event
			conds  []annals.Condition
		}{
			{same, nil},
			{one("B", "s-2", "x:1"), []annals.Condition{annals.NoStream("s-2")}},
			{one("B", "s-2"), []annals.Condition{annals.NoStream("s-2")}},                  // loses to the one before
			{one("C", "s-3"), []annals.Condition{annals.NoStream("s-0")}},                  // loses to what is in flight
			{one("C", "s-3"), []annals.Condition{annals.NoneSince(0, annals.Types("A"))}},  // loses to both
			{one("C", "s-3"), []annals.Condition{annals.NoneSince(0, annals.Tags("x:1"))}}, // loses to the second
			{same, []annals.Condition{annals.NoStream("s-1")}},                             // was sent twice
			{changed, nil}, // uses its id again
			{append(slices.Clone(same), one("D", "s-1")...), nil},                                 // is known in part
			{one("E", "s-4"), []annals.Condition{annals.NoneSince(0, annals.Types("Z", "E"))}},    // bothers nobody
			{one("F", "s-4"), []annals.Condition{annals.NoneSince(0, annals.Tags("x:1", "x:2"))}}, // nor does this
		} {
			results = append(results, begin(t.Context(), s, c.events, c.conds...))
		}
		g.pass(t)
		if n := g.pass(t); n != 4 {
			t.Errorf("the batch has %d events, want 4", n)
		}
		wantErr(t, "the first append", (<-first).err, nil)
		want := []error{
			nil, nil, annals.ErrConflict, annals.ErrConflict, annals.ErrConflict, annals.ErrConflict,
			nil, annals.ErrIDReused, annals.ErrPartialDuplicate, nil, nil,
		}
		positions := []annals.Position{2, 3, 0, 0, 0, 0, 2, 0, 0, 4, 5}
		for i, done := range results {
			r := <-done
			if !errors.Is(r.err, want[i]) || r.receipt.First != positions[i] || r.receipt.Duplicate != (i == 6) {
				t.Errorf("append %d answered %+v; want %v at %d", i, r, want[i], positions[i])
			}
		}
		if got, err := read(t, s, annals.Stream("s-4")); err != nil || len(got) != 2 || got[1].Revision != 1 {
			t.Errorf("two appends of one batch to one stream: got %+v, %v", got, err)
		}
		wantHead(t, s, 5)
	})
}

func TestADuplicateOfAnAppendInFlightWaitsForIt(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprint("that fails: ", fails), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				g := newGate(j)
				s := start(t, j)
				es := one("A", "s-1")
				original := begin(t.Context(), s, es, annals.NoStream("s-1"))
				retry := begin(t.Context(), s, es, annals.NoStream("s-1"))
				select {
				case r := <-retry:
					t.Fatalf("the retry was answered with %+v before the original was durable", r)
				default:
				}
				if fails {
					g.reply(t, false, journal.ErrFull)
					wantErr(t, "the original", (<-original).err, annals.ErrFull)
					g.pass(t)
				} else {
					g.pass(t)
					wantErr(t, "the original", (<-original).err, nil)
				}
				if r := <-retry; r.err != nil || r.receipt.First != 1 || r.receipt.Duplicate == fails {
					t.Errorf("the retry answered %+v", r)
				}
				wantHead(t, s, 1)
			})
		})
	}
}

func TestAnAppendThatAStagedEventAffectsBeginsAgainIfThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		zero := begin(t.Context(), s, one("Z", ""))
		a := begin(t.Context(), s, one("A", "s-1"), annals.NoStream("s-1"))
		b := begin(t.Context(), s, one("B", "s-1"), annals.NoStream("s-1"))
		g.pass(t)
		wantErr(t, "the first", (<-zero).err, nil)
		g.reply(t, false, journal.ErrFull)
		wantErr(t, "the staged one", (<-a).err, annals.ErrFull)
		g.pass(t)
		if r := <-b; r.err != nil || r.receipt.First != 2 || r.receipt.Revision != 0 {
			t.Errorf("the one that would have lost answered %+v", r)
		}
	})
}

func TestAFullJournalTakesAppendsAgainLater(t *testing.T) {
	t.Parallel()
	j := newJournal()
	full := true
	j.onAppend = func(context.Context, []byte) (bool, error) {
		if full {
			return false, journal.ErrFull
		}
		return true, nil
	}
	s := start(t, j)
	es := one("A", "s-1")
	_, err := s.Append(t.Context(), es)
	wantErr(t, "a full journal", err, annals.ErrFull, journal.ErrFull)
	full = false
	if r, err := s.Append(t.Context(), es); err != nil || r.First != 1 || r.Duplicate {
		t.Errorf("the retry answered %+v, %v", r, err)
	}
}

func TestAJournalThatStoppedLeavesTheStoreReadOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says error
		want error
		not  error // what would contradict it
	}{
		"and wrote nothing": {journal.ErrStopped, annals.ErrReadOnly, annals.ErrUnknownOutcome},
		"and does not know": {errors.Join(journal.ErrStopped, journal.ErrAmbiguous), annals.ErrUnknownOutcome, annals.ErrReadOnly},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJournal()
			s := start(t, j)
			if _, err := s.Append(t.Context(), one("A", "s-1")); err != nil {
				t.Fatal(err)
			}
			j.onAppend = func(context.Context, []byte) (bool, error) {
				return false, fmt.Errorf("disk on fire: %w", c.says)
			}
			_, err := s.Append(t.Context(), one("A", "s-1"))
			wantErr(t, "the append that met it", err, c.want, journal.ErrStopped)
			if errors.Is(err, c.not) {
				t.Errorf("the append that met it matches %v too: %v", c.not, err)
			}
			_, err = s.Append(t.Context(), one("A", "s-1"))
			wantErr(t, "a later append", err, annals.ErrReadOnly, journal.ErrStopped)
			wantErr(t, "the stats", s.Stats().ReadOnly, annals.ErrReadOnly)
			if got, err := read(t, s, annals.All()); err != nil || len(got) != 1 {
				t.Errorf("what was durable is served still: got %v, %v", got, err)
			}
		})
	}
}

func TestAnAppendThatTheJournalCouldNotWriteCanBeSentAgain(t *testing.T) {
	t.Parallel()
	j := newJournal()
	s := start(t, j)
	for _, refusal := range []error{annals.ErrNotWritten, annals.ErrClosed} {
		j.onAppend = func(context.Context, []byte) (bool, error) { return false, refusal }
		es := one("A", "s-1")
		_, err := s.Append(t.Context(), es)
		wantErr(t, "the append", err, annals.ErrNotWritten, refusal)
		j.onAppend = nil
		if r, err := s.Append(t.Context(), es); err != nil || r.Duplicate {
			t.Errorf("sent again: %+v, %v", r, err)
		}
	}
}

func TestAFrameTooLargeForTheJournalIsSplit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		var results []<-chan result
		for i := range 4 {
			results = append(results, begin(t.Context(), s, one("A", fmt.Sprint("s-", i))))
		}
		g.pass(t)
		g.reply(t, false, journal.ErrTooLarge)
		for range 2 {
			g.pass(t)
		}
		g.reply(t, false, journal.ErrTooLarge)
		for i, done := range results {
			r := <-done
			if tooLarge := i == 3; errors.Is(r.err, annals.ErrTooLarge) != tooLarge || (r.err != nil) != tooLarge {
				t.Errorf("append %d answered %+v", i, r)
			}
		}
	})
}

func TestFramesAreFilledToWhatTheJournalTakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		j.size = 300 << 10 // less than what a frame is filled to otherwise
		g := newGate(j)
		s := start(t, j)
		var results []<-chan result
		for i := range 101 {
			es := one("A", fmt.Sprint("s-", i))
			es[0].Data = make([]byte, 4000)
			results = append(results, begin(t.Context(), s, es))
		}
		sizes := []int{}
		for range 3 {
			f := <-g.arrived
			sizes = append(sizes, len(f))
			g.answer <- answer{true, nil}
		}
		for _, done := range results {
			wantErr(t, "an append", (<-done).err, nil)
		}
		if slices.Max(sizes) > j.size || sizes[1] < j.size*9/10 {
			t.Errorf("the frames have %v bytes, the journal takes %d", sizes, j.size)
		}
	})
}

func TestAnAppendLargerThanTheJournalTakesIsRefused(t *testing.T) {
	t.Parallel()
	j := newJournal()
	j.size = 256 << 10
	s := start(t, j)
	e := annals.Event{Type: "A", Data: make([]byte, 256<<10)}
	_, err := s.Append(t.Context(), []annals.Event{e})
	wantErr(t, "the append", err, annals.ErrTooLarge)
}

func TestAnAmbiguousAnswerIsResolved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		kept  bool
		other bool // another store's frame takes the place
	}{{"the frame was kept", true, false}, {"the frame was not kept", false, false}, {"another took its place", false, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				s, other := start(t, j), start(t, j)
				g := newGate(j)
				away := 2
				j.onHead = func() error {
					if away--; away >= 0 {
						return errors.New("away")
					}
					return nil
				}
				ctx, leave := context.WithCancel(t.Context())
				first := begin(t.Context(), s, one("Z", ""))
				stays := begin(t.Context(), s, one("A", "s-1"))
				leaves := begin(ctx, s, one("A", "s-1"))
				g.pass(t)
				wantErr(t, "the first", (<-first).err, nil)
				<-g.arrived
				if c.other {
					appendElsewhere(t, j, other, one("B", "s-1", "elsewhere"))
				}
				away = 2
				g.answer <- answer{c.kept, journal.ErrAmbiguous}
				leave()
				r := <-leaves
				wantErr(t, "the caller who left", r.err, annals.ErrUnknownOutcome, context.Canceled)
				if !c.kept {
					g.pass(t) // sent again, or packed anew
				}
				at := annals.Position(2)
				if c.other {
					at = 3
				}
				if r := <-stays; r.err != nil || r.receipt.First != at || r.receipt.Revision != annals.Revision(at-2) || r.receipt.Duplicate {
					t.Errorf("the caller who stayed got %+v", r)
				}
				if got, err := read(t, s, annals.Stream("s-1")); err != nil || len(got) != 2 && !c.other {
					t.Errorf("the stream reads %+v, %v", got, err)
				}
				next := begin(t.Context(), s, one("A", "s-1"))
				g.pass(t)
				wantErr(t, "the next", (<-next).err, nil)
			})
		})
	}
}

func TestADefiniteRefusalEndsTheSearchForAnOutcome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		refusal  error
		readOnly bool
	}{
		{refusal: journal.ErrFull},
		{refusal: journal.ErrTooLarge},
		{refusal: annals.ErrNotWritten},
		{refusal: annals.ErrReadOnly, readOnly: true},
		{refusal: journal.ErrStopped, readOnly: true},
	} {
		t.Run(c.refusal.Error(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				j := newJournal()
				s := start(t, j)
				answers := []error{journal.ErrAmbiguous, c.refusal}
				j.onAppend = func(context.Context, []byte) (bool, error) {
					next := answers[0]
					answers = answers[min(1, len(answers)-1):]
					return false, next
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // of a clock that costs no time
				defer cancel()
				es := one("A", "s-1")
				_, err := s.Append(ctx, es)
				// The first try may arrive late still.
				wantErr(t, "the append", err, annals.ErrUnknownOutcome, c.refusal)
				j.onAppend = nil
				r, err := s.Append(ctx, es)
				if c.readOnly {
					wantErr(t, "a later append", err, annals.ErrReadOnly)
				} else if err != nil || r.First != 1 || r.Duplicate {
					t.Errorf("the retry answered %+v, %v", r, err)
				}
			})
		})
	}
}

func TestAFullJournalSaysSoAlsoAfterACallerHasLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		s := start(t, j)
		left, leave := context.WithCancel(t.Context())
		j.onAppend = func(ctx context.Context, _ []byte) (bool, error) {
			leave()
			if err := ctx.Err(); err != nil {
				return false, err // as if it had noticed too late to know
			}
			return false, journal.ErrFull
		}
		_, err := s.Append(left, one("A", "s-1"))
		wantErr(t, "who left", err, annals.ErrUnknownOutcome, context.Canceled)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // of a clock that costs no time
		defer cancel()
		_, err = s.Append(ctx, one("B", "s-2"))
		wantErr(t, "the next append", err, annals.ErrFull)
	})
}

// appendElsewhere puts a frame into the journal that the stores do not know of.
func appendElsewhere(t *testing.T, j *memJournal, s *engine.Store, es []annals.Event) {
	t.Helper()
	gated := j.onAppend
	j.onAppend = nil
	if _, err := s.Append(t.Context(), es); err != nil {
		t.Fatal(err)
	}
	j.onAppend = gated
}

func TestTwoStoresOnOneJournalTakeTurns(t *testing.T) {
	t.Parallel()
	j := newJournal()
	stores := []*engine.Store{start(t, j), start(t, j)}
	for i := range 40 {
		s := stores[i*7%5%2]
		r, err := s.Append(t.Context(), one("A", "s-1", "x:1"))
		if err != nil || r.First != annals.Position(i+1) || r.Revision != annals.Revision(i) {
			t.Fatalf("append %d answered %+v, %v", i, r, err)
		}
	}
	_, err := stores[0].Append(t.Context(), one("A", "s-2"), annals.NoStream("s-1"))
	wantErr(t, "a condition", err, annals.ErrConflict)
	again := start(t, j)
	wantHead(t, again, 40)
}

func TestAConditionIsEvaluatedAgainWhenTheJournalHasMoved(t *testing.T) {
	t.Parallel()
	j := newJournal()
	a, b := start(t, j), start(t, j)
	if _, err := a.Append(t.Context(), one("A", "s-1"), annals.NoStream("s-1")); err != nil {
		t.Fatal(err)
	}
	_, err := b.Append(t.Context(), one("B", "s-1"), annals.NoStream("s-1"))
	wantErr(t, "the second store, which had not seen the first's append", err, annals.ErrConflict)
	wantHead(t, b, 1)
}

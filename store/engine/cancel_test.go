package engine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/journal"
)

func TestWhoLeavesTheQueueHasWrittenNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		why := errors.New("the user went away")
		first := begin(t.Context(), s, one("A", "s-1"))
		ctx, leave := context.WithCancelCause(t.Context())
		leaves := begin(ctx, s, one("B", "s-1"))
		stays := begin(t.Context(), s, one("C", "s-1"))
		leave(why)
		wantErr(t, "who left", (<-leaves).err, annals.ErrNotWritten, context.Canceled, why)
		g.pass(t)
		g.pass(t)
		wantErr(t, "the first", (<-first).err, nil)
		if r := <-stays; r.err != nil || r.receipt.First != 2 || r.receipt.Revision != 1 {
			t.Errorf("who stayed got %+v", r)
		}
	})
}

func TestWhoLeavesAPackedFrameDoesNotKnow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		first := begin(t.Context(), s, one("Z", ""))
		stays := begin(t.Context(), s, one("A", "s-1"))
		ctx, leave := context.WithCancel(t.Context())
		es := one("B", "s-1")
		leaves := begin(ctx, s, es)
		g.pass(t)
		wantErr(t, "the first", (<-first).err, nil)
		synctest.Wait() // both are at the gate
		leave()
		wantErr(t, "who left", (<-leaves).err, annals.ErrUnknownOutcome, context.Canceled)
		g.pass(t)
		wantErr(t, "who stayed", (<-stays).err, nil)
		if r, err := s.Append(t.Context(), es); err != nil || !r.Duplicate || r.First != 3 {
			t.Errorf("the retry answered %+v, %v", r, err)
		}
	})
}

func TestALoneCallerWhoLeavesDoesNotKnowAndTheFrameIsResolved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		ctx, leave := context.WithCancel(t.Context())
		es := one("A", "s-1")
		leaves := begin(ctx, s, es)
		<-g.arrived
		leave()
		wantErr(t, "who left", (<-leaves).err, annals.ErrUnknownOutcome, context.Canceled)
		retry := begin(t.Context(), s, es)
		g.pass(t) // the identical frame
		if r := <-retry; r.err != nil || !r.receipt.Duplicate || r.receipt.First != 1 {
			t.Errorf("the retry answered %+v", r)
		}
	})
}

func TestWhoLeavesWhenTheBatonIsOfferedHandsItOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		for range 50 { // both orders of the race
			first := begin(t.Context(), s, one("A", "s-1"))
			ctx, leave := context.WithCancel(t.Context())
			leaves, stays := begin(ctx, s, one("B", "s-2")), begin(t.Context(), s, one("C", "s-3"))
			<-g.arrived
			go leave()
			g.answer <- answer{true, nil}
			g.pass(t)
			wantErr(t, "the first", (<-first).err, nil)
			if r := <-leaves; r.err != nil && !errors.Is(r.err, annals.ErrNotWritten) && !errors.Is(r.err, annals.ErrUnknownOutcome) {
				t.Errorf("who left got %v", r.err)
			}
			synctest.Wait()
			select { // who left may have led a frame of its own
			case <-g.arrived:
				g.answer <- answer{true, nil}
			default:
			}
			wantErr(t, "who stayed", (<-stays).err, nil)
		}
	})
}

func TestWhoHasLeftIsNotGivenTheBatonWhenAFrameIsSplit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		first, stays := begin(t.Context(), s, one("A", "s-1")), begin(t.Context(), s, one("B", "s-2"))
		ctx, leave := context.WithCancel(t.Context())
		leaves := begin(ctx, s, one("C", "s-3"))
		g.pass(t)
		wantErr(t, "the first", (<-first).err, nil)
		synctest.Wait() // the other two are at the gate
		leave()
		wantErr(t, "who left", (<-leaves).err, annals.ErrUnknownOutcome, context.Canceled)
		g.reply(t, false, journal.ErrTooLarge)
		g.pass(t)
		wantErr(t, "who stayed", (<-stays).err, nil)
		synctest.Wait()
		select { // nobody waits for it, so that it is not written
		case <-g.arrived:
			t.Error("the append of who left is at the gate")
			g.answer <- answer{true, nil}
		default:
		}
		impatient, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		next := begin(impatient, s, one("D", "s-4"))
		select {
		case <-g.arrived:
			g.answer <- answer{true, nil}
		default:
			t.Error("the next append does not come to the gate: the baton is lost")
		}
		if r := <-next; r.err != nil || r.receipt.First != 3 {
			t.Errorf("the next got %+v", r)
		}
	})
}

func TestWhoLeavesBeforeAnythingIsWrittenIsToldSo(t *testing.T) {
	t.Parallel()
	ctx, leave := context.WithCancel(t.Context())
	leaves := true
	// The frame takes its time when it has been packed and before it is written.
	s := startSegments(t, vfs.NewMem(), func(c *engine.Config) {
		c.Clock = func() time.Time {
			if leaves {
				leave()
			}
			return time.Now()
		}
	})
	es := one("A", "s-1")
	_, err := s.Append(ctx, es)
	wantErr(t, "who left", err, annals.ErrNotWritten, context.Canceled)
	leaves = false
	if r, err := s.Append(t.Context(), es); err != nil || r.Duplicate || r.First != 1 {
		t.Errorf("the retry answered %+v, %v", r, err)
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j, func(c *engine.Config) { c.QueueAppends, c.QueueBytes = 2, 1000 })
		var waiting []<-chan result
		for range 3 { // one at the gate, two in the queue
			waiting = append(waiting, begin(t.Context(), s, one("A", "s-1")))
		}
		if n := s.Stats().Queued; n != 2 {
			t.Errorf("%d are queued, want 2", n)
		}
		_, err := s.Append(t.Context(), one("A", "s-1"))
		wantErr(t, "one too many", err, annals.ErrOverloaded)
		g.pass(t)
		g.pass(t)
		for _, done := range waiting {
			wantErr(t, "who was admitted", (<-done).err, nil)
		}
		large := func() []annals.Event {
			es := one("A", "s-1")
			es[0].Data = make([]byte, 4000)
			return es
		}
		first, second := begin(t.Context(), s, large()), begin(t.Context(), s, large())
		_, err = s.Append(t.Context(), one("B", ""))
		wantErr(t, "an append behind more bytes than the queue holds", err, annals.ErrOverloaded)
		g.pass(t)
		g.pass(t)
		wantErr(t, "one that is larger than the queue", (<-first).err, nil)
		wantErr(t, "another, which had the queue to itself", (<-second).err, nil)
	})
}

func TestTheLargestAppendGetsIntoAQueueThatHasRoomLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j, func(c *engine.Config) { c.QueueBytes = 1000 })
		inFlight, queued := begin(t.Context(), s, one("A", "s-1")), begin(t.Context(), s, one("A", "s-1"))
		es := one("B", "s-2")
		es[0].Data = make([]byte, 100_000)
		largest := begin(t.Context(), s, es)
		if n := s.Stats().Queued; n != 2 {
			t.Errorf("%d appends are queued, want 2, of which one is larger than the queue", n)
		}
		_, err := s.Append(t.Context(), one("C", ""))
		wantErr(t, "an append behind it", err, annals.ErrOverloaded)
		g.pass(t)
		g.pass(t)
		wantErr(t, "the append in flight", (<-inFlight).err, nil)
		wantErr(t, "the append in the queue", (<-queued).err, nil)
		wantErr(t, "the largest", (<-largest).err, nil)
	})
}

func TestClosingWaitsForTheFrameInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j)
		inFlight := begin(t.Context(), s, one("A", "s-1"))
		waits := begin(t.Context(), s, one("B", "s-1"))
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		select {
		case err := <-closed:
			t.Errorf("it closed with a frame in flight: %v", err)
		default:
		}
		_, err := s.Append(t.Context(), one("C", ""))
		wantErr(t, "a new append", err, annals.ErrClosed)
		g.pass(t)
		wantErr(t, "the append in flight", (<-inFlight).err, nil)
		wantErr(t, "the append behind it", (<-waits).err, annals.ErrClosed, annals.ErrNotWritten)
		wantErr(t, "closing", <-closed, nil)
	})
}

func TestClosingEndsTheSearchForAnOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		s := start(t, j)
		j.onAppend = func(context.Context, []byte) (bool, error) { return false, journal.ErrAmbiguous }
		j.onHead = func() error { return errors.New("away") }
		open := begin(t.Context(), s, one("A", "s-1"))
		waits := begin(t.Context(), s, one("B", "s-1"))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		wantErr(t, "the append in the open frame", (<-open).err, annals.ErrUnknownOutcome, annals.ErrClosed)
		wantErr(t, "the append behind it", (<-waits).err, annals.ErrClosed, annals.ErrNotWritten)
	})
}

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/journal"
)

// damagedJournal has five frames of two events each, a second apart, of which some are damaged.
func damagedJournal(t *testing.T, damaged ...uint64) *memJournal {
	t.Helper()
	j := newJournal()
	c, now := config(j), epoch
	c.Clock = func() time.Time { return now }
	s, err := engine.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		now = now.Add(time.Second)
		if _, err := s.Append(t.Context(), append(one("A", "s-1", "x:1"), one("B", "s-2")...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, seq := range damaged {
		j.damaged[seq] = &annals.DataLossError{File: "00000001.seg", Offset: int64(seq) * 100, Reason: "checksum"}
	}
	return j
}

func positions(events []annals.Recorded) []annals.Position {
	var all []annals.Position
	for _, e := range events {
		all = append(all, e.Position)
	}
	return all
}

func TestAReadYieldsWhatPrecedesALossAndThenTheLoss(t *testing.T) {
	t.Parallel()
	s := start(t, damagedJournal(t, 2, 3))
	wantHead(t, s, 10)
	if lost := s.Stats().Lost; len(lost) != 1 || lost[0].First != 3 || lost[0].Last != 6 {
		t.Errorf("lost are %+v, want 3 to 6", lost)
	}
	for _, c := range []struct {
		name string
		q    annals.Query
		opts []annals.ReadOption
		want []annals.Position
		loss bool
	}{
		{"across it", annals.All(), nil, []annals.Position{1, 2}, true},
		{"backwards across it", annals.All(), []annals.ReadOption{annals.Backwards()}, []annals.Position{10, 9, 8, 7}, true},
		{"a stream across it", annals.Stream("s-1"), nil, []annals.Position{1}, true},
		{"a tag backwards", annals.Tags("x:1"), []annals.ReadOption{annals.Backwards()}, []annals.Position{9, 7}, true},
		{"what matches nothing across it", annals.Types("Z"), nil, nil, true},
		{"before it", annals.All(), []annals.ReadOption{annals.AsOf(2)}, []annals.Position{1, 2}, false},
		{"behind it", annals.All(), []annals.ReadOption{annals.After(6)}, []annals.Position{7, 8, 9, 10}, false},
		{"within it", annals.All(), []annals.ReadOption{annals.After(4), annals.AsOf(5)}, nil, true},
		{"up to it by limit", annals.All(), []annals.ReadOption{annals.Limit(2)}, []annals.Position{1, 2}, false},
		{"from a revision behind it", annals.Stream("s-1"), []annals.ReadOption{annals.FromRevision(3)}, []annals.Position{7, 9}, false},
		{"from a revision that is lost", annals.Stream("s-1"), []annals.ReadOption{annals.FromRevision(2)}, nil, true},
		{"as of a revision behind it", annals.Stream("s-1"), []annals.ReadOption{annals.AsOfRevision(3), annals.After(6)}, []annals.Position{7}, false},
		{"as of a revision that is lost", annals.Stream("s-1"), []annals.ReadOption{annals.AsOfRevision(1)}, nil, true},
	} {
		got, err := read(t, s, c.q, c.opts...)
		var loss *annals.DataLossError
		if !slices.Equal(positions(got), c.want) || errors.As(err, &loss) != c.loss || (err != nil) != c.loss {
			t.Errorf("%s: got %v, %v; want %v", c.name, positions(got), err, c.want)
		}
	}
}

// When positions are lost, so are the times at which they were written. To read as of such a time must not look as if
// there had been nothing.
func TestAReadAsOfATimeSaysSoIfALossHidesTheAnswer(t *testing.T) {
	t.Parallel()
	middle := start(t, damagedJournal(t, 2, 3))
	begin := start(t, damagedJournal(t, 1))
	end := start(t, damagedJournal(t, 5))
	for _, c := range []struct {
		name    string
		s       *engine.Store
		seconds float64 // at which a frame was written
		after   annals.Position
		want    []annals.Position
		loss    bool
	}{
		{"before everything", middle, 0.5, 0, nil, false},
		{"of the last frame before it", middle, 1, 0, nil, true}, // the next may be of the same time
		{"of a lost frame", middle, 2, 0, nil, true},
		{"between lost frames", middle, 2.5, 0, nil, true},
		{"of the last lost frame", middle, 3, 0, nil, true},
		{"of the first frame behind it", middle, 4, 0, []annals.Position{1, 2}, true},
		{"of the first frame behind it, after it", middle, 4, 6, []annals.Position{7, 8}, false},
		{"after everything", middle, 9, 6, []annals.Position{7, 8, 9, 10}, false},
		{"before everything, of which the first is lost", begin, 0.5, 0, nil, true},
		{"of the first frame, which is lost", begin, 1, 0, nil, true},
		{"of the second frame, of which the first is lost", begin, 2, 2, []annals.Position{3, 4}, false},
		{"of the last frame but one, of which the last is lost", end, 3, 0, []annals.Position{1, 2, 3, 4, 5, 6}, false},
		{"of the last frame, which is lost", end, 5, 0, nil, true},
	} {
		at := epoch.Add(time.Duration(c.seconds * float64(time.Second)))
		got, err := read(t, c.s, annals.All(), annals.AsOfTime(at), annals.After(c.after))
		if !slices.Equal(positions(got), c.want) || errors.Is(err, annals.ErrDataLoss) != c.loss || (err != nil) != c.loss {
			t.Errorf("%s: got %v, %v; want %v", c.name, positions(got), err, c.want)
		}
	}
}

func TestAStoreThatLostPositionsTakesNoAppends(t *testing.T) {
	t.Parallel()
	for _, damaged := range []uint64{1, 3, 5} {
		s := start(t, damagedJournal(t, damaged))
		_, err := s.Append(t.Context(), one("A", "s-1"))
		wantErr(t, "an append", err, annals.ErrReadOnly, annals.ErrDataLoss)
	}
}

func TestASubscriptionEndsAtALoss(t *testing.T) {
	t.Parallel()
	s := start(t, damagedJournal(t, 2))
	var last annals.Position
	for u, err := range s.Subscribe(t.Context(), annals.All(), 0) {
		if err != nil {
			wantErr(t, "the subscription", err, annals.ErrDataLoss)
			break
		}
		last = u.Position
	}
	if last != 2 {
		t.Errorf("the last update is at %d, want 2", last)
	}
}

func TestALossFoundWhileCatchingUpWakesWhoWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		other, s := start(t, j), start(t, j)
		if _, err := other.Append(t.Context(), one("A", "s-1")); err != nil {
			t.Fatal(err)
		}
		j.damaged[1] = &annals.DataLossError{File: "00000001.seg", First: 1, Last: 1, Reason: "checksum"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // of a clock that costs no time
		defer cancel()
		ends := make(chan error, 2)
		go func() {
			for _, err := range s.Subscribe(ctx, annals.All(), 0) {
				if err != nil {
					ends <- fmt.Errorf("the subscription: %w", err)
				}
			}
		}()
		go func() {
			for _, err := range s.Read(ctx, annals.All(), annals.AtLeast(1)) {
				ends <- fmt.Errorf("the read: %w", err)
			}
		}()
		synctest.Wait()
		_, err := s.Append(t.Context(), one("B", "s-1"))
		wantErr(t, "the append that met it", err, annals.ErrReadOnly, annals.ErrDataLoss)
		wantHead(t, s, 1)
		for range 2 {
			wantErr(t, "who waited", <-ends, annals.ErrDataLoss)
		}
	})
}

// The frame may have been in the place that is lost: that the store is being closed does not change that.
func TestAnAppendWhosePlaceIsLostDoesNotKnowThoughTheStoreCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		s, other := start(t, j), start(t, j)
		var appends, heads atomic.Int64
		j.onAppend = func(context.Context, []byte) (bool, error) {
			if appends.Add(1) == 1 {
				return true, journal.ErrAmbiguous
			}
			return true, nil
		}
		spoilt, closed := make(chan struct{}), make(chan error, 1)
		j.onHead = func() error {
			switch heads.Add(1) {
			case 1: // the store asks what became of its frame
				<-spoilt
			case 3: // it has read the frames that there are; the other store asked in between
				go func() { closed <- s.Close() }()
				synctest.Wait()
			}
			return nil
		}
		lost := begin(t.Context(), s, one("A", "s-1"))
		if _, err := other.Append(t.Context(), one("B", "s-2")); err != nil {
			t.Fatal(err)
		}
		j.damaged[1] = &annals.DataLossError{File: "00000001.seg", Reason: "checksum"}
		close(spoilt)
		wantErr(t, "the append", (<-lost).err, annals.ErrUnknownOutcome, annals.ErrDataLoss)
		wantErr(t, "closing", <-closed, nil)
	})
}

func TestALossAtTheEndCountsAsPartOfTheLog(t *testing.T) {
	t.Parallel()
	j := damagedJournal(t, 5)
	s := start(t, j)
	wantHead(t, s, 9) // at least one event was lost
	got, err := read(t, s, annals.All())
	if len(got) != 8 || !errors.Is(err, annals.ErrDataLoss) {
		t.Errorf("got %d events and %v", len(got), err)
	}
	j.damaged[5].First, j.damaged[5].Last = 9, 10
	wantHead(t, start(t, j), 10)
}

func TestAJournalThatMakesNoSenseIsNotOpened(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(j *memJournal){
		"a frame is missing":            func(j *memJournal) { j.frames = slices.Delete(j.frames, 1, 2) },
		"the first frames are missing":  func(j *memJournal) { j.frames = j.frames[2:] },
		"frames are swapped":            func(j *memJournal) { j.frames[1], j.frames[2] = j.frames[2], j.frames[1] },
		"a frame is of another history": func(j *memJournal) { j.frames[2] = damagedJournal(t).frames[2] },
	} {
		j := damagedJournal(t)
		spoil(j)
		if s, err := engine.Open(t.Context(), config(j)); err == nil {
			t.Errorf("%s, and the store opened", name)
			s.Close()
		}
	}
}

// Whatever is lost: a read without an error is what the undamaged store reads, and one with an error is a beginning of it.
func TestWhateverIsLostAReadIsWholeOrSaysThatItIsNot(t *testing.T) {
	t.Parallel()
	total := map[string]int{}
	for _, seed := range seeds(50) {
		g := generator{rand.New(rand.NewPCG(seed, 5))}
		whole, damaged := g.damagedStore(t)
		for range 150 {
			total[compareWithWhole(t, g, whole, damaged)]++
		}
		if t.Failed() {
			t.Fatalf("-seed=%d", seed)
		}
	}
	t.Log(total)
	for _, kind := range []string{"whole", "a beginning", "nothing", "another error"} {
		if total[kind] == 0 && *seedFlag == 0 {
			t.Errorf("no read was: %s", kind)
		}
	}
}

// damagedStore is a store, and another of the same log from which some frames are lost.
func (g generator) damagedStore(t *testing.T) (whole, damaged *engine.Store) {
	t.Helper()
	j, now := newJournal(), epoch
	whole = start(t, j, func(c *engine.Config) { c.Clock = func() time.Time { return now } })
	const frames = 12
	for range frames {
		now = now.Add(time.Duration(g.IntN(3)) * 500 * time.Millisecond)
		if _, err := whole.System().Append(t.Context(), g.events(4)); err != nil {
			t.Fatal(err)
		}
	}
	lossy := newJournal()
	lossy.frames = j.frames
	for range 1 + g.IntN(3) {
		lossy.damaged[1+g.Uint64N(frames)] = &annals.DataLossError{File: "00000001.seg", Reason: "checksum"}
	}
	tail := true
	for seq := uint64(frames); seq > 0; seq-- {
		h := j.frames[seq-1].header
		loss := lossy.damaged[seq]
		tail = tail && loss != nil
		// How far a loss goes tells the frame behind it. At the end there is none, and the loss must tell itself.
		if loss != nil && (tail || g.IntN(2) == 0) {
			loss.First, loss.Last = h.FirstPosition, h.LastPosition()
		}
	}
	damaged = start(t, lossy)
	wantHead(t, damaged, j.frames[frames-1].header.LastPosition())
	return whole, damaged
}

// compareWithWhole reads the same of both, and says how the damaged one answered.
func compareWithWhole(t *testing.T, g generator, whole, damaged *engine.Store) string {
	t.Helper()
	head := whole.Stats().Head
	q := g.query(nil)
	if g.IntN(4) == 0 {
		q = annals.Stream(g.pick("s-1", "s-2", "r-1", "r", "z")) // the options about revisions want one
	}
	opts, text := g.readOptions(head, q)
	var gotHead, wantHead annals.Position
	got, err := read(t, damaged, q, append(slices.Clone(opts), annals.HeadInto(&gotHead))...)
	want, wantErr := read(t, whole, q, append(slices.Clone(opts), annals.HeadInto(&wantHead))...)
	lost := errors.Is(err, annals.ErrDataLoss)
	same := len(got) <= len(want) && slices.EqualFunc(got, want[:len(got)], sameRecorded)
	if !lost {
		same = same && len(got) == len(want) && gotHead == wantHead && fmt.Sprint(err) == fmt.Sprint(wantErr)
	}
	if !same {
		t.Errorf("%s with%s reads %v at %d, %v; undamaged %v at %d, %v", q, text, positions(got), gotHead, err, positions(want), wantHead, wantErr)
	}
	switch {
	case err == nil:
		return "whole"
	case !lost:
		return "another error"
	case len(got) == 0:
		return "nothing"
	}
	return "a beginning"
}

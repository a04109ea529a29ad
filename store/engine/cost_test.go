package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/journal"
)

// An id makes an append idempotent in its stream. Many streams may use the same, a natural key for instance.

func withID(id annals.ID, stream string) []annals.Event {
	return []annals.Event{{ID: id, Type: "A", Stream: stream, Data: []byte(`{}`)}}
}

func TestAnIDIsLookedUpInItsStreamAlone(t *testing.T) {
	t.Parallel()
	j := newJournal()
	s := start(t, j)
	id := annals.NewID()
	const streams = 200
	for i := range streams {
		if _, err := s.Append(t.Context(), withID(id, fmt.Sprint("s-", i))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(t.Context(), withID(id, "")); err != nil {
		t.Fatal(err)
	}
	if n := j.read.Load(); n > 0 {
		t.Errorf("%d records were read to learn that an id is new in a stream", n)
	}
	for i, stream := range map[annals.Position]string{1: "s-0", 100: "s-99", streams: "s-199", streams + 1: ""} {
		j.read.Store(0)
		r, err := s.Append(t.Context(), withID(id, stream))
		if err != nil || !r.Duplicate || r.First != i {
			t.Errorf("the append to %q again answered %+v, %v; want a duplicate of %d", stream, r, err, i)
		}
		if n := j.read.Load(); n != 1 {
			t.Errorf("%d records were read to find one", n)
		}
	}
	if got, err := read(t, s, annals.ByID(id)); err != nil || len(got) != streams+1 {
		t.Errorf("the id reads %d events, %v", len(got), err)
	}
}

func TestAppendsWithOneIDToManyStreamsDoNotDelayEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		g := newGate(j)
		s := start(t, j, func(c *engine.Config) { c.FrameEvents = 1 })
		id := annals.NewID()
		var results []<-chan result
		for i := range 20 {
			results = append(results, begin(t.Context(), s, withID(id, fmt.Sprint("s-", i))))
		}
		for i, done := range results {
			g.pass(t)
			if r := <-done; r.err != nil || r.receipt.First != annals.Position(i+1) {
				t.Fatalf("append %d answered %+v", i, r)
			}
		}
	})
}

func TestRecordsAreReadOnlyForEventsThatAreWanted(t *testing.T) {
	t.Parallel()
	j := newJournal()
	s := start(t, j)
	var es []annals.Event
	for i := range 1000 {
		e := annals.Event{ID: annals.NewID(), Type: fmt.Sprint("T", i%2), Tags: []string{fmt.Sprint("even:", i%2), fmt.Sprint("odd:", 1-i%2)}}
		if i%500 == 0 {
			e.Tags = append(e.Tags, "rare:1")
		}
		es = append(es, e)
	}
	if _, err := s.Append(t.Context(), es); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		q    annals.Query
		opts []annals.ReadOption
		most int64
	}{
		{"two frequent tags that never meet", annals.Tags("even:0", "odd:0"), nil, 0},
		{"a frequent tag and a frequent type that never meet", annals.Tags("even:0").Types("T1"), nil, 0},
		{"a frequent tag and a rare one", annals.Tags("even:0", "rare:1"), nil, 2},
		{"the first of many", annals.Tags("even:1"), []annals.ReadOption{annals.Limit(1)}, 1},
		{"the last event", annals.All(), []annals.ReadOption{annals.Limit(1), annals.Backwards()}, 1},
		{"half of all", annals.Tags("even:0"), nil, 1000}, // which is quicker than to pick them
	} {
		for _, opts := range [][]annals.ReadOption{c.opts, append([]annals.ReadOption{annals.Backwards()}, c.opts...)} {
			j.read.Store(0)
			got, err := read(t, s, c.q, opts...)
			if n := j.read.Load(); err != nil || n > c.most {
				t.Errorf("%s: %d records were read for %d events, %v", c.name, n, len(got), err)
			}
		}
	}
}

// The index takes a large frame in parts, between which others read it.
func TestALargeFrameBecomesVisibleAtOnce(t *testing.T) {
	t.Parallel()
	const size, frames = 5000, 4
	s := start(t, newJournal())
	done := make(chan struct{})
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					lookAt(t, s, size)
				}
			}
		})
	}
	for range frames {
		es := make([]annals.Event, size)
		for i := range es {
			es[i] = annals.Event{ID: annals.NewID(), Type: "A", Stream: fmt.Sprint("s-", i), Tags: []string{fmt.Sprint("t:", i/3)}}
		}
		if _, err := s.Append(t.Context(), es); err != nil {
			t.Error(err)
		}
	}
	close(done)
	reading.Wait()
	wantHead(t, s, size*frames)
}

// lookAt asks the store in several ways how many frames it has, of so many events each.
func lookAt(t *testing.T, s *engine.Store, size annals.Position) {
	t.Helper()
	for range 1000 {
		if head, err := s.Head(t.Context()); err != nil || head%size != 0 {
			t.Errorf("the head is %d, %v: within a frame", head, err)
			return
		}
	}
	var head annals.Position
	first, err := read(t, s, annals.Stream("s-0"), annals.HeadInto(&head)) // of each frame the first event
	if err != nil || head%size != 0 || len(first) != int(head/size) {
		t.Errorf("at %d there are %d events that begin a frame, %v", head, len(first), err)
	}
	if tagged, err := read(t, s, annals.Tags("t:0"), annals.AsOf(head)); err != nil || len(tagged) != 3*len(first) {
		t.Errorf("at %d %d events have the tag, %v", head, len(tagged), err)
	}
	var conflict *annals.ConflictError
	r, err := s.Append(t.Context(), nil, annals.NoneSince(head, annals.Stream("s-1")), annals.NoStream("s-1"))
	switch {
	case errors.As(err, &conflict):
		if n := len(conflict.Failures[len(conflict.Failures)-1].Positions); n > frames(t, s, size) {
			t.Errorf("%d frames are in the way, more than there are", n)
		}
	case err != nil || r.Head != 0:
		t.Errorf("nothing is in the way at %d: %v", r.Head, err)
	}
}

func frames(t *testing.T, s *engine.Store, size annals.Position) int {
	t.Helper()
	st := s.Stats()
	if st.Head != size*annals.Position(st.Frame) {
		t.Errorf("the stats say %+v", st)
	}
	return int(st.Frame)
}

// An append lends its data until it returns.
func TestWhatAnAppendLentIsNotKept(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]error{"and was written": nil, "and was refused": journal.ErrFull} {
		j := newJournal()
		s := start(t, j)
		j.onAppend = func(context.Context, []byte) (bool, error) { return refusal == nil, refusal }
		data := lend(t, s, refusal)
		runtime.GC()
		if data.Value() != nil {
			t.Errorf("the data that an append lent, %s, is still referred to", name)
		}
	}
}

func TestWhatAnAppendLentIsNotKeptWhenItsOutcomeHadToBeAskedFor(t *testing.T) {
	t.Parallel()
	j := newJournal()
	s := start(t, j)
	j.onAppend = func(context.Context, []byte) (bool, error) { return true, journal.ErrAmbiguous }
	data := lend(t, s, nil)
	if err := s.Close(); err != nil { // which waits for the one who asked
		t.Error(err)
	}
	runtime.GC()
	if data.Value() != nil {
		t.Error("the data that an append lent is still referred to")
	}
	runtime.KeepAlive(s)
}

// lend appends data that nobody else has.
//
//go:noinline
func lend(t *testing.T, s annals.Store, want error) weak.Pointer[byte] {
	t.Helper()
	es := one("A", "s-1")
	es[0].Data = make([]byte, 1<<20)
	if _, err := s.Append(t.Context(), es); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	return weak.Make(&es[0].Data[0])
}

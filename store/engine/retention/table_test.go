package retention_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/retention"
	"github.com/annalsdb/annals/store/memory"
)

// history is a memory store, everything that was appended to it, and a table that was told of it.
type history struct {
	*testing.T
	now   time.Time
	store *memory.Store
	log   []annals.Recorded
	table retention.Table
	pins  []pin
}

// pin is what could be read at a head and a time.
type pin struct {
	head annals.Position
	now  time.Time
	seen []annals.Position
}

func newHistory(t *testing.T) *history {
	t.Helper()
	h := &history{T: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	h.store = memory.New(memory.Clock(func() time.Time { return h.now }))
	return h
}

var streams = []string{"s-1", "s-2", "s-3", "t-1"}

// next is the revision of the next event of a stream when upto was the head.
func (h *history) next(stream string, upto annals.Position) (annals.Revision, error) {
	for _, e := range slices.Backward(h.log[:upto]) {
		if e.Stream == stream {
			return e.Revision + 1, nil
		}
	}
	return 0, nil
}

func (h *history) head() annals.Position { return annals.Position(len(h.log)) }

// apply tells the table of an event.
func apply(tb testing.TB, table *retention.Table, e *annals.Recorded) {
	tb.Helper()
	change, ok, err := annals.RetentionChangeOf(e.Event)
	if err != nil {
		tb.Fatal(err)
	}
	if ok {
		table.Apply(change, e.Position, e.Time)
	}
}

// append gives the events to the store and, if it takes them, to the table.
func (h *history) append(es ...annals.Event) error {
	h.Helper()
	got, err := h.store.System().Append(h.Context(), es)
	if err != nil {
		return err
	}
	for i, e := range es {
		p := got.First + annals.Position(i)
		r := annals.Recorded{Event: e, Position: p, Revision: annals.NoRevision, Time: got.Time}
		if e.Stream != "" {
			r.Revision, _ = h.next(e.Stream, p-1)
		}
		apply(h.T, &h.table, &r)
		h.log = append(h.log, r)
	}
	return nil
}

// step does something at random.
func (h *history) step(rng *rand.Rand) {
	h.Helper()
	h.now = h.now.Add(time.Duration(rng.IntN(3)) * time.Minute)
	var es []annals.Event
	for range 1 + rng.IntN(3) {
		stream := streams[rng.IntN(len(streams))]
		switch n := rng.IntN(30); {
		case n < 6:
			keep := annals.Retention{MaxAge: time.Duration(rng.IntN(4)*4) * time.Minute, MaxCount: rng.IntN(6)}
			end, _ := h.next(stream, h.head())
			keep.TruncateBefore = annals.Revision(rng.Uint64N(uint64(end) + 1))
			if rng.IntN(2) == 0 {
				keep.TruncateBefore = 0
			}
			es = append(es, annals.RetentionEvent(stream, keep))
		case n < 8:
			es = append(es, annals.DeletionEvent(stream))
		case n == 8 && rng.IntN(6) == 0:
			es = append(es, annals.TombstoneEvent(stream))
		case n == 9:
			es = append(es, annals.Event{Type: "A"}, annals.Event{Type: "$note", Stream: "$x"})
		default:
			es = append(es, annals.Event{Type: "A", Stream: stream})
		}
	}
	before := h.table.Len()
	if err := h.append(es...); err != nil && (!errors.Is(err, annals.ErrStreamTombstoned) && !errors.Is(err, annals.ErrInvalid) || h.table.Len() != before) {
		h.Fatal(err)
	}
}

// visible is what the table lets through.
func (h *history) visible(t *retention.Table, head annals.Position, now time.Time) []annals.Position {
	h.Helper()
	v := t.At(head, now, h.next)
	var at []annals.Position
	for i := range h.log[:head] {
		hidden, err := v.Hides(&h.log[i])
		if err != nil {
			h.Fatal(err)
		}
		if !hidden {
			at = append(at, h.log[i].Position)
		}
	}
	return at
}

func (h *history) readable() []annals.Position {
	h.Helper()
	var at []annals.Position
	for e, err := range h.store.Read(h.Context(), annals.All().WithSystem()) {
		if err != nil {
			h.Fatal(err)
		}
		at = append(at, e.Position)
	}
	return at
}

func TestTheTableHidesWhatTheMemoryStoreHides(t *testing.T) {
	t.Parallel()
	for seed := range uint64(15) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 2))
			h := newHistory(t)
			for range 80 {
				h.step(rng)
				p := pin{head: h.head(), now: h.now, seen: h.readable()}
				if got := h.visible(&h.table, p.head, p.now); !slices.Equal(got, p.seen) {
					t.Fatalf("at head %d: got %v, want %v", p.head, got, p.seen)
				}
				h.pins = append(h.pins, p)
				h.compareStreams()
			}
			h.checkPins(&h.table, 0)
			var opened retention.Table // again, from the log
			half := h.pins[len(h.pins)/2].head
			for i := range h.log {
				apply(t, &opened, &h.log[i])
			}
			h.checkPins(&opened, 0)
			h.table.Forget(half)
			h.checkPins(&h.table, half)
			h.table.Forget(h.head())
			h.checkPins(&h.table, h.head())
		})
	}
}

// checkPins wants the table to tell what could be read at every head from one on.
func (h *history) checkPins(t *retention.Table, from annals.Position) {
	h.Helper()
	for _, p := range h.pins {
		if p.head < from {
			continue
		}
		if got := h.visible(t, p.head, p.now); !slices.Equal(got, p.seen) {
			h.Fatalf("at head %d, asked at head %d: got %v, want %v", p.head, h.head(), got, p.seen)
		}
	}
}

// compareStreams compares what is told of streams.
func (h *history) compareStreams() {
	h.Helper()
	v := h.table.At(h.head(), h.now, h.next)
	for _, stream := range append(streams, "never") {
		want, err := h.store.Retention(h.Context(), stream)
		if err != nil {
			h.Fatal(err)
		}
		var last *annals.Recorded
		for i := range h.log {
			if h.log[i].Stream == stream {
				last = &h.log[i]
			}
		}
		if got, err := v.State(stream, last); err != nil || got != want.State || v.Keep(stream) != want.Keep {
			h.Fatalf("%s at head %d: got %s and %+v, %v; want %+v", stream, h.head(), got, v.Keep(stream), err, want)
		}
		_, ended := v.Tombstoned([]annals.Event{{Type: "A", Stream: "other"}, {Type: "A", Stream: stream}}, false)
		_, endedChange := v.Tombstoned([]annals.Event{annals.DeletionEvent(stream)}, true)
		_, plain := v.Tombstoned([]annals.Event{annals.DeletionEvent(stream)}, false)
		if is := want.State == annals.StreamTombstoned; ended != is || endedChange != is || plain {
			h.Fatalf("%s is %s: an event is refused: %t, a change: %t, a change before its id is looked at: %t", stream, want.State, ended, endedChange, plain)
		}
	}
}

// noConditions is an append without conditions.
func noConditions(func(annals.Condition) bool) {}

func TestWhatComesBetweenAffectsOnlyWhoIsConcerned(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	if err := h.append(annals.Event{Type: "A", Stream: "s-1"}, annals.Event{Type: "A", Stream: "s-2"}); err != nil {
		t.Fatal(err)
	}
	changes := []annals.Event{annals.DeletionEvent("s-1"), annals.TombstoneEvent("s-2")}
	var staged retention.Staged
	none := []annals.Event{{Type: "A", Stream: "s-2"}}
	if staged.Affects(none, noConditions) || h.table.Affects(none, noConditions, 0) {
		t.Error("without retention nothing is affected")
	}
	for _, e := range changes {
		change, _, err := annals.RetentionChangeOf(e)
		if err != nil {
			t.Fatal(err)
		}
		staged.Add(change)
	}
	if err := h.append(changes...); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		events []annals.Event
		conds  []annals.Condition
		want   bool
	}{
		{"an event in a stream that has ended", []annals.Event{{Type: "A"}, {Type: "A", Stream: "s-2"}}, nil, true},
		{"a change of a stream that has ended", []annals.Event{annals.DeletionEvent("s-2")}, nil, true},
		{"an event in a stream that was deleted", []annals.Event{{Type: "A", Stream: "s-1"}}, nil, false},
		{"an event in another stream", []annals.Event{{Type: "A", Stream: "s-3"}}, nil, false},
		{"that a deleted stream exists", nil, []annals.Condition{annals.StreamExists("s-1")}, true},
		{"that an ended stream is in a state", nil, []annals.Condition{annals.StreamIn("s-2", annals.StreamLive)}, true},
		{"that another stream exists", nil, []annals.Condition{annals.StreamExists("s-3")}, false},
		{"a revision", nil, []annals.Condition{annals.StreamAt("s-1", 0)}, false},
		{"that nothing is there", nil, []annals.Condition{annals.NoStream("s-1"), annals.NoneSince(0, annals.All())}, false},
	} {
		if got := staged.Affects(c.events, slices.Values(c.conds)); got != c.want {
			t.Errorf("staged, %s: got %t", c.what, got)
		}
		if got := h.table.Affects(c.events, slices.Values(c.conds), 2); got != c.want {
			t.Errorf("published, %s: got %t", c.what, got)
		}
		if h.table.Affects(c.events, slices.Values(c.conds), 4) {
			t.Errorf("%s: what phase 1 has seen does not affect it", c.what)
		}
	}
	staged.Forget()
	if staged.Affects([]annals.Event{{Type: "A", Stream: "s-2"}}, noConditions) {
		t.Error("what was forgotten affects nothing")
	}
}

// ten is a store whose streams all have ten events.
func ten(string, annals.Position) (annals.Revision, error) { return 10, nil }

func TestErrorsOfLookingUpARevisionArePassedOn(t *testing.T) {
	t.Parallel()
	var table retention.Table
	for i, keep := range []annals.Retention{{MaxCount: 3}, {MaxCount: 5}, {}} {
		apply(t, &table, &annals.Recorded{Event: annals.RetentionEvent("s-1", keep), Position: annals.Position(20 + i)})
	}
	broken := errors.New("the disk is broken")
	for head := annals.Position(20); head < 23; head++ {
		v := table.At(head, time.Unix(0, 0), func(string, annals.Position) (annals.Revision, error) { return 0, broken })
		if _, err := v.Hides(&annals.Recorded{Event: annals.Event{Stream: "s-1"}}); !errors.Is(err, broken) {
			t.Errorf("at head %d: got %v", head, err)
		}
		if hidden, err := v.Hides(&annals.Recorded{Event: annals.Event{Stream: "s-2"}}); hidden || err != nil {
			t.Errorf("another stream at head %d: got %t, %v", head, hidden, err)
		}
		v = table.At(head, time.Unix(0, 0), ten) // what failed is asked for again
		for revision, want := range map[annals.Revision]bool{6: true, 7: false} {
			e := annals.Recorded{Event: annals.Event{Stream: "s-1"}, Revision: revision, Position: annals.Position(revision) + 1, Time: time.Unix(0, 0)}
			if hidden, err := v.Hides(&e); err != nil || hidden != want {
				t.Errorf("revision %d at head %d: got %t, %v", revision, head, hidden, err)
			}
		}
	}
}

func TestReadersAndTheWriterMayMeet(t *testing.T) {
	t.Parallel()
	var table retention.Table
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			for p := range annals.Position(500) {
				v := table.At(p, time.Unix(0, 0), ten)
				if _, err := v.Hides(&annals.Recorded{Event: annals.Event{Stream: streams[i]}, Position: p}); err != nil {
					t.Error(err)
				}
				if p%100 == 99 {
					table.Forget(p)
				}
			}
		})
	}
	for p := range annals.Position(500) {
		e := annals.Recorded{Event: annals.DeletionEvent(streams[p%4]), Position: p + 1}
		apply(t, &table, &e)
	}
	all.Wait()
}

func BenchmarkHides(b *testing.B) {
	for _, n := range []int{0, 1000} {
		var table retention.Table
		for i := range n {
			e := annals.Recorded{Event: annals.DeletionEvent(fmt.Sprint("order-", i)), Position: annals.Position(i + 1)}
			apply(b, &table, &e)
		}
		events := make([]annals.Recorded, 4096)
		for i := range events {
			events[i] = annals.Recorded{Event: annals.Event{Stream: fmt.Sprint("order-", i)}, Position: annals.Position(5000 + i), Time: time.Unix(1, 0)}
		}
		b.Run(fmt.Sprint("streams with retention: ", n), func(b *testing.B) {
			b.ReportAllocs()
			v := table.At(10_000, time.Unix(2, 0), ten)
			for i := 0; b.Loop(); i++ {
				if _, err := v.Hides(&events[i%len(events)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

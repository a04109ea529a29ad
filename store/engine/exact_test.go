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
	"github.com/annalsdb/annals/store/engine/journal"
)

// generator makes random events and queries from few names, so that they meet.
type generator struct{ *rand.Rand }

func (g generator) pick(names ...string) string { return names[g.IntN(len(names))] }

func (g generator) event() annals.Event {
	e := annals.Event{
		ID: annals.NewID(), Type: g.pick("A", "B", "C", "D"), Stream: g.pick("", "s-1", "s-2", "r-1", "r"),
		Tags: g.tags(), Data: []byte("{}"),
	}
	if g.IntN(12) == 0 {
		e.Type = "$sys"
	}
	return e
}

func (g generator) tags() []string {
	var tags []string
	for _, t := range []string{"x:1", "x:2", "y:1", "y:2"} {
		if g.IntN(3) == 0 {
			tags = append(tags, t)
		}
	}
	return tags
}

func (g generator) query(ids []annals.ID) annals.Query {
	items := make([]annals.Item, 1+g.IntN(3))
	for i := range items {
		it := &items[i]
		if g.IntN(2) == 0 {
			it.Types = slices.Compact(slices.Sorted(slices.Values([]string{g.pick("A", "B", "C"), g.pick("B", "D", "Z")})))
		}
		if g.IntN(2) == 0 {
			it.Tags = g.tags()
		}
		switch g.IntN(8) {
		case 0:
			it.Stream = g.pick("s-1", "s-2", "r-1", "r", "z")
		case 1:
			it.Category = g.pick("s", "r", "z")
		case 2:
			if len(ids) > 0 {
				it.ID = ids[g.IntN(len(ids))]
			}
		}
	}
	q := annals.QueryOf(items...)
	if g.IntN(4) == 0 {
		q = q.WithSystem()
	}
	return q
}

// Whatever is in the log, in the queue and in the batch: an append whose condition excludes an event that is
// committed before it loses, and one whose condition does not wins.
func TestConditionsAgreeWithBruteForce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { bruteForce(t, generator{rand.New(rand.NewPCG(seed, 1))}) })
		})
	}
}

func bruteForce(t *testing.T, g generator) {
	t.Helper()
	j := newJournal()
	s := start(t, j)
	at := newGate(j)
	var log []annals.Event // as it must be
	var ids []annals.ID
	for range 12 {
		type asked struct {
			event annals.Event
			after annals.Position
			query annals.Query
			done  <-chan result
		}
		var batch []asked
		for range 1 + g.IntN(12) { // the first goes to the gate, the others into one batch behind it
			a := asked{event: g.event(), after: annals.Position(g.IntN(len(log) + 1)), query: g.query(ids)}
			a.done = begin(t.Context(), s.System(), []annals.Event{a.event}, annals.NoneSince(a.after, a.query))
			batch = append(batch, a)
		}
		go func() {
			for range at.arrived {
				at.answer <- answer{true, nil}
			}
		}()
		synctest.Wait()
		close(at.arrived)
		at.arrived = make(chan []byte, 1)
		for i, a := range batch {
			var excluded []annals.Position
			for p, e := range log {
				if annals.Position(p+1) > a.after && a.query.MatchEvent(e) {
					excluded = append(excluded, annals.Position(p+1))
				}
			}
			r := <-a.done
			var conflict *annals.ConflictError
			switch {
			case len(excluded) == 0 && (r.err != nil || int(r.receipt.First) != len(log)+1):
				t.Fatalf("append %d: nothing after %d matches %s, and it got %+v at head %d", i, a.after, a.query, r, len(log))
			case len(excluded) > 0 && !errors.As(r.err, &conflict):
				t.Fatalf("append %d: %v are after %d and match %s, and it got %+v", i, excluded, a.after, a.query, r)
			case conflict != nil && conflict.Failures[0].Positions[0] != excluded[0]:
				t.Fatalf("append %d: the first in the way is %d, it was told %v", i, excluded[0], conflict.Failures[0].Positions)
			case conflict == nil:
				log = append(log, a.event)
				ids = append(ids, a.event.ID)
			}
		}
	}
	checkReads(t, s, g, log, ids)
	checkReads(t, start(t, j), g, log, ids)
}

// checkReads compares reads with a walk over the log.
func checkReads(t *testing.T, s *engine.Store, g generator, log []annals.Event, ids []annals.ID) {
	t.Helper()
	for range 60 {
		q, after := g.query(ids), annals.Position(g.IntN(len(log)+1))
		asOf := after + annals.Position(g.IntN(len(log)+1-int(after)))
		var want []annals.ID
		for p, e := range log {
			if p := annals.Position(p + 1); p > after && p <= asOf && q.MatchEvent(e) {
				want = append(want, e.ID)
			}
		}
		opts := []annals.ReadOption{annals.After(after), annals.AsOf(asOf)}
		if g.IntN(2) == 0 {
			opts = append(opts, annals.Backwards())
			slices.Reverse(want)
		}
		got, err := read(t, s, q, opts...)
		if err != nil || !slices.EqualFunc(got, want, func(r annals.Recorded, id annals.ID) bool { return r.ID == id }) {
			t.Fatalf("%s in (%d, %d] reads %v, %v; want %v", q, after, asOf, got, err, want)
		}
	}
}

// Racers increment counters by the condition that nothing has happened; the journal fails now and then, before and
// after it has written.
func TestNoIncrementIsLostWhateverTheJournalDoes(t *testing.T) {
	t.Parallel()
	j := newJournal()
	var mu sync.Mutex
	g := generator{rand.New(rand.NewPCG(1, 2))}
	j.onAppend = func(context.Context, []byte) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		switch g.IntN(10) {
		case 0:
			return false, journal.ErrFull
		case 1:
			return false, journal.ErrAmbiguous
		case 2:
			return true, journal.ErrAmbiguous
		case 3:
			return false, journal.ErrTooLarge
		}
		return true, nil
	}
	s, other := start(t, j), start(t, j)
	const racers, rounds = 8, 12
	var racing sync.WaitGroup
	for i := range racers {
		racing.Go(func() {
			for round := range rounds {
				increment(t, []*engine.Store{s, s, other}[(i+round)%3], fmt.Sprint("n-", round%2))
			}
		})
	}
	racing.Wait()
	again := start(t, j)
	for _, stream := range []string{"n-0", "n-1"} {
		got, err := read(t, again, annals.Stream(stream))
		if err != nil || len(got) != racers*rounds/2 {
			t.Fatalf("%s has %d events, %v; want %d", stream, len(got), err, racers*rounds/2)
		}
		for i, e := range got {
			if string(e.Data) != fmt.Sprint(i) || e.Revision != annals.Revision(i) {
				t.Errorf("event %d of %s says %s and has revision %d", i, stream, e.Data, e.Revision)
			}
		}
	}
}

func increment(t *testing.T, s *engine.Store, stream string) {
	t.Helper()
	id := annals.NewID()
	for {
		var head annals.Position
		got, err := read(t, s, annals.Stream(stream), annals.HeadInto(&head))
		if err != nil {
			t.Error(err)
			return
		}
		if slices.ContainsFunc(got, func(e annals.Recorded) bool { return e.ID == id }) {
			return
		}
		e := annals.Event{ID: id, Type: "Counted", Stream: stream, Data: []byte(fmt.Sprint(len(got)))}
		if _, err := s.Append(t.Context(), []annals.Event{e}, annals.NoneSince(head, annals.Stream(stream))); err == nil {
			return
		}
	}
}

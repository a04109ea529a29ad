package storetest

import (
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/annalsdb/annals"
)

func racePromises() []promise {
	one := func(es func() annals.Event, conds func(i int, head annals.Position) annals.Condition) func(*rig) {
		return func(r *rig) { oneWins(r, es, conds) }
	}
	both := func() annals.Event { return event("A", "", "x:1") }
	return []promise{
		{"of many that create a stream one wins", func(r *rig) {
			for i := range 5 {
				winners(r, 12, func(int) annals.Event { return event("A", "s-"+decimal(i)) }, func(j int) annals.Condition {
					if j%3 == 0 {
						return annals.StreamIn("s-"+decimal(i), annals.StreamNone)
					}
					return annals.NoStream("s-" + decimal(i))
				})
			}
		}},
		{"of many that expect the same revision one wins", racersAtOneRevision},
		{"of many that saw none of a tag one wins", one(both, func(_ int, head annals.Position) annals.Condition {
			return annals.NoneSince(head, annals.Tags("x:1"))
		})},
		{"of many that saw none of a type one wins, without any tag", one(func() annals.Event { return event("A", "") }, func(_ int, head annals.Position) annals.Condition {
			return annals.NoneSince(head, annals.Types("A"))
		})},
		{"a condition by type and one by tag that one event violates exclude each other", one(both, func(i int, head annals.Position) annals.Condition {
			if i%2 == 0 {
				return annals.NoneSince(head, annals.Types("A"))
			}
			return annals.NoneSince(head, annals.Tags("x:1"))
		})},
		{"conditions of every shape that one event violates exclude each other", one(func() annals.Event { return event("A", "s-1", "x:1", "y:1") }, func(i int, head annals.Position) annals.Condition {
			shapes := []annals.Query{
				annals.All(), annals.Types("A"), annals.Tags("x:1"), annals.Tags("y:1", "x:1"), annals.Tags("y:1").Types("B", "A"),
				annals.Stream("s-1"), annals.Category("s"), annals.Stream("s-1").Tags("y:1"), annals.Types("none").Or(annals.Tags("y:1")), annals.Category("s").Types("A"),
			}
			return annals.NoneSince(head, shapes[i%len(shapes)])
		})},
		{"a condition on everything and one on a tag exclude each other", one(both, func(i int, head annals.Position) annals.Condition {
			if i%2 == 0 {
				return annals.NoneSince(head, annals.All())
			}
			return annals.NoneSince(head, annals.Tags("x:1"))
		})},
		{"writers who have nothing to do with each other never conflict", neighboursSurvive},
		{"a condition on everything conflicts with whatever was written", everythingConflicts},
		{"every accepted append's conditions held at its place in the log", historyIsSerial},
		{"read, decide, append, and again on conflict loses no update", noLostUpdate},
		{"concurrent appends never interleave", appendsDoNotInterleave},
	}
}

// winners lets n writers race and wants exactly one of them to be accepted, and the others to have conflicts.
func winners(r *rig, n int, e func(i int) annals.Event, cond func(i int) annals.Condition) {
	r.Helper()
	before := r.head()
	var mu sync.Mutex
	won := 0
	race(n, func(i int) {
		_, err := r.store.Append(r.Context(), events(e(i)), cond(i))
		if err != nil && !errors.Is(err, annals.ErrConflict) {
			r.Errorf("a racer failed with something else than a conflict: %v", err)
		}
		if err == nil {
			mu.Lock()
			won++
			mu.Unlock()
		}
	})
	if written := r.head() - before; won != 1 || written != 1 {
		r.Errorf("%d writers raced on %s: %d were accepted and %d events written; want 1 and 1", n, cond(0), won, written)
	}
}

func oneWins(r *rig, e func() annals.Event, cond func(i int, head annals.Position) annals.Condition) {
	r.Helper()
	r.put("A", "s-1", "x:1", "y:1")
	for range 5 {
		head := r.head()
		winners(r, 12, func(int) annals.Event { return e() }, func(i int) annals.Condition { return cond(i, head) })
	}
}

func racersAtOneRevision(r *rig) {
	r.put("A", "s-1")
	for i := range annals.Revision(5) {
		winners(r, 12, func(int) annals.Event { return event("A", "s-1") }, func(int) annals.Condition { return annals.StreamAt("s-1", i) })
	}
}

func neighboursSurvive(r *rig) {
	race(10, func(i int) {
		mine := annals.Tags(annals.Tag("w", decimal(i)))
		stream := "s-" + decimal(i)
		after := annals.Position(0)
		for j := range 10 {
			conds := []annals.Condition{annals.NoneSince(after, mine), annals.NoStream(stream)}
			if j > 0 {
				conds[1] = annals.StreamAt(stream, annals.Revision(j-1))
			}
			got, err := r.store.Append(r.Context(), events(event("A", stream, annals.Tag("w", decimal(i)))), conds...)
			if err != nil {
				r.Errorf("writer %d is alone with its tag and its stream, and yet: %v", i, err)
				return
			}
			after = got.Last
		}
	})
	r.equal("the head", r.head(), annals.Position(100))
}

func everythingConflicts(r *rig) {
	for range 5 {
		head := r.head()
		var mu sync.Mutex
		var guarded, plain []annals.Receipt
		race(10, func(i int) {
			if i%2 == 0 {
				got, err := r.store.Append(r.Context(), events(event("A", "")))
				if err != nil {
					r.Errorf("an append without a condition failed: %v", err)
				}
				mu.Lock()
				plain = append(plain, got)
				mu.Unlock()
				return
			}
			got, err := r.store.Append(r.Context(), events(event("B", "s-"+decimal(i), annals.Tag("n", decimal(i)))), annals.NoneSince(head, annals.All()))
			if err == nil {
				mu.Lock()
				guarded = append(guarded, got)
				mu.Unlock()
			} else if !errors.Is(err, annals.ErrConflict) {
				r.Errorf("a guarded append failed with something else than a conflict: %v", err)
			}
		})
		if len(plain) != 5 || len(guarded) > 1 || len(guarded) == 1 && guarded[0].First != head+1 {
			r.Errorf("only the first of all may be accepted on the condition that nothing came after %d; accepted were %+v", head, guarded)
		}
	}
}

// attempt is one conditional append and how it was answered.
type attempt struct {
	after   annals.Position
	query   annals.Query
	receipt annals.Receipt
	err     error
}

func historyIsSerial(r *rig) {
	var mu sync.Mutex
	var attempts []attempt
	pick := func(rng *rand.Rand, names ...string) string { return names[rng.IntN(len(names))] }
	race(8, func(i int) {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		for range 15 {
			e := event(pick(rng, "A", "B"), pick(rng, "", "s-1", "s-2"), pick(rng, "x:1", "x:2"))
			queries := []annals.Query{annals.Types(e.Type), annals.Tags(e.Tags...), annals.Tags("x:1").Types("A"), annals.All(), annals.Stream("s-1").Or(annals.Tags("x:2").Types("B"))}
			a := attempt{query: queries[rng.IntN(len(queries))]}
			if _, err := r.drainQuietly(r.store.Read(r.Context(), a.query, annals.HeadInto(&a.after))); err != nil {
				r.Errorf("a read failed: %v", err)
				return
			}
			a.receipt, a.err = r.store.Append(r.Context(), events(e), annals.NoneSince(a.after, a.query))
			mu.Lock()
			attempts = append(attempts, a)
			mu.Unlock()
		}
	})
	log := r.read(annals.All())
	for _, a := range attempts {
		checkAttempt(r, log, a)
	}
}

func checkAttempt(r *rig, log []annals.Recorded, a attempt) {
	r.Helper()
	if a.err == nil {
		for _, e := range log[a.after : a.receipt.First-1] {
			if a.query.Match(e) {
				r.Errorf("an append on the condition that none of %s came after %d went to %d, although position %d is one", a.query, a.after, a.receipt.First, e.Position)
			}
		}
		return
	}
	if !errors.Is(a.err, annals.ErrConflict) {
		r.Errorf("an append failed with something else than a conflict: %v", a.err)
		return
	}
	for _, f := range r.conflict(a.err) {
		if len(f.Positions) == 0 {
			r.Errorf("a conflict of NoneSince names no position: %v", a.err)
		}
		for _, p := range f.Positions {
			if p <= a.after || int(p) > len(log) || !a.query.Match(log[p-1]) {
				r.Errorf("a conflict over %s after %d names position %d, which is none of it", a.query, a.after, p)
			}
		}
	}
}

func noLostUpdate(r *rig) {
	const writers, each = 6, 6
	counter := annals.Tags("counter:1")
	race(writers, func(int) {
		done := 0
		for range triesMax {
			if done == each {
				return
			}
			var head annals.Position
			seen, err := r.drainQuietly(r.store.Read(r.Context(), counter, annals.HeadInto(&head)))
			if err != nil {
				r.Errorf("a read failed: %v", err)
				return
			}
			e := event("Counted", "", "counter:1")
			e.Data = []byte(decimal(len(seen) + 1))
			_, err = r.store.Append(r.Context(), events(e), annals.NoneSince(head, counter))
			switch {
			case err == nil:
				done++
			case !errors.Is(err, annals.ErrConflict):
				r.Errorf("an append failed with something else than a conflict: %v", err)
				return
			}
		}
		r.Errorf("a writer read and decided again %d times, and had a conflict nearly every time", triesMax)
	})
	got := r.read(counter)
	r.equal("increments", len(got), writers*each)
	for i, e := range got {
		if string(e.Data) != decimal(i+1) {
			r.Errorf("increment %d says %s: it was decided on a state that was no longer true", i+1, e.Data)
		}
	}
}

func appendsDoNotInterleave(r *rig) {
	race(8, func(i int) {
		for j := range 6 {
			es := make([]annals.Event, 4)
			for k := range es {
				es[k] = event("A", "s-"+decimal(k), annals.Tag("append", decimal(i)+"."+decimal(j)))
			}
			got, err := r.store.Append(r.Context(), es)
			if err != nil || got.Last != got.First+3 {
				r.Errorf("an append of four events went to %d … %d, %v", got.First, got.Last, err)
			}
		}
	})
	log := r.read(annals.All())
	for i, e := range log {
		if first := log[i-i%4]; e.Tags[0] != first.Tags[0] || e.Stream != "s-"+decimal(i%4) || e.Revision != annals.Revision(i/4) {
			r.Errorf("position %d is %s of append %s, revision %d; it lies within append %s", e.Position, e.Stream, e.Tags[0], e.Revision, first.Tags[0])
		}
	}
}

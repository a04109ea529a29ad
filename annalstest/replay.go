package annalstest

import (
	"maps"
	"slices"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// Replay checks a state against a history: every event of its boundary comes back from today's schema as it is stored,
// with the same stream and tags; folding twice leads to the same state; and the state as of every event can be loaded,
// a step at a time, and does not change when later events are folded in. As it reads the history once for every event
// of it, give it short ones, of every age. Maps in initial must be nil.
func Replay[S decider.State[S, E], E any](tb testing.TB, log *annals.Log[E], initial S) {
	tb.Helper()
	now, err := decider.Load(tb.Context(), log, initial)
	if err != nil {
		tb.Errorf("annalstest: replay: %v", err)
		return
	}
	states := map[annals.Position]rendered[S]{}
	for e, err := range log.Read(tb.Context(), now.Boundary, annals.AsOf(now.Position)) {
		if err != nil {
			tb.Errorf("annalstest: replay: %v", err)
			return
		}
		checkStored(tb, log.Schema(), e)
		then, err := decider.Load(tb.Context(), log, initial, annals.AsOf(e.Position))
		if err != nil {
			tb.Errorf("annalstest: replay: as of position %d: %v", e.Position, err)
			return
		}
		states[e.Position] = render(then.State)
	}
	states[now.Position] = render(now.State)
	for _, p := range slices.Sorted(maps.Keys(states)) {
		again, err := decider.Load(tb.Context(), log, initial, annals.AsOf(p))
		if err != nil || !states[p].is(again.State) {
			tb.Errorf("annalstest: replay: the state as of position %d is not the same twice: %v\ngot  %s\nwant %s", p, err, show(again.State), states[p].text)
		}
	}
}

// rendered is a state and how it was shown when it was loaded: a state that shares memory with others changes later.
type rendered[S any] struct {
	state S
	text  string
}

func render[S any](s S) rendered[S] { return rendered[S]{state: s, text: show(s)} }

func (r rendered[S]) is(s S) bool { return alike(r.state, s) && r.text == show(s) }

// checkStored encodes a decoded event again: what today's schema makes of it must lead queries to it as before.
func checkStored[E any](tb testing.TB, schema *annals.Schema[E], e annals.Entry[E]) {
	tb.Helper()
	encoded, err := schema.Encode(e.Value)
	if err != nil {
		tb.Errorf("annalstest: replay: position %d: %v", e.Position, err)
		return
	}
	if e.Parts == 1 && (encoded.Stream != e.Stream || !alike(encoded.Tags, e.Tags)) {
		tb.Errorf("annalstest: replay: position %d: %s is stored with stream %q and tags %q, and would be with %q and %q today",
			e.Position, e.Type, e.Stream, e.Tags, encoded.Stream, encoded.Tags)
	}
	entries, err := schema.Decode(nil, annals.Recorded{Event: encoded, Position: e.Position})
	back := make([]E, len(entries))
	for i := range entries {
		back[i] = entries[i].Value
	}
	if err != nil || len(back) != 1 || !alike(back[0], e.Value) {
		tb.Errorf("annalstest: replay: position %d: not the same after encoding: %v\n%s", e.Position, err, diff(back, []E{e.Value}))
	}
}

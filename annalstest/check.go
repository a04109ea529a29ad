package annalstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/store/memory"
)

// How much [Check] tries: so many histories, of so many commands at most.
const (
	histories     = 100
	historyLength = 30
	sameEveryTime = 4 // repetitions that find the order of a map or the time of day
)

// Generator makes commands for [Check]. Make one with [Commands].
type Generator[E any] struct {
	name      string
	principal annals.Principal
	inPlace   bool
	next      func(*rand.Rand) command[E]
}

// As says who gives the commands. Without it, nobody does.
func (g Generator[E]) As(p annals.Principal) Generator[E] {
	g.principal = p
	return g
}

// InPlace says that Evolve may change the maps and slices of the state it is given, as decider.Load allows.
func (g Generator[E]) InPlace() Generator[E] {
	g.inPlace = true
	return g
}

// Commands generates commands of one type with a function, which takes all that it chooses from r. Choose ids from a
// few values, so that commands meet in the same boundary; what Decide refuses is left out of the history.
func Commands[C decider.Command[S, E], S decider.State[S, E], E any](generate func(r *rand.Rand) C) Generator[E] {
	return Generator[E]{
		name: decider.CommandName[C](),
		next: func(r *rand.Rand) command[E] { return typedCommand[C, S, E]{generate(r)} },
	}
}

// Check generates histories of the commands and checks on each that the laws hold by which the library works:
//
//   - the state that a command leaves is the one that is read back;
//   - a state with a method SnapshotVersion is the same after JSON, and goes on the same;
//   - every decided event is the same after encoding;
//   - Evolve is total: it panics on no event of the schema, in no state that was reached, not even on one with zero fields;
//   - Evolve is pure: it leaves the state it is given alone, see [Generator.InPlace], and gives the same every time;
//   - Decide is pure: it leaves the state alone, and answers the same every time;
//   - a boundary covers what Evolve handles: no event type changes a state and lies outside all its boundaries.
//
// A broken law fails the test with the shortest history found that breaks it, none of whose commands can be left out. Histories are the same in every run. That
// none of the commands was ever accepted fails the test too.
func Check[E any](tb testing.TB, schema *annals.Schema[E], commands ...Generator[E]) {
	tb.Helper()
	if len(commands) == 0 {
		tb.Fatalf("annalstest: Check needs a generator of commands")
	}
	c := checker[E]{schema: schema, zeros: zeroEvents(schema), handled: map[string]map[string]bool{}}
	accepted := map[string]bool{}
	for seed := range uint64(histories) {
		r := rand.New(rand.NewPCG(seed, seed))
		steps := make([]step[E], 1+r.IntN(historyLength))
		for i := range steps {
			g := commands[r.IntN(len(commands))]
			steps[i] = step[E]{Generator: g, command: g.next(r)}
		}
		broken := c.history(tb.Context(), steps, accepted)
		if broken == nil {
			continue
		}
		steps, broken = c.shrink(tb.Context(), steps, broken)
		tb.Errorf("annalstest: %s\n%safter the history\n%s", broken.law, broken.detail, listSteps(steps))
		return
	}
	if len(accepted) == 0 {
		tb.Errorf("annalstest: none of the commands led to an event in %d histories, so nothing was checked: generate some that are legal", histories)
	}
	c.reportUncovered(tb)
}

func listSteps[E any](steps []step[E]) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, s.command)
	}
	return b.String()
}

// step is one command of a history.
type step[E any] struct {
	Generator[E]
	command command[E]
}

// command is a command whose state's type is forgotten.
type command[E any] interface {
	fmt.Stringer
	run(ctx context.Context, c *checker[E], log *annals.Log[E], inPlace bool) (events int, broken *brokenLaw)
}

// brokenLaw is what is wrong. Laws are told apart by their words.
type brokenLaw struct{ law, detail string }

func broke(detail, law string, args ...any) *brokenLaw {
	return &brokenLaw{law: fmt.Sprintf(law, args...), detail: detail}
}

type checker[E any] struct {
	schema *annals.Schema[E]
	// zeros are the events of the schema without any field.
	zeros []annals.Entry[E]
	// handled are, by the name of a state's type, the event types that changed one, and whether one lay in its boundary.
	handled map[string]map[string]bool
}

// zeroEvents are the events of a schema without anything in them.
func zeroEvents[E any](schema *annals.Schema[E]) (zeros []annals.Entry[E]) {
	for _, et := range schema.EventTypes() {
		if v, ok := reflect.TypeAssert[E](reflect.Zero(et.Type)); ok {
			zeros = append(zeros, annals.Entry[E]{Recorded: annals.Recorded{Event: annals.Event{Type: et.Name, Version: et.Version}}, Value: v, Parts: 1})
		}
	}
	return zeros
}

// history gives the commands one after the other, to an empty store.
func (c *checker[E]) history(ctx context.Context, steps []step[E], accepted map[string]bool) *brokenLaw {
	log := annals.NewLog(memory.New(), c.schema)
	for _, s := range steps {
		events, broken := s.command.run(annals.WithPrincipal(ctx, s.principal), c, log, s.inPlace)
		if broken != nil {
			return broken
		}
		if events > 0 {
			accepted[s.name] = true
		}
	}
	return nil
}

// shrink leaves out commands, one or two at a time, as long as the same law is broken: two may only go together.
func (c *checker[E]) shrink(ctx context.Context, steps []step[E], broken *brokenLaw) ([]step[E], *brokenLaw) {
	for i := range slices.Backward(steps) {
		for j := i; j >= 0; j-- {
			fewer := slices.Delete(slices.Clone(steps), i, i+1)
			if j < i {
				fewer = slices.Delete(fewer, j, j+1)
			}
			if b := c.history(ctx, fewer, map[string]bool{}); b != nil && b.law == broken.law {
				return c.shrink(ctx, fewer, b)
			}
		}
	}
	return steps, broken
}

func (c *checker[E]) reportUncovered(tb testing.TB) {
	tb.Helper()
	for _, state := range slices.Sorted(maps.Keys(c.handled)) {
		for _, name := range slices.Sorted(maps.Keys(c.handled[state])) {
			if !c.handled[state][name] {
				tb.Errorf("annalstest: %s.Evolve handles %s, but in %d histories no boundary of %s had one: widen Boundary to match it, or let Evolve ignore it",
					state, name, histories, state)
			}
		}
	}
}

type typedCommand[C decider.Command[S, E], S decider.State[S, E], E any] struct{ cmd C }

func (t typedCommand[C, S, E]) String() string { return show(t.cmd) }

// run checks what is known of the state before the command, gives the command, and checks the state after it.
func (t typedCommand[C, S, E]) run(ctx context.Context, c *checker[E], log *annals.Log[E], inPlace bool) (int, *brokenLaw) {
	if v, ok := any(t.cmd).(interface{ Validate() error }); ok && v.Validate() != nil {
		return 0, nil // its boundary may be none
	}
	if broken := t.checkEvolve(ctx, c, log, inPlace); broken != nil {
		return 0, broken
	}
	before, err := decider.Load(ctx, log, t.cmd.Initial())
	if err != nil {
		return 0, broke(fmt.Sprintf("  %v\n", err), "the state of %s cannot be loaded", decider.CommandName[C]())
	}
	res, err := decider.Execute(ctx, log, t.cmd)
	switch {
	case errors.Is(err, decider.ErrInvalid), errors.Is(err, decider.ErrForbidden):
		return 0, nil // Decide does not see it
	case errors.Is(err, decider.ErrRejected), err == nil:
	default:
		return 0, broke(fmt.Sprintf("  %v\n", err), "%s fails without being refused", decider.CommandName[C]())
	}
	if broken := t.checkDecide(before.State); broken != nil {
		return 0, broken
	}
	if err != nil || len(res.Events) == 0 {
		return 0, nil
	}
	for _, e := range res.Events {
		if broken := c.checkCodec(e); broken != nil {
			return 0, broken
		}
	}
	if broken := t.checkEvolve(ctx, c, log, inPlace); broken != nil {
		return 0, broken // which says more than that the states differ
	}
	after, err := decider.Load(ctx, log, t.cmd.Initial())
	if err != nil {
		return 0, broke(fmt.Sprintf("  %v\n", err), "the state of %s cannot be loaded", decider.CommandName[C]())
	}
	if before.Boundary.Covers(after.Boundary) && !alike(res.State, after.State) {
		return 0, broke(diff([]S{after.State}, []S{res.State}), "the state read back after %s differs from the one decided", decider.CommandName[C]())
	}
	return len(res.Events), nil
}

// checkDecide decides several times on the same state.
func (t typedCommand[C, S, E]) checkDecide(state S) *brokenLaw {
	before := show(state)
	first, firstErr := t.cmd.Decide(state)
	for range sameEveryTime {
		if now := show(state); now != before {
			return broke(fmt.Sprintf("got  %s\nwant %s\n", now, before), "%T.Decide changes the state it is given", t.cmd)
		}
		again, err := t.cmd.Decide(state)
		if !alike(again, first) || fmt.Sprint(err) != fmt.Sprint(firstErr) {
			return broke(fmt.Sprintf("errors: %v, %v\n%s", firstErr, err, diff(again, first)), "%T.Decide is not the same every time", t.cmd)
		}
	}
	return nil
}

// checkCodec stores an event and reads it back.
func (c *checker[E]) checkCodec(e E) *brokenLaw {
	law := fmt.Sprintf("%s is not the same after encoding", c.schema.TypeName(e))
	encoded, err := c.schema.Encode(e)
	if err != nil {
		return broke(fmt.Sprintf("  %v\n", err), "%s", law)
	}
	back, err := c.schema.Decode(nil, annals.Recorded{Event: encoded})
	if err != nil {
		return broke(fmt.Sprintf("  %v\n", err), "%s", law)
	}
	if !alike(back[0].Value, e) {
		return broke(diff([]E{back[0].Value}, []E{e}), "%s", law)
	}
	return nil
}

// checkEvolve folds the whole boundary by hand, and tries every event of the store, and of the schema, on the last state.
func (t typedCommand[C, S, E]) checkEvolve(ctx context.Context, c *checker[E], log *annals.Log[E], inPlace bool) *brokenLaw {
	now, err := decider.Load(ctx, log, t.cmd.Initial())
	if err != nil {
		return broke(fmt.Sprintf("  %v\n", err), "the state of %s cannot be loaded", decider.CommandName[C]())
	}
	var past []E
	outside := slices.Clone(c.zeros)
	for e, err := range log.Read(ctx, annals.All()) {
		if err != nil {
			return broke(fmt.Sprintf("  %v\n", err), "the history cannot be read")
		}
		if c.schema.Match(now.Boundary, e.Value) {
			past = append(past, e.Value)
			c.note(fmt.Sprintf("%T", now.State), e.Type, true)
		} else {
			outside = append(outside, e)
		}
	}
	f := folding[C, S, E]{cmd: t.cmd, inPlace: inPlace}
	clean, broken := f.fold(past)
	if broken != nil {
		return broken
	}
	for _, e := range outside {
		state := clean
		if inPlace { // the next event needs the state as it was
			if state, broken = f.fold(past); broken != nil {
				return broken
			}
		}
		next, broken := f.evolve(state, e.Value)
		if broken != nil {
			return broken
		}
		if e.Position != 0 && !alike(next, clean) { // an empty map is like none
			c.note(fmt.Sprintf("%T", now.State), e.Type, false)
		}
	}
	return f.checkSnapshot(past)
}

// note that a state handles a type of event, and that one was in its boundary.
func (c *checker[E]) note(state, event string, covered bool) {
	if c.handled[state] == nil {
		c.handled[state] = map[string]bool{}
	}
	c.handled[state][event] = c.handled[state][event] || covered
}

// folding is Evolve under suspicion.
type folding[C decider.Command[S, E], S decider.State[S, E], E any] struct {
	cmd     C
	inPlace bool
}

// fold makes the state after the events, several times.
func (f folding[C, S, E]) fold(past []E) (S, *brokenLaw) {
	var first S
	for i := range sameEveryTime {
		state := f.cmd.Initial()
		for _, e := range past {
			var broken *brokenLaw
			if state, broken = f.evolve(state, e); broken != nil {
				return state, broken
			}
		}
		if i == 0 {
			first = state
		} else if !alike(first, state) {
			return first, broke(diff([]S{state}, []S{first}), "%T.Evolve is not the same every time", state)
		}
	}
	return first, nil
}

// evolve folds one event in, and looks at what it was given afterwards.
func (f folding[C, S, E]) evolve(state S, e E) (next S, broken *brokenLaw) {
	stateBefore, eventBefore := show(state), show(e)
	defer func() {
		if p := recover(); p != nil {
			broken = broke(fmt.Sprintf("  %v\non    %s\nin    %s\n", p, eventBefore, stateBefore), "%T.Evolve panics on %T", state, e)
		}
	}()
	next = state.Evolve(e)
	if now := show(e); now != eventBefore {
		return next, broke(fmt.Sprintf("got  %s\nwant %s\n", now, eventBefore), "%T.Evolve changes the event %T", state, e)
	}
	if now := show(state); !f.inPlace && now != stateBefore {
		return next, broke(fmt.Sprintf("got  %s\nwant %s\non   %s\n", now, stateBefore, eventBefore),
			"%T.Evolve changes the state it is given: clone its maps and slices, or say InPlace", state)
	}
	return next, nil
}

// checkSnapshot takes a snapshot after every event, if the state declares that it is kept, and folds the others into it.
func (f folding[C, S, E]) checkSnapshot(past []E) *brokenLaw {
	if !keepsSnapshots(f.cmd.Initial()) {
		return nil
	}
	whole, broken := f.fold(past)
	if broken != nil {
		return broken
	}
	for n := range len(past) + 1 {
		state, broken := f.fold(past[:n])
		if broken != nil {
			return broken
		}
		data, err := json.Marshal(state)
		if err != nil {
			return broke(fmt.Sprintf("  %v\n", err), "a snapshot of %T cannot be written", state)
		}
		var kept S
		if err := json.Unmarshal(data, &kept); err != nil {
			return broke(fmt.Sprintf("  %v\n", err), "a snapshot of %T cannot be read", state)
		}
		for _, e := range past[n:] {
			if kept, broken = f.evolve(kept, e); broken != nil {
				return broken
			}
		}
		if !alike(kept, whole) {
			return broke(diff([]S{kept}, []S{whole}), "%T from a snapshot differs from the one replayed", state)
		}
	}
	return nil
}

// keepsSnapshots reports whether a state is kept in snapshots.
func keepsSnapshots(state any) bool {
	_, ok := state.(decider.Snapshotted)
	return ok
}

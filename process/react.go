package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/internal/derive"
)

// handle reacts to an event, for each of its keys. What is done, and that it is, is stored in one append for each.
func (w *worker[S, E]) handle(ctx context.Context, r annals.Recorded) error {
	entries, err := w.log.Schema().Decode(nil, r)
	if err != nil && !errors.Is(err, annals.ErrDropped) && !errors.Is(err, annals.ErrUnknownType) {
		return w.parkAll(ctx, r, err)
	}
	type one struct {
		entry annals.Entry[E]
		key   string
	}
	var todo []one
	for _, e := range entries {
		if !w.query.Match(e.Recorded) {
			continue
		}
		for _, key := range e.TagValues(w.manager.By) {
			todo = append(todo, one{e, key})
		}
	}
	effects := false
	for i, o := range todo {
		at := annals.NoPosition
		if i == len(todo)-1 {
			at = r.Position
		}
		did, err := w.react(ctx, o.entry, o.key, at, effects)
		if err != nil {
			return err
		}
		effects = effects || did
	}
	return nil
}

// parkAll puts an event aside that cannot be decoded.
func (w *worker[S, E]) parkAll(ctx context.Context, r annals.Recorded, cause error) error {
	keys := r.TagValues(w.manager.By)
	for i, key := range keys {
		track := annals.NoPosition
		if i == len(keys)-1 {
			track = r.Position
		}
		at := reaction{Key: key, Position: r.Position, Part: wholeEvent}
		done, err := w.isDone(ctx, at)
		switch {
		case err != nil:
		case done && track != annals.NoPosition:
			err = w.move(ctx, track)
		case !done:
			err = w.park(ctx, at, r.ID, 1, Permanent(cause), track)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tryAgain reacts once more to what is parked.
func (w *worker[S, E]) tryAgain(ctx context.Context, at reaction, tries int) error {
	for r, err := range w.log.Store().Read(ctx, w.query, annals.After(at.Position-1), annals.Limit(1)) {
		if err != nil {
			return fmt.Errorf("process: %s: read what is parked: %w", w.manager.Name, err)
		}
		if r.Position != at.Position {
			break
		}
		entries, err := w.log.Schema().Decode(nil, r)
		if err != nil {
			return w.park(ctx, at, r.ID, tries+1, Permanent(err), annals.NoPosition)
		}
		for _, e := range entries {
			if e.Part == at.Part {
				return w.reactAgain(ctx, e, at, tries)
			}
		}
		if at.Part == wholeEvent { // it can be decoded now: its parts take the place that it had
			if err := w.parkParts(ctx, at, entries); err != nil {
				return err
			}
		}
	}
	// It is hidden by now, or means something else: there is nothing left to react to.
	return w.append(ctx, at, nil, reacted{reaction: at, Effects: []Done{}}, annals.NoPosition)
}

// parkParts parks what an event means that could not be decoded before, to be tried in this order.
func (w *worker[S, E]) parkParts(ctx context.Context, whole reaction, entries []annals.Entry[E]) error {
	for _, e := range entries {
		if !w.query.Match(e.Recorded) || !slices.Contains(e.TagValues(w.manager.By), whole.Key) {
			continue
		}
		at := reaction{Key: whole.Key, Position: e.Position, Part: e.Part}
		if err := w.park(ctx, at, e.ID, 0, nil, annals.NoPosition); err != nil {
			return err
		}
	}
	return nil
}

// react calls the manager's function, does what it asks for, and stores that it was done. It reports whether anything was
// stored. track is the position that the process has come to with it, if it has; must says that this has to be stored.
func (w *worker[S, E]) react(ctx context.Context, e annals.Entry[E], key string, track annals.Position, must bool) (did bool, err error) {
	at := reaction{Key: key, Position: e.Position, Part: e.Part}
	done, err := w.isDone(ctx, at)
	if err != nil {
		return false, err
	}
	if _, known := w.table.find(at); known && !done { // it is parked already, and its turn comes
		if track != annals.NoPosition {
			err = w.move(ctx, track)
		}
		return true, err
	}
	if !done && len(w.table.parked[key]) > 0 { // it waits behind what is parked
		return true, w.park(ctx, at, e.ID, 0, nil, track)
	}
	var do *Effects[E]
	if !done {
		do, err = w.ask(ctx, e, key)
	}
	switch {
	case err != nil:
		return true, w.failed(ctx, at, e.ID, 1, err, track)
	case done || len(do.steps) == 0:
		if must && track != annals.NoPosition {
			err = w.move(ctx, track)
		}
		return false, err
	}
	return true, w.perform(ctx, e, at, do, 1, track)
}

// reactAgain is react for what is parked. That nothing is to be done is stored too.
func (w *worker[S, E]) reactAgain(ctx context.Context, e annals.Entry[E], at reaction, tries int) error {
	if done, err := w.isDone(ctx, at); done || err != nil { // and the subscription will tell
		return err
	}
	do, err := w.ask(ctx, e, at.Key)
	if err != nil {
		return w.failed(ctx, at, e.ID, tries+1, err, annals.NoPosition)
	}
	return w.perform(ctx, e, at, do, tries+1, annals.NoPosition)
}

// perform does the effects of a reaction and stores that they are done, or parks it. It is the try with this number.
func (w *worker[S, E]) perform(ctx context.Context, e annals.Entry[E], at reaction, do *Effects[E], try int, track annals.Position) error {
	out, err := w.effects(ctx, e, at, do, try)
	if err != nil {
		return w.failed(ctx, at, e.ID, try, err, track)
	}
	err = w.append(ctx, at, out.events, reacted{reaction: at, Event: e.ID, Effects: out.done}, track, out.notes...)
	if refused(err) { // and would be again: it must not stand in the way of other keys
		return w.failed(ctx, at, e.ID, try, Permanent(err), track)
	}
	return err
}

// failed parks a reaction, unless it failed because the process is asked to stop.
func (w *worker[S, E]) failed(ctx context.Context, at reaction, event annals.ID, try int, err error, track annals.Position) error {
	if ctx.Err() != nil {
		return fmt.Errorf("process: %s: %w", w.manager.Name, context.Cause(ctx))
	}
	return w.park(ctx, at, event, try, err, track)
}

// isDone reports whether there is nothing to do: another run did it, it was skipped, or the instance is completed.
func (w *worker[S, E]) isDone(ctx context.Context, at reaction) (bool, error) {
	done := w.settled(at).Or(annals.Tags(w.instanceTag(at.Key)).Types(typeCompleted)).WithSystem()
	for _, err := range w.log.Store().Read(ctx, done, annals.Limit(1)) {
		if err != nil {
			return false, fmt.Errorf("process: %s: look for what was done: %w", w.manager.Name, err)
		}
		return true, nil
	}
	return false, nil
}

// reactedID is that of the note that a reaction was done: there is one at most.
func (p *Process[S, E]) reactedID(at reaction) annals.ID {
	return derive.ID("annals reacted", p.manager.Name, at.Key, strconv.FormatUint(uint64(at.Position), 10), strconv.Itoa(at.Part))
}

// skippedID is that of the note that a reaction is given up.
func (p *Process[S, E]) skippedID(at reaction) annals.ID {
	return derive.ID("annals skipped", p.reactedID(at).String())
}

// settled are the notes that say that a reaction was done, or given up.
func (p *Process[S, E]) settled(at reaction) annals.Query {
	return annals.ByID(p.reactedID(at)).Or(annals.ByID(p.skippedID(at))).WithSystem()
}

// ask calls React, on the state as of the event.
func (w *worker[S, E]) ask(ctx context.Context, e annals.Entry[E], key string) (do *Effects[E], err error) {
	if hops := e.Meta().Hops; hops >= w.options.HopsMax {
		return nil, fmt.Errorf("%w: %d reactions led to %s at position %d, one to the next, and the most is %d", ErrCycle, hops, e.Type, e.Position, w.options.HopsMax)
	}
	defer func() {
		if v := recover(); v != nil {
			err = panicked("the manager "+w.manager.Name, v)
		}
	}()
	loaded, err := decider.Load(ctx, w.log, w.manager.Initial(key), annals.AsOf(e.Position))
	if err != nil {
		return nil, err
	}
	do = &Effects[E]{}
	w.manager.React(loaded.State, e, do)
	return do, nil
}

// outcome is what the effects of a reaction came to, and what is to be appended for it.
type outcome struct {
	events []annals.Event
	notes  []annals.Event
	done   []Done
}

// effects does what is asked for, until something fails.
func (w *worker[S, E]) effects(ctx context.Context, e annals.Entry[E], at reaction, do *Effects[E], try int) (out outcome, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked("the manager "+w.manager.Name, v)
		}
	}()
	ctx = annals.WithPrincipal(ctx, w.options.Principal)
	m := annals.Metadata{CorrelationID: e.Meta().CorrelationID, CausationID: e.ID.String(), Traceparent: e.Meta().Traceparent, Hops: e.Meta().Hops + 1}
	if m.CorrelationID == "" {
		m.CorrelationID = e.ID.String()
	}
	ctx = annals.WithMetadata(ctx, m)
	for i, step := range do.steps {
		d := Done{Kind: string(step.kind), Name: step.name}
		id := "process " + w.manager.Name + " " + hash(string(e.ID[:]), e.Stream, strconv.Itoa(at.Part), at.Key, strconv.Itoa(i))
		var events []E
		switch step.kind {
		case kindSchedule:
			note, err := w.schedule(ctx, id, at.Key, step)
			if err != nil {
				return out, err
			}
			out.notes = append(out.notes, note)
		case kindCancel:
			note, err := w.note(typeCancelled, derive.ID(id), timerEnded{Key: at.Key, Timer: step.name}, w.timerTag(at.Key, step.name), w.instanceTag(at.Key))
			if err != nil {
				return out, err
			}
			out.notes = append(out.notes, note)
		case kindComplete:
			note, err := w.note(typeCompleted, derive.ID(id), byKey{at.Key}, w.instanceTag(at.Key))
			if err != nil {
				return out, err
			}
			out.notes = append(out.notes, note)
		default:
			events, err = w.attempt(ctx, step, id)
			switch {
			case err == nil:
			case step.accepts(err):
				d.Err = textOf(err)
			case step.or != nil && ctx.Err() == nil && !uncertain(err) && (hopeless(err) || step.kind == kindCall && try >= w.options.TriesMax):
				d.Err = textOf(err)
				events = []E{step.or(err)}
			default:
				return out, fmt.Errorf("%s %s: %w", step.kind, step.name, err)
			}
		}
		raw, err := w.log.Encode(ctx, events)
		if err != nil {
			return out, err
		}
		for k := range raw {
			raw[k].ID = derive.ID(id, strconv.Itoa(k))
		}
		out.events, out.done = append(out.events, raw...), append(out.done, d)
	}
	return out, nil
}

// attempt does one effect that reaches outside of the append.
func (w *worker[S, E]) attempt(ctx context.Context, step *effect[E], id string) (events []E, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(string(step.kind)+" "+step.name, v)
		}
	}()
	return step.do(ctx, w.bus, id)
}

// schedule is the note that sets a timer.
func (w *worker[S, E]) schedule(ctx context.Context, id, key string, step *effect[E]) (annals.Event, error) {
	m := annals.MetadataFrom(ctx)
	m.Hops = 0 // time passes before it is appended
	raw, err := w.log.Encode(annals.WithMetadata(ctx, m), []E{step.event})
	if err != nil {
		return annals.Event{}, fmt.Errorf("timer %s: %w", step.name, err)
	}
	d := timerSet{Key: key, Timer: step.name, At: step.at.UTC().Round(0), Event: newStoredEvent(raw[0])}
	return w.note(typeTimerSet, derive.ID(id), d, w.timerTag(key, step.name), w.instanceTag(key))
}

// append stores what a reaction has come to. If another run did so before, this one was for nothing, and did nothing twice.
func (w *worker[S, E]) append(ctx context.Context, at reaction, events []annals.Event, done reacted, track annals.Position, notes ...annals.Event) error {
	note, err := w.note(typeReacted, w.reactedID(at), done, w.instanceTag(at.Key))
	if err != nil {
		return err
	}
	all := append(append(events, notes...), note)
	conds := []annals.Condition{annals.NoneSince(0, w.settled(at))}
	if track != annals.NoPosition {
		conds = append(conds, annals.TrackingAt(source(w.manager.Name), track))
	}
	_, err = w.store(ctx, all, conds, track)
	return err
}

// park puts a reaction aside, to be tried again.
func (w *worker[S, E]) park(ctx context.Context, at reaction, event annals.ID, tries int, cause error, track annals.Position) error {
	d := parked{reaction: at, Tries: tries}
	if cause != nil {
		d.Err = textOf(cause)
		if !hopeless(cause) && tries < w.options.TriesMax {
			d.Next = time.Now().Add(w.pause(tries)).UTC().Round(0)
		}
		w.options.Logger.WarnContext(ctx, "an event is parked", slog.String("process", w.manager.Name), slog.String("key", at.Key),
			slog.Uint64("position", uint64(at.Position)), slog.Int("tries", tries), slog.Any("error", cause))
	}
	note, err := w.note(typeParked, derive.ID("annals parked", w.reactedID(at).String(), strconv.Itoa(tries), event.String()), d, w.instanceTag(at.Key))
	if err != nil {
		return err
	}
	conds := []annals.Condition{annals.NoneSince(0, w.settled(at))}
	if track != annals.NoPosition {
		conds = append(conds, annals.TrackingAt(source(w.manager.Name), track))
	}
	stored, err := w.store(ctx, []annals.Event{note}, conds, track)
	if stored { // seen at once, for the next event of the key may come before the note does
		w.table.park(Parked{Key: at.Key, Position: at.Position, Tries: tries, Err: d.Err, Since: time.Now(), Next: d.Next, part: at.Part})
	}
	return err
}

// pause is how long to wait after so many tries.
func (w *worker[S, E]) pause(tries int) time.Duration {
	pause := w.options.Backoff
	for range tries - 1 {
		if pause *= 2; pause >= w.options.BackoffMax || pause <= 0 {
			return w.options.BackoffMax
		}
	}
	return min(pause, w.options.BackoffMax)
}

// store appends, and takes it well if somebody else was faster: it says then that nothing was stored.
func (w *worker[S, E]) store(ctx context.Context, events []annals.Event, conds []annals.Condition, track annals.Position) (bool, error) {
	_, err := w.system.Append(ctx, events, conds...)
	if somebodyElse(err) {
		return false, w.look(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("process: %s: store what was done: %w", w.manager.Name, err)
	}
	if track != annals.NoPosition {
		w.tracked = max(w.tracked, track)
	}
	return true, nil
}

package decider

import (
	"context"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"

	"github.com/annalsdb/annals"
)

// State is what a decision has to know: a value with the ids that say what it is about, and what the events of its
// boundary made of it. S is the state's own type, E the events of the schema.
//
//	type Order struct{ ID, Status string }
//	func (o Order) Boundary() annals.Query { return annals.Stream("order-" + o.ID) }
//	func (o Order) Evolve(e Event) Order   { … }
type State[S, E any] interface {
	// Boundary says which events matter. It may depend on what has been folded in, and grow by it.
	Boundary() annals.Query
	// Evolve folds in one event. The receiver is given away: maps and slices in it may be changed. It must take every
	// event that the boundary can deliver.
	Evolve(event E) S
}

// Loaded is a state and where it was read.
type Loaded[S any] struct {
	State S
	// Revision is that of the last event read of the one stream that the boundary of the initial state names, or, if
	// that names none or several, the boundary it has grown to. annals.NoRevision if there is no such event.
	Revision annals.Revision
	// Found says that the boundary has at least one event.
	Found bool
	// Position is the one up to which the store was read: its head, or the moment of the past that was asked for.
	Position annals.Position
	// Boundary is the last that was read, in the schema's words.
	Boundary annals.Query

	about  string // the one stream that the boundary of the initial state names
	stream string // the stream whose revision is Revision
	last   place  // of the last event that was folded in
	anchor place  // of the last event that a snapshot holds: the one that is read first
	folded int    // events that were read for it, snapshots aside

	anchored bool

	save func(context.Context) // what was left to be saved; nil if there is nothing
}

// place is where an event lies, and which it is.
type place struct {
	position annals.Position
	id       annals.ID
}

// roundsMax is how often a boundary may be read because it has grown.
const roundsMax = 8

// Load folds the events of the initial state's boundary. As it is handed on to Evolve, which may change them, maps in it
// must be nil.
//
// Options may say as of when, and how fresh: annals.AsOf, AsOfTime, AsOfRevision, AtLeast, HeadInto. Those that leave
// out events of the past do not fit a state and are an annals.InvalidError. An event of a type that the schema does not
// list is an error, as the log says; a panic in Boundary or Evolve is a [PanicError].
func Load[S State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, opts ...annals.ReadOption) (Loaded[S], error) {
	l, err := load(ctx, log, update[S, E]{initial: initial}, opts...)
	l.settle(ctx)
	return l, err
}

// beginner makes the state before any event.
type beginner[S any] interface{ Initial() S }

// load is Load with an initial state made afresh for every time that the boundary is read.
func load[S State[S, E], E any](ctx context.Context, log *annals.Log[E], from beginner[S], opts ...annals.ReadOption) (Loaded[S], error) {
	o := annals.NewReadOptions(opts...)
	if o.After != 0 || o.Limit != 0 || o.Backwards || o.FromRevision != nil {
		return Loaded[S]{}, &annals.InvalidError{
			What:    "read option",
			Problem: fmt.Sprintf("%s is folded from the first event on: After, FromRevision, Limit and Backwards do not fit", stateName[S]()),
		}
	}
	l, err := begin[S, E](from)
	if err != nil {
		return Loaded[S]{}, err
	}
	k, err := keeperOf(ctx, log, &l, o)
	if err != nil {
		return Loaded[S]{}, err
	}
	resumed, err := k.resume(ctx, &l, opts)
	if err != nil {
		return Loaded[S]{}, fmt.Errorf("decider: load %s: %w", stateName[S](), err)
	}
	for range roundsMax {
		if !resumed {
			if err := fold(ctx, log, &l, opts); err != nil {
				return Loaded[S]{}, fmt.Errorf("decider: load %s: %w", stateName[S](), err)
			}
		}
		next, err := l.Boundary, error(nil)
		if l.Found {
			next, err = boundaryOf(l.State, l.Position)
		}
		if err == nil {
			err = next.Check(annals.LimitsOf(log.Store()))
		}
		if err != nil {
			return Loaded[S]{}, fmt.Errorf("decider: load %s: %w", stateName[S](), err)
		}
		if resumed && !next.Covers(l.Boundary) { // what the snapshot's boundary brought in might not have been read at all
			resumed = false
			if l, err = begin[S, E](from); err != nil {
				return Loaded[S]{}, err
			}
			continue
		}
		if l.Boundary.Covers(next) {
			if l.stream != "" && (log.Schema().LeavesOut() || !l.Boundary.Covers(annals.Stream(l.stream))) {
				// The last event of the stream may not have been among those that were folded in.
				if l.Revision, err = lastRevision(ctx, log.Store(), l.stream, l.Position); err != nil {
					return Loaded[S]{}, fmt.Errorf("decider: load %s: %w", stateName[S](), err)
				}
			}
			if o.HeadInto != nil {
				*o.HeadInto = l.Position
			}
			k.keep(ctx, &l, next)
			return l, nil
		}
		if !next.Covers(l.Boundary) { // what was once found to matter is guarded, even if the state has let go of it
			next = l.Boundary.Or(next)
		}
		if o.AsOf != annals.NoPosition || !o.AsOfTime.IsZero() || o.AsOfRevision != nil {
			opts = []annals.ReadOption{annals.AsOf(l.Position)} // a larger boundary may name no single stream any more
		}
		if l, err = begin[S, E](from); err != nil {
			return Loaded[S]{}, err
		}
		l.Boundary, resumed = next, false
	}
	return Loaded[S]{}, &BoundaryError{State: stateName[S](), Rounds: roundsMax}
}

// lastRevision is that of a stream as of p.
func lastRevision(ctx context.Context, s annals.Store, stream string, p annals.Position) (annals.Revision, error) {
	for e, err := range s.Read(ctx, annals.Stream(stream), annals.AsOf(p), annals.Backwards(), annals.Limit(1)) {
		return e.Revision, err
	}
	return annals.NoRevision, nil
}

// begin is the state before any event.
func begin[S State[S, E], E any](from beginner[S]) (Loaded[S], error) {
	l := Loaded[S]{Revision: annals.NoRevision}
	err := guard("Initial of ", stateName[S](), 0, func() { l.State = from.Initial() })
	if err != nil {
		return l, err
	}
	l.Boundary, err = boundaryOf(l.State, 0)
	l.about = l.Boundary.Stream()
	return l, err
}

func boundaryOf[S State[S, E], E any](s S, at annals.Position) (q annals.Query, err error) {
	err = guard(stateName[S](), ".Boundary", at, func() { q = s.Boundary() })
	return q, err
}

// fold reads the boundary of l into its state. One deferred call serves all events; it takes only panics of Evolve,
// not those of a store.
func fold[S State[S, E], E any](ctx context.Context, log *annals.Log[E], l *Loaded[S], opts []annals.ReadOption) (err error) {
	f := folding[S, E]{loaded: l}
	defer func() {
		if f.evolving == 0 {
			return
		}
		if v := recover(); v != nil {
			err = &PanicError{Method: stateName[S]() + ".Evolve", Position: f.evolving, Value: v, Stack: debug.Stack()}
		}
	}()
	if l.stream = l.about; l.stream == "" {
		l.stream = l.Boundary.Stream()
	}
	log.Read(ctx, l.Boundary, append(slices.Clip(opts), annals.HeadInto(&l.Position))...)(f.next)
	if f.err == nil && l.anchor.position != 0 && !l.anchored {
		return errForeign
	}
	return f.err
}

// folding is one fold under way.
type folding[S State[S, E], E any] struct {
	loaded   *Loaded[S]
	evolving annals.Position // of the event that Evolve has now; 0 between events
	err      error
}

// next folds in one event. It tells whether to go on.
func (f *folding[S, E]) next(e annals.Entry[E], err error) bool {
	l := f.loaded
	if err != nil {
		f.err = err
		return false
	}
	again, err := l.isAnchor(e.Position, e.ID)
	if again || err != nil {
		f.err = err
		return err == nil
	}
	f.evolving = e.Position
	l.State = l.State.Evolve(e.Value)
	f.evolving = 0
	l.Found = true
	l.last = place{e.Position, e.ID}
	l.folded++
	if l.stream != "" && e.Stream == l.stream {
		l.Revision = e.Revision
	}
	return true
}

// isAnchor reports whether an event is the one that a snapshot ends with; it must come before all others.
func (l *Loaded[S]) isAnchor(p annals.Position, id annals.ID) (bool, error) {
	if l.anchor.position == 0 || l.anchored && p != l.anchor.position {
		return false, nil
	}
	if p != l.anchor.position || id != l.anchor.id {
		return false, errForeign
	}
	l.anchored = true // and so are its other parts, if it is split
	return true, nil
}

func stateName[S any]() string { return typeName(reflect.TypeFor[S]()) }

// typeName is a type's name without its package; a pointer has that of what it points to.
func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if n := t.Name(); n != "" {
		return n
	}
	return t.String()
}

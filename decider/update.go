package decider

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/annalsdb/annals"
)

// Result is what became of a command.
type Result[S, E any] struct {
	// State is the one that was loaded, with those of the decided events folded in that lie in its boundary.
	State S
	// Events are those that were decided. None: there was nothing to do, and nothing was stored.
	Events []E
	// Revision is the last of the one stream that the initial state's boundary names, else of the first decided event's
	// stream. annals.NoRevision if there is no such stream, it has no event, or its revision could not be read.
	Revision annals.Revision
	// Position is that of the last event that was appended, or else the one up to which the state was loaded.
	Position annals.Position
	// Duplicate says that the answer is that of an earlier run under the same [IdempotencyKey].
	Duplicate bool
}

// run is one call of Execute or Update.
type run[S State[S, E], E any] struct {
	options
	log         *annals.Log[E]
	name        string // of the command, or of the state
	command     Command[S, E]
	authorize   func(S) error          // nil: everybody may
	fingerprint func() (string, error) // of what is asked, to tell one use of a key from another
}

func (r *run[S, E]) execute(ctx context.Context) (Result[S, E], error) {
	res, err := r.settle(ctx)
	if p, ok := errors.AsType[*PanicError](err); ok && p.Command == "" {
		if p.Command = r.name; !strings.HasPrefix(p.Method, r.name+".") {
			err = fmt.Errorf("decider: %s: %w", r.name, err)
		}
	}
	if err != nil || r.dryRun {
		return res, err
	}
	for _, v := range r.views {
		if err := v.Wait(ctx, res.Position); err != nil {
			return res, fmt.Errorf("decider: %s was accepted, position %d: wait for view: %w", r.name, res.Position, err)
		}
	}
	return res, nil
}

// settle answers from an earlier run under the same key, or tries until others are out of the way.
func (r *run[S, E]) settle(ctx context.Context) (Result[S, E], error) {
	key, err := r.keyOf(ctx)
	if err != nil {
		return Result[S, E]{}, err
	}
	if res, found, err := r.earlier(ctx, key); found || err != nil {
		return res, err
	}
	for try := 1; ; try++ {
		res, again, err := r.attempt(ctx, key, try == r.tries)
		if !again || try == r.tries {
			return res, err
		}
		if cut := pause(ctx, try); cut != nil {
			return Result[S, E]{}, fmt.Errorf("decider: %s: cut off after %d tries: %w: %w", r.name, try, cut, err)
		}
	}
}

// pause waits for a random time that grows with the tries, so that those who collided do not do so again.
func pause(ctx context.Context, try int) error {
	const base, most = time.Millisecond, 100 * time.Millisecond
	t := time.NewTimer(rand.N(min(base<<min(try, 7), most)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		if err, cause := ctx.Err(), context.Cause(ctx); !errors.Is(cause, err) {
			return fmt.Errorf("%w: %w", err, cause)
		}
		return context.Cause(ctx)
	}
}

// attempt loads, decides and appends once. It says again if the append met a conflict.
func (r *run[S, E]) attempt(ctx context.Context, key *key, last bool) (res Result[S, E], again bool, err error) {
	d, err := r.prepare(ctx)
	defer func() { d.loaded.settle(ctx) }() // when what the caller wants is done
	if key != nil && (err != nil || len(d.events) == 0) {
		// Another run under the key may have come between the look-up and the load: then this one was refused because
		// of that one's success.
		if res, found, lookErr := r.earlier(ctx, key); found || lookErr != nil && err == nil {
			return res, false, lookErr
		}
	}
	if err != nil {
		return Result[S, E]{}, false, err
	}
	res = Result[S, E]{State: d.loaded.State, Events: d.events, Revision: d.loaded.Revision, Position: d.loaded.Position}
	if len(d.events) == 0 {
		return res, false, nil
	}
	// Folded in before they are appended: a panic of Evolve must not hide that they were.
	if res.State, err = r.evolve(d.bound, d.loaded, d.events, d.raw); err != nil {
		return Result[S, E]{}, false, err
	}
	if r.dryRun {
		return res, false, nil
	}
	receipt, err := r.append(ctx, key, &d, last)
	if key != nil && raced(receipt, err) {
		if res, found, lookErr := r.earlier(ctx, key); found || lookErr != nil {
			return res, false, lookErr
		}
	}
	if err != nil {
		return Result[S, E]{}, errors.Is(err, annals.ErrConflict), err
	}
	res.Position, res.Revision = receipt.Last, r.revision(ctx, &d, receipt)
	return res, false, nil
}

// decision is what one attempt has come to before it appends.
type decision[S, E any] struct {
	loaded Loaded[S]
	bound  annals.Query // the boundary, as stores understand it
	events []E
	raw    []annals.Event
	stream string // whose revision is expected and told
}

// prepare does what comes before the append.
func (r *run[S, E]) prepare(ctx context.Context) (d decision[S, E], err error) {
	if d.loaded, err = load(ctx, r.log, r.command); err != nil {
		return d, err
	}
	if d.bound, err = r.log.Schema().Bind(d.loaded.Boundary); err != nil {
		return d, err
	}
	if err = r.permit(d.loaded); err != nil {
		return d, err
	}
	if d.stream = d.loaded.about; d.stream != "" { // before deciding: a rule that is broken since is not what the caller wants to hear of
		if err = r.expected(ctx, d.stream, d.loaded.Revision); err != nil {
			return d, err
		}
	}
	var rejected error
	if err = guard(r.name, ".Decide", d.loaded.Position, func() { d.events, rejected = r.command.Decide(d.loaded.State) }); err != nil {
		return d, err
	}
	if rejected != nil {
		return d, &RejectedError{Command: r.name, Err: rejected}
	}
	if d.raw, err = r.log.Encode(ctx, d.events); err != nil {
		return d, fmt.Errorf("decider: %s: %w", r.name, err)
	}
	if d.stream != "" {
		return d, nil
	}
	if len(d.raw) == 0 { // nothing will be stored, so nothing is expected
		return d, nil
	}
	d.stream = d.raw[0].Stream
	if r.expect != nil && d.stream == "" {
		return d, &annals.InvalidError{What: "Expect", Problem: r.name + ": neither the boundary nor the first event names one stream"}
	}
	if r.dryRun && r.expect != nil { // otherwise the append finds out
		return d, r.check(ctx, d.stream)
	}
	return d, nil
}

func (r *run[S, E]) permit(l Loaded[S]) error {
	if r.authorize == nil {
		return nil
	}
	var forbidden error
	if err := guard(r.name, ".Authorize", l.Position, func() { forbidden = r.authorize(l.State) }); err != nil {
		return err
	}
	if forbidden != nil {
		return &ForbiddenError{Command: r.name, Err: forbidden}
	}
	return nil
}

// expected reports whether the stream is known not to be where the caller expects it.
func (r *run[S, E]) expected(ctx context.Context, stream string, loaded annals.Revision) error {
	if r.expect == nil || *r.expect == loaded {
		return nil
	}
	return r.check(ctx, stream)
}

// check asks the store for the conflict, with the events that are in the way: an append of no events looks at the
// conditions alone.
func (r *run[S, E]) check(ctx context.Context, stream string) error {
	_, err := r.log.Store().Append(ctx, nil, r.atExpected(stream))
	return err
}

func (r *run[S, E]) atExpected(stream string) annals.Condition {
	if *r.expect == annals.NoRevision {
		return annals.NoStream(stream).WithEvents()
	}
	return annals.StreamAt(stream, *r.expect).WithEvents()
}

// evolve folds in the decided events that lie in the boundary, as a load that follows would.
func (r *run[S, E]) evolve(bound annals.Query, l Loaded[S], events []E, raw []annals.Event) (S, error) {
	s := l.State
	err := guard(stateName[S](), ".Evolve", l.Position, func() {
		for i, e := range events {
			if bound.MatchEvent(raw[i]) {
				s = s.Evolve(e)
			}
		}
	})
	return s, err
}

// append stores the decided events if the boundary is as it was. The last conflict is told with its events.
func (r *run[S, E]) append(ctx context.Context, key *key, d *decision[S, E], last bool) (annals.Receipt, error) {
	guarded := annals.NoneSince(d.loaded.Position, d.bound)
	if last {
		guarded = guarded.WithEvents()
	}
	conds := []annals.Condition{guarded}
	if r.expect != nil {
		conds = append(conds, r.atExpected(d.stream))
	}
	if key != nil {
		if err := key.mark(ctx, d.raw); err != nil {
			return annals.Receipt{}, err
		}
		conds = append(conds, annals.NoneSince(0, annals.ByID(key.first)))
	}
	return r.log.Store().Append(ctx, d.raw, conds...)
}

// revision is the last one of the decision's stream after the append.
func (r *run[S, E]) revision(ctx context.Context, d *decision[S, E], receipt annals.Receipt) annals.Revision {
	own, lastStream := annals.Revision(0), ""
	for _, e := range d.raw {
		if e.Stream == d.stream {
			own++
		}
		if e.Stream != "" {
			lastStream = e.Stream
		}
	}
	switch {
	case d.stream == "":
		return annals.NoRevision
	case lastStream == d.stream:
		return receipt.Revision
	case d.loaded.stream == d.stream && d.loaded.Boundary.Covers(annals.Stream(d.stream)):
		// All of the stream was read, and the condition says that nobody else wrote to it. NoRevision is -1 here.
		return d.loaded.Revision + own
	}
	return r.readRevision(ctx, d.stream, receipt.Last)
}

// readRevision is the last one of a stream as of p. The events are stored: an error here must not look like one of the
// append, so the revision is just not known then.
func (r *run[S, E]) readRevision(ctx context.Context, stream string, p annals.Position) annals.Revision {
	for e, err := range r.log.Store().Read(ctx, annals.Stream(stream), annals.AsOf(p), annals.Backwards(), annals.Limit(1)) {
		if err == nil {
			return e.Revision
		}
	}
	return annals.NoRevision
}

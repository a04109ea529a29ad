package timetravel

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// System implements annals.SystemStore.
func (b *Branch) System() annals.Store { return systemBranch{b} }

type systemBranch struct{ *Branch }

func (s systemBranch) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	return s.append(ctx, events, conds, true)
}

// Append implements annals.Store: the events are kept in the branch. Its outcome is never unknown.
func (b *Branch) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	return b.append(ctx, events, conds, false)
}

func (b *Branch) append(ctx context.Context, events []annals.Event, conds []annals.Condition, system bool) (annals.Receipt, error) {
	if err := annals.CheckAppend(events, conds, b.limits, system); err != nil {
		return annals.Receipt{}, err
	}
	if err := ended(ctx); err != nil {
		return annals.Receipt{}, &annals.OutcomeError{Cause: err}
	}
	select {
	case b.writer <- struct{}{}:
		defer func() { <-b.writer }()
	case <-ctx.Done():
		return annals.Receipt{}, &annals.OutcomeError{Cause: ended(ctx)}
	}
	receipt, err := b.appendAlone(ctx, events, conds)
	if over := ended(ctx); err != nil && over != nil && errors.Is(err, ctx.Err()) {
		err = &annals.OutcomeError{Cause: over}
	}
	return receipt, err
}

// appendAlone is append for the one that holds writer.
func (b *Branch) appendAlone(ctx context.Context, events []annals.Event, conds []annals.Condition) (annals.Receipt, error) {
	v := b.pinned()
	if err := v.tombstoned(ctx, events); err != nil {
		return annals.Receipt{}, err
	}
	if receipt, known, err := v.known(ctx, events); known || err != nil {
		return receipt, err
	}
	if err := v.check(ctx, conds); err != nil {
		return annals.Receipt{}, err
	}
	return b.record(ctx, v, events, annals.TrackedEvents(conds))
}

// tombstoned refuses events in streams that have ended below.
func (v view) tombstoned(ctx context.Context, events []annals.Event) error {
	for _, e := range events {
		state, err := v.stateInBase(ctx, e.Stream)
		if err != nil {
			return err
		}
		if state == annals.StreamTombstoned {
			return &annals.TombstonedError{Stream: e.Stream}
		}
	}
	return nil
}

// stateInBase is what has become of a stream below, where that keeps such books; else 0.
func (v view) stateInBase(ctx context.Context, stream string) (annals.StreamState, error) {
	kept, err := retentionIn(ctx, v.base, stream)
	return kept.State, err
}

// known looks for the events among those that are there: all, none, or an error.
func (v view) known(ctx context.Context, events []annals.Event) (receipt annals.Receipt, known bool, err error) {
	var have, lack, reused []annals.ID
	differs := false
	receipt = annals.Receipt{Head: v.head, Revision: annals.NoRevision, Duplicate: true}
	for _, e := range events {
		e = e.Canonical()
		r, found, err := v.stored(ctx, e)
		if err != nil {
			return annals.Receipt{}, false, err
		}
		if !found {
			lack = append(lack, e.ID)
			continue
		}
		have = append(have, e.ID)
		if !r.SameContent(e) {
			differs = true
		}
		if !r.SameContent(e) || r.Position <= receipt.Last {
			reused = append(reused, e.ID)
		}
		if receipt.First == 0 {
			receipt.First = r.Position
		}
		receipt.Last, receipt.Time = r.Position, r.Time
		if r.Stream != "" {
			receipt.Revision = r.Revision
		}
	}
	switch {
	case len(reused) > 0 && (len(lack) == 0 || differs):
		return annals.Receipt{}, false, &annals.IDReusedError{IDs: reused}
	case len(have) > 0 && len(lack) > 0:
		return annals.Receipt{}, false, &annals.PartialDuplicateError{Known: have, New: lack}
	}
	return receipt, len(have) > 0, nil
}

// stored finds the event with an id in a stream.
func (v view) stored(ctx context.Context, e annals.Event) (found annals.Recorded, ok bool, err error) {
	if e.ID.IsZero() {
		return annals.Recorded{}, false, nil
	}
	if i, ok := v.ids[place{e.Stream, e.ID}]; ok { // only appends change it, and this is the one that may
		return v.tail[i], true, nil
	}
	past := v
	past.pieces = v.past
	err = past.each(ctx, annals.ByID(e.ID).WithSystem(), 0, func(r annals.Recorded) bool {
		if r.Stream == e.Stream {
			found, ok = r, true
		}
		return !ok
	})
	return found, ok, err
}

// each hands out what matches after a position, until f has enough.
func (v view) each(ctx context.Context, q annals.Query, after annals.Position, f func(annals.Recorded) bool) error {
	r := reading{view: v, query: q, after: after, upto: v.head, yield: func(e annals.Recorded, _ error) bool { return f(e) }}
	return r.run(ctx)
}

// check evaluates the conditions on the state before the append.
func (v view) check(ctx context.Context, conds []annals.Condition) error {
	for _, c := range conds {
		if c.Kind() == annals.KindNoneSince && c.After() > v.head {
			return &annals.AheadError{Position: c.After(), Head: v.head}
		}
	}
	var failures []annals.Failure
	for i, c := range conds {
		f, failed, err := v.evaluate(ctx, c)
		if err != nil {
			return err
		}
		if failed {
			f.Index = i
			failures = append(failures, f)
		}
	}
	if failures != nil {
		return &annals.ConflictError{Failures: failures}
	}
	return nil
}

// evaluate tells whether c fails, and by which events.
func (v view) evaluate(ctx context.Context, c annals.Condition) (f annals.Failure, failed bool, err error) {
	f = annals.Failure{Condition: c, Actual: annals.NoRevision}
	if c.Stream() != "" {
		if f.Actual, f.State, err = v.state(ctx, c.Stream()); err != nil {
			return f, false, err
		}
	}
	inStream := annals.Query{}
	if c.Stream() != "" {
		inStream = annals.Stream(c.Stream()).WithSystem()
	}
	switch c.Kind() {
	case annals.KindStreamAt:
		failed = f.Actual == annals.NoRevision || f.Actual != c.Revision()
		if failed {
			err = v.inTheWay(ctx, &f, inStream, 0, func(r annals.Recorded) bool { return r.Revision > c.Revision() })
		}
	case annals.KindNoStream:
		if failed = f.State == annals.StreamLive; failed {
			err = v.inTheWay(ctx, &f, inStream, 0, nil)
		}
	case annals.KindStreamExists:
		failed = f.State != annals.StreamLive
	case annals.KindStreamIn:
		if failed = f.State&c.States() == 0; failed {
			err = v.inTheWay(ctx, &f, inStream, 0, nil)
		}
	case annals.KindNoneSince:
		err = v.inTheWay(ctx, &f, c.Query(), c.After(), nil)
		failed = f.Positions != nil
	case annals.KindTracking:
		var at annals.Recorded
		if at, f.Tracked, err = v.tracked(ctx, c.Source()); err != nil {
			return f, false, err
		}
		if failed = f.Tracked >= c.After(); failed && at.Position > 0 {
			f.Positions = []annals.Position{at.Position}
			if c.WantsEvents() {
				f.Events = []annals.Recorded{at}
			}
		}
	}
	return f, failed, err
}

// inTheWay lists the first events of q that are in the way; nil says that all are.
func (v view) inTheWay(ctx context.Context, f *annals.Failure, q annals.Query, after annals.Position, is func(annals.Recorded) bool) error {
	return v.each(ctx, q, after, func(r annals.Recorded) bool {
		if is == nil || is(r) {
			f.Positions = append(f.Positions, r.Position)
			if f.Condition.WantsEvents() {
				f.Events = append(f.Events, r)
			}
		}
		return len(f.Positions) < annals.ConflictPositionsMax
	})
}

// state is the last revision that a stream was given, and what has become of it.
func (v view) state(ctx context.Context, stream string) (annals.Revision, annals.StreamState, error) {
	last, err := v.lastRevision(ctx, stream)
	if err != nil {
		return 0, 0, err
	}
	_, live, err := v.first(ctx, stream, 0)
	if err != nil {
		return 0, 0, err
	}
	below, err := v.stateInBase(ctx, stream)
	switch {
	case err != nil:
		return 0, 0, err
	case below == annals.StreamTombstoned:
		return last, below, nil
	case live:
		return last, annals.StreamLive, nil
	case last == annals.NoRevision:
		return last, annals.StreamNone, nil
	case below == annals.StreamDeleted:
		return last, below, nil
	}
	return last, annals.StreamEmpty, nil
}

// Tracked implements annals.Tracker.
func (b *Branch) Tracked(ctx context.Context, source string) (annals.Position, error) {
	if err := annals.CheckSource(source, b.limits); err != nil {
		return 0, err
	}
	if err := ended(ctx); err != nil {
		return 0, err
	}
	_, p, err := b.pinned().tracked(ctx, source)
	return p, err
}

// tracked is the position of a source, and the event that holds it.
func (v view) tracked(ctx context.Context, source string) (at annals.Recorded, p annals.Position, err error) {
	r := reading{view: v, query: annals.Stream(annals.TrackingStream(source)).WithSystem(), upto: v.head, backwards: true, limit: 1}
	r.yield = func(e annals.Recorded, _ error) bool {
		at = e
		return true
	}
	if err := r.run(ctx); err != nil || at.Position == 0 {
		return at, 0, err
	}
	p, err = annals.TrackedPosition(at.Event)
	return at, p, err
}

// record appends what has been found to be new and allowed: the events and, behind them, what the store notes itself.
func (b *Branch) record(ctx context.Context, v view, events, notes []annals.Event) (annals.Receipt, error) {
	receipt := annals.Receipt{Head: v.head, Revision: annals.NoRevision}
	if len(events)+len(notes) == 0 {
		return receipt, nil
	}
	last, err := v.lastTime(ctx)
	if err != nil {
		return annals.Receipt{}, err
	}
	now := b.now(last)
	var fresh []annals.Recorded
	lasts := map[string]annals.Revision{}
	for _, e := range append(slices.Clip(events), notes...) {
		e = e.Clone().Canonical()
		if e.ID.IsZero() {
			e.ID = annals.NewID()
		}
		r := annals.Recorded{Event: e, Position: v.head + annals.Position(len(fresh)) + 1, Revision: annals.NoRevision, Time: now}
		if e.Stream != "" {
			if r.Revision, err = b.next(ctx, v, lasts, e.Stream); err != nil {
				return annals.Receipt{}, err
			}
			lasts[e.Stream] = r.Revision
		}
		fresh = append(fresh, r)
		if len(fresh) > len(events) {
			continue
		}
		receipt.Last = r.Position
		if r.Stream != "" {
			receipt.Revision = r.Revision
		}
	}
	if len(events) > 0 {
		receipt.First = v.head + 1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.Copy(b.lasts, lasts)
	for i, r := range fresh {
		b.ids[place{r.Stream, r.ID}] = len(b.tail) + i
	}
	b.tail = append(b.tail, fresh...)
	receipt.Head, receipt.Time = v.head+annals.Position(len(fresh)), now
	close(b.changed)
	b.changed = make(chan struct{})
	return receipt, nil
}

// next is the revision of the next event in a stream, behind those of this append.
func (b *Branch) next(ctx context.Context, v view, fresh map[string]annals.Revision, stream string) (annals.Revision, error) {
	if last, ok := fresh[stream]; ok {
		return last + 1, nil
	}
	if last, ok := b.lasts[stream]; ok {
		return last + 1, nil
	}
	last, err := v.lastRevision(ctx, stream)
	return last + 1, err // NoRevision is -1
}

// lastTime is when the last event happened; zero if there is none.
func (v view) lastTime(ctx context.Context) (t time.Time, err error) {
	r := reading{view: v, query: annals.All().WithSystem(), upto: v.head, backwards: true, limit: 1}
	r.yield = func(e annals.Recorded, _ error) bool {
		t = e.Time
		return true
	}
	return t, r.run(ctx)
}

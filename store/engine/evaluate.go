package engine

import (
	"context"
	"errors"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/retention"
)

// evaluation is phase 1: ids and conditions on the state at one visible head.
type evaluation struct {
	store *Store
	view  index.View
	seen  *retention.View
	ctx   context.Context //nolint:containedctx // it lives for one call
}

// record reads what the index is not certain of.
func (v *evaluation) record(p uint64) (string, annals.Revision, error) {
	r, err := v.store.records.Record(v.ctx, annals.Position(p))
	return r.Stream, r.Revision, err
}

// known looks for the events among those that are stored: all, none, or an error.
func (v *evaluation) known(r *request) (receipt annals.Receipt, known bool, err error) {
	receipt = annals.Receipt{Head: annals.Position(v.view.Head()), Revision: annals.NoRevision, Duplicate: true}
	var have, lack, reused []annals.ID
	differs := false
	for i := range r.events[:len(r.events)-r.tracked] {
		e := &r.events[i]
		stored, found, err := v.lookUp(r, i)
		if err != nil {
			return annals.Receipt{}, false, err
		}
		if !found {
			if len(have) > 0 {
				lack = append(lack, r.givenID(i))
			}
			continue
		}
		if len(have) == 0 { // until then nobody wants to know
			for before := range i {
				lack = append(lack, r.givenID(before))
			}
		}
		have = append(have, e.ID)
		same := stored.SameContent(*e)
		differs = differs || !same
		if !same || stored.Position <= receipt.Last {
			reused = append(reused, e.ID)
		}
		if receipt.First == 0 {
			receipt.First = stored.Position
		}
		receipt.Last, receipt.Time = stored.Position, stored.Time
		if stored.Stream != "" {
			receipt.Revision = stored.Revision
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

// lookUp finds the stored event with the id and the stream of the request's event i.
func (v *evaluation) lookUp(r *request, i int) (stored annals.Recorded, found bool, err error) {
	if r.made(i) {
		return annals.Recorded{}, false, nil
	}
	e := &r.events[i]
	p, err := v.view.FindID(&r.keys[i], func(p uint64) (bool, error) {
		candidate, err := v.store.records.Record(v.ctx, annals.Position(p))
		stored = candidate.Recorded
		if err != nil || stored.ID != e.ID || stored.Stream != e.Stream {
			return false, err
		}
		hidden, err := v.seen.Hides(&stored)
		return !hidden, err
	})
	return stored, p > 0, err
}

// check evaluates all conditions.
func (v *evaluation) check(r *request) error {
	for i := range r.conds {
		if c := &r.conds[i]; c.Kind() == annals.KindNoneSince && uint64(c.After()) > v.view.Head() {
			return &annals.AheadError{Position: c.After(), Head: annals.Position(v.view.Head())}
		}
	}
	var failures []annals.Failure
	for i := range r.conds {
		f, failed, err := v.condition(&r.conds[i])
		if err != nil {
			return err
		}
		if !failed {
			continue
		}
		f.Index = i
		failures = append(failures, f)
	}
	if failures != nil {
		return &annals.ConflictError{Failures: failures}
	}
	return nil
}

// condition tells whether c fails, and what is in its way.
func (v *evaluation) condition(c *condition) (annals.Failure, bool, error) {
	f := annals.Failure{Condition: c.Condition, Actual: annals.NoRevision}
	if c.Kind() == annals.KindNoneSince {
		err := v.matches(c, &f)
		return f, f.Positions != nil, err
	}
	if c.Kind() == annals.KindTracking {
		return v.tracking(c, f)
	}
	last, at, err := v.view.LastRevision(c.Stream(), c.stream, v.view.Head(), v.record)
	if err != nil {
		return f, false, err
	}
	f.Actual = last
	if f.State, err = v.state(c.Stream(), at); err != nil {
		return f, false, err
	}
	switch c.Kind() {
	case annals.KindStreamAt:
		if at > 0 && last == c.Revision() {
			return f, false, nil
		}
		return f, true, v.following(c, c.Revision()+1, &f)
	case annals.KindNoStream:
		if f.State != annals.StreamLive {
			return f, false, nil
		}
		return f, true, v.following(c, 0, &f)
	case annals.KindStreamIn:
		if f.State&c.States() != 0 {
			return f, false, nil
		}
		return f, true, v.following(c, 0, &f)
	default: // KindStreamExists; CheckAppend lets no other pass
		return f, f.State != annals.StreamLive, nil
	}
}

// tracking tells whether the position of a source is too high, and what holds it.
func (v *evaluation) tracking(c *condition, f annals.Failure) (annals.Failure, bool, error) {
	at, stored, err := v.tracked(c.Source(), c.stream)
	if err != nil || stored < c.After() {
		return f, false, err
	}
	f.Tracked, f.Positions = stored, []annals.Position{at.Position}
	if c.WantsEvents() {
		f.Events = []annals.Recorded{at}
	}
	return f, true, nil
}

// matches notes the first events in the way of NoneSince.
func (v *evaluation) matches(c *condition, f *annals.Failure) error {
	in, err := v.narrow(&c.plan, index.Range{After: uint64(c.After()), Upto: v.view.Head()})
	if err != nil {
		return err
	}
	return v.note(&c.plan, in, c, f, func(r *annals.Recorded) bool { return c.Query().Accepts(&r.Event) })
}

// following notes the first of a stream's events from a revision on.
func (v *evaluation) following(c *condition, from annals.Revision, f *annals.Failure) error {
	stream := c.Stream()
	if v.seen == nil && !c.WantsEvents() { // nothing is hidden, and places are all that is asked for
		if places, exact := v.view.RecentRevisions(stream, c.stream, from, annals.ConflictPositionsMax); exact {
			for _, p := range places {
				f.Positions = append(f.Positions, annals.Position(p))
			}
			return nil
		}
	}
	first, _, err := v.readable(stream, from)
	if first == 0 || err != nil {
		return err
	}
	plan := v.store.index.Hasher().Plan(annals.Stream(stream).WithSystem())
	in := index.Range{After: first - 1, Upto: v.view.Head()}
	return v.note(&plan, in, c, f, func(r *annals.Recorded) bool { return r.Stream == stream && r.Revision >= from })
}

// each reads the candidates of a plan, in order, for as long as they are wanted.
func (v *evaluation) each(plan *index.Plan, in index.Range, wanted func(*annals.Recorded) (more bool, err error)) error {
	for part := range v.view.Walk(plan, in) {
		for p := part.Seek(0); p != index.Done; p = part.Seek(p + 1) {
			r, err := v.store.records.Record(v.ctx, annals.Position(p))
			if err != nil {
				return err
			}
			if more, err := wanted(&r.Recorded); !more || err != nil {
				return err
			}
		}
	}
	return nil
}

// note notes the first events that match, as many as a failure lists.
func (v *evaluation) note(plan *index.Plan, in index.Range, c *condition, f *annals.Failure, match func(*annals.Recorded) bool) error {
	return v.each(plan, in, func(r *annals.Recorded) (bool, error) {
		if !match(r) {
			return true, nil
		}
		if hidden, err := v.seen.Hides(r); hidden || err != nil {
			return true, err
		}
		f.Positions = append(f.Positions, r.Position)
		if c.WantsEvents() {
			f.Events = append(f.Events, *r)
		}
		return len(f.Positions) < annals.ConflictPositionsMax, nil
	})
}

// findBases finds the last revision of each event's stream.
func (v *evaluation) findBases(r *request) error {
	var seen map[string]annals.Revision
	for i := range r.keys {
		k := &r.keys[i]
		switch {
		case k.Stream == "":
			r.bases[i] = annals.NoRevision
			continue
		case i > 0 && k.Stream == r.keys[i-1].Stream:
			r.bases[i] = r.bases[i-1]
			continue
		}
		if last, found := seen[k.Stream]; found {
			r.bases[i] = last
			continue
		}
		last, _, err := v.view.LastRevision(k.Stream, k.StreamTerm(), v.view.Head(), v.record)
		if err != nil {
			return err
		}
		r.bases[i] = last
		if i+1 < len(r.keys) {
			if seen == nil {
				seen = map[string]annals.Revision{}
			}
			seen[k.Stream] = last
		}
	}
	return nil
}

// rejection gives an error of phase 1 the form in which Append reports it: failures to read are outcomes.
func (s *Store) rejection(ctx context.Context, err error) error {
	for _, verdict := range []error{annals.ErrIDReused, annals.ErrPartialDuplicate, annals.ErrStreamTombstoned, annals.ErrConflict, annals.ErrAhead} {
		if errors.Is(err, verdict) {
			return err
		}
	}
	if cause := s.ended(ctx); cause != nil {
		err = cause
	}
	return &annals.OutcomeError{Cause: err}
}

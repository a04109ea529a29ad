package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/annalsdb/annals"
)

// evaluation is phase 1: ids and conditions on the state at one visible head.
type evaluation struct {
	store *Store
	head  uint64
}

// known looks for the events among those that are stored: all, none, or an error.
func (v *evaluation) known(ctx context.Context, r *request) (receipt annals.Receipt, known bool, err error) {
	receipt = annals.Receipt{Head: annals.Position(v.head), Revision: annals.NoRevision, Duplicate: true}
	var have, lack, reused []annals.ID
	differs := false
	for i := range r.events {
		e := &r.events[i]
		stored, found, err := v.lookUp(ctx, r, i)
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
func (v *evaluation) lookUp(ctx context.Context, r *request, i int) (annals.Recorded, bool, error) {
	if r.made(i) {
		return annals.Recorded{}, false, nil
	}
	e := &r.events[i]
	p := v.store.index.stored(e.ID, e.Stream, 0, v.head)
	if p == 0 {
		return annals.Recorded{}, false, nil
	}
	stored, err := v.store.records.Record(ctx, annals.Position(p))
	return stored.Recorded, err == nil, err
}

// check evaluates all conditions.
func (v *evaluation) check(ctx context.Context, conds []annals.Condition) error {
	for _, c := range conds {
		if c.Kind() == annals.KindNoneSince && uint64(c.After()) > v.head {
			return &annals.AheadError{Position: c.After(), Head: annals.Position(v.head)}
		}
	}
	var failures []annals.Failure
	for i, c := range conds {
		f, failed := v.condition(c)
		if !failed {
			continue
		}
		f.Index = i
		if c.WantsEvents() {
			for _, p := range f.Positions {
				e, err := v.store.records.Record(ctx, p)
				if err != nil {
					return err
				}
				f.Events = append(f.Events, e.Recorded)
			}
		}
		failures = append(failures, f)
	}
	if failures != nil {
		return &annals.ConflictError{Failures: failures}
	}
	return nil
}

// condition tells whether c fails, and what is in its way.
func (v *evaluation) condition(c annals.Condition) (annals.Failure, bool) {
	f := annals.Failure{Condition: c, Actual: annals.NoRevision}
	if c.Kind() == annals.KindNoneSince {
		f.Positions = v.matches(c)
		return f, f.Positions != nil
	}
	last, exists := v.store.index.last(c.Stream(), v.head)
	f.Actual = last
	switch c.Kind() {
	case annals.KindStreamAt:
		if exists && last == c.Revision() {
			return f, false
		}
		f.Positions = v.first(c.Stream(), c.Revision()+1)
		return f, true
	case annals.KindNoStream:
		if exists {
			f.Positions = v.first(c.Stream(), 0)
		}
		return f, exists
	default: // KindStreamExists; CheckAppend lets no other pass
		return f, !exists
	}
}

// matches is the first positions in the way of NoneSince.
func (v *evaluation) matches(c annals.Condition) []annals.Position {
	var found []annals.Position
	at := v.store.index.compile(c.Query(), uint64(c.After()), v.head, false)
	for p := at.seek(0); p != done && len(found) < annals.ConflictPositionsMax; p = at.seek(p + 1) {
		found = append(found, annals.Position(p))
	}
	return found
}

// first is the first positions of a stream's events from a revision on.
func (v *evaluation) first(stream string, r annals.Revision) []annals.Position {
	var found []annals.Position
	for _, p := range v.store.index.from(stream, r, v.head) {
		if len(found) == annals.ConflictPositionsMax {
			break
		}
		found = append(found, annals.Position(p))
	}
	return found
}

// affects reports whether what x holds in (after, upto] may change what phase 1 found for r when it saw everything up
// to after: then there is an event that some condition excludes, or one that has an id of r's. An event with
// such an id in another stream is taken for one that counts, since x does not know streams of ids; that costs no more than a
// second phase 1.
func (x *index) affects(r *request, after, upto uint64) bool {
	if after >= upto {
		return false
	}
	for i := range r.events {
		if !r.made(i) && x.stored(r.events[i].ID, r.events[i].Stream, after, upto) > 0 {
			return true
		}
	}
	return x.affectsConditions(r.conds, after, upto)
}

// affectsConditions reports whether an event in (after, upto] is excluded by a condition.
func (x *index) affectsConditions(conds []annals.Condition, after, upto uint64) bool {
	return slices.ContainsFunc(conds, func(c annals.Condition) bool {
		switch c.Kind() {
		case annals.KindStreamAt, annals.KindNoStream:
			return len(within(x.from(c.Stream(), 0, upto), after, upto)) > 0
		case annals.KindNoneSince:
			return x.compile(c.Query(), max(after, uint64(c.After())), upto, false).seek(0) != done
		default:
			return false // a stream that exists goes on existing
		}
	})
}

// rejection gives an error of phase 1 the form in which Append reports it: failures to read are outcomes.
func (s *Store) rejection(ctx context.Context, err error) error {
	for _, verdict := range []error{annals.ErrIDReused, annals.ErrPartialDuplicate, annals.ErrConflict, annals.ErrAhead} {
		if errors.Is(err, verdict) {
			return err
		}
	}
	if cause := s.ended(ctx); cause != nil {
		err = cause
	}
	return &annals.OutcomeError{Cause: err}
}

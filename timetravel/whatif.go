package timetravel

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// WhatIf makes a branch: the store as it would be if the edits had been made. Without edits it is the store as it is, to append to
// without consequences. It fails with an [EditError] if an edit cannot be made; whether what it leads to makes sense is for those to
// say who read the branch: an event that a state cannot take is an error of the load, which names it, and up to there the
// branch answers.
//
// It looks up what the edits name, and stores nothing: its time and memory grow with the edits, and not with the store.
func WhatIf(ctx context.Context, s annals.Store, edits ...Edit) (*Branch, error) {
	made, err := s.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("timetravel: branch: %w", err)
	}
	return whatIf(ctx, s, made, edits)
}

// whatIf makes a branch of the store as it was when made was its head.
func whatIf(ctx context.Context, s annals.Store, made annals.Position, edits []Edit) (*Branch, error) {
	limits := annals.LimitsOf(s)
	limits.Retention, limits.Tracking = false, true
	cut := made
	for _, e := range edits {
		if e.kind == editUntil {
			cut = min(cut, e.after)
		}
	}
	f := fork{
		Branch: &Branch{
			base: s, limits: limits, edits: slices.Clone(edits), made: made, cut: cut, shifts: map[string][]shift{},
			lasts: map[string]annals.Revision{}, ids: map[place]int{},
			writer: make(chan struct{}, 1), changed: make(chan struct{}),
		},
		dropped: map[annals.Position]dropped{}, ids: map[place]int{},
	}
	for i, e := range edits {
		if err := f.take(ctx, i, e); err != nil {
			return nil, err
		}
	}
	if err := f.checkIDs(ctx); err != nil {
		return nil, err
	}
	if err := f.build(ctx); err != nil {
		return nil, err
	}
	return f.Branch, nil
}

// fork is a branch that is being made.
type fork struct {
	*Branch
	dropped map[annals.Position]dropped
	added   []added
	ids     map[place]int // of added events, and the edits that they are of
	next    annals.Position
}

// dropped is an event of base that the branch has not, or has elsewhere.
type dropped struct {
	edit   int
	stream string
}

// added are events that base has not there.
type added struct {
	edit   int
	after  annals.Position // in base
	at     time.Time       // zero: that of what is before
	events []annals.Event
}

// place is what an id is unique in.
type place struct {
	stream string
	id     annals.ID
}

// take looks at one edit.
func (f *fork) take(ctx context.Context, i int, e Edit) error {
	end := f.cut
	if e.kind == editUntil {
		end = f.made
	}
	if problem, cause := e.check(end, f.limits); problem != "" {
		return &EditError{Index: i, Edit: e, Problem: problem, cause: cause}
	}
	var gone []annals.Event
	for _, p := range e.positions {
		old, problem, err := f.event(ctx, p)
		if err != nil {
			return fmt.Errorf("timetravel: branch: position %d: %w", p, err)
		}
		if other, ok := f.dropped[p]; ok && problem == "" {
			problem = fmt.Sprintf("position %d is changed by edit %d already", p, other.edit)
		}
		if problem != "" {
			return &EditError{Index: i, Edit: e, Problem: problem}
		}
		f.dropped[p] = dropped{i, old.Stream}
		gone = append(gone, old.Event)
	}
	a := added{edit: i, after: e.after, at: e.at}
	switch e.kind {
	case editInsert, editReplace:
		a.events = e.events
	case editMove:
		a.events = gone
	default:
		return nil
	}
	a.events = slices.Clone(a.events)
	for j := range a.events {
		n := &a.events[j]
		*n = n.Canonical().Clone()
		if e.kind == editReplace && len(e.events) == 1 && n.Stream == gone[0].Stream {
			n.ID, n.Metadata = gone[0].ID, gone[0].Metadata
		}
		if n.ID.IsZero() {
			n.ID = annals.NewID()
		}
		where := place{n.Stream, n.ID}
		if other, ok := f.ids[where]; ok {
			return &EditError{Index: i, Edit: e, Problem: fmt.Sprintf("edit %d has an event with this id in this stream", other), cause: &annals.IDReusedError{IDs: []annals.ID{n.ID}}}
		}
		f.ids[where] = i
	}
	if e.kind != editMove { // the ids that were chosen are those of the branch, and of its file
		f.edits[i].events = a.events
	}
	f.added = append(f.added, a)
	return nil
}

// event is the one at a position of base, or what is wrong with it.
func (f *fork) event(ctx context.Context, p annals.Position) (e annals.Recorded, problem string, err error) {
	for e, err := range f.base.Read(ctx, annals.All().WithSystem(), annals.After(p-1), annals.AsOf(p)) {
		if err == nil && e.IsSystem() {
			problem = fmt.Sprintf("position %d holds %s, which is the system's own", p, e.Type)
		}
		return e, problem, err
	}
	return e, fmt.Sprintf("position %d holds no event that can be read", p), nil
}

// checkIDs refuses events whose ids base has.
func (f *fork) checkIDs(ctx context.Context) error {
	for where, i := range f.ids {
		for old, err := range f.base.Read(ctx, annals.ByID(where.id).WithSystem(), annals.AsOf(f.cut)) {
			if err != nil {
				return fmt.Errorf("timetravel: branch: look for the id %s: %w", where.id, err)
			}
			if _, gone := f.dropped[old.Position]; old.Stream == where.stream && !gone {
				return &EditError{
					Index: i, Edit: f.edits[i], Problem: fmt.Sprintf("position %d has an event with this id in this stream", old.Position),
					cause: &annals.IDReusedError{IDs: []annals.ID{where.id}},
				}
			}
		}
	}
	return nil
}

// build puts the pieces together, from the beginning to the end.
func (f *fork) build(ctx context.Context) error {
	slices.SortStableFunc(f.added, func(a, b added) int { return cmp.Compare(a.after, b.after) })
	points := make([]annals.Position, 0, len(f.dropped)+len(f.added))
	for p := range f.dropped {
		points = append(points, p)
	}
	for _, a := range f.added {
		points = append(points, a.after)
	}
	slices.Sort(points)
	f.next = 1
	rest := f.added
	for _, p := range slices.Compact(points) {
		if gone, ok := f.dropped[p]; ok {
			f.takeUntil(p - 1)
			f.next = p + 1
			f.shift(gone.stream, p, ^annals.Revision(0))
		} else {
			f.takeUntil(p)
		}
		for len(rest) > 0 && rest[0].after == p {
			if err := f.add(ctx, rest[0]); err != nil {
				return err
			}
			rest = rest[1:]
		}
	}
	f.takeUntil(f.cut)
	return nil
}

// takeUntil takes over what base has up to a position.
func (f *fork) takeUntil(p annals.Position) {
	if f.next > p {
		return
	}
	n := uint64(p - f.next + 1)
	f.past = append(f.past, piece{at: f.ends + 1, n: n, base: f.next})
	f.ends += annals.Position(n)
	f.next = p + 1
}

// shift moves the revisions of a stream from behind a position of base on.
func (f *fork) shift(stream string, behind annals.Position, by annals.Revision) {
	if stream == "" {
		return
	}
	shifts := f.shifts[stream]
	if n := len(shifts); n > 0 {
		by += shifts[n-1].by
		if shifts[n-1].behind == behind {
			shifts = shifts[:n-1]
		}
	}
	f.shifts[stream] = append(shifts, shift{behind, by})
}

// add puts events behind what was taken over, or added, so far.
func (f *fork) add(ctx context.Context, a added) error {
	at, err := f.time(ctx, a)
	if err != nil {
		return err
	}
	p := piece{at: f.ends + 1, n: uint64(len(a.events))}
	for i, e := range a.events {
		r := annals.Recorded{Event: e, Position: p.at + annals.Position(i), Revision: annals.NoRevision, Time: at}
		if e.Stream != "" {
			if r.Revision, err = f.revision(ctx, e.Stream, a.after); err != nil {
				return fmt.Errorf("timetravel: branch: stream %s: %w", e.Stream, err)
			}
			f.shift(e.Stream, a.after, 1)
		}
		p.own = append(p.own, r)
	}
	f.past = append(f.past, p)
	f.ends = p.last()
	return nil
}

// revision is that of an event which is added to a stream behind a position of base.
func (f *fork) revision(ctx context.Context, stream string, behind annals.Position) (annals.Revision, error) {
	by := f.shifted(stream, behind+1)
	for e, err := range f.base.Read(ctx, annals.Stream(stream).WithSystem(), annals.After(behind), annals.AsOf(f.cut), annals.Limit(1)) {
		return e.Revision + by, err // it takes the place of the next
	}
	last, err := lastInBase(ctx, f.base, stream, behind)
	return last + by + 1, err
}

// lastInBase is the last revision that a stream was given up to a position; NoRevision, which is -1, if none was.
func lastInBase(ctx context.Context, s annals.Store, stream string, upto annals.Position) (annals.Revision, error) {
	q := annals.Stream(stream).WithSystem()
	for e, err := range s.Read(ctx, q, annals.AsOf(upto), annals.Backwards(), annals.Limit(1)) {
		return e.Revision, err
	}
	// All that it had by then is hidden, if it had anything.
	if below, ok := s.(*Branch); ok {
		last, err := lastInBase(ctx, below.base, stream, below.cut)
		if err != nil || last == annals.NoRevision {
			return annals.NoRevision, err
		}
		return last + below.shifted(stream, below.cut+1), nil
	}
	kept, err := retentionIn(ctx, s, stream)
	switch {
	case err != nil || kept.Last == annals.NoRevision:
		return annals.NoRevision, err
	case kept.State == annals.StreamLive: // it has events since
		return kept.First - 1, nil // NoRevision, which is -1, if they are the first
	}
	return kept.Last, nil
}

// retentionIn is what a store has kept of a stream. State is 0, and Last annals.NoRevision, if it keeps no such books, or none of a
// stream with this name.
func retentionIn(ctx context.Context, s annals.Store, stream string) (annals.StreamRetention, error) {
	if below, ok := s.(*Branch); ok {
		return retentionIn(ctx, below.base, stream)
	}
	retainer, ok := s.(annals.Retainer)
	if unfit := annals.CheckRetained(stream, annals.LimitsOf(s)); !ok || unfit != nil {
		return annals.StreamRetention{Last: annals.NoRevision}, nil //nolint:nilerr // it is not that something went wrong
	}
	return retainer.Retention(ctx, stream)
}

// time is when events happened that are added.
func (f *fork) time(ctx context.Context, a added) (time.Time, error) {
	before, err := f.timeBefore(ctx)
	if err != nil {
		return time.Time{}, err
	}
	after, bounds, err := f.timeAfter(ctx)
	if err != nil {
		return time.Time{}, err
	}
	switch {
	case !a.at.IsZero():
		if !bounds {
			after = time.Time{}
		}
		if a.at.Before(before) || bounds && a.at.After(after) {
			return time.Time{}, &EditError{
				Index: a.edit, Edit: f.edits[a.edit],
				Problem: fmt.Sprintf("%s is not between %s and %s, when what is before and after it happened", written(a.at), written(before), written(after)),
			}
		}
		return a.at, nil
	case !before.IsZero():
		return before, nil
	case !after.IsZero():
		return after, nil
	}
	return f.now(time.Time{}), nil
}

func written(t time.Time) string {
	if t.IsZero() {
		return "any time"
	}
	return t.Format(time.RFC3339Nano)
}

// timeBefore is that of the last event so far, zero if there is none.
func (f *fork) timeBefore(ctx context.Context) (time.Time, error) {
	for _, p := range slices.Backward(f.past) {
		if p.base == 0 {
			return p.own[len(p.own)-1].Time, nil
		}
		opts := []annals.ReadOption{annals.After(p.base - 1), annals.AsOf(p.inBase(p.last())), annals.Backwards(), annals.Limit(1)}
		for e, err := range f.base.Read(ctx, annals.All().WithSystem(), opts...) {
			return e.Time, err
		}
	}
	return time.Time{}, nil
}

// timeAfter is that of the next event that base will give. If it will give none, which bounds tells, it is that of the next, or
// else the last, which it has; zero if it has none.
func (f *fork) timeAfter(ctx context.Context) (at time.Time, bounds bool, err error) {
	for e, err := range f.base.Read(ctx, annals.All().WithSystem(), annals.After(f.next-1), annals.AsOf(f.cut)) {
		if _, gone := f.dropped[e.Position]; !gone || err != nil {
			return e.Time, true, err
		}
		if at.IsZero() {
			at = e.Time
		}
	}
	if !at.IsZero() {
		return at, false, nil
	}
	for e, err := range f.base.Read(ctx, annals.All().WithSystem(), annals.AsOf(f.cut), annals.Backwards(), annals.Limit(1)) {
		return e.Time, false, err
	}
	return time.Time{}, false, nil
}

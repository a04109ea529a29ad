package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/retention"
)

// change is what an event of a request does to retention. It is decoded while the event's data is there.
type change struct {
	event int
	annals.RetentionChange
}

// changesOf are the changes of retention that events make.
func changesOf(events []annals.Event) ([]change, error) {
	var changes []change
	for i := range events {
		c, ok, err := annals.RetentionChangeOf(events[i])
		if err != nil {
			return nil, err
		}
		if ok {
			changes = append(changes, change{i, c})
		}
	}
	return changes, nil
}

// seen is what can be read at a head, now.
func (s *Store) seen(ctx context.Context, head uint64) *retention.View {
	if s.retained.Len() == 0 { // then the clock is not asked
		return nil
	}
	now := s.clock().UTC().Round(0)
	if last := time.Unix(0, s.lastTime.Load()); now.Before(last) {
		now = last.UTC()
	}
	return s.retained.At(annals.Position(head), now, func(stream string, upto annals.Position) (annals.Revision, error) {
		view := s.index.View()
		defer view.Release()
		e := evaluation{store: s, view: view, ctx: ctx}
		last, at, err := view.LastRevision(stream, s.index.Hasher().Stream(stream), uint64(upto), e.record)
		if at == 0 || err != nil {
			return 0, err
		}
		return last + 1, nil
	})
}

// readable is the first event of a stream that can be read and has at least a revision, and where it is; 0 if there is none.
func (v *evaluation) readable(stream string, from annals.Revision) (uint64, annals.Revision, error) {
	edge, _, err := v.seen.Edge(stream)
	if err != nil || edge.Ended {
		return 0, 0, err
	}
	term := v.store.index.Hasher().Stream(stream)
	p, r, err := v.view.FindRevision(stream, term, max(from, edge.Revision), v.view.Head(), v.record)
	if p == 0 || err != nil {
		return 0, 0, err
	}
	plan := v.store.index.Hasher().Plan(annals.Stream(stream).WithSystem())
	var at uint64
	var revision annals.Revision
	err = v.each(&plan, index.Range{After: p - 1, Upto: v.view.Head()}, func(e *annals.Recorded) (bool, error) {
		if e.Stream != stream || e.Revision < r || edge.Hides(e.Position, e.Revision, e.Time) {
			return true, nil
		}
		at, revision = uint64(e.Position), e.Revision
		return false, nil
	})
	return at, revision, err
}

// state is what has become of a stream whose last event is at a position, 0 if it has none.
func (v *evaluation) state(stream string, last uint64) (annals.StreamState, error) {
	if last == 0 {
		return v.seen.State(stream, nil)
	}
	if _, kept, err := v.seen.Edge(stream); !kept || err != nil {
		return annals.StreamLive, err
	}
	e, err := v.store.records.Record(v.ctx, annals.Position(last))
	if err != nil {
		return 0, err
	}
	return v.seen.State(stream, &e.Recorded)
}

// checkChanges refuses changes of streams that have ended, and those that would hide what does not exist yet.
func (v *evaluation) checkChanges(r *request) error {
	if stream, ended := v.seen.Tombstoned(r.events, true); ended {
		return &annals.TombstonedError{Stream: stream}
	}
	for _, c := range r.changes {
		if c.Keep.TruncateBefore == 0 {
			continue
		}
		last, _, err := v.view.LastRevision(c.Stream, v.store.index.Hasher().Stream(c.Stream), v.view.Head(), v.record)
		if err != nil {
			return err
		}
		if c.Keep.TruncateBefore > last+1 { // NoRevision + 1 is 0
			return &annals.AheadError{Head: annals.Position(v.view.Head()), Stream: c.Stream, Revision: c.Keep.TruncateBefore, Actual: last}
		}
	}
	return nil
}

// Retention implements [annals.Retainer].
func (s *Store) Retention(ctx context.Context, stream string) (annals.StreamRetention, error) {
	if err := annals.CheckRetained(stream, s.limits); err != nil {
		return annals.StreamRetention{}, err
	}
	if err := s.ended(ctx); err != nil {
		return annals.StreamRetention{}, err
	}
	view := s.index.View()
	defer view.Release()
	v := evaluation{store: s, view: view, ctx: ctx, seen: s.seen(ctx, view.Head())}
	got := annals.StreamRetention{Keep: v.seen.Keep(stream)}
	last, at, err := view.LastRevision(stream, s.index.Hasher().Stream(stream), view.Head(), v.record)
	if err != nil {
		return annals.StreamRetention{}, err
	}
	got.Last = last
	settings := annals.RetentionStream(stream)
	if got.Settings, _, err = view.LastRevision(settings, s.index.Hasher().Stream(settings), view.Head(), v.record); err != nil {
		return annals.StreamRetention{}, err
	}
	if got.State, err = v.state(stream, at); err != nil {
		return annals.StreamRetention{}, err
	}
	got.First = last + 1
	if p, r, err := v.readable(stream, 0); err != nil {
		return annals.StreamRetention{}, err
	} else if p > 0 {
		got.First = r
	}
	return got, nil
}

// loadRetention makes the table from the events that the index has before frames are followed.
func (s *Store) loadRetention(ctx context.Context) error {
	view := s.index.View()
	defer view.Release()
	plan := s.index.Hasher().Plan(annals.Types(annals.TypeRetention, annals.TypeDeleted, annals.TypeTombstoned).WithSystem())
	for part := range view.Walk(&plan, index.Range{Upto: view.Head()}) {
		for p := part.Seek(0); p != index.Done; p = part.Seek(p + 1) {
			e, err := s.records.Record(ctx, annals.Position(p))
			if loss, lost := errors.AsType[*annals.DataLossError](err); lost { // it may have been one, of whatever stream
				s.logger.ErrorContext(ctx, "a change of retention may be lost; appends are refused", slog.Any("error", loss))
				s.sequencer.refuse(readOnly(loss))
				continue
			}
			if err != nil {
				return err
			}
			if err := s.retain(&e.Recorded); err != nil {
				return err
			}
		}
	}
	return nil
}

// retain does what e does to retention.
func (s *Store) retain(e *annals.Recorded) error {
	c, ok, err := annals.RetentionChangeOf(e.Event)
	if err != nil {
		return fmt.Errorf("position %d: %w", e.Position, err)
	}
	if ok {
		s.retained.Apply(c, e.Position, e.Time)
	}
	return nil
}

// Tracked implements [annals.Tracker].
func (s *Store) Tracked(ctx context.Context, source string) (annals.Position, error) {
	if err := annals.CheckSource(source, s.limits); err != nil {
		return 0, err
	}
	if err := s.ended(ctx); err != nil {
		return 0, err
	}
	view := s.index.View()
	defer view.Release()
	v := evaluation{store: s, view: view, ctx: ctx}
	_, p, err := v.tracked(source, s.index.Hasher().Stream(annals.TrackingStream(source)))
	return p, err
}

// tracked is the event that holds the position of a source, and that position.
func (v *evaluation) tracked(source string, term index.Term) (annals.Recorded, annals.Position, error) {
	_, at, err := v.view.LastRevision(annals.TrackingStream(source), term, v.view.Head(), v.record)
	if at == 0 || err != nil {
		return annals.Recorded{}, 0, err
	}
	e, err := v.store.records.Record(v.ctx, annals.Position(at))
	if err != nil {
		return annals.Recorded{}, 0, err
	}
	p, err := annals.TrackedPosition(e.Event)
	return e.Recorded, p, err
}

package engine

import (
	"context"
	"iter"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/retention"
)

// Read implements [annals.Store].
func (s *Store) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		s.read(ctx, q, opts, owned, func(e *annals.Recorded, err error) bool {
			if err != nil {
				return yield(annals.Recorded{}, err)
			}
			return yield(*e, nil)
		})
	}
}

// Scan implements [annals.Scanner].
func (s *Store) Scan(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[*annals.Recorded, error] {
	return func(yield func(*annals.Recorded, error) bool) { s.read(ctx, q, opts, lent, yield) }
}

// lease says to whom the events that are read belong.
type lease bool

const (
	owned lease = false // to the reader, for ever
	lent  lease = true  // to the store, when the next one is asked for
)

// read yields the events of q; the pointer is lent either way. With an error comes nil.
func (s *Store) read(ctx context.Context, q annals.Query, opts []annals.ReadOption, to lease, yield func(*annals.Recorded, error) bool) {
	o := annals.NewReadOptions(opts...)
	part, err := s.pin(ctx, q, &o)
	if err != nil {
		yield(nil, err)
		return
	}
	yielded := 0
	s.walk(ctx, q, part, o.Limit, to, func(e *annals.Recorded, err error) bool {
		if err != nil {
			return yield(nil, err)
		}
		if !q.Accepts(&e.Event) {
			return true
		}
		yielded++
		return yield(e, nil) && yielded != o.Limit
	})
}

// cut is the part of the log that is looked at, in (after, upto].
type cut struct {
	after, upto uint64
	backwards   bool
	seen        *retention.View
}

func (c cut) asRange() index.Range {
	return index.Range{After: c.after, Upto: c.upto, Backwards: c.backwards}
}

// pin is the part of the log that the options leave.
func (s *Store) pin(ctx context.Context, q annals.Query, o *annals.ReadOptions) (cut, error) {
	if err := o.Check(q, s.limits); err != nil {
		return cut{}, err
	}
	head, err := s.await(ctx, uint64(o.AtLeast))
	if err != nil {
		return cut{}, err
	}
	if uint64(o.After) > head {
		return cut{}, &annals.AheadError{Position: o.After, Head: annals.Position(head)}
	}
	if uint64(o.AsOf) > head && o.AsOf != annals.NoPosition {
		return cut{}, &annals.AheadError{Position: o.AsOf, Head: annals.Position(head)}
	}
	part := cut{after: uint64(o.After), upto: min(head, uint64(o.AsOf)), backwards: o.Backwards, seen: s.seen(ctx, head)}
	if !o.AsOfTime.IsZero() {
		upto, err := s.at(ctx, o.AsOfTime)
		if err != nil {
			return cut{}, err
		}
		part.upto = min(part.upto, upto)
	}
	if err := s.pinRevisions(ctx, q.Stream(), o, head, &part); err != nil {
		return cut{}, err
	}
	if o.HeadInto != nil {
		*o.HeadInto = annals.Position(part.upto)
	}
	part.after = min(part.after, part.upto)
	return part, nil
}

// pinRevisions narrows part to what the options about the stream's revisions leave.
func (s *Store) pinRevisions(ctx context.Context, stream string, o *annals.ReadOptions, head uint64, part *cut) error {
	if o.AsOfRevision == nil && o.FromRevision == nil {
		return nil
	}
	view := s.index.View()
	defer view.Release()
	e := evaluation{store: s, view: view.UpTo(head), ctx: ctx, seen: part.seen}
	term := s.index.Hasher().Stream(stream)
	if o.AsOfRevision != nil {
		p, r, err := view.FindRevision(stream, term, *o.AsOfRevision, head, e.record)
		switch {
		case err != nil:
			return err
		case p > 0 && r == *o.AsOfRevision:
			upto, err := e.asOf(stream, p, r)
			if err != nil {
				return err
			}
			part.upto = min(part.upto, upto)
		default:
			if loss := s.index.FirstLost(index.Range{Upto: head}); loss != nil { // it may lie there
				return loss
			}
			actual, _, err := view.LastRevision(stream, term, head, e.record)
			if err != nil {
				return err
			}
			return &annals.AheadError{Head: annals.Position(head), Stream: stream, Revision: *o.AsOfRevision, Actual: actual}
		}
	}
	if o.FromRevision != nil {
		p, r, err := view.FindRevision(stream, term, *o.FromRevision, head, e.record)
		if err != nil {
			return err
		}
		if loss := s.index.FirstLost(index.Range{Upto: head}); loss != nil && (p == 0 || r != *o.FromRevision) {
			return loss // it may lie there
		}
		if p, _, err = e.readable(stream, *o.FromRevision); err != nil {
			return err
		}
		part.after = head
		if p > 0 {
			part.after = max(uint64(o.After), p-1)
		}
	}
	return nil
}

// asOf is the position up to which the log leads to the revision r of a stream, which is at p.
func (v *evaluation) asOf(stream string, p uint64, r annals.Revision) (uint64, error) {
	edge, kept, err := v.seen.Edge(stream)
	if !kept || err != nil {
		return p, err
	}
	e, err := v.store.records.Record(v.ctx, annals.Position(p))
	if err != nil || !edge.Hides(e.Position, e.Revision, e.Time) {
		return p, err
	}
	next, _, err := v.readable(stream, r+1)
	if next == 0 || err != nil {
		return v.view.Head(), err
	}
	return next - 1, nil
}

// at is the last position that had been written at t. If what is lost hides that, it is an error.
func (s *Store) at(ctx context.Context, t time.Time) (uint64, error) {
	view := s.index.View()
	defer view.Release()
	r := view.UptoTime(t)
	for r.After < r.Upto { // the last position in (After, Upto] whose time is not after t, or After
		middle := r.After + (r.Upto-r.After+1)/2
		record, err := s.records.Record(ctx, annals.Position(middle))
		if err != nil {
			return 0, err
		}
		if record.Time.After(t) {
			r.Upto = middle - 1
		} else {
			r.After = middle
		}
	}
	for _, l := range s.index.Lost() {
		if uint64(l.First) == r.After+1 { // nothing tells when that was written
			return 0, l
		}
	}
	return r.After, nil
}

// await waits until the head has come to p, and is then the head.
func (s *Store) await(ctx context.Context, p uint64) (uint64, error) {
	if err := s.ended(ctx); err != nil {
		return 0, err
	}
	if head := s.index.Head(); head >= p {
		return head, nil
	}
	for {
		head, changed := s.index.Watch()
		if head >= p {
			return head, nil
		}
		select {
		case <-changed:
		case <-s.closing:
		case <-ctx.Done():
		}
		if err := s.ended(ctx); err != nil {
			return 0, err
		}
	}
}

// walk yields the events in part that may match q, in its direction: all that do, and some that do not. It ends with an
// error, beside nil, at the first position that is lost. Limit is how many are wanted, 0 for all. The pointer is lent.
func (s *Store) walk(ctx context.Context, q annals.Query, part cut, limit int, to lease, yield func(*annals.Recorded, error) bool) {
	loss := s.index.FirstLost(part.asRange())
	switch {
	case loss == nil:
	case part.backwards:
		part.after = min(uint64(loss.Last), part.upto)
	default:
		part.upto = max(uint64(loss.First)-1, part.after)
	}
	ended := false
	done := ctx.Done() // which is quicker to look at than the context
	s.candidates(ctx, q, part, limit, to, func(r *frame.Record, err error) bool {
		select {
		case <-done:
			err = s.ended(ctx)
		default:
			if s.closed.Load() || err != nil && s.ended(ctx) != nil {
				err = s.ended(ctx)
			}
		}
		if err != nil {
			ended = true
			return yield(nil, err)
		}
		hidden, err := part.seen.Hides(&r.Recorded)
		if err != nil {
			ended = true
			return yield(nil, err)
		}
		ended = !hidden && !yield(&r.Recorded, nil)
		return !ended
	})
	if loss != nil && !ended {
		yield(nil, loss)
	}
}

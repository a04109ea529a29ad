package engine

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

const (
	// scanFrom is how dense matches must be, one in so many, for the log to be read from end to end rather than
	// record by record.
	scanFrom = 4
	// A scan backwards reads forwards, window by window.
	windowFirst, windowMost = 16, 1024
)

// Read implements [annals.Store].
func (s *Store) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		o := annals.NewReadOptions(opts...)
		part, err := s.pin(ctx, q, &o)
		if err != nil {
			yield(annals.Recorded{}, err)
			return
		}
		yielded := 0
		for e, err := range s.walk(ctx, q, part, o.Limit) {
			if err != nil {
				yield(annals.Recorded{}, err)
				return
			}
			if !q.Match(e) {
				continue
			}
			if yielded++; !yield(e, nil) || yielded == o.Limit {
				return
			}
		}
	}
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
	part := cut{after: uint64(o.After), upto: min(head, uint64(o.AsOf)), backwards: o.Backwards}
	if !o.AsOfTime.IsZero() {
		upto, loss := s.index.at(o.AsOfTime)
		if loss != nil {
			return cut{}, loss
		}
		part.upto = min(part.upto, upto)
	}
	if err := s.pinRevisions(q.Stream(), o, head, &part); err != nil {
		return cut{}, err
	}
	if o.HeadInto != nil {
		*o.HeadInto = annals.Position(part.upto)
	}
	part.after = min(part.after, part.upto)
	return part, nil
}

// pinRevisions narrows part to what the options about the stream's revisions leave.
func (s *Store) pinRevisions(stream string, o *annals.ReadOptions, head uint64, part *cut) error {
	if o.AsOfRevision != nil {
		p := s.index.find(stream, *o.AsOfRevision)
		if p == 0 || p > head {
			if loss := s.index.firstLost(0, head, false); loss != nil { // it may lie there
				return loss
			}
			actual, _ := s.index.last(stream, head)
			return &annals.AheadError{Head: annals.Position(head), Stream: stream, Revision: *o.AsOfRevision, Actual: actual}
		}
		part.upto = min(part.upto, p)
	}
	if o.FromRevision != nil {
		p := s.index.find(stream, *o.FromRevision)
		switch {
		case p > 0 && p <= head:
			part.after = max(part.after, p-1)
		case s.index.firstLost(0, head, false) != nil:
			return s.index.firstLost(0, head, false)
		default:
			part.after = head
		}
	}
	return nil
}

// await waits until the head has come to p, and is then the head.
func (s *Store) await(ctx context.Context, p uint64) (uint64, error) {
	if err := s.ended(ctx); err != nil {
		return 0, err
	}
	if head := s.index.visible(); head >= p {
		return head, nil
	}
	for {
		head, changed := s.index.watch()
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
// error at the first position that is lost. Limit is how many are wanted, 0 for all.
func (s *Store) walk(ctx context.Context, q annals.Query, part cut, limit int) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		loss := s.index.firstLost(part.after, part.upto, part.backwards)
		switch {
		case loss == nil:
		case part.backwards:
			part.after = min(uint64(loss.Last), part.upto)
		default:
			part.upto = max(uint64(loss.First)-1, part.after)
		}
		for r, err := range s.candidates(ctx, q, part, limit) {
			if cause := s.ended(ctx); cause != nil {
				err = cause
			}
			if err != nil {
				yield(annals.Recorded{}, err)
				return
			}
			if !yield(r.Recorded, nil) {
				return
			}
		}
		if loss != nil {
			yield(annals.Recorded{}, loss)
		}
	}
}

// candidates chooses how to read: the log from end to end where matches are dense, else record by record.
func (s *Store) candidates(ctx context.Context, q annals.Query, part cut, limit int) iter.Seq2[frame.Record, error] {
	if !s.dense(q, part, limit) {
		return s.lookUps(ctx, s.index.compile(q, part.after, part.upto, part.backwards), part.backwards)
	}
	if part.backwards {
		return s.scanBackwards(ctx, part)
	}
	return s.records.Scan(ctx, annals.Position(part.after), annals.Position(part.upto))
}

// dense reports whether so many events in part match that it is quicker to read them all. What the index knows at once is
// an upper bound, which says little of two frequent tags that seldom meet: then the matches are counted, which takes
// nanoseconds for each, where a record takes a microsecond.
func (s *Store) dense(q annals.Query, part cut, limit int) bool {
	if part.after >= part.upto {
		return false
	}
	enough := int(part.upto-part.after) / scanFrom
	at := s.index.compile(q, part.after, part.upto, part.backwards)
	if _, all := at.(rangeCursor); all {
		return limit == 0 || limit > windowFirst
	}
	if n := at.atMost(); n < enough || n <= 1 || limit > 0 && limit <= windowFirst {
		return false
	}
	n := 0
	for key := at.seek(0); key != done && n < enough; key = at.seek(key + 1) {
		n++
	}
	return n >= enough
}

// lookUps reads record by record.
func (s *Store) lookUps(ctx context.Context, at cursor, backwards bool) iter.Seq2[frame.Record, error] {
	return func(yield func(frame.Record, error) bool) {
		for key := at.seek(0); key != done; key = at.seek(key + 1) {
			r, err := s.records.Record(ctx, annals.Position(keyOf(key, backwards)))
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// scanBackwards reads all records, in windows that grow.
func (s *Store) scanBackwards(ctx context.Context, part cut) iter.Seq2[frame.Record, error] {
	return func(yield func(frame.Record, error) bool) {
		var window []frame.Record
		for size := uint64(windowFirst); part.upto > part.after; size = min(2*size, windowMost) {
			from := part.upto - min(size, part.upto-part.after)
			window = window[:0]
			var failed error
			for r, err := range s.records.Scan(ctx, annals.Position(from), annals.Position(part.upto)) {
				if failed = err; err != nil {
					break
				}
				window = append(window, r)
			}
			if failed != nil {
				s.yieldBehind(ctx, from, part.upto, failed, yield)
				return
			}
			for _, r := range slices.Backward(window) {
				if !yield(r, nil) {
					return
				}
			}
			part.upto = from
		}
	}
}

// yieldBehind reads the records of a window in which a scan failed one by one, backwards, down to the one that fails.
func (s *Store) yieldBehind(ctx context.Context, from, upto uint64, failed error, yield func(frame.Record, error) bool) {
	var loss *annals.DataLossError
	for p := upto; p > from && errors.As(failed, &loss); p-- {
		r, err := s.records.Record(ctx, annals.Position(p))
		if !yield(r, err) || err != nil {
			return
		}
	}
	yield(frame.Record{}, failed)
}

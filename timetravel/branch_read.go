package timetravel

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/annalsdb/annals"
)

// Read implements annals.Store.
func (b *Branch) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		o := annals.NewReadOptions(opts...)
		r := reading{query: q, limit: o.Limit, backwards: o.Backwards, yield: yield}
		var err error
		if r.view, r.after, r.upto, err = b.slice(ctx, q, &o); err == nil {
			err = r.run(ctx)
		}
		if err != nil {
			yield(annals.Recorded{}, err)
		}
	}
}

// slice is what a read is pinned to, and between which positions it looks.
func (b *Branch) slice(ctx context.Context, q annals.Query, o *annals.ReadOptions) (v view, after, upto annals.Position, err error) {
	if err := o.Check(q, b.limits); err != nil {
		return view{}, 0, 0, err
	}
	if v, err = b.await(ctx, o.AtLeast); err != nil {
		return view{}, 0, 0, err
	}
	if o.After > v.head {
		return view{}, 0, 0, &annals.AheadError{Position: o.After, Head: v.head}
	}
	if o.AsOf > v.head && o.AsOf != annals.NoPosition {
		return view{}, 0, 0, &annals.AheadError{Position: o.AsOf, Head: v.head}
	}
	upto = min(v.head, o.AsOf)
	if !o.AsOfTime.IsZero() {
		at, err := v.at(ctx, o.AsOfTime)
		if err != nil {
			return view{}, 0, 0, err
		}
		upto = min(upto, at)
	}
	if o.AsOfRevision != nil {
		at, err := v.atRevision(ctx, q.Stream(), *o.AsOfRevision)
		if err != nil {
			return view{}, 0, 0, err
		}
		upto = min(upto, at)
	}
	after = o.After
	if o.FromRevision != nil {
		first, found, err := v.first(ctx, q.Stream(), *o.FromRevision)
		if err != nil {
			return view{}, 0, 0, err
		}
		from := v.head
		if found {
			from = first.Position - 1
		}
		after = max(after, from)
	}
	if o.HeadInto != nil {
		*o.HeadInto = upto
	}
	return v, after, upto, nil
}

// await waits until the branch is long enough.
func (b *Branch) await(ctx context.Context, p annals.Position) (view, error) {
	for {
		if err := ended(ctx); err != nil {
			return view{}, err
		}
		v := b.pinned()
		if v.head >= p {
			return v, nil
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
		}
	}
}

// at is the last position of what had happened at a time.
func (v view) at(ctx context.Context, t time.Time) (annals.Position, error) {
	var inBase annals.Position
	for _, err := range v.base.Read(ctx, annals.All(), annals.AsOfTime(t), annals.Limit(1), annals.HeadInto(&inBase)) {
		if err != nil {
			return 0, err
		}
	}
	var last annals.Position
	for i := range v.pieces {
		p := &v.pieces[i]
		if p.base == 0 {
			for _, e := range p.own {
				if e.Time.After(t) {
					return last, nil
				}
				last = e.Position
			}
			continue
		}
		if inBase < p.base {
			return last, nil
		}
		if last = p.last(); inBase < p.inBase(last) {
			return p.at + (inBase - p.base), nil
		}
	}
	return last, nil
}

// atRevision is the position at which a stream had come to a revision.
func (v view) atRevision(ctx context.Context, stream string, r annals.Revision) (annals.Position, error) {
	e, found, err := v.first(ctx, stream, r)
	switch {
	case err != nil:
		return 0, err
	case found && e.Revision == r:
		return e.Position, nil
	case found: // that one is hidden
		return e.Position - 1, nil
	}
	last, err := v.lastRevision(ctx, stream)
	if err != nil {
		return 0, err
	}
	if last == annals.NoRevision || r > last {
		return 0, &annals.AheadError{Head: v.head, Stream: stream, Revision: r, Actual: last}
	}
	return v.head, nil
}

// first is the first event of a stream that can be read and has at least this revision.
func (v view) first(ctx context.Context, stream string, r annals.Revision) (e annals.Recorded, found bool, err error) {
	q := annals.Stream(stream).WithSystem()
	for i := range v.pieces {
		p := &v.pieces[i]
		if p.base == 0 {
			for _, e := range p.own {
				if e.Stream == stream && e.Revision >= r {
					return e, true, nil
				}
			}
			continue
		}
		by := v.shifted(stream, p.base) // all through the piece
		from := r - by
		switch negative := int64(by) < 0; {
		case !negative && by > r: // it was before the first
			from = 0
		case negative && from < r: // there is no such revision
			from = annals.NoRevision
		}
		opts := []annals.ReadOption{annals.FromRevision(from), annals.After(p.base - 1), annals.AsOf(p.inBase(p.last())), annals.Limit(1)}
		for e, err := range v.base.Read(ctx, q, opts...) {
			if err != nil {
				return annals.Recorded{}, false, err
			}
			return v.moved(p, e), true, nil
		}
	}
	return annals.Recorded{}, false, nil
}

// lastRevision is the last one that a stream was given.
func (v view) lastRevision(ctx context.Context, stream string) (annals.Revision, error) {
	r := reading{view: v, query: annals.Stream(stream).WithSystem(), upto: v.head, backwards: true, limit: 1}
	var last *annals.Recorded
	r.yield = func(e annals.Recorded, _ error) bool {
		last = &e
		return true
	}
	if err := r.run(ctx); err != nil {
		return 0, err
	}
	if last != nil {
		return last.Revision, nil
	}
	hidden, err := lastInBase(ctx, v.base, stream, v.cut)
	if err != nil || hidden == annals.NoRevision {
		return annals.NoRevision, err
	}
	return hidden + v.shifted(stream, v.cut+1), nil
}

// moved is an event of base as the branch has it.
func (v view) moved(p *piece, e annals.Recorded) annals.Recorded {
	if e.Stream != "" {
		e.Revision += v.shifted(e.Stream, e.Position)
	}
	e.Position = p.at + (e.Position - p.base)
	return e
}

// reading is one read under way.
type reading struct {
	view
	query       annals.Query
	after, upto annals.Position
	limit       int // 0: none
	backwards   bool
	yield       func(annals.Recorded, error) bool
	yielded     int
}

// run yields what matches. It ends without an error when the consumer has enough.
func (r *reading) run(ctx context.Context) error {
	pieces := slices.All(r.pieces)
	if r.backwards {
		pieces = slices.Backward(r.pieces)
	}
	if err := ended(ctx); err != nil {
		return err
	}
	for i := range pieces {
		p := &r.pieces[i]
		lo, hi := max(p.at, r.after+1), min(p.last(), r.upto)
		if lo > hi {
			continue
		}
		read := r.readBase
		if p.base == 0 {
			read = r.readOwn
		}
		if more, err := read(ctx, p, lo, hi); !more || err != nil {
			return err
		}
	}
	return nil
}

func (r *reading) readOwn(ctx context.Context, p *piece, lo, hi annals.Position) (more bool, err error) {
	own := p.own[lo-p.at : hi-p.at+1]
	for i := range own {
		if r.backwards {
			i = len(own) - 1 - i
		}
		if err := ended(ctx); err != nil {
			return false, err
		}
		if r.query.Match(own[i]) && !r.give(own[i]) {
			return false, nil
		}
	}
	return true, nil
}

func (r *reading) readBase(ctx context.Context, p *piece, lo, hi annals.Position) (more bool, err error) {
	opts := []annals.ReadOption{annals.After(p.inBase(lo) - 1), annals.AsOf(p.inBase(hi))}
	if r.backwards {
		opts = append(opts, annals.Backwards())
	}
	if r.limit > 0 {
		opts = append(opts, annals.Limit(r.limit-r.yielded))
	}
	for e, err := range r.base.Read(ctx, r.query, opts...) {
		if err != nil {
			return false, err
		}
		if !r.give(r.moved(p, e)) {
			return false, nil
		}
	}
	return true, nil
}

// give yields an event, and tells whether more are wanted.
func (r *reading) give(e annals.Recorded) bool {
	r.yielded++
	return r.yield(e, nil) && r.yielded != r.limit
}

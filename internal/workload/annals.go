package workload

import (
	"context"
	"errors"
	"iter"

	"github.com/annalsdb/annals"
)

// OwnStore is an [annals.Store] that can be closed.
type OwnStore interface {
	annals.Store
	Close() error
}

// Of is a target over an [annals.Store]. Segment is how large a file of its log becomes, 0 if it has no such files.
func Of(name string, segment int64, open func(ctx context.Context, dir string) (OwnStore, error)) Target {
	t := ownTarget{name: name, open: open}
	if segment > 0 {
		return segmentedTarget{t, segment}
	}
	return t
}

type ownTarget struct {
	name string
	open func(ctx context.Context, dir string) (OwnStore, error)
}

func (t ownTarget) Name() string { return t.name }

func (t ownTarget) Open(ctx context.Context, dir string) (Store, error) {
	s, err := t.open(ctx, dir)
	if err != nil {
		return nil, err
	}
	return ownStore{s}, nil
}

type segmentedTarget struct {
	ownTarget
	segment int64
}

func (t segmentedTarget) SegmentBytes() int64 { return t.segment }

type ownStore struct{ store OwnStore }

func (s ownStore) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) error {
	_, err := s.store.Append(ctx, events, conds...)
	return err
}

func (s ownStore) Read(ctx context.Context, q annals.Query, visit func(*annals.Event)) error {
	return each(s.store.Read(ctx, q), visit)
}

// lender is the optional power of a store to yield events that live no longer than until the next.
type lender interface {
	Scan(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[*annals.Recorded, error]
}

func (s ownStore) Scan(ctx context.Context, visit func(*annals.Event)) error {
	l, ok := s.store.(lender)
	if !ok {
		return annals.ErrUnsupported
	}
	for r, err := range l.Scan(ctx, annals.All()) {
		if err != nil {
			return err
		}
		visit(&r.Event)
	}
	return nil
}

func each(events iter.Seq2[annals.Recorded, error], visit func(*annals.Event)) error {
	var e annals.Event // one for all: it is only looked at
	for r, err := range events {
		if err != nil {
			return err
		}
		e = r.Event
		visit(&e)
	}
	return nil
}

func (s ownStore) Follow(ctx context.Context, q annals.Query, ready func(), visit func(*annals.Event)) error {
	head, err := s.store.Head(ctx)
	if err != nil {
		return err
	}
	caughtUp := false
	for u, err := range s.store.Subscribe(ctx, q, head) {
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		}
		if !caughtUp && u.CaughtUp {
			caughtUp = true
			ready()
		}
		if u.Event != nil {
			visit(&u.Event.Event)
		}
	}
	return nil
}

func (s ownStore) Head(ctx context.Context) (annals.Position, error) { return s.store.Head(ctx) }

func (s ownStore) Close() error { return s.store.Close() }

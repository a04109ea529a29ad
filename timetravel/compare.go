package timetravel

import (
	"context"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

// Compare tells how a state in one log differs from the same state in another, such as the truth and a branch, log.On(branch). It is
// empty if they are alike. As with decider.Load, maps in initial must be nil.
func Compare[S decider.State[S, E], E any](ctx context.Context, a, b *annals.Log[E], initial S) ([]Change, error) {
	x, err := loadJSON(ctx, a, initial)
	if err != nil {
		return nil, err
	}
	y, err := loadJSON(ctx, b, initial)
	if err != nil {
		return nil, err
	}
	return Changes(x, y)
}

func loadJSON[S decider.State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, opts ...annals.ReadOption) ([]byte, error) {
	l, err := decider.Load(ctx, log, initial, opts...)
	if err != nil {
		return nil, err
	}
	return encode(l.State)
}

// CompareRows makes a read model of each of two logs, in memory, and tells which rows differ, with at most so many samples. What a
// branch changes of rows that are joined is seen too.
func CompareRows[V, E any](ctx context.Context, a, b *annals.Log[E], rows projection.Rows[V, E], samples int) (projection.Comparison[V], error) {
	x, y := projection.NewMemory(), projection.NewMemory()
	defer func() { _ = x.Close() }() // never fails
	defer func() { _ = y.Close() }()
	if err := projection.CatchUp(ctx, a, x, rows); err != nil {
		return projection.Comparison[V]{}, fmt.Errorf("timetravel: compare rows, the first log: %w", err)
	}
	if err := projection.CatchUp(ctx, b, y, rows); err != nil {
		return projection.Comparison[V]{}, fmt.Errorf("timetravel: compare rows, the second log: %w", err)
	}
	return projection.Compare(ctx, projection.Of(x, rows), projection.Of(y, rows), samples)
}

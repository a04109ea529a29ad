package projectiontest

import (
	"context"
	"sync"

	"github.com/annalsdb/annals/projection"
)

// frozenViews are those of a process that is stopped for a while: calls wait until it goes on, and then do what they were to do.
type frozenViews struct {
	projection.Views

	mu     sync.Mutex
	frozen chan struct{} // closed when it goes on; nil if it goes; guarded by mu
}

func (v *frozenViews) freeze() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.frozen = make(chan struct{})
}

func (v *frozenViews) thaw() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.frozen)
	v.frozen = nil
}

func (v *frozenViews) await() {
	v.mu.Lock()
	frozen := v.frozen
	v.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (v *frozenViews) Table(ctx context.Context, shape projection.Shape) (projection.Table, error) {
	t, err := v.Views.Table(ctx, shape)
	return frozenTable{t, v}, err
}

func (v *frozenViews) Note(ctx context.Context, key string) ([]byte, error) {
	v.await()
	return v.Views.Note(ctx, key)
}

func (v *frozenViews) SetNote(ctx context.Context, key string, old, now []byte) error {
	v.await()
	return v.Views.SetNote(ctx, key, old, now)
}

type frozenTable struct {
	projection.Table
	views *frozenViews
}

func (t frozenTable) Begin(ctx context.Context, at projection.Checkpoint) (projection.Batch, error) {
	t.views.await()
	return t.Table.Begin(ctx, at)
}

package snapshot

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/annalsdb/annals"
)

// keepDefault is how many snapshots of a key are kept unless [Keep] says otherwise.
const keepDefault = 2

// Option adjusts where snapshots are kept.
type Option func(*options)

type options struct {
	keep   int
	report func(error)
}

// Keep is how many snapshots of a key are kept: the newest. States of the past are loaded from older ones. By default 2; at
// least 1.
func Keep(n int) Option { return func(o *options) { o.keep = n } }

// Damaged is told of files that are damaged, which are removed. By default nobody is told.
func Damaged(report func(error)) Option { return func(o *options) { o.report = report } }

func newOptions(opts []Option) (options, error) {
	o := options{keep: keepDefault, report: func(error) {}}
	for _, f := range opts {
		f(&o)
	}
	if o.keep < 1 {
		return o, &annals.InvalidError{What: "Keep", Problem: "must be at least 1"}
	}
	if o.report == nil {
		return o, &annals.InvalidError{What: "Damaged", Problem: "nil"}
	}
	return o, nil
}

// Memory is [annals.Snapshots] in memory. Make one with [NewMemory].
type Memory struct {
	keep int

	mu    sync.RWMutex
	byKey map[string][]annals.Snapshot // in the order of their positions
}

var _ annals.Snapshots = (*Memory)(nil)

// NewMemory makes an empty one. It fails for options that make no sense.
func NewMemory(opts ...Option) (*Memory, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	return &Memory{keep: o.keep, byKey: map[string][]annals.Snapshot{}}, nil
}

// Load implements [annals.Snapshots].
func (m *Memory) Load(ctx context.Context, key string, upTo annals.Position) (s annals.Snapshot, found bool, err error) {
	if err := context.Cause(ctx); err != nil {
		return s, false, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, s := range slices.Backward(m.byKey[key]) {
		if s.Position <= upTo {
			return s, true, nil
		}
	}
	return s, false, nil
}

// Save implements [annals.Snapshots].
func (m *Memory) Save(ctx context.Context, s annals.Snapshot) error {
	if err := check(ctx, s); err != nil {
		return err
	}
	s.Data = slices.Clone(s.Data)
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.byKey[s.Key]
	i, same := slices.BinarySearchFunc(kept, s.Position, func(o annals.Snapshot, p annals.Position) int { return cmp.Compare(o.Position, p) })
	next := make([]annals.Snapshot, 0, len(kept)+1) // readers may hold the old one
	next = append(append(next, kept[:i]...), s)
	if same {
		i++
	}
	next = append(next, kept[i:]...)
	m.byKey[s.Key] = next[max(0, len(next)-m.keep):]
	return nil
}

// Delete implements [annals.Snapshots].
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byKey, key)
	return nil
}

// keyMax is the length of keys.
const keyMax = 256

// check reports what is wrong with a snapshot that is to be saved.
func check(ctx context.Context, s annals.Snapshot) error {
	switch {
	case s.Key == "" || len(s.Key) > keyMax:
		return &annals.InvalidError{What: "snapshot", Problem: "its key must have 1 to 256 bytes"}
	case s.Position == 0 || s.Position == annals.NoPosition:
		return &annals.InvalidError{What: "snapshot", Problem: "it has no position"}
	}
	return context.Cause(ctx)
}

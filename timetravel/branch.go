package timetravel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/annalsdb/annals"
)

// Branch is a store as it would be if the past had been another: an annals.Store over an annals.Store, made by [WhatIf]. It keeps
// what the edits say and what is appended to it, in memory, and reads the rest from the store below, which it never writes to. So
// every tool works on it: give it to annals.Log.On.
//
// It sees the store below as it was when it was made: what happens there later is not part of it. Retention is an exception, as
// always: what is hidden below is hidden in the branch, also in the middle of a read; and of a stream of which all is hidden that had
// happened when the branch was made, it may not know how far its revisions had come. Its positions and revisions are its own, without gaps where an event was
// dropped. It keeps system events and positions of consumers, and no retention of its own. It may be used concurrently.
type Branch struct {
	base   annals.Store
	limits annals.Limits
	edits  []Edit
	made   annals.Position // the head of base when it was made
	cut    annals.Position // the last position of base that may be part of it
	past   []piece         // what the edits make of base
	shifts map[string][]shift
	ends   annals.Position // of the past

	// writer is held, as a place in the channel, by the one append that looks at the state before it, which may read base. mu
	// is held for moments, to see or to replace what follows.
	writer  chan struct{}
	mu      sync.Mutex
	tail    []annals.Recorded          // what was appended
	lasts   map[string]annals.Revision // of the streams of tail
	ids     map[place]int              // of the events of tail, and where they are in it
	changed chan struct{}              // closed, and made anew, when there is more
}

var (
	_ annals.Store       = (*Branch)(nil)
	_ annals.Limiter     = (*Branch)(nil)
	_ annals.SystemStore = (*Branch)(nil)
	_ annals.Tracker     = (*Branch)(nil)
)

// piece is a run of the branch: of positions of base, or of events of its own.
type piece struct {
	at   annals.Position // of its first event, in the branch
	n    uint64
	base annals.Position   // of its first event, in base; 0: it has events of its own
	own  []annals.Recorded // with the positions and revisions of the branch
}

func (p *piece) last() annals.Position { return p.at + annals.Position(p.n) - 1 }

// inBase is where a position of the branch lies in base.
func (p *piece) inBase(at annals.Position) annals.Position { return p.base + (at - p.at) }

// shift says by how much the revisions of a stream differ from those in base, from behind a position of base on.
type shift struct {
	behind annals.Position
	by     annals.Revision // modulo 2^64: it may be negative
}

// shifted is the difference for an event at a position of base.
func (b *Branch) shifted(stream string, at annals.Position) (by annals.Revision) {
	for _, s := range b.shifts[stream] {
		if s.behind >= at {
			break
		}
		by = s.by
	}
	return by
}

// Edits are those that made the branch. They must not be changed.
func (b *Branch) Edits() []Edit { return b.edits }

// Streams are those in which something happened otherwise, or was appended, sorted.
func (b *Branch) Streams() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	streams := slices.Collect(maps.Keys(b.shifts))
	for stream := range b.lasts {
		if !slices.Contains(streams, stream) {
			streams = append(streams, stream)
		}
	}
	slices.Sort(streams)
	return streams
}

// ProtectsPersonal implements annals.Protector: what a branch adds lies in memory.
func (b *Branch) ProtectsPersonal() bool { return true }

// Limits implements annals.Limiter.
func (b *Branch) Limits() annals.Limits { return b.limits }

// Head implements annals.Store.
func (b *Branch) Head(ctx context.Context) (annals.Position, error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	return b.pinned().head, nil
}

// view is what can be read at one moment.
type view struct {
	*Branch
	pieces  []piece
	head    annals.Position
	changed <-chan struct{}
}

func (b *Branch) pinned() view {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := view{Branch: b, pieces: b.past, head: b.ends, changed: b.changed}
	if n := len(b.tail); n > 0 {
		v.pieces = append(slices.Clip(b.past), piece{at: b.ends + 1, n: uint64(n), own: b.tail})
		v.head += annals.Position(n)
	}
	return v
}

// ended is nil while ctx runs; then an error that matches both the context's error and its cause.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// now is the time of what is appended: not earlier than what is there.
func (b *Branch) now(last time.Time) time.Time {
	now := time.Now().UTC().Round(0)
	if now.Before(last) {
		return last
	}
	return now
}

package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/segment"
)

// What keeps a directory from being opened, to branch on with errors.Is.
var (
	// ErrLocked: another process, or another [Store] of this one, has the directory open. The message names the process.
	ErrLocked = segment.ErrLocked
	// ErrNotAStore: the directory holds other files and no store.
	ErrNotAStore = segment.ErrNotAStore
	// ErrNewerFormat: a newer program wrote the directory.
	ErrNewerFormat = segment.ErrNewerFormat
)

// Stats are figures about an open store.
type Stats = engine.Stats

// Recovery is what opening found.
type Recovery = segment.Recovery

// Report is what [Store.Verify] found.
type Report struct {
	segment.Report
	// Index is what of the index differs from the log. It is made anew, and nothing is lost by it: Damage alone says what is.
	Index []*IndexDamageError
}

// VerifyOption adjusts [Store.Verify].
type VerifyOption = segment.VerifyOption

// Progress has do called as the verification of the log goes on, with how many bytes were read, and how many there are to be
// read. It is called from several goroutines, one at a time, about a hundred times in all.
func Progress(do func(done, total int64)) VerifyOption { return segment.Progress(do) }

// IndexDamageError is a part of the index that is not that of the log.
type IndexDamageError = engine.IndexDamageError

// Store is an [annals.Store] in a directory. Make one with [Open]. It may be used concurrently.
type Store struct {
	*engine.Store
	dir       *segment.Dir
	closeOnce sync.Once
	closeErr  error
}

var (
	_ annals.Store       = (*Store)(nil)
	_ annals.Limiter     = (*Store)(nil)
	_ annals.Scanner     = (*Store)(nil)
	_ annals.SystemStore = (*Store)(nil)
	_ annals.Retainer    = (*Store)(nil)
	_ annals.Tracker     = (*Store)(nil)
)

// Open opens the store in dir, or makes it if dir does not exist or is empty. It fails with [ErrLocked],
// [ErrNotAStore], [ErrNewerFormat], or what the file system says. How long it takes does not depend on how much there is in
// the store. Damage does not keep it from opening: reads that meet it end with an [annals.DataLossError], and appends are
// [annals.ErrReadOnly] if positions are lost that the index does not know, or if the end of the log is in doubt.
func Open(ctx context.Context, dir string, opts ...Option) (*Store, error) {
	return open(ctx, dir, opts)
}

// OpenReadOnly opens the store in dir to be read as it is now: it takes no lock and writes nothing, so that it works
// on a copy, and beside a writer, whose later appends it does not see. It is for offline tools.
func OpenReadOnly(ctx context.Context, dir string, opts ...Option) (*Store, error) {
	return open(ctx, dir, append([]Option{func(o *options) { o.segments.ReadOnly = true }}, opts...))
}

var errOpenedReadOnly = errors.New("opened to be read only")

func open(ctx context.Context, dir string, opts []Option) (*Store, error) {
	var o options
	o.segments.Random, o.engine.Random, o.engine.Clock = rand.Reader, rand.Reader, time.Now
	for _, f := range opts {
		f(&o)
	}
	d, err := segment.Open(ctx, vfs.OS{}, dir, o.segments)
	if err != nil {
		return nil, fmt.Errorf("disk: open %s: %w", dir, err)
	}
	c := o.engine
	c.Journal, c.Records, c.Identity, c.Refuse = d, d, d.Identity(), d.Stopped()
	c.Index.FS, c.Index.Dir, c.Index.ReadOnly = vfs.OS{}, filepath.Join(dir, "index"), o.segments.ReadOnly
	if o.segments.ReadOnly {
		c.Refuse = errOpenedReadOnly
	} else if c.Refuse != nil && c.Logger != nil {
		c.Logger.ErrorContext(ctx, "positions are lost, or the end of the log is in doubt; appends are refused", "error", c.Refuse)
	}
	e, err := engine.Open(ctx, c)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("disk: open %s: %w", dir, err), d.Close())
	}
	return &Store{Store: e, dir: d}, nil
}

// Recovery is what opening found: whether the store had been closed, what was cut off, what is damaged.
func (s *Store) Recovery() Recovery { return s.dir.Recovered() }

// Verify reads everything that is durable and compares all checksums and hashes, and the index with the log. It lists all
// damage and does not stop at the first; the error is that of ctx, or [annals.ErrClosed]. It may run beside everything else.
func (s *Store) Verify(ctx context.Context, opts ...VerifyOption) (r Report, err error) {
	if r.Report, err = s.dir.Verify(ctx, opts...); err == nil {
		r.Index, err = s.VerifyIndex(ctx)
	}
	return r, err
}

// Close ends the store: the append that is being made durable is waited for; every call and every subscription answers
// [annals.ErrClosed] from now on. It marks the log as closed and gives the directory free. It may be called again.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.closeErr = errors.Join(s.Store.Close(), s.dir.Close())
		if s.closeErr != nil {
			s.closeErr = fmt.Errorf("disk: close: %w", s.closeErr)
		}
	})
	return s.closeErr
}

// Package memory is the reference store: a slice of events under a lock, scanned from one end to the other. It is meant
// to be obviously right, not fast. It keeps events for as long as the process lives, and is what other stores are
// compared with, and what tests run on.
package memory

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/annalsdb/annals"
)

// Store is an [annals.Store] in memory. Make one with [New]. It may be used concurrently.
type Store struct {
	clock  func() time.Time
	random io.Reader

	mu      sync.RWMutex
	log     []annals.Recorded          // log[p-1] has position p; only ever appended to
	ids     map[key]annals.Position    // where an id is
	streams map[string]annals.Revision // the last revision of each stream
	changed chan struct{}              // closed, and made anew, when the log grows or the store is closed
	closed  bool
}

// key is what makes an append idempotent.
type key struct {
	stream string
	id     annals.ID
}

var (
	_ annals.Store       = (*Store)(nil)
	_ annals.Limiter     = (*Store)(nil)
	_ annals.Scanner     = (*Store)(nil)
	_ annals.SystemStore = (*Store)(nil)
)

// Option adjusts a store.
type Option func(*Store)

// Clock is where the time of events comes from, instead of the wall clock. A clock that goes back is held at the last
// time it gave.
func Clock(now func() time.Time) Option { return func(s *Store) { s.clock = now } }

// Random is where the randomness of event ids comes from, instead of the system's.
func Random(r io.Reader) Option { return func(s *Store) { s.random = r } }

// New makes an empty store.
func New(opts ...Option) *Store {
	s := &Store{
		clock: time.Now, random: rand.Reader,
		ids: map[key]annals.Position{}, streams: map[string]annals.Revision{}, changed: make(chan struct{}),
	}
	for _, o := range opts {
		o(s)
	}
	return s
}

// Close ends the store: every call and every subscription answers [annals.ErrClosed] from now on. It may be called
// again.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.changed)
	}
	return nil
}

// Limits are those of the store on disk.
func (s *Store) Limits() annals.Limits {
	l := annals.MinLimits()
	l.EventBytes, l.AppendBytes, l.AppendEvents = 16<<20, 64<<20, 100_000
	return l
}

// System is the same store with leave to append system events.
func (s *Store) System() annals.Store { return systemStore{s} }

type systemStore struct{ *Store }

func (s systemStore) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	return s.append(ctx, events, conds, true)
}

// Append implements [annals.Store]. It never waits, so its outcome is never unknown.
func (s *Store) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	return s.append(ctx, events, conds, false)
}

func (s *Store) append(ctx context.Context, events []annals.Event, conds []annals.Condition, system bool) (annals.Receipt, error) {
	if err := annals.CheckAppend(events, conds, s.Limits(), system); err != nil {
		return annals.Receipt{}, err
	}
	if err := ended(ctx); err != nil {
		return annals.Receipt{}, &annals.OutcomeError{Cause: err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return annals.Receipt{}, annals.ErrClosed
	}
	if receipt, known, err := s.known(events); known || err != nil {
		return receipt, err
	}
	if err := s.check(conds); err != nil {
		return annals.Receipt{}, err
	}
	return s.record(events)
}

// known looks for the events among those that are stored: all, none, or an error.
func (s *Store) known(events []annals.Event) (receipt annals.Receipt, known bool, err error) {
	var have, lack, reused []annals.ID
	receipt = annals.Receipt{Head: s.head(), Revision: annals.NoRevision, Duplicate: true}
	for _, e := range events {
		e = e.Canonical()
		p, ok := s.ids[key{e.Stream, e.ID}]
		if e.ID.IsZero() || !ok {
			lack = append(lack, e.ID)
			continue
		}
		have = append(have, e.ID)
		r := s.log[p-1]
		if !r.SameContent(e) || p <= receipt.Last {
			reused = append(reused, e.ID)
		}
		if receipt.First == 0 {
			receipt.First = p
		}
		receipt.Last, receipt.Time = p, r.Time
		if r.Stream != "" {
			receipt.Revision = r.Revision
		}
	}
	switch {
	case len(reused) > 0 && (len(lack) == 0 || s.contentDiffers(events)):
		return annals.Receipt{}, false, &annals.IDReusedError{IDs: reused}
	case len(have) > 0 && len(lack) > 0:
		return annals.Receipt{}, false, &annals.PartialDuplicateError{Known: have, New: lack}
	}
	return receipt, len(have) > 0, nil
}

// contentDiffers reports whether one of the events is stored with another content.
func (s *Store) contentDiffers(events []annals.Event) bool {
	return slices.ContainsFunc(events, func(e annals.Event) bool {
		e = e.Canonical()
		p, ok := s.ids[key{e.Stream, e.ID}]
		return ok && !s.log[p-1].SameContent(e)
	})
}

// check evaluates the conditions on the state before the append.
func (s *Store) check(conds []annals.Condition) error {
	for _, c := range conds {
		if c.Kind() == annals.KindNoneSince && c.After() > s.head() {
			return &annals.AheadError{Position: c.After(), Head: s.head()}
		}
	}
	var failures []annals.Failure
	for i, c := range conds {
		if f, failed := s.evaluate(c); failed {
			f.Index = i
			failures = append(failures, f)
		}
	}
	if failures != nil {
		return &annals.ConflictError{Failures: failures}
	}
	return nil
}

// evaluate tells whether c fails, and by which events.
func (s *Store) evaluate(c annals.Condition) (annals.Failure, bool) {
	f := annals.Failure{Condition: c, Actual: annals.NoRevision}
	last, exists := s.streams[c.Stream()]
	if exists && c.Stream() != "" {
		f.Actual = last
	}
	failed := false
	inTheWay := func(annals.Recorded) bool { return false }
	switch c.Kind() {
	case annals.KindStreamAt:
		failed = !exists || last != c.Revision()
		inTheWay = func(r annals.Recorded) bool { return r.Stream == c.Stream() && r.Revision > c.Revision() }
	case annals.KindNoStream:
		failed = exists
		inTheWay = func(r annals.Recorded) bool { return r.Stream == c.Stream() }
	case annals.KindStreamExists:
		failed = !exists
	case annals.KindNoneSince:
		inTheWay = func(r annals.Recorded) bool { return r.Position > c.After() && c.Query().Match(r) }
	}
	for _, r := range s.log {
		if len(f.Positions) == annals.ConflictPositionsMax {
			break
		}
		if !inTheWay(r) {
			continue
		}
		f.Positions = append(f.Positions, r.Position)
		if c.WantsEvents() {
			f.Events = append(f.Events, r)
		}
	}
	return f, failed || c.Kind() == annals.KindNoneSince && f.Positions != nil
}

// record appends what has been found to be new and allowed.
func (s *Store) record(events []annals.Event) (annals.Receipt, error) {
	receipt := annals.Receipt{Head: s.head(), Revision: annals.NoRevision}
	if len(events) == 0 {
		return receipt, nil
	}
	now := s.clock().UTC().Round(0)
	if n := len(s.log); n > 0 && now.Before(s.log[n-1].Time) {
		now = s.log[n-1].Time
	}
	fresh := make([]annals.Recorded, 0, len(events))
	for _, e := range events {
		e = e.Clone().Canonical()
		if e.ID.IsZero() {
			var random [10]byte
			if _, err := io.ReadFull(s.random, random[:]); err != nil {
				return annals.Receipt{}, &annals.OutcomeError{Cause: err}
			}
			e.ID = annals.MakeID(now, random)
		}
		fresh = append(fresh, annals.Recorded{Event: e, Revision: annals.NoRevision, Time: now})
	}
	for _, r := range fresh {
		r.Position = s.head() + 1
		if r.Stream != "" {
			r.Revision = 0
			if last, ok := s.streams[r.Stream]; ok {
				r.Revision = last + 1
			}
			s.streams[r.Stream] = r.Revision
			receipt.Revision = r.Revision
		}
		s.ids[key{r.Stream, r.ID}] = r.Position
		s.log = append(s.log, r)
	}
	receipt.Last = s.head()
	receipt.First, receipt.Head, receipt.Time = receipt.Last-annals.Position(len(fresh))+1, receipt.Last, now
	close(s.changed)
	s.changed = make(chan struct{})
	return receipt, nil
}

func (s *Store) head() annals.Position { return annals.Position(len(s.log)) }

// snapshot is the log as it is now, and a channel that is closed when that changes.
func (s *Store) snapshot() (log []annals.Recorded, changed <-chan struct{}, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, nil, annals.ErrClosed
	}
	return s.log, s.changed, nil
}

// Head implements [annals.Store].
func (s *Store) Head(ctx context.Context) (annals.Position, error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	log, _, err := s.snapshot()
	return annals.Position(len(log)), err
}

// Read implements [annals.Store].
func (s *Store) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		o := annals.NewReadOptions(opts...)
		log, err := s.slice(ctx, q, &o)
		if err != nil {
			yield(annals.Recorded{}, err)
			return
		}
		yielded := 0
		for i := range log {
			r := log[i]
			if o.Backwards {
				r = log[len(log)-1-i]
			}
			if err := ended(ctx); err != nil {
				yield(annals.Recorded{}, err)
				return
			}
			if !q.Match(r) {
				continue
			}
			if yielded++; !yield(r, nil) || yielded == o.Limit {
				return
			}
		}
	}
}

// Scan implements [annals.Scanner]. It saves nothing here: what is lent is a copy that is spoilt when the next event is asked for,
// so that a program that keeps it finds that out in its tests.
func (s *Store) Scan(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[*annals.Recorded, error] {
	return func(yield func(*annals.Recorded, error) bool) {
		for e, err := range s.Read(ctx, q, opts...) {
			if err != nil {
				yield(nil, err)
				return
			}
			lent := e
			lent.Event = e.Clone()
			again := yield(&lent, nil)
			spoil(lent)
			lent = annals.Recorded{}
			if !again {
				return
			}
		}
	}
}

// spoil overwrites what can be overwritten: strings cannot.
func spoil(e annals.Recorded) {
	clear(e.Tags)
	for _, b := range [][]byte{e.Data, e.Metadata} {
		for i := range b {
			b[i] = '#'
		}
	}
}

// slice is the part of the log that the options leave.
func (s *Store) slice(ctx context.Context, q annals.Query, o *annals.ReadOptions) ([]annals.Recorded, error) {
	if err := o.Check(q, s.Limits()); err != nil {
		return nil, err
	}
	log, err := s.await(ctx, o.AtLeast)
	if err != nil {
		return nil, err
	}
	head := annals.Position(len(log))
	if o.After > head {
		return nil, &annals.AheadError{Position: o.After, Head: head}
	}
	if o.AsOf > head && o.AsOf != annals.NoPosition {
		return nil, &annals.AheadError{Position: o.AsOf, Head: head}
	}
	upto := min(head, o.AsOf)
	if !o.AsOfTime.IsZero() {
		for upto > 0 && log[upto-1].Time.After(o.AsOfTime) {
			upto--
		}
	}
	if o.AsOfRevision != nil {
		p, actual := find(log, q.Stream(), *o.AsOfRevision)
		if p == 0 {
			return nil, &annals.AheadError{Head: head, Stream: q.Stream(), Revision: *o.AsOfRevision, Actual: actual}
		}
		upto = min(upto, p)
	}
	after := o.After
	if o.FromRevision != nil {
		p, _ := find(log, q.Stream(), *o.FromRevision)
		if p == 0 {
			p = head + 1
		}
		after = max(after, p-1)
	}
	if o.HeadInto != nil {
		*o.HeadInto = upto
	}
	return log[min(after, upto):upto], nil
}

// await waits until the log is long enough.
func (s *Store) await(ctx context.Context, p annals.Position) ([]annals.Recorded, error) {
	for {
		if err := ended(ctx); err != nil {
			return nil, err
		}
		log, changed, err := s.snapshot()
		if err != nil || annals.Position(len(log)) >= p {
			return log, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// ended is nil while ctx runs; then an error that matches both the context's error and its cause.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if err == nil || errors.Is(cause, err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// find is the position of a stream's revision, 0 if there is none, and the stream's last revision.
func find(log []annals.Recorded, stream string, r annals.Revision) (annals.Position, annals.Revision) {
	at, last := annals.Position(0), annals.NoRevision
	for _, e := range log {
		if e.Stream != stream {
			continue
		}
		last = e.Revision
		if e.Revision == r {
			at = e.Position
		}
	}
	return at, last
}

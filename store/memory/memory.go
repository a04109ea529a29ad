// Package memory is the reference store: a slice of events under a lock, and the positions at which names occur. It is meant
// to be obviously right: whatever it looks at, it matches with the query itself. It keeps events for as long as the process
// lives, and is what other stores are compared with, and what tests run on.
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
	names   names                      // where to look for what
	ids     map[key]annals.Position    // where an id is, or was last
	streams map[string]annals.Revision // the last revision of each stream
	kept    map[string]keeping         // what retention has done; replaced, not changed
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
	_ annals.Retainer    = (*Store)(nil)
	_ annals.Tracker     = (*Store)(nil)
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
		clock: time.Now, random: rand.Reader, names: newNames(),
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
	l.Retention, l.Tracking = true, true
	return l
}

// System is the same store with leave to append system events.
func (s *Store) System() annals.Store { return systemStore{s} }

// ProtectsPersonal implements [annals.Protector]: nothing lies on a disk.
func (s *Store) ProtectsPersonal() bool { return true }

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
	if err := s.tombstonedLocked(events); err != nil {
		return annals.Receipt{}, err
	}
	now := s.nowLocked()
	v := s.viewLocked(now)
	if receipt, known, err := s.known(v, events); known || err != nil {
		return receipt, err
	}
	if err := s.checkChangesLocked(events); err != nil {
		return annals.Receipt{}, err
	}
	if err := s.check(v, conds); err != nil {
		return annals.Receipt{}, err
	}
	return s.record(events, annals.TrackedEvents(conds), now)
}

// nowLocked is what the clock says, but not earlier than the last event.
func (s *Store) nowLocked() time.Time {
	now := s.clock().UTC().Round(0)
	if n := len(s.log); n > 0 && now.Before(s.log[n-1].Time) {
		now = s.log[n-1].Time
	}
	return now
}

// stored finds the event with an id in a stream, if it can be read.
func (s *Store) stored(v view, e annals.Event) (annals.Recorded, bool) {
	p, ok := s.ids[key{e.Stream, e.ID}]
	if e.ID.IsZero() || !ok || !v.sees(s.log[p-1]) {
		return annals.Recorded{}, false
	}
	return s.log[p-1], true
}

// known looks for the events among those that are stored: all, none, or an error.
func (s *Store) known(v view, events []annals.Event) (receipt annals.Receipt, known bool, err error) {
	if !slices.ContainsFunc(events, func(e annals.Event) bool { _, ok := s.stored(v, e); return ok }) {
		return annals.Receipt{}, false, nil
	}
	var have, lack, reused []annals.ID
	receipt = annals.Receipt{Head: s.head(), Revision: annals.NoRevision, Duplicate: true}
	for _, e := range events {
		e = e.Canonical()
		r, ok := s.stored(v, e)
		if !ok {
			lack = append(lack, e.ID)
			continue
		}
		have = append(have, e.ID)
		if !r.SameContent(e) || r.Position <= receipt.Last {
			reused = append(reused, e.ID)
		}
		if receipt.First == 0 {
			receipt.First = r.Position
		}
		receipt.Last, receipt.Time = r.Position, r.Time
		if r.Stream != "" {
			receipt.Revision = r.Revision
		}
	}
	switch {
	case len(reused) > 0 && (len(lack) == 0 || s.contentDiffers(v, events)):
		return annals.Receipt{}, false, &annals.IDReusedError{IDs: reused}
	case len(have) > 0 && len(lack) > 0:
		return annals.Receipt{}, false, &annals.PartialDuplicateError{Known: have, New: lack}
	}
	return receipt, len(have) > 0, nil
}

// contentDiffers reports whether one of the events is stored with another content.
func (s *Store) contentDiffers(v view, events []annals.Event) bool {
	return slices.ContainsFunc(events, func(e annals.Event) bool {
		r, ok := s.stored(v, e)
		return ok && !r.SameContent(e.Canonical())
	})
}

// check evaluates the conditions on the state before the append.
func (s *Store) check(v view, conds []annals.Condition) error {
	for _, c := range conds {
		if c.Kind() == annals.KindNoneSince && c.After() > s.head() {
			return &annals.AheadError{Position: c.After(), Head: s.head()}
		}
	}
	var failures []annals.Failure
	for i, c := range conds {
		f, failed, err := s.evaluate(v, c)
		if err != nil {
			return err
		}
		if failed {
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
func (s *Store) evaluate(v view, c annals.Condition) (f annals.Failure, failed bool, err error) {
	f = annals.Failure{Condition: c, Actual: annals.NoRevision}
	after := c.After()
	last, given := s.streams[c.Stream()]
	if c.Stream() != "" {
		f.State = s.stateLocked(v, c.Stream())
		if given {
			f.Actual = last
		}
	}
	inTheWay, where := func(annals.Recorded) bool { return false }, places{list: s.names.streams[c.Stream()]}
	switch c.Kind() {
	case annals.KindStreamAt:
		failed = !given || last != c.Revision()
		inTheWay = func(r annals.Recorded) bool { return r.Stream == c.Stream() && r.Revision > c.Revision() }
	case annals.KindNoStream:
		failed = f.State == annals.StreamLive
		inTheWay = func(r annals.Recorded) bool { return r.Stream == c.Stream() }
	case annals.KindStreamExists:
		failed = f.State != annals.StreamLive
	case annals.KindStreamIn:
		failed = f.State&c.States() == 0
		inTheWay = func(r annals.Recorded) bool { return r.Stream == c.Stream() }
	case annals.KindNoneSince:
		q := c.Query()
		inTheWay, where = func(r annals.Recorded) bool { return q.Match(r) }, s.names.of(q)
	case annals.KindTracking:
		var at annals.Recorded
		at, f.Tracked, err = s.trackedLocked(c.Source())
		failed = f.Tracked >= c.After()
		if at.Position > 0 {
			inTheWay, where, after = func(annals.Recorded) bool { return true }, places{list: []annals.Position{at.Position}}, 0
		}
	}
	w := where.between(after, v.head())
	for i := range w.n {
		if len(f.Positions) == annals.ConflictPositionsMax {
			break
		}
		r := v.log[w.at(i)-1]
		if !v.sees(r) || !inTheWay(r) {
			continue
		}
		f.Positions = append(f.Positions, r.Position)
		if c.WantsEvents() {
			f.Events = append(f.Events, r)
		}
	}
	return f, failed || c.Kind() == annals.KindNoneSince && f.Positions != nil, err
}

// record appends what has been found to be new and allowed: the events and, behind them, what the store notes itself.
func (s *Store) record(events, notes []annals.Event, now time.Time) (annals.Receipt, error) {
	receipt := annals.Receipt{Head: s.head(), Revision: annals.NoRevision}
	if len(events)+len(notes) == 0 {
		return receipt, nil
	}
	fresh := make([]annals.Recorded, 0, len(events)+len(notes))
	all := events
	if len(notes) > 0 {
		all = slices.Concat(events, notes)
	}
	for _, e := range all {
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
	for i, r := range fresh {
		r.Position = s.head() + 1
		if r.Stream != "" {
			r.Revision = s.nextLocked(r.Stream)
			s.streams[r.Stream] = r.Revision
		}
		s.ids[key{r.Stream, r.ID}] = r.Position
		s.log = append(s.log, r)
		s.names.add(r)
		s.applyLocked(r.Event, now)
		if i >= len(events) {
			continue
		}
		if receipt.First == 0 {
			receipt.First = r.Position
		}
		receipt.Last = r.Position
		if r.Stream != "" {
			receipt.Revision = r.Revision
		}
	}
	receipt.Head, receipt.Time = s.head(), now
	close(s.changed)
	s.changed = make(chan struct{})
	return receipt, nil
}

func (s *Store) head() annals.Position { return annals.Position(len(s.log)) }

// snapshot is what can be read now, and where a query may match.
func (s *Store) snapshot(q annals.Query) (view, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return view{}, annals.ErrClosed
	}
	now := time.Time{}
	if len(s.kept) > 0 { // else the time plays no part
		now = s.nowLocked()
	}
	v := s.viewLocked(now)
	v.matches = s.names.of(q)
	if stream := q.Stream(); stream != "" {
		v.stream = s.names.streams[stream]
	}
	return v, nil
}

// Head implements [annals.Store].
func (s *Store) Head(ctx context.Context) (annals.Position, error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	v, err := s.snapshot(annals.Query{})
	return v.head(), err
}

// Read implements [annals.Store].
func (s *Store) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		o := annals.NewReadOptions(opts...)
		v, w, err := s.slice(ctx, q, &o)
		if err != nil {
			yield(annals.Recorded{}, err)
			return
		}
		yielded := 0
		for i := range w.n {
			if o.Backwards {
				i = w.n - 1 - i
			}
			if err := ended(ctx); err != nil {
				yield(annals.Recorded{}, err)
				return
			}
			r := &v.log[w.at(i)-1]
			if !v.sees(*r) || !q.Match(*r) {
				continue
			}
			if yielded++; !yield(*r, nil) || yielded == o.Limit {
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

// slice is what the read is pinned to, and where to look in the part of its log that the options leave.
func (s *Store) slice(ctx context.Context, q annals.Query, o *annals.ReadOptions) (view, window, error) {
	if err := o.Check(q, s.Limits()); err != nil {
		return view{}, window{}, err
	}
	v, err := s.await(ctx, q, o.AtLeast)
	if err != nil {
		return view{}, window{}, err
	}
	head := v.head()
	if o.After > head {
		return view{}, window{}, &annals.AheadError{Position: o.After, Head: head}
	}
	if o.AsOf > head && o.AsOf != annals.NoPosition {
		return view{}, window{}, &annals.AheadError{Position: o.AsOf, Head: head}
	}
	upto := min(head, o.AsOf)
	if !o.AsOfTime.IsZero() {
		for upto > 0 && v.log[upto-1].Time.After(o.AsOfTime) {
			upto--
		}
	}
	if o.AsOfRevision != nil {
		p, err := v.asOf(q.Stream(), *o.AsOfRevision)
		if err != nil {
			return view{}, window{}, err
		}
		upto = min(upto, p)
	}
	after := o.After
	if o.FromRevision != nil {
		from := head
		if e, ok := v.first(v.stream, *o.FromRevision); ok {
			from = e.Position - 1
		}
		after = max(after, from)
	}
	if o.HeadInto != nil {
		*o.HeadInto = upto
	}
	return v, v.matches.between(after, upto), nil
}

// await waits until the log is long enough.
func (s *Store) await(ctx context.Context, q annals.Query, p annals.Position) (view, error) {
	for {
		if err := ended(ctx); err != nil {
			return view{}, err
		}
		v, err := s.snapshot(q)
		if err != nil || v.head() >= p {
			return v, err
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
		}
	}
}

// ended is nil while ctx runs; then an error that matches both the context's error and its cause.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

package privacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/annalsdb/annals"
)

// Store is an annals.Store that keeps personal values sealed in the store below it. Make one with [Protect]. What it reads and yields is in
// plain, what lies below never is. It has the powers that the store below has, and may be used concurrently.
//
// An event that is appended again after its subject was erased is another one, annals.ErrIDReused, for it cannot be sealed as it was.
type Store struct {
	base   annals.Store
	system annals.Store // nil if base keeps no system events
	keys   Keystore

	mu        sync.Mutex
	cache     map[string]cached // by subject
	forgotten int               // how often something was: what was looked up before is not kept
}

var (
	_ annals.Store       = (*Store)(nil)
	_ annals.Scanner     = (*Store)(nil)
	_ annals.Limiter     = (*Store)(nil)
	_ annals.SystemStore = (*Store)(nil)
	_ annals.Retainer    = (*Store)(nil)
	_ annals.Tracker     = (*Store)(nil)
	_ annals.Protector   = (*Store)(nil)
)

// cached is what is known of a subject's key for a moment.
type cached struct {
	*sealer // nil: there is none
	until   time.Time
}

const (
	// cacheFor is how long a key is used without a look whether another process has erased it.
	cacheFor = time.Second
	cacheMax = 10_000
)

// Protect makes a store that seals personal values. It first destroys the keys of erasures that were cut off, for which it reads all
// that there were; without system events in the store below, nothing can be erased.
func Protect(ctx context.Context, base annals.Store, keys Keystore) (*Store, error) {
	s := &Store{base: base, keys: keys, cache: map[string]cached{}}
	system, err := annals.System(base)
	switch {
	case errors.Is(err, annals.ErrUnsupported):
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("privacy: protect: %w", err)
	}
	s.system = system
	if err := s.finish(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// ProtectsPersonal implements annals.Protector.
func (s *Store) ProtectsPersonal() bool { return true }

// Limits implements annals.Limiter. They are those of the store below, where a personal value takes a third more bytes than it has.
func (s *Store) Limits() annals.Limits { return annals.LimitsOf(s.base) }

// Head implements annals.Store.
func (s *Store) Head(ctx context.Context) (annals.Position, error) { return s.base.Head(ctx) }

// Retention implements annals.Retainer, as far as the store below does.
func (s *Store) Retention(ctx context.Context, stream string) (annals.StreamRetention, error) {
	return annals.RetentionOf(ctx, s.base, stream)
}

// Tracked implements annals.Tracker, as far as the store below does.
func (s *Store) Tracked(ctx context.Context, source string) (annals.Position, error) {
	return annals.Tracked(ctx, s.base, source)
}

// System implements annals.SystemStore. Its appends fail with annals.ErrUnsupported if the store below keeps no system events.
func (s *Store) System() annals.Store { return systemStore{s} }

type systemStore struct{ *Store }

func (s systemStore) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	if s.system == nil {
		return annals.Receipt{}, fmt.Errorf("privacy: system events: %w", annals.ErrUnsupported)
	}
	return s.append(ctx, s.system, events, conds)
}

// Append implements annals.Store. Data that has personal values in another form than [Personal] writes them, or sealed ones, is refused
// with an [EnvelopeError].
func (s *Store) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	return s.append(ctx, s.base, events, conds)
}

func (s *Store) append(ctx context.Context, to annals.Store, events []annals.Event, conds []annals.Condition) (annals.Receipt, error) {
	events, err := s.sealEvents(ctx, events)
	if err != nil {
		return annals.Receipt{}, err
	}
	receipt, err := to.Append(ctx, events, conds...)
	if conflict, ok := errors.AsType[*annals.ConflictError](err); ok {
		err = s.openConflict(ctx, conflict)
	}
	return receipt, err
}

// sealEvents gives events as they are stored; the caller's own, if nothing in them is personal.
func (s *Store) sealEvents(ctx context.Context, events []annals.Event) ([]annals.Event, error) {
	own := false
	for i := range events {
		sealed, changed, err := s.seal(ctx, i, events[i])
		if err != nil {
			return nil, err
		}
		if !changed {
			continue
		}
		if !own {
			events, own = slices.Clone(events), true
		}
		events[i] = sealed
	}
	return events, nil
}

// seal gives an event as it is stored.
func (s *Store) seal(ctx context.Context, i int, e annals.Event) (annals.Event, bool, error) {
	if hasMember(e.Data, sealedName) || hasMember(e.Metadata, sealedName) {
		return e, false, &EnvelopeError{Event: i, Problem: `has a member "$sealed", which only annals writes`}
	}
	if hasMember(e.Metadata, plainName) {
		return e, false, &EnvelopeError{Event: i, Problem: "has a personal value in its metadata"}
	}
	if !hasMember(e.Data, plainName) {
		return e, false, nil
	}
	if e.ContentType != "" && e.ContentType != annals.ContentTypeJSON {
		return e, false, &EnvelopeError{Event: i, Problem: "has a personal value, and is not JSON"}
	}
	if e.ID.IsZero() {
		e.ID = annals.NewID() // by which its values are bound to it
	}
	data, err := sealAll(eventContext(e.ID), e.Data, func(subject string) (*sealer, error) { return s.make(ctx, subject) })
	if malformed, ok := errors.AsType[*EnvelopeError](err); ok {
		malformed.Event = i
	}
	if err != nil {
		return e, false, err
	}
	e.Data = data
	return e, true, nil
}

func eventContext(id annals.ID) string { return "event " + id.String() }

// sealAll seals the personal values of a document, under the keys that key gives.
func sealAll(where string, data []byte, key func(subject string) (*sealer, error)) ([]byte, error) {
	out, err := replace(data, plainMark, func(number int, e envelope) (envelope, error) {
		switch {
		case e.Personal == nil || e.Sealed != nil || e.Erased != nil || e.Personal.Subject == "":
			return envelope{}, &EnvelopeError{Event: -1, Problem: "has a personal value of nobody, or with other members"}
		case !utf8.ValidString(e.Personal.Subject):
			return envelope{}, &EnvelopeError{Event: -1, Problem: "has a personal value of a subject whose name is not UTF-8"}
		case hasMember(e.Personal.Value, plainName):
			return envelope{}, &EnvelopeError{Event: -1, Problem: "has a personal value within another"}
		}
		k, err := key(e.Personal.Subject)
		if err != nil {
			return envelope{}, err
		}
		return envelope{Sealed: k.seal(where, number, e.Personal)}, nil
	})
	switch {
	case err != nil:
		return nil, err
	case hasMember(out, plainName):
		return nil, &EnvelopeError{Event: -1, Problem: "has a personal value that is not written as encoding/json writes it"}
	}
	return out, nil
}

// openAll opens the sealed values of a document: in plain, or as erased if the key is gone.
func (s *Store) openAll(ctx context.Context, where string, data []byte) ([]byte, error) {
	return replace(data, sealedMark, func(number int, e envelope) (envelope, error) {
		if e.Sealed == nil {
			return envelope{}, ErrTampered
		}
		key, err := s.key(ctx, e.Sealed.Subject)
		if err != nil {
			return envelope{}, err
		}
		if key == nil || !bytes.Equal(key.id[:], e.Sealed.Key) { // or it has another by now
			return envelope{Erased: &erased{e.Sealed.Subject}}, nil
		}
		p, err := key.open(where, number, e.Sealed)
		return envelope{Personal: p}, err
	})
}

// key is what seals the values of a subject; nil if there is none.
func (s *Store) key(ctx context.Context, subject string) (*sealer, error) {
	c, known, before := s.recall(subject)
	if known && time.Now().Before(c.until) {
		return c.sealer, nil
	}
	k, found, err := s.keys.Key(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("privacy: the key of %s: %w", subject, err)
	}
	if !found {
		s.keep(subject, nil, before)
		return nil, nil
	}
	return s.remember(subject, k, before)
}

// make is key, but makes one if there is none.
func (s *Store) make(ctx context.Context, subject string) (*sealer, error) {
	if k, err := s.key(ctx, subject); k != nil || err != nil {
		return k, err
	}
	_, _, before := s.recall(subject)
	k, err := s.keys.Make(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("privacy: a key for %s: %w", subject, err)
	}
	return s.remember(subject, k, before)
}

// recall is what is known of a subject, and how often something was forgotten until now.
func (s *Store) recall(subject string) (c cached, known bool, forgotten int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, known = s.cache[subject]
	return c, known, s.forgotten
}

// remember makes what seals of a key, unless it is known.
func (s *Store) remember(subject string, k Key, before int) (*sealer, error) {
	c, known, _ := s.recall(subject)
	if known && c.sealer != nil && c.id == k.ID {
		s.keep(subject, c.sealer, before)
		return c.sealer, nil
	}
	made, err := newSealer(k)
	if err != nil {
		return nil, fmt.Errorf("privacy: the key of %s: %w", subject, err)
	}
	s.keep(subject, made, before)
	return made, nil
}

// keep keeps a key for a moment, unless something was forgotten since it was looked up.
func (s *Store) keep(subject string, key *sealer, before int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forgotten != before {
		return
	}
	if len(s.cache) >= cacheMax {
		clear(s.cache)
	}
	s.cache[subject] = cached{key, time.Now().Add(cacheFor)}
}

func (s *Store) forget(subject string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cache, subject)
	s.forgotten++
}

// open gives an event as it was appended.
func (s *Store) open(ctx context.Context, r annals.Recorded) (annals.Recorded, error) {
	if !bytes.Contains(r.Data, sealedMark) {
		return r, nil
	}
	data, err := s.openAll(ctx, eventContext(r.ID), r.Data)
	if err != nil {
		return annals.Recorded{}, fmt.Errorf("privacy: position %d: %w", r.Position, err)
	}
	r.Data = data
	return r, nil
}

func (s *Store) openConflict(ctx context.Context, e *annals.ConflictError) error {
	opened := annals.ConflictError{Failures: slices.Clone(e.Failures)}
	for i := range opened.Failures {
		f := &opened.Failures[i]
		f.Events = slices.Clone(f.Events)
		for j := range f.Events {
			r, err := s.open(ctx, f.Events[j])
			if err != nil {
				return errors.Join(e, err)
			}
			f.Events[j] = r
		}
	}
	return &opened
}

// Read implements annals.Store.
func (s *Store) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		for r, err := range s.base.Read(ctx, q, opts...) {
			if err == nil {
				r, err = s.open(ctx, r)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// Scan implements annals.Scanner.
func (s *Store) Scan(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[*annals.Recorded, error] {
	return func(yield func(*annals.Recorded, error) bool) {
		for r, err := range annals.Scan(ctx, s.base, q, opts...) {
			if err == nil && bytes.Contains(r.Data, sealedMark) {
				var opened annals.Recorded
				opened, err = s.open(ctx, *r)
				r = &opened
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Subscribe implements annals.Store.
func (s *Store) Subscribe(ctx context.Context, q annals.Query, after annals.Position, opts ...annals.SubscribeOption) iter.Seq2[annals.Update, error] {
	return func(yield func(annals.Update, error) bool) {
		for u, err := range s.base.Subscribe(ctx, q, after, opts...) {
			if err == nil && u.Event != nil {
				var r annals.Recorded
				if r, err = s.open(ctx, *u.Event); err == nil {
					u.Event = &r
				}
			}
			if err != nil {
				yield(annals.Update{}, err)
				return
			}
			if !yield(u, nil) {
				return
			}
		}
	}
}

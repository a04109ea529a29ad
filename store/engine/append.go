package engine

import (
	"context"
	"slices"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index"
)

// roundsMax is how often an append begins again because something came between phase 1 and the sequencer, before it
// is told that the store is overloaded. Twice is what an ordinary race takes; the rest is for journals that move.
const roundsMax = 8

// Append implements [annals.Store]. If ctx ends while the append is queued, nothing is written; once it is packed into
// a frame the outcome is unknown. A goroutine that steps the sequencer itself returns when the journal does.
func (s *Store) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	return s.append(ctx, events, conds, false)
}

func (s *Store) append(ctx context.Context, events []annals.Event, conds []annals.Condition, system bool) (annals.Receipt, error) {
	if err := annals.CheckAppend(events, conds, s.limits, system); err != nil {
		return annals.Receipt{}, err
	}
	if err := contextEnd(ctx); err != nil {
		return annals.Receipt{}, &annals.OutcomeError{Cause: err}
	}
	if err := s.sequencer.refusal(); err != nil {
		return annals.Receipt{}, err
	}
	r, err := s.prepare(events, conds)
	if err != nil {
		return annals.Receipt{}, err
	}
	for range roundsMax {
		v := s.attempt(ctx, r)
		if !v.again {
			return v.receipt, v.err
		}
		if err := contextEnd(ctx); err != nil {
			return annals.Receipt{}, &annals.OutcomeError{Cause: err}
		}
	}
	return annals.Receipt{}, annals.ErrOverloaded
}

// attempt is phase 1 and, if that finds nothing against it, the sequencer.
func (s *Store) attempt(ctx context.Context, r *request) verdict {
	if v, rejected := s.phase1(ctx, r); rejected {
		return v
	}
	if err := s.encode(r); err != nil {
		return verdict{err: err}
	}
	return s.submit(ctx, r)
}

// phase1 looks at everything that is visible. It is true if that decides the append.
func (s *Store) phase1(ctx context.Context, r *request) (verdict, bool) {
	view := s.index.View()
	defer view.Release()
	e := evaluation{store: s, view: view, ctx: ctx, seen: s.seen(ctx, view.Head())}
	r.now = e.seen.Now()
	if stream, ended := e.seen.Tombstoned(r.events, false); ended {
		return verdict{err: &annals.TombstonedError{Stream: stream}}, true
	}
	receipt, known, err := e.known(r)
	if err == nil && !known {
		err = e.checkChanges(r)
	}
	if err == nil && !known {
		err = e.check(r)
	}
	if err == nil && !known {
		err = e.findBases(r)
	}
	switch {
	case err != nil:
		return verdict{err: s.rejection(ctx, err)}, true
	case known:
		return verdict{receipt: receipt}, true
	case len(r.events) == 0:
		return verdict{receipt: annals.Receipt{Head: annals.Position(view.Head()), Revision: annals.NoRevision}}, true
	}
	r.checked = view.Head()
	return verdict{}, false
}

// request is an append on its way. The caller's goroutine owns it until it is submitted; what the sequencer reads
// then is never written again. The caller may be gone by then, so nothing that it lent is looked at.
type request struct {
	// events are canonical. They belong to the caller and are looked at on its goroutine only.
	events []annals.Event
	makes  []bool // for which events the id was made here; nil if for none
	keys   []index.Keys
	conds  []condition
	// tracked is how many events at the end are the store's own, for positions of consumers.
	tracked int
	// changes are what the events do to retention.
	changes []change
	now     time.Time // when phase 1 looked; zero if time played no part

	records []byte // the encoded events, without place, back to back
	ends    []int  // where each record ends
	hashes  [][32]byte
	checked uint64            // the head at which phase 1 found nothing against it
	bases   []annals.Revision // of each event's stream the last revision at that head

	first uint64 // its place, once packed; the revisions are in the keys

	// What follows is guarded by the sequencer's lock, until the request is decided.
	state   state
	gone    bool // the caller has left
	offered bool // it is to take the baton
	verdict verdict
	wake    chan struct{} // with room for one: there is a verdict, or the baton

	one single
}

// single is the memory of a request for one event, which most are.
type single struct {
	event    [1]annals.Event
	keys     [1]index.Keys
	terms    [8]index.Term
	made     [1]bool
	end      [1]int
	hash     [1][32]byte
	base     [1]annals.Revision
	randomID [10]byte
	blind    [16]byte
}

// state is where a request is.
type state uint8

const (
	idle     state = iota // on the caller's goroutine
	queued                // not written if the caller leaves
	packed                // unknown if the caller leaves
	unpacked              // taken by the sequencer, but certainly in no frame: not written if the caller leaves
	decided               // there is a verdict
)

// verdict is what became of a request.
type verdict struct {
	receipt annals.Receipt
	err     error
	again   bool // begin again with phase 1
}

func (r *request) made(i int) bool { return r.makes != nil && r.makes[i] }

// givenID is the id with which the caller gave event i.
func (r *request) givenID(i int) annals.ID {
	if r.made(i) {
		return annals.ID{}
	}
	return r.events[i].ID
}

// prepare makes the request. It shares memory with the caller's events, which only the caller's goroutine looks at.
func (s *Store) prepare(events []annals.Event, conds []annals.Condition) (*request, error) {
	hasher := s.index.Hasher()
	changes, err := changesOf(events)
	if err != nil {
		return nil, err
	}
	tracked := annals.TrackedEvents(conds)
	if tracked != nil {
		events = slices.Concat(events, tracked)
	}
	r := newRequest(events)
	r.conds = newConditions(hasher, conds)
	r.tracked, r.changes = len(tracked), changes
	terms := r.one.terms[:0]
	if most := index.KeysMost(events); most > cap(terms) {
		terms = make([]index.Term, 0, most)
	}
	for i := range events {
		r.events[i] = events[i].Canonical()
		if r.events[i].ID.IsZero() {
			if err := s.makeID(r, i); err != nil {
				return nil, err
			}
		}
		r.keys[i], terms = hasher.Keys(&r.events[i], terms)
	}
	return r, nil
}

func newRequest(events []annals.Event) *request {
	r := &request{wake: make(chan struct{}, 1)}
	if n := len(events); n != 1 {
		r.events, r.keys, r.bases = make([]annals.Event, n), make([]index.Keys, n), make([]annals.Revision, n)
		r.ends, r.hashes = make([]int, n), make([][32]byte, n)
		return r
	}
	r.events, r.keys, r.bases = r.one.event[:], r.one.keys[:], r.one.base[:]
	r.ends, r.hashes = r.one.end[:], r.one.hash[:]
	return r
}

// makeID gives event i an id of the store's making.
func (s *Store) makeID(r *request, i int) error {
	if err := s.entropy.fill(r.one.randomID[:]); err != nil {
		return &annals.OutcomeError{Cause: err}
	}
	r.events[i].ID = annals.MakeID(s.clock(), r.one.randomID)
	if r.makes == nil && len(r.events) == 1 {
		r.makes = r.one.made[:]
	} else if r.makes == nil {
		r.makes = make([]bool, len(r.events))
	}
	r.makes[i] = true
	return nil
}

// encode makes the records and hashes them, once.
func (s *Store) encode(r *request) error {
	if r.records != nil {
		return nil
	}
	blinds := r.one.blind[:]
	if len(r.events) > 1 {
		blinds = make([]byte, 16*len(r.events))
	}
	if err := s.entropy.fill(blinds); err != nil {
		return &annals.OutcomeError{Cause: err}
	}
	size := 0
	for i := range r.events {
		size += frame.BodySize(&r.events[i])
	}
	r.records = make([]byte, 0, size)
	for i := range r.events {
		e := &r.events[i]
		flags := uint8(0)
		if i == len(r.events)-1 {
			flags |= frame.FlagLast
		}
		if e.IsSystem() {
			flags |= frame.FlagSystem
		}
		start := len(r.records)
		r.records = frame.AppendBody(r.records, e, [16]byte(blinds[16*i:]), flags)
		r.ends[i] = len(r.records)
		r.hashes[i] = frame.BodyHash(r.records[start:])
	}
	if size, most := frame.HeaderBytes+len(r.records), frameBytesMax(s.journal); size > most {
		return &annals.LimitError{What: "append", Unit: "bytes in the journal", Limit: most, Actual: size}
	}
	return nil
}

// record is the encoded event i.
func (r *request) record(i int) []byte {
	if i == 0 {
		return r.records[:r.ends[0]]
	}
	return r.records[r.ends[i-1]:r.ends[i]]
}

// receipt says where r went.
func (r *request) receipt(h *frame.Header) annals.Receipt {
	receipt := annals.Receipt{First: annals.Position(r.first), Revision: annals.NoRevision, Time: h.Time}
	given := len(r.events) - r.tracked
	receipt.Last = receipt.First + annals.Position(given) - 1
	receipt.Head = receipt.Last + annals.Position(r.tracked)
	if given == 0 {
		receipt.First, receipt.Last = 0, 0
	}
	for i := range r.keys[:given] {
		if revision := r.keys[i].Revision; revision != annals.NoRevision {
			receipt.Revision = revision
		}
	}
	return receipt
}

package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/memory"
)

// Model does random operations, the same for the same seed, on the store that open makes and on store/memory, and wants
// the same answers from both: positions, revisions, times, receipts, errors and what is listed in them. The first
// difference fails the test, and names the seed, the operation and the rule.
func Model(t *testing.T, open func(t *testing.T) annals.Store, seed uint64, opts ...Option) {
	t.Helper()
	m := newModel(t, open(t), seed, newOptions(opts))
	for m.step < m.options.operations {
		m.operate()
	}
	m.compareEverything()
}

// model is a store under test and the oracle, kept in step.
type model struct {
	t       *testing.T
	subject annals.Store
	oracle  *memory.Store
	options options
	seed    uint64
	rng     *rand.Rand
	step    int
	now     time.Time        // what the oracle's clock says: the time of the subject's last append
	ahead   time.Duration    // how far the oracle's clock is past that
	past    [][]annals.Event // appends that were accepted
	retains bool             // the subject is a Retainer
	tracks  bool             // the subject is a Tracker
	reopen  func() annals.Store
}

func newModel(t *testing.T, subject annals.Store, seed uint64, o options) *model {
	t.Helper()
	m := &model{t: t, subject: subject, options: o, seed: seed, rng: rand.New(rand.NewPCG(seed, 0x616e6e616c73))}
	m.oracle = memory.New(memory.Clock(func() time.Time { return m.now.Add(m.ahead) }))
	m.ahead = aheadOfEvents
	_, m.retains = subject.(annals.Retainer)
	m.retains = m.retains && o.system
	_, m.tracks = subject.(annals.Tracker)
	return m
}

// aheadOfEvents is how far the oracle's clock is past the last event whenever it appends nothing. Ages are either too short
// for that, or far too long: see generate.go.
const aheadOfEvents = time.Millisecond

// fatalf reports a difference.
func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("seed %d, operation %d: the store and store/memory must give the same answer.\n\t%s", m.seed, m.step, fmt.Sprintf(format, args...))
}

func (m *model) operate() {
	m.t.Helper()
	m.step++
	switch n := m.rng.IntN(100); {
	case n < 55:
		m.append()
	case n < 90:
		m.read()
	case n < 94:
		m.subscribe()
	case n < 96:
		m.compareRetention()
	case m.reopen != nil:
		m.subject = m.reopen()
		m.compareEverything()
	}
	got, err := m.subject.Head(m.t.Context())
	if want, _ := m.oracle.Head(m.t.Context()); err != nil || got != want {
		m.fatalf("the head is %d, %v; want %d", got, err, want)
	}
}

// append appends to both. The subject comes first: its time is the oracle's.
func (m *model) append() {
	m.t.Helper()
	es, system := m.events()
	conds := m.conditions()
	subject, oracle := m.subject, annals.Store(m.oracle)
	if system {
		oracle = m.oracle.System()
		var err error
		if subject, err = annals.System(m.subject); err != nil {
			m.fatalf("no view for system events: %v", err)
		}
	}
	got, gotErr := subject.Append(m.t.Context(), es, conds...)
	if gotErr == nil && len(es)+len(annals.TrackedEvents(conds)) > 0 && !got.Duplicate {
		m.ahead = 0
		if got.Time.Before(m.now) {
			m.fatalf("an append was accepted at %v, before its predecessor at %v", got.Time, m.now)
		}
		m.now = got.Time
	}
	want, wantErr := oracle.Append(m.t.Context(), es, conds...)
	m.ahead = aheadOfEvents
	m.settle()
	what := fmt.Sprintf("append of %+v on %v, system %t:", es, conds, system)
	if !slices.Equal(sentinels(gotErr), sentinels(wantErr)) {
		m.fatalf("%s got %+v, %v; want %+v, %v", what, got, gotErr, want, wantErr)
	}
	if wantErr != nil {
		m.compareErrors(what, gotErr, wantErr)
		return
	}
	m.compareReceipts(what, got, want, len(es))
	if len(es) > 0 {
		m.past = append(m.past, es)
	}
}

// settle waits until the subject's clock has gone on so far that what is to live for a moment only is too old.
func (m *model) settle() {
	m.t.Helper()
	if !m.retains {
		return
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), m.options.patience)
	defer cancel()
	for _, stream := range modelStreams[1:] {
		kept, err := m.oracle.Retention(m.t.Context(), stream)
		if err != nil || kept.Keep.MaxAge != modelAgeShort {
			continue
		}
		for {
			got, err := m.drain(m.subject, annals.Stream(stream), annals.Limit(1))
			if err != nil || ctx.Err() != nil {
				m.fatalf("stream %s keeps events for %s, and %d can be read still, %v", stream, modelAgeShort, len(got), err)
			}
			if len(got) == 0 {
				break
			}
			runtime.Gosched()
		}
	}
}

// compareRetention asks both for the retention of every stream, and for the position of every source.
func (m *model) compareRetention() {
	m.t.Helper()
	for _, stream := range modelStreams[1:] {
		if !m.retains {
			break
		}
		got, gotErr := annals.RetentionOf(m.t.Context(), m.subject, stream)
		want, wantErr := annals.RetentionOf(m.t.Context(), m.oracle, stream)
		if got != want || gotErr != nil || wantErr != nil {
			m.fatalf("retention of %s: got %+v, %v; want %+v, %v", stream, got, gotErr, want, wantErr)
		}
	}
	for _, source := range modelSources {
		if !m.tracks {
			break
		}
		got, gotErr := annals.Tracked(m.t.Context(), m.subject, source)
		want, wantErr := annals.Tracked(m.t.Context(), m.oracle, source)
		if got != want || gotErr != nil || wantErr != nil {
			m.fatalf("position of source %s: got %d, %v; want %d, %v", source, got, gotErr, want, wantErr)
		}
	}
}

func (m *model) compareReceipts(what string, got, want annals.Receipt, n int) {
	m.t.Helper()
	if got.Head < got.Last || got.Head > want.Head {
		m.fatalf("%s the receipt's head is %d; want at least its last position, %d, and not past the head, %d", what, got.Head, got.Last, want.Head)
	}
	got.Head = want.Head
	if n == 0 || got.Duplicate {
		got.Time = want.Time // events of several appends have several times, and those of none have none
	}
	if !got.Time.Equal(want.Time) {
		m.fatalf("%s got the time %v, want %v", what, got.Time, want.Time)
	}
	got.Time = want.Time
	if got != want {
		m.fatalf("%s got %+v, want %+v", what, got, want)
	}
}

// sentinels are the errors to branch on that err matches.
func sentinels(err error) []string {
	names := []string{}
	for _, s := range []error{
		annals.ErrInvalid, annals.ErrTooLarge, annals.ErrReserved, annals.ErrConflict, annals.ErrAhead, annals.ErrIDReused,
		annals.ErrPartialDuplicate, annals.ErrStreamTombstoned, annals.ErrNotWritten, annals.ErrUnknownOutcome, annals.ErrClosed, annals.ErrDataLoss,
		annals.ErrReadOnly, annals.ErrFull, annals.ErrOverloaded, annals.ErrUnsupported,
	} {
		if errors.Is(err, s) {
			names = append(names, s.Error())
		}
	}
	if err != nil && len(names) == 0 {
		names = append(names, "no sentinel of annals")
	}
	return names
}

func (m *model) compareErrors(what string, got, want error) {
	m.t.Helper()
	var gotConflict, wantConflict *annals.ConflictError
	if errors.As(want, &wantConflict) {
		if !errors.As(got, &gotConflict) || !slices.EqualFunc(gotConflict.Failures, wantConflict.Failures, sameFailure) {
			m.fatalf("%s got the failures %+v; want %+v", what, got, wantConflict.Failures)
		}
	}
	var gotPartial, wantPartial *annals.PartialDuplicateError
	if errors.As(want, &wantPartial) {
		if !errors.As(got, &gotPartial) || !slices.Equal(gotPartial.Known, wantPartial.Known) || !slices.Equal(gotPartial.New, wantPartial.New) {
			m.fatalf("%s got %v; want %v", what, got, want)
		}
	}
}

func sameFailure(a, b annals.Failure) bool {
	return a.Index == b.Index && a.Actual == b.Actual && a.State == b.State && a.Tracked == b.Tracked &&
		a.Condition.String() == b.Condition.String() &&
		slices.Equal(a.Positions, b.Positions) && slices.EqualFunc(a.Events, b.Events, alike)
}

// alike is same, but for the ids that a store makes itself.
func alike(a, b annals.Recorded) bool {
	if a.Type == annals.TypeTracked {
		b.ID = a.ID
	}
	return same(a, b)
}

// read reads from both.
func (m *model) read() {
	m.t.Helper()
	q := m.query()
	opts, said := m.readOptions()
	m.compareReads(q, said, opts...)
}

func (m *model) compareReads(q annals.Query, said string, opts ...annals.ReadOption) {
	m.t.Helper()
	gotHead, wantHead := annals.Position(0), annals.Position(0)
	got, gotErr := m.drain(m.subject, q, append(slices.Clone(opts), annals.HeadInto(&gotHead))...)
	want, wantErr := m.drain(m.oracle, q, append(slices.Clone(opts), annals.HeadInto(&wantHead))...)
	what := fmt.Sprintf("read of %s%s:", q, said)
	if !slices.Equal(sentinels(gotErr), sentinels(wantErr)) {
		m.fatalf("%s got %v; want %v", what, gotErr, wantErr)
	}
	if !slices.EqualFunc(got, want, alike) {
		m.fatalf("%s\n\tgot  %+v\n\twant %+v", what, got, want)
	}
	if wantErr == nil && gotHead != wantHead {
		m.fatalf("%s the head is told as %d; want %d", what, gotHead, wantHead)
	}
}

func (m *model) drain(s annals.Store, q annals.Query, opts ...annals.ReadOption) ([]annals.Recorded, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), m.options.patience)
	defer cancel()
	var got []annals.Recorded
	for e, err := range s.Read(ctx, q, opts...) {
		if err != nil {
			return got, err
		}
		got = append(got, e)
	}
	return got, nil
}

// subscribe follows the store up to its head, and wants what a read gives.
func (m *model) subscribe() {
	m.t.Helper()
	q, after := m.query(), m.place()
	head, _ := m.oracle.Head(m.t.Context())
	want, wantErr := m.drain(m.oracle, q, annals.After(after))
	what := fmt.Sprintf("subscription to %s after %d:", q, after)
	ctx, cancel := context.WithTimeout(m.t.Context(), m.options.patience)
	defer cancel()
	var got []annals.Recorded
	for u, err := range m.subject.Subscribe(ctx, q, after, annals.ProgressEvery(1+m.rng.IntN(20))) {
		if err != nil || wantErr != nil {
			if !slices.Equal(sentinels(err), sentinels(wantErr)) {
				m.fatalf("%s got %v; want %v", what, err, wantErr)
			}
			return
		}
		if u.Event != nil {
			got = append(got, *u.Event)
		}
		if u.CaughtUp {
			if u.Position != head {
				m.fatalf("%s it is caught up at %d; the head is %d", what, u.Position, head)
			}
			break
		}
	}
	if !slices.EqualFunc(got, want, alike) {
		m.fatalf("%s\n\tgot  %+v\n\twant %+v", what, got, want)
	}
}

// compareEverything reads everything, both ways, and every stream and tag.
func (m *model) compareEverything() {
	m.t.Helper()
	queries := []annals.Query{annals.All(), annals.All().WithSystem()}
	for _, s := range modelStreams {
		if s != "" {
			queries = append(queries, annals.Stream(s))
		}
	}
	for _, tag := range modelTags {
		queries = append(queries, annals.Tags(tag))
	}
	for _, kind := range modelTypes {
		queries = append(queries, annals.Types(kind))
	}
	m.compareRetention()
	for _, q := range queries {
		m.compareReads(q, "")
		m.compareReads(q, ", backwards", annals.Backwards())
	}
}

package engine_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/journal"
)

var seedFlag = flag.Uint64("seed", 0, "run the random histories of this seed only")

// seeds are those from 1 to n, or the one of the flag.
func seeds(n uint64) []uint64 {
	if *seedFlag != 0 {
		return []uint64{*seedFlag}
	}
	all := make([]uint64, n)
	for i := range all {
		all[i] = uint64(i) + 1
	}
	return all
}

// weather is what the journal does in a history.
type weather struct {
	stores   int
	faults   bool
	tooLarge bool
	index    index.Config
	// kinds of answers that must come, and kinds that must not.
	must, never []string
}

// Appends, reads and a subscription meet, whatever the journal answers and whoever leaves. Afterwards everything that
// was answered is compared with the log: each answer must have been true at a head between question and answer.
func TestEveryAnswerIsTrueOfTheLogAtSomeMomentBetweenQuestionAndAnswer(t *testing.T) {
	t.Parallel()
	answers := []string{"question", "written", "duplicate", "conflict", "reused", "partial", "not written", "unknown"}
	for name, w := range map[string]weather{
		"over a journal that works":            {stores: 1, must: answers, never: []string{"full", "too large", "overloaded"}},
		"over a journal that fails":            {stores: 1, faults: true, must: append([]string{"full"}, answers...), never: []string{"too large"}},
		"from two stores":                      {stores: 2, faults: true, must: append([]string{"full"}, answers...), never: []string{"too large"}},
		"with epochs of 3":                     {stores: 1, faults: true, must: answers, index: index.Config{EpochEvents: 3}},
		"with epochs of 1, sealed at once":     {stores: 2, faults: true, index: index.Config{EpochEvents: 1, Foreground: true}},
		"with epochs of 17":                    {stores: 2, must: answers[:5], index: index.Config{EpochEvents: 17}},
		"over a journal that takes less still": {stores: 1, faults: true, tooLarge: true, must: append([]string{"full", "too large"}, answers...)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			total := map[string]int{}
			for _, seed := range seeds(5) {
				// In a bubble callers leave and journals dawdle by a clock that costs no time.
				synctest.Test(t, func(t *testing.T) {
					h := newHistory(t, seed, w)
					h.live()
					for kind, n := range h.compare() {
						total[kind] += n
					}
				})
				if t.Failed() {
					t.Fatalf("-seed=%d", seed)
				}
			}
			t.Log(total)
			for _, kind := range w.never {
				if total[kind] > 0 {
					t.Errorf("%d appends were answered: %s", total[kind], kind)
				}
			}
			for _, kind := range w.must {
				if total[kind] == 0 && *seedFlag == 0 {
					t.Errorf("it never happened: %s", kind)
				}
			}
		})
	}
}

// history is what was asked of some stores over one journal, and what they answered.
type history struct {
	t       *testing.T
	seed    uint64
	weather weather
	journal *memJournal
	stores  []*engine.Store
	calm    atomic.Bool // the journal works

	mu       sync.Mutex
	asked    []*asked
	reads    []walked
	used     []annals.Event // by earlier appends, to be used again
	followed []annals.Position

	log []annals.Recorded // at the end
	at  map[place]int     // in the log
}

// asked is an append, what it was told, and the head before and after it.
type asked struct {
	before, after annals.Position
	events        []annals.Event
	conds         []annals.Condition
	again         bool // some of the events are another append's too
	receipt       annals.Receipt
	err           error
}

// walked is a read, and the head before it.
type walked struct {
	query     annals.Query
	backwards bool
	before    annals.Position
	head      annals.Position
	got       []annals.Position
}

// place is what an event is known by.
type place struct {
	stream string
	id     annals.ID
}

func placeOf(e annals.Event) place { return place{e.Stream, e.ID} }

func newHistory(t *testing.T, seed uint64, w weather) *history {
	t.Helper()
	h := &history{t: t, seed: seed, weather: w, journal: newJournal()}
	for range w.stores {
		h.stores = append(h.stores, start(t, h.journal, func(c *engine.Config) { c.FrameEvents, c.FrameBytes, c.Index = 12, 4000, w.index }))
	}
	h.disturb(h.generator(0))
	return h
}

func (h *history) generator(stream uint64) generator {
	return generator{rand.New(rand.NewPCG(h.seed, 1000+stream))}
}

// disturb makes the journal late, and lets it fail as the weather is.
func (h *history) disturb(g generator) {
	var mu sync.Mutex
	chance := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return g.IntN(n)
	}
	h.journal.onAppend = func(ctx context.Context, _ []byte) (bool, error) {
		if h.calm.Load() {
			return true, nil
		}
		switch chance(8) {
		case 0, 1:
			<-time.After(time.Duration(chance(400)) * time.Microsecond)
		case 2, 3:
			runtime.Gosched()
		}
		if h.weather.faults {
			switch n := chance(40); {
			case n == 0:
				return false, journal.ErrFull
			case n == 1:
				return false, journal.ErrAmbiguous
			case n == 2:
				return true, journal.ErrAmbiguous
			case n == 3:
				return false, annals.ErrNotWritten
			case n < 8 && h.weather.tooLarge:
				return false, journal.ErrTooLarge
			}
		}
		err := ctx.Err() // it does not tell whether the frame was kept
		return err == nil, err
	}
	h.journal.onHead = func() error {
		if h.weather.faults && !h.calm.Load() && chance(5) == 0 {
			return errors.New("away")
		}
		return nil
	}
}

var followedQuery = annals.Types("A", "B").WithSystem()

// live runs writers and a subscription to their end.
func (h *history) live() {
	following, stop := context.WithCancel(h.t.Context())
	var subscription, writing sync.WaitGroup
	subscription.Go(func() { h.follow(following) })
	for w := range uint64(16) {
		writing.Go(func() { h.write(h.generator(1 + w)) })
	}
	writing.Wait()
	h.calm.Store(true)
	for _, s := range slices.Backward(h.stores) { // at last the one that is followed, so that it has seen everything
		if _, err := s.Append(h.t.Context(), one("Z", "")); err != nil {
			h.t.Errorf("an append when all is calm: %v", err)
		}
	}
	synctest.Wait()
	stop()
	subscription.Wait()
}

func (h *history) follow(ctx context.Context) {
	var last annals.Position
	for u, err := range h.stores[0].Subscribe(ctx, followedQuery, 0, annals.ProgressEvery(7)) {
		if err != nil {
			wantErr(h.t, "the subscription", err, context.Canceled)
			return
		}
		if u.Position < last || u.Event != nil && u.Event.Position != u.Position || u.CaughtUp && u.More {
			h.t.Errorf("the subscription was at %d and yielded %+v", last, u)
		}
		last = u.Position
		if u.Event != nil {
			h.followed = append(h.followed, u.Position)
		}
	}
}

func (h *history) write(g generator) {
	for range 40 {
		s := h.stores[g.IntN(len(h.stores))]
		a := h.append(g, s)
		h.mu.Lock()
		h.asked = append(h.asked, a)
		h.mu.Unlock()
		switch g.IntN(4) {
		case 0:
			h.read(g, s, a.after)
		case 1:
			<-time.After(time.Duration(g.IntN(300)) * time.Microsecond)
		}
	}
}

func (h *history) append(g generator, s *engine.Store) *asked {
	ctx, cancel := h.t.Context(), context.CancelFunc(func() {})
	if g.IntN(6) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(g.IntN(300))*time.Microsecond)
	}
	defer cancel()
	a := &asked{before: h.head(s)}
	a.events, a.again = h.events(g)
	a.conds = h.conditions(g, s, a)
	lent := make([]annals.Event, len(a.events))
	for i, e := range a.events {
		e.Data, e.Tags = slices.Clone(e.Data), slices.Clone(e.Tags)
		lent[i] = e
	}
	a.receipt, a.err = s.System().Append(ctx, lent, a.conds...)
	for _, e := range lent { // what was lent is the caller's again, whatever becomes of the append
		copy(e.Data, "scribbled over")
		for i := range e.Tags {
			e.Tags[i] = "scribbled:over"
		}
	}
	a.after = h.head(s)
	return a
}

func (h *history) head(s *engine.Store) annals.Position {
	p, err := s.Head(h.t.Context())
	if err != nil {
		h.t.Error(err)
	}
	return p
}

// events are new ones for the most part, and some that were used before, now and then with other content.
func (h *history) events(g generator) (events []annals.Event, again bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g.IntN(15) == 0 {
		return nil, false
	}
	seen := map[place]bool{}
	for range 1 + g.IntN(3) {
		e := g.event()
		if len(h.used) > 0 && g.IntN(12) == 0 {
			again = true
			e = h.used[len(h.used)-1-g.IntN(min(len(h.used), 30))]
			if g.IntN(8) == 0 {
				e.Data = []byte("other")
			}
		}
		if !seen[placeOf(e)] {
			seen[placeOf(e)] = true
			events = append(events, e)
		}
	}
	h.used = append(h.used, events...)
	return events, again
}

// conditions hold for the most part, unless others write meanwhile.
func (h *history) conditions(g generator, s *engine.Store, a *asked) []annals.Condition {
	n := g.IntN(3)
	if len(a.events) == 0 {
		n = 1
	}
	var conds []annals.Condition
	seen := map[string]bool{} // a stream may have one condition
	for range n {
		stream := g.pick("s-1", "s-2", "r-1", "r", "z")
		switch kind := g.IntN(6); {
		case kind > 2 || seen[stream]:
			after := a.before
			if g.IntN(3) == 0 {
				after -= min(after, annals.Position(g.IntN(6)))
			}
			conds = append(conds, annals.NoneSince(after, g.query(h.lastUsed())))
			continue
		case kind == 0:
			conds = append(conds, annals.NoStream(stream))
		case kind == 1:
			conds = append(conds, annals.StreamExists(stream))
		default:
			conds = append(conds, annals.StreamAt(stream, h.revision(g, s, stream)))
		}
		seen[stream] = true
	}
	return conds
}

func (h *history) lastUsed() []annals.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.used) == 0 {
		return nil
	}
	return []annals.ID{h.used[len(h.used)-1].ID}
}

func (h *history) revision(g generator, s *engine.Store, stream string) annals.Revision {
	for e, err := range s.Read(h.t.Context(), annals.Stream(stream).WithSystem(), annals.Backwards(), annals.Limit(1)) {
		if err != nil {
			h.t.Error(err)
		}
		return e.Revision
	}
	return annals.Revision(g.IntN(40))
}

func (h *history) read(g generator, s *engine.Store, before annals.Position) {
	r := walked{query: g.query(nil), backwards: g.IntN(2) == 0, before: before}
	opts := []annals.ReadOption{annals.HeadInto(&r.head)}
	if r.backwards {
		opts = append(opts, annals.Backwards())
	}
	for e, err := range s.Read(h.t.Context(), r.query, opts...) {
		if err != nil {
			h.t.Error(err)
			return
		}
		r.got = append(r.got, e.Position)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, r)
}

// compare checks everything that was answered, and counts kinds of answers.
func (h *history) compare() map[string]int {
	h.t.Helper()
	h.checkLog()
	written := map[place]bool{} // or may be
	for _, a := range h.asked {
		for _, e := range a.events {
			written[placeOf(e)] = written[placeOf(e)] || a.err == nil || errors.Is(a.err, annals.ErrUnknownOutcome)
		}
	}
	kinds := map[string]int{}
	for _, a := range h.asked {
		kinds[h.checkAnswer(a, written)]++
	}
	for _, r := range h.reads {
		h.checkRead(r)
	}
	if want := h.matches(followedQuery, h.log); !slices.Equal(h.followed, want) {
		h.t.Errorf("the subscription yielded %v, want %v", h.followed, want)
	}
	return kinds
}

// checkLog reads the log anew and checks that it is of one piece.
func (h *history) checkLog() {
	h.t.Helper()
	var err error
	if h.log, err = read(h.t, start(h.t, h.journal), annals.All().WithSystem()); err != nil {
		h.t.Fatal(err)
	}
	h.at = map[place]int{}
	next := map[string]annals.Revision{}
	for i, e := range h.log {
		if e.Position != annals.Position(i+1) {
			h.t.Fatalf("event %d is at position %d", i, e.Position)
		}
		if first, twice := h.at[placeOf(e.Event)]; twice {
			h.t.Errorf("the event at %d is at %d too", first+1, e.Position)
		}
		h.at[placeOf(e.Event)] = i
		if e.Stream != "" && e.Revision != next[e.Stream] {
			h.t.Errorf("the event at %d has revision %d of %s, want %d", e.Position, e.Revision, e.Stream, next[e.Stream])
		}
		next[e.Stream]++
		if i > 0 && e.Time.Before(h.log[i-1].Time) {
			h.t.Errorf("the event at %d is earlier than the one before", e.Position)
		}
	}
}

// checkAnswer checks what an append was told, and says what kind of answer that was.
func (h *history) checkAnswer(a *asked, written map[place]bool) string {
	h.t.Helper()
	var conflict *annals.ConflictError
	switch {
	case a.err == nil && len(a.events) == 0:
		if head := a.receipt.Head; head < a.before || head > a.after {
			h.t.Errorf("conditions were checked at %d, which is not in [%d, %d]", head, a.before, a.after)
		}
		h.checkConditions(a, a.receipt.Head)
		return "question"
	case a.err == nil && a.receipt.Duplicate:
		h.checkDuplicate(a)
		return "duplicate"
	case a.err == nil:
		h.checkWritten(a)
		return "written"
	case errors.As(a.err, &conflict):
		h.checkConflict(a, conflict)
		return "conflict"
	case errors.Is(a.err, annals.ErrUnknownOutcome):
		return "unknown"
	}
	for _, e := range a.events {
		if p, found := h.at[placeOf(e)]; found && !a.again && !written[placeOf(e)] {
			h.t.Errorf("an append was told %v, and its event is at %d", a.err, p+1)
		}
	}
	for kind, err := range map[string]error{
		"not written": annals.ErrNotWritten, "full": annals.ErrFull, "too large": annals.ErrTooLarge,
		"overloaded": annals.ErrOverloaded, "reused": annals.ErrIDReused, "partial": annals.ErrPartialDuplicate,
	} {
		if errors.Is(a.err, err) {
			return kind
		}
	}
	h.t.Errorf("an append was told %v", a.err)
	return "other"
}

// checkConditions wants all conditions to hold at a head.
func (h *history) checkConditions(a *asked, head annals.Position) {
	h.t.Helper()
	if failures := h.failures(a.conds, head); len(failures) > 0 {
		h.t.Errorf("an append was accepted, and at %d fails %+v", head, failures)
	}
}

func (h *history) checkWritten(a *asked) {
	h.t.Helper()
	for i, e := range a.events {
		p, found := h.at[placeOf(e)]
		if !found || p+1 != int(a.receipt.First)+i || !h.log[p].SameContent(e.Canonical()) || !h.log[p].Time.Equal(a.receipt.Time) {
			h.t.Errorf("event %d was acknowledged by %+v; found %v, at %d", i, a.receipt, found, p+1)
		}
	}
	if a.receipt.First <= a.before || a.receipt.Last > a.after {
		h.t.Errorf("%+v was written while the head went from %d to %d", a.receipt, a.before, a.after)
	}
	h.checkConditions(a, a.receipt.First-1)
}

// checkDuplicate wants all events to have been there, in their order.
func (h *history) checkDuplicate(a *asked) {
	h.t.Helper()
	var positions []annals.Position
	for _, e := range a.events {
		p, found := h.at[placeOf(e)]
		if !found || !h.log[p].SameContent(e.Canonical()) {
			h.t.Errorf("%s is said to be a duplicate, and is not in the log", e.ID)
			return
		}
		positions = append(positions, annals.Position(p+1))
	}
	first, last := positions[0], positions[len(positions)-1]
	if !slices.IsSorted(positions) || a.receipt.First != first || a.receipt.Last != last || last > a.after {
		h.t.Errorf("duplicates at %v were acknowledged by %+v at head %d", positions, a.receipt, a.after)
	}
}

// checkConflict wants a head at which just these conditions fail, because of just these events.
func (h *history) checkConflict(a *asked, conflict *annals.ConflictError) {
	h.t.Helper()
	for head := a.before; head <= a.after; head++ {
		same := slices.EqualFunc(h.failures(a.conds, head), conflict.Failures, func(x, y annals.Failure) bool {
			return x.Index == y.Index && x.Actual == y.Actual && slices.Equal(x.Positions, y.Positions)
		})
		if same && len(conflict.Failures) > 0 {
			return
		}
	}
	h.t.Errorf("at no head in [%d, %d] fails what an append was told: %v", a.before, a.after, conflict)
}

// failures are those of conditions at a head, found by walking over the log.
func (h *history) failures(conds []annals.Condition, head annals.Position) []annals.Failure {
	var failures []annals.Failure
	for i, c := range conds {
		f := annals.Failure{Index: i, Condition: c, Actual: annals.NoRevision}
		from, failed := annals.Revision(0), false
		if c.Kind() != annals.KindNoneSince {
			for _, e := range h.log[:head] {
				if e.Stream == c.Stream() {
					f.Actual = e.Revision
				}
			}
		}
		switch c.Kind() {
		case annals.KindNoStream:
			failed = f.Actual != annals.NoRevision
		case annals.KindStreamExists:
			failed = f.Actual == annals.NoRevision
		case annals.KindStreamAt:
			failed, from = f.Actual != c.Revision(), c.Revision()+1
		case annals.KindNoneSince:
			f.Positions = h.matches(c.Query(), h.log[min(c.After(), head):head])
			failed = len(f.Positions) > 0
		}
		if !failed {
			continue
		}
		for _, e := range h.log[:head] {
			if c.Kind() != annals.KindNoneSince && e.Stream == c.Stream() && e.Revision >= from {
				f.Positions = append(f.Positions, e.Position)
			}
		}
		f.Positions = f.Positions[:min(len(f.Positions), annals.ConflictPositionsMax)]
		failures = append(failures, f)
	}
	return failures
}

func (h *history) checkRead(r walked) {
	h.t.Helper()
	if r.head < r.before {
		h.t.Errorf("a read was pinned to %d when the head was %d", r.head, r.before)
	}
	want := h.matches(r.query, h.log[:r.head])
	if r.backwards {
		slices.Reverse(want)
	}
	if !slices.Equal(r.got, want) {
		h.t.Errorf("%s at %d reads %v, want %v", r.query, r.head, r.got, want)
	}
}

func (h *history) matches(q annals.Query, log []annals.Recorded) []annals.Position {
	var found []annals.Position
	for _, e := range log {
		if q.Match(e) {
			found = append(found, e.Position)
		}
	}
	return found
}

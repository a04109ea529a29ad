package live_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/live"
)

var store = frame.StoreID{1, 2, 3}

// history is a log that is published: what an engine is to a hub.
type history struct {
	hub  *live.Hub
	head atomic.Uint64

	mu   sync.Mutex
	log  []annals.Recorded
	seqs uint64
}

func newHistory(c live.Config) *history {
	h := &history{}
	c.Store, c.Head = store, h.head.Load
	h.hub = live.New(c)
	return h
}

// append makes a frame of the events, makes it visible and publishes it.
func (h *history) append(events ...annals.Event) {
	header, f := h.commit(events)
	h.hub.Publish(header, f)
}

// commit is append without its publication.
func (h *history) commit(events []annals.Event) (*frame.Header, []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seqs++
	b := frame.NewBuilder(frame.Header{Store: store, Seq: h.seqs, FirstPosition: annals.Position(len(h.log) + 1), Time: time.Unix(0, 1)}, nil)
	for _, e := range events {
		e = e.Canonical()
		r := annals.Recorded{Event: e, Position: annals.Position(len(h.log) + 1), Revision: annals.NoRevision, Time: time.Unix(0, 1).UTC()}
		if e.Stream != "" {
			r.Revision = 0
		}
		h.log = append(h.log, r)
		record := frame.AppendBody(nil, &e, [16]byte{}, 0)
		b.Add(record, frame.BodyHash(record), r.Revision)
	}
	f, header := b.Finish()
	h.head.Store(uint64(len(h.log)))
	return &header, f
}

// read is the events of q in (after, upto].
func (h *history) read(q annals.Query, after, upto uint64) []annals.Recorded {
	h.mu.Lock()
	part := h.log[after:upto]
	h.mu.Unlock()
	var got []annals.Recorded
	for _, r := range part {
		if q.Match(r) {
			got = append(got, r)
		}
	}
	return got
}

// reader follows a history as a subscription of the engine does.
type reader struct {
	history *history
	query   annals.Query
	at      uint64
	got     []annals.Recorded
	sub     *live.Subscriber
	told    int // how much of it the hub told
	caught  int // how often it had to read
}

func (h *history) reader(q annals.Query, after uint64) *reader {
	return &reader{history: h, query: q, at: after, sub: h.hub.Subscribe(q)}
}

// join reads up to where the hub goes on.
func (r *reader) join() {
	for range 2 { // once more behind the join, as far as that leaves to be read
		upto := r.history.head.Load()
		if r.caught%2 == 1 {
			upto = r.sub.Join()
		}
		r.got = append(r.got, r.history.read(r.query, r.at, upto)...)
		r.at = upto
		r.caught++
	}
}

// step takes what there is, or waits for it. It is false if ctx has ended.
func (r *reader) step(ctx context.Context) bool {
	switch state, e, p := r.sub.Take(r.at); state {
	case live.Behind:
		r.join()
	case live.Matched:
		r.got = append(r.got, *e)
		r.at = p
		r.told++
	case live.Progress:
		r.at = p
	case live.Idle:
		select {
		case <-r.sub.Ready():
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// check compares what was got with what there is up to where the reader is.
func (r *reader) check(t *testing.T, from uint64) bool {
	t.Helper()
	want := r.history.read(r.query, from, r.at)
	if !slices.EqualFunc(r.got, want, func(a, b annals.Recorded) bool {
		return a.Position == b.Position && a.ID == b.ID && a.SameContent(b.Event)
	}) {
		t.Errorf("%s after %d, at %d: got %v, want %v", r.query, from, r.at, positions(r.got), positions(want))
		return false
	}
	return true
}

func positions(events []annals.Recorded) []annals.Position {
	var all []annals.Position
	for _, e := range events {
		all = append(all, e.Position)
	}
	return all
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// dice makes random events and queries from few names, so that they meet.
type dice struct{ *rand.Rand }

func (d dice) pick(names ...string) string { return names[d.IntN(len(names))] }

func (d dice) id() annals.ID { return annals.MakeID(time.Unix(0, 0), [10]byte{byte(d.IntN(5))}) }

func (d dice) event() annals.Event {
	e := annals.Event{ID: d.id(), Type: d.pick("A", "B", "C", "D", "$S"), Stream: d.pick("", "s-1", "s-2", "o-1", "s", "$x-1")}
	for _, tag := range []string{"t:1", "t:2", "u:1", "u:2", "$t"} {
		if d.IntN(4) == 0 {
			e.Tags = append(e.Tags, tag)
		}
	}
	if d.IntN(3) == 0 {
		e.Data = make([]byte, d.IntN(2000))
	}
	return e.Canonical()
}

func (d dice) events(most int) []annals.Event {
	events := make([]annals.Event, 1+d.IntN(most))
	for i := range events {
		events[i] = d.event()
	}
	return events
}

func (d dice) query() annals.Query {
	items := make([]annals.Item, 1+d.IntN(3))
	for i := range items {
		it := &items[i]
		for _, part := range []struct {
			often int
			set   func()
		}{
			{8, func() { it.ID = d.id() }},
			{4, func() { it.Stream = d.pick("s-1", "s-2", "o-1", "s", "none-1", "$x-1") }},
			{5, func() { it.Category = d.pick("s", "o", "none", "$x") }},
			{2, func() { it.Types = []string{d.pick("A", "B", "$S"), d.pick("B", "C", "none")} }},
			{3, func() { it.Tags = []string{d.pick("t:1", "t:2", "$t")} }},
			{6, func() { it.Tags = append(it.Tags, d.pick("u:1", "u:2", "none:1")) }},
		} {
			if d.IntN(part.often) == 0 {
				part.set()
			}
		}
	}
	q := annals.QueryOf(items...)
	if d.IntN(3) == 0 {
		q = q.WithSystem()
	}
	return q
}

// Random subscribers come, fall behind and leave while random events are published. Each must get exactly what its query
// matches, in order, and progress that passes over nothing; and must come to the head by being told of it.
func TestEverySubscriberGetsWhatItsQueryMatchesAndNothingElse(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			model(t, seed)
		})
	}
}

func model(t *testing.T, seed uint64) {
	t.Helper()
	const frames, readers = 250, 20
	d := dice{rand.New(rand.NewPCG(seed, 0))}
	h := newHistory(live.Config{Bytes: 4000 << d.IntN(4), Events: 1 + d.IntN(100), Queue: 1 + d.IntN(20)})
	ctx := patient(t)
	var written atomic.Bool
	var busy sync.WaitGroup
	busy.Go(func() {
		for range frames {
			h.append(d.events(1 + d.IntN(30))...)
			if d.IntN(50) == 0 {
				h.hub.Interrupt()
			}
			for range d.IntN(20) {
				runtime.Gosched()
			}
		}
		written.Store(true)
		h.append(d.event()) // who waits at the head is told once more
	})
	var told atomic.Int64
	for i := range uint64(readers) {
		busy.Go(func() {
			d := dice{rand.New(rand.NewPCG(seed, 1+i))}
			for !written.Load() {
				told.Add(int64(visit(ctx, t, h, d, &written)))
			}
		})
	}
	busy.Wait()
	if told.Load() == 0 {
		t.Error("nothing was ever told")
	}
	if s := h.hub.Stats(); s.Subscribers != 0 || s.Behind != 0 {
		t.Errorf("all have left, and the stats say %+v", s)
	}
	h.hub.Close()
	if s := h.hub.Stats(); s != (live.Stats{}) {
		t.Errorf("the hub is closed, and the stats say %+v", s)
	}
}

// visit is one subscription: it leaves after a while, or, when nothing more is written, at the head.
func visit(ctx context.Context, t *testing.T, h *history, d dice, written *atomic.Bool) int {
	t.Helper()
	from := uint64(d.IntN(int(h.head.Load()) + 1))
	r := h.reader(d.query(), from)
	defer r.sub.Leave()
	slow := d.IntN(3) * d.IntN(30)
	for n := 10 + d.IntN(1000); n > 0 && !written.Load() || written.Load() && r.at < h.head.Load(); n-- {
		if !r.step(ctx) {
			t.Errorf("%s is at %d; the head is %d, and nobody tells", r.query, r.at, h.head.Load())
			break
		}
		if n%128 == 0 && !r.check(t, from) {
			break
		}
		for range slow {
			runtime.Gosched()
		}
	}
	r.check(t, from)
	return r.told
}

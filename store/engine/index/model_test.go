package index_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/journal"
)

// world makes random events and questions, from few names or from many.
type world struct {
	*rand.Rand
	names   int    // of each kind
	jumps   bool   // revisions do not always go on by one
	blind   uint64 // bits of terms that are left out
	collide bool   // so that terms tell nothing for certain
	breaks  bool   // now and then all runs are damaged
}

func (w *world) name(kind string) string { return fmt.Sprint(kind, w.IntN(w.names)) }

func (w *world) stream() string {
	if w.IntN(4) == 0 {
		return ""
	}
	return w.name("c") + "-" + w.name("")
}

func (w *world) tags() []string {
	var tags []string
	for range w.IntN(4) {
		tags = append(tags, w.name(""), w.name("t"))
	}
	slices.Sort(tags)
	return slices.Compact(tags)
}

func (w *world) kind() string {
	if w.IntN(9) == 0 {
		return w.name("$")
	}
	return w.name("")
}

func (w *world) query(log []annals.Recorded) annals.Query {
	items := make([]annals.Item, w.IntN(4))
	for i := range items {
		it := &items[i]
		if w.IntN(2) == 0 {
			for range 1 + w.IntN(3) {
				it.Types = append(it.Types, w.kind())
			}
			slices.Sort(it.Types)
			it.Types = slices.Compact(it.Types)
		}
		if w.IntN(2) == 0 {
			it.Tags = w.tags()
		}
		switch w.IntN(6) {
		case 0:
			it.Stream = w.stream()
		case 1:
			it.Category = w.name("c")
		case 2:
			if len(log) > 0 {
				it.ID = log[w.IntN(len(log))].ID
			}
		case 3:
			it.ID = annals.ID{6: byte(w.IntN(2) * 0x70), 7: 1}
		}
	}
	q := annals.QueryOf(items...)
	if len(items) == 0 {
		q = annals.All()
	}
	if w.IntN(3) == 0 {
		q = q.WithSystem()
	}
	return q
}

// rig is an index beside the log that it is of.
type rig struct {
	testing.TB
	*world
	config index.Config
	x      *index.Index

	log     []annals.Recorded
	headers []frame.Header
	last    map[string]annals.Revision
	used    map[string]bool // ids in their streams
	now     time.Time
	views   []index.View
	mu      sync.Mutex // of the log, while the index reads it in the background
}

var identity = journal.Identity{Store: frame.StoreID{1, 2, 3}, Incarnation: 4, HashSeed: [16]byte{5}}

func newRig(tb testing.TB, w *world, c index.Config) *rig {
	tb.Helper()
	r := &rig{TB: tb, world: w, last: map[string]annals.Revision{}, used: map[string]bool{}, now: time.Unix(1e9, 0)}
	c.Identity, c.Events, c.Logger = identity, r.events, discard
	r.config = index.Blind(c, w.blind)
	r.open()
	return r
}

// open opens the index and adds what it lacks.
func (r *rig) open() {
	r.Helper()
	r.x = index.Open(r.Context(), r.config)
	tail, some, err := r.x.Trust(func(t index.Tail) (bool, error) {
		return t.Seq <= uint64(len(r.headers)) && r.headers[t.Seq-1].Hash == t.Hash, nil
	})
	if err != nil {
		r.Fatal(err)
	}
	seq := uint64(0)
	if seq = tail.Seq; some && tail.Position != uint64(r.headers[seq-1].LastPosition()) {
		r.Fatalf("the index ends at %+v", tail)
	}
	for i := range r.headers[seq:] {
		h := &r.headers[int(seq)+i]
		r.index(h, r.log[h.FirstPosition-1:h.LastPosition()])
	}
}

func (r *rig) keys(es []annals.Recorded) []index.Keys {
	keys := make([]index.Keys, len(es))
	for i := range es {
		keys[i], _ = r.x.Hasher().Keys(&es[i].Event, nil)
		keys[i].Revision = es[i].Revision
	}
	return keys
}

func (r *rig) index(h *frame.Header, es []annals.Recorded) {
	r.x.Add(r.keys(es), uint64(h.FirstPosition))
	r.x.Advance(h)
}

// events reads the log for the index.
func (r *rig) events(_ context.Context, first, last uint64) iter.Seq2[index.Dated, error] {
	r.mu.Lock()
	log := r.log[first-1 : last]
	r.mu.Unlock()
	hasher := index.Hashes(r.config)
	return func(yield func(index.Dated, error) bool) {
		for i := range log {
			k, _ := hasher.Keys(&log[i].Event, nil)
			k.Revision = log[i].Revision
			if !yield(index.Dated{Keys: &k, Time: log[i].Time.UnixNano()}, nil) {
				return
			}
		}
	}
}

func (w *world) id(now time.Time) annals.ID {
	var random [10]byte
	for i := range random {
		random[i] = byte(w.Uint32())
	}
	switch w.IntN(8) {
	case 0: // UUIDv4
		id := annals.MakeID(time.Unix(0, w.Int64()), random)
		id[6] = 0x40 | id[6]&0xf
		return id
	case 1: // of a clock that is wrong
		return annals.MakeID(time.Unix(int64(w.Uint32()), 0), random)
	}
	return annals.MakeID(now, random)
}

func (r *rig) event() annals.Event {
	e := annals.Event{ID: r.id(r.now), Type: r.kind(), Stream: r.stream(), Tags: r.tags()}
	if n := len(r.log); n > 0 && r.IntN(6) == 0 {
		if old := r.log[r.IntN(n)].ID; !r.used[string(old[:])+e.Stream] {
			e.ID = old
		}
	}
	return e
}

// frame adds a frame of random events.
func (r *rig) frame(events int) {
	es := make([]annals.Event, events)
	for i := range es {
		es[i] = r.event()
		r.used[string(es[i].ID[:])+es[i].Stream] = true
	}
	r.put(es...)
}

func (r *rig) put(es ...annals.Event) {
	h := frame.Header{Seq: uint64(len(r.headers)) + 1, FirstPosition: annals.Position(len(r.log) + 1), EventCount: uint32(len(es)), Time: r.now, Epoch: 1}
	for i := range h.Hash {
		h.Hash[i] = byte(r.Uint32())
	}
	from := len(r.log)
	for _, e := range es {
		rec := annals.Recorded{Event: e, Position: annals.Position(len(r.log) + 1), Revision: annals.NoRevision, Time: r.now}
		if e.Stream != "" {
			last, exists := r.last[e.Stream]
			rec.Revision = last + 1
			if !exists {
				rec.Revision = 0
			}
			if r.jumps && r.IntN(5) == 0 {
				rec.Revision += annals.Revision(r.IntN(4))
			}
			r.last[e.Stream] = rec.Revision
		}
		r.mu.Lock()
		r.log = append(r.log, rec)
		r.mu.Unlock()
	}
	r.headers = append(r.headers, h)
	r.index(&h, r.log[from:])
	r.now = r.now.Add(time.Duration(r.IntN(3)) * time.Millisecond)
}

// record is what the index asks the log.
func (r *rig) record(p uint64) (string, annals.Revision, error) {
	e := &r.log[p-1]
	return e.Stream, e.Revision, nil
}

// check asks a view many questions.
func (r *rig) check(v index.View) {
	r.Helper()
	head := v.Head()
	log := r.log[:head]
	for range 12 {
		q := r.query(log)
		in := index.Range{After: r.Uint64N(head + 1), Backwards: r.IntN(2) == 0}
		in.Upto = in.After + r.Uint64N(head+3-in.After)
		if r.IntN(4) == 0 {
			in.After, in.Upto = 0, head
		}
		r.checkWalk(v, q, in)
	}
	for range 8 {
		r.checkStream(v, log)
		r.checkID(v, log)
		r.checkTime(v, log)
	}
}

// checkWalk wants every match, in order, and no position outside of the range.
func (r *rig) checkWalk(v index.View, q annals.Query, in index.Range) {
	r.Helper()
	plan := r.x.Hasher().Plan(q)
	var want, got []uint64
	for p := in.After + 1; p <= min(in.Upto, v.Head()); p++ {
		if q.MatchEvent(r.log[p-1].Event) {
			want = append(want, p)
		}
	}
	if in.Backwards {
		slices.Reverse(want)
	}
	before := uint64(0)
	for part := range v.Walk(&plan, in) {
		key := part.Seek(0)
		for n := 0; key != index.Done; n++ {
			p := index.Position(key, in.Backwards)
			if p <= in.After || p > min(in.Upto, v.Head()) {
				r.Fatalf("%s in %+v up to %d: position %d", q, in, v.Head(), p)
			}
			if key <= before && before != 0 {
				r.Fatalf("%s in %+v: key %d after %d", q, in, key, before)
			}
			before = key
			if q.MatchEvent(r.log[p-1].Event) {
				got = append(got, p)
			} else if r.exact() {
				r.Fatalf("%s in %+v: position %d, which does not match", q, in, p)
			}
			next := key + 1
			if r.IntN(8) == 0 && len(got) < len(want) { // over those that do not match
				next = max(next, keyOf(want[len(got)], in.Backwards))
			}
			key = part.Seek(next)
		}
		if err := part.Err(); err != nil {
			r.Fatal(err)
		}
	}
	if !slices.Equal(got, want) {
		r.Fatalf("%s in %+v up to %d: got %v, want %v", q, in, v.Head(), got, want)
	}
}

func keyOf(p uint64, backwards bool) uint64 {
	if backwards {
		return ^p
	}
	return p
}

// exact reports whether the index has no reason to say too much.
func (r *rig) exact() bool { return !r.collide && !r.breaks }

func (r *rig) checkStream(v index.View, log []annals.Recorded) {
	r.Helper()
	name := r.stream()
	for name == "" {
		name = r.stream()
	}
	term := r.x.Hasher().Stream(name)
	upto := r.Uint64N(v.Head() + 1)
	from := annals.Revision(r.IntN(8 + int(r.last[name]%1000)))
	wantLast, wantAt, wantFirst, wantRevision := annals.NoRevision, uint64(0), uint64(0), annals.Revision(0)
	for i, e := range log[:upto] {
		if e.Stream != name {
			continue
		}
		wantLast, wantAt = e.Revision, uint64(i+1)
		if wantFirst == 0 && e.Revision >= from {
			wantFirst, wantRevision = uint64(i+1), e.Revision
		}
	}
	last, at, err := v.LastRevision(name, term, upto, r.record)
	if err != nil || at != wantAt || last != wantLast {
		r.Fatalf("the last revision of %s up to %d: %d at %d, %v; want %d at %d", name, upto, last, at, err, wantLast, wantAt)
	}
	p, revision, err := v.FindRevision(name, term, from, upto, r.record)
	if err != nil || p != wantFirst || p > 0 && revision != wantRevision {
		r.Fatalf("revision %d of %s up to %d: %d at %d, %v; want %d at %d", from, name, upto, revision, p, err, wantRevision, wantFirst)
	}
	most := 1 + r.IntN(4)
	var want []uint64
	for i, e := range log {
		if e.Stream == name && e.Revision >= from && len(want) < most {
			want = append(want, uint64(i+1))
		}
	}
	if got, exact := v.RecentRevisions(name, term, from, most); exact && !slices.Equal(got, want) {
		r.Fatalf("from revision %d of %s on: %v, want %v", from, name, got, want)
	}
}

func (r *rig) checkID(v index.View, log []annals.Recorded) {
	r.Helper()
	e := r.event()
	if n := len(log); n > 0 && r.IntN(3) > 0 {
		old := log[r.IntN(n)]
		e.ID = old.ID
		if r.IntN(2) == 0 {
			e.Stream = old.Stream
		}
	}
	want := slices.IndexFunc(log, func(o annals.Recorded) bool { return o.ID == e.ID && o.Stream == e.Stream }) + 1
	k, _ := r.x.Hasher().Keys(&e, nil)
	got, err := v.FindID(&k, func(p uint64) (bool, error) { return r.log[p-1].ID == e.ID && r.log[p-1].Stream == e.Stream, nil })
	if err != nil || got != uint64(want) {
		r.Fatalf("%s in %q: found at %d, %v; want %d", e.ID, e.Stream, got, err, want)
	}
}

func (r *rig) checkTime(v index.View, log []annals.Recorded) {
	r.Helper()
	at := time.Unix(1e9, r.Int64N(int64(r.now.Sub(time.Unix(1e9, 0)))+2e6)-1e6)
	want := uint64(0)
	for _, e := range log {
		if !e.Time.After(at) {
			want = uint64(e.Position)
		}
	}
	if in := v.UptoTime(at); in.After > want || in.Upto < want || in.Upto > v.Head() {
		r.Fatalf("at %s the log stood at %d, and the index says %+v", at, want, in)
	}
}

// checkMemory asks what is in memory, which may say yes too often.
func (r *rig) checkMemory() {
	r.Helper()
	m := r.x.Memory()
	defer m.Release()
	head, floor := uint64(len(r.log)), m.Floor()
	if floor > head+1 {
		r.Fatalf("memory begins with %d, and the head is %d", floor, head)
	}
	for range 8 {
		after := max(floor-1, r.Uint64N(head+1))
		q := r.query(r.log)
		plan := r.x.Hasher().Plan(q)
		e := r.event()
		if len(r.log) > 0 && r.IntN(2) == 0 {
			e = r.log[r.IntN(len(r.log))].Event
		}
		k, _ := r.x.Hasher().Keys(&e, nil)
		r.compare("any "+q.String(), m.Any(&plan, after), after, func(o annals.Recorded) bool { return q.MatchEvent(o.Event) })
		r.compare("stream "+e.Stream, m.HasTerm(k.StreamTerm(), after), after, func(o annals.Recorded) bool { return o.Stream == e.Stream })
		r.compare("id "+e.ID.String(), m.HasID(&k, after), after, func(o annals.Recorded) bool { return o.ID == e.ID && o.Stream == e.Stream })
		if e.Stream == "" {
			continue
		}
		want, exists := annals.NoRevision, false
		for _, o := range r.log[floor-1:] {
			if o.Stream == e.Stream {
				want, exists = o.Revision, true
			}
		}
		if got, found := m.Latest(e.Stream, k.StreamTerm()); got != want || found != exists {
			r.Fatalf("the latest revision of %s from %d on: %d, %t; want %d, %t", e.Stream, floor, got, found, want, exists)
		}
	}
}

func (r *rig) compare(what string, got bool, after uint64, match func(annals.Recorded) bool) {
	r.Helper()
	want := slices.ContainsFunc(r.log[after:], match)
	if want && !got || got && !want && !r.collide {
		r.Fatalf("%s after %d: %t, want %t", what, after, got, want)
	}
}

// checkDelta asks a delta of events that are not in the log.
func (r *rig) checkDelta(d *index.Delta) {
	r.Helper()
	first := uint64(len(r.log)) + 1
	d.Reset(first)
	es := make([]annals.Recorded, 1+r.IntN(6))
	for i := range es {
		es[i].Event = r.event()
	}
	keys := r.keys(es)
	var ids index.Set
	for i := range keys {
		d.Add(&keys[i])
		ids.Add(keys[i].Identity())
	}
	for range 6 {
		q := r.query(es)
		plan := r.x.Hasher().Plan(q)
		after := r.Uint64N(first + uint64(len(es)))
		seen := es[min(len(es), int(max(after, first-1)-first+1)):]
		want := slices.ContainsFunc(seen, func(o annals.Recorded) bool { return q.MatchEvent(o.Event) })
		if got := d.Any(&plan, after); want && !got || got && !want && !r.collide {
			r.Fatalf("%s after %d in a delta from %d: %t, want %t", q, after, first, got, want)
		}
		e := r.event()
		if r.IntN(2) == 0 {
			e.ID = es[r.IntN(len(es))].ID
		}
		if r.IntN(2) == 0 {
			e.Stream = es[r.IntN(len(es))].Stream
		}
		k, _ := r.x.Hasher().Keys(&e, nil)
		want = slices.ContainsFunc(es, func(o annals.Recorded) bool { return o.ID == e.ID && o.Stream == e.Stream })
		if got := ids.Has(k.Identity()); want && !got || got && !want && !r.collide {
			r.Fatalf("%s in %q: %t, want %t", e.ID, e.Stream, got, want)
		}
	}
}

// step does something at random.
func (r *rig) step(d *index.Delta) {
	r.Helper()
	switch r.IntN(12) {
	case 0:
		r.views = append(r.views, r.x.View())
		if len(r.views) > 3 {
			r.views[0].Release()
			r.views = r.views[1:]
		}
	case 1:
		if r.breaks && r.IntN(2) == 0 {
			r.x.Break()
		}
	case 2:
		r.x.Close()
		r.checkViews() // they stay good
		r.open()
	case 3:
		r.checkDelta(d)
	default:
		r.frame(1 + r.IntN(1+r.IntN(20)))
	}
}

func (r *rig) checkViews() {
	r.Helper()
	for _, v := range r.views {
		r.check(v)
	}
}

// live lets the index grow, and asks it all along.
func (r *rig) live(steps int) {
	r.Helper()
	var d index.Delta
	for range steps {
		r.step(&d)
		r.checkMemory()
		if r.IntN(8) == 0 {
			v := r.x.View()
			r.check(v)
			v.Release()
			r.checkViews()
		}
	}
	for _, v := range r.views {
		v.Release()
	}
	r.views = nil
	r.x.Settle()
	v := r.x.View()
	r.check(v)
	v.Release()
	r.x.Close()
}

func TestTheIndexAgreesWithTheLog(t *testing.T) {
	t.Parallel()
	for name, w := range map[string]world{
		"few names":                    {names: 3},
		"many names":                   {names: 400},
		"revisions that jump":          {names: 3, jumps: true},
		"terms that collide":           {names: 6, blind: ^uint64(7), collide: true, jumps: true},
		"terms that collide sometimes": {names: 12, blind: ^uint64(63), collide: true},
	} {
		for _, c := range []index.Config{{EpochEvents: 1}, {EpochEvents: 5}, {EpochEvents: 17, Foreground: true}, {EpochEvents: 64}, {EpochEvents: 2, Foreground: true}} {
			for seed := range uint64(3) {
				t.Run(fmt.Sprintf("%s, epochs of %d, seed %d", name, c.EpochEvents, seed), func(t *testing.T) {
					t.Parallel()
					w, c := w, c
					w.Rand = rand.New(rand.NewPCG(seed, uint64(c.EpochEvents)))
					if seed%2 == 0 {
						c.FS, c.Dir = vfs.NewMem(), "/index"
					}
					w.breaks = seed == 2
					if seed == 1 {
						c.MemoryBytes, c.CacheBytes = 1, 1
					}
					newRig(t, &w, c).live(80)
				})
			}
		}
	}
}

// An event without a stream lies in the list of a stream that has the same term by chance.
func TestEventsWithoutStreamDoNotCountInAStream(t *testing.T) {
	t.Parallel()
	w := newWorld(1, 3)
	w.blind, w.collide = ^uint64(0xffff), true
	r := newRig(t, w, index.Config{})
	name := ""
	for i := 0; name == ""; i++ {
		if s := fmt.Sprint("s-", i); r.x.Hasher().Stream(s) == r.x.Hasher().Stream("") {
			name = s
		}
	}
	for i := range 6 {
		e := annals.Event{ID: r.id(r.now), Type: "A"}
		if i%2 == 0 {
			e.Stream = name
		}
		r.put(e)
	}
	v := r.x.View()
	defer v.Release()
	for upto, want := range []annals.Revision{annals.NoRevision, 0, 0, 1, 1, 2, 2} {
		if got, _, err := v.LastRevision(name, r.x.Hasher().Stream(name), uint64(upto), r.record); err != nil || got != want {
			t.Errorf("up to %d the last revision is %d, %v; want %d", upto, got, err, want)
		}
	}
}

// FuzzIndex does what the bytes say, and asks all along.
func FuzzIndex(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(2), []byte{9, 9, 9, 2, 9, 1, 9, 0, 9, 9})
	f.Add(uint64(2), uint8(1), uint8(60), []byte{9, 0, 9, 9, 2, 3, 9, 9, 9, 9, 9, 9, 9, 9, 2})
	f.Add(uint64(3), uint8(20), uint8(7), []byte{9, 200, 9, 250, 1, 9, 2, 2})
	f.Fuzz(func(t *testing.T, seed uint64, epoch, bits uint8, steps []byte) {
		w := newWorld(seed, 1+int(seed%50))
		if w.blind = ^(^uint64(0) << min(bits, 64)); bits < 64 {
			w.blind, w.collide = ^w.blind, bits < 40
		} else {
			w.blind = 0
		}
		w.jumps, w.breaks = seed%3 == 0, true
		mem := vfs.NewMem()
		r := newRig(t, w, index.Config{FS: mem, Dir: dir, EpochEvents: 1 + int(epoch), Foreground: true})
		var d index.Delta
		for _, b := range steps[:min(len(steps), 200)] {
			switch b {
			case 0:
				r.views = append(r.views, r.x.View())
			case 1:
				r.x.Break()
			case 2:
				r.x.Close()
				r.open()
			case 3:
				r.checkDelta(&d)
			case 4:
				r.checkMemory()
			case 5:
				r.checkViews()
			case 6:
				v := r.x.View()
				r.check(v)
				v.Release()
			case 7: // killed
				r.config.FS = mem.Kill()
				mem, _ = r.config.FS.(*vfs.Mem)
				r.x.Close()
				r.open()
			default:
				r.frame(1 + int(b)%30)
			}
		}
		r.checkViews()
		for _, v := range r.views {
			v.Release()
		}
		v := r.x.View()
		r.check(v)
		v.Release()
		r.x.Close()
	})
}

var discard = slog.New(slog.DiscardHandler)

// Others ask while events are added, epochs are sealed, runs are merged, damaged and made anew.
func TestManyAskWhileTheIndexGrows(t *testing.T) {
	t.Parallel()
	for _, epoch := range []int{2, 9} {
		w := newWorld(uint64(epoch), 5)
		w.breaks = true
		r := newRig(t, w, index.Config{FS: vfs.NewMem(), Dir: dir, EpochEvents: epoch})
		done := make(chan struct{})
		var asking sync.WaitGroup
		for i := range 3 {
			asking.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						r.look(uint64(i))
					}
				}
			})
		}
		for i := range 150 {
			r.frame(1 + r.IntN(6))
			if i%40 == 39 {
				r.x.Break()
			}
		}
		close(done)
		asking.Wait()
		r.x.Settle()
		r.answers()
		r.verify() // tells of what was damaged and made anew, if anybody met it
		if found := r.verify(); len(found) > 0 {
			t.Error(found)
		}
		r.x.Close()
	}
}

// look asks a view of its own, as another goroutine.
func (r *rig) look(seed uint64) {
	v := r.x.View()
	defer v.Release()
	r.mu.Lock()
	log := r.log
	r.mu.Unlock()
	last := map[string]annals.Revision{}
	for _, e := range log {
		if e.Stream != "" {
			last[e.Stream] = e.Revision
		}
	}
	other := &rig{TB: r.TB, world: newWorld(seed, r.names), config: r.config, x: r.x, log: log, last: last, used: map[string]bool{}, now: endOf(log)}
	other.breaks = true
	other.check(v)
}

// endOf is when a log ends.
func endOf(log []annals.Recorded) time.Time {
	if len(log) == 0 {
		return time.Unix(1e9, 0)
	}
	return log[len(log)-1].Time
}

package decider_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/snapshot"
	"github.com/annalsdb/annals/store/memory"
)

// Moves of goods between shelves: a state over one stream, and one whose boundary grows.

type (
	goodsMoved struct {
		Shelf string `json:"shelf" annals:"shelf,stream"`
		To    string `json:"to" annals:"to,omitempty"`
		Goods string `json:"goods"`
		N     int    `json:"n"`
	}
	rack struct {
		ID    string
		Goods map[string]int
		Moves int
	}
	// reach is a shelf and all that lies where its goods went.
	reach struct {
		ID     string
		Others []string
		N      int
	}
	// fickle is a shelf and the last one that goods went to.
	fickle struct{ ID, Last string }
	rack2  struct{ rack }
)

var moves = annals.NewSchema([]any{goodsMoved{}})

func (s rack) Boundary() annals.Query { return annals.Stream("shelf-" + s.ID) }

func (s rack) Evolve(e any) rack {
	if e, ok := e.(goodsMoved); ok {
		if s.Goods == nil {
			s.Goods = map[string]int{}
		}
		s.Goods[e.Goods] += e.N
		s.Moves++
	}
	return s
}

func (s rack) SnapshotVersion() int { return 1 }

func (r reach) Boundary() annals.Query {
	q := annals.Stream("shelf-" + r.ID)
	for _, o := range r.Others {
		q = q.Or(annals.Stream("shelf-" + o))
	}
	return q
}

func (r reach) Evolve(e any) reach {
	if e, ok := e.(goodsMoved); ok {
		r.N += e.N
		if e.Shelf == r.ID && e.To != "" && !strings.Contains(strings.Join(r.Others, " "), e.To) {
			r.Others = append(r.Others, e.To)
		}
	}
	return r
}

func (r reach) SnapshotVersion() int { return 1 }

func (f fickle) Boundary() annals.Query {
	q := annals.Stream("shelf-" + f.ID)
	if f.Last != "" {
		q = q.Or(annals.Stream("shelf-" + f.Last))
	}
	return q
}

func (f fickle) Evolve(e any) fickle {
	if e, ok := e.(goodsMoved); ok && e.Shelf == f.ID {
		f.Last = e.To
	}
	return f
}

func (f fickle) SnapshotVersion() int { return 1 }

func (s rack2) Boundary() annals.Query { return s.rack.Boundary() }
func (s rack2) Evolve(e any) rack2     { return rack2{s.rack.Evolve(e)} }
func (s rack2) SnapshotVersion() int   { return 2 }

// counting counts what the snapshots are asked for, and fails if it is told to.
type counting struct {
	annals.Snapshots
	loads, hits, saves int
	fail               error
}

func (c *counting) Load(ctx context.Context, key string, upTo annals.Position) (annals.Snapshot, bool, error) {
	c.loads++
	if c.fail != nil {
		return annals.Snapshot{}, false, c.fail
	}
	s, found, err := c.Snapshots.Load(ctx, key, upTo)
	if found {
		c.hits++
	}
	return s, found, err
}

func (c *counting) Save(ctx context.Context, s annals.Snapshot) error {
	c.saves++
	if c.fail != nil {
		return c.fail
	}
	return c.Snapshots.Save(ctx, s)
}

func newCounting(t *testing.T) *counting {
	t.Helper()
	m, err := snapshot.NewMemory(snapshot.Keep(3))
	if err != nil {
		t.Fatal(err)
	}
	return &counting{Snapshots: m}
}

func keeping(store annals.Store, s annals.Snapshots, every int, logger *slog.Logger) *annals.Log[any] {
	return annals.NewLog(store, moves, annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: s, Every: every, Logger: logger}))
}

// reads counts the events that are read from a store.
type reads struct {
	*memory.Store
	n int
}

func (r *reads) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		for e, err := range r.Store.Read(ctx, q, opts...) {
			r.n++
			if !yield(e, err) {
				return
			}
		}
	}
}

func move(t *testing.T, log *annals.Log[any], events ...any) {
	t.Helper()
	if _, err := log.Append(t.Context(), events); err != nil {
		t.Fatal(err)
	}
}

// Whatever happens to a store, a state from a snapshot is the state that its events lead to.
func TestAStateFromASnapshotIsTheOneFromItsEvents(t *testing.T) {
	t.Parallel()
	hits := 0
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		snapshots, store := newCounting(t), memory.New()
		log, plain := keeping(store, snapshots, 1+r.IntN(6), nil), annals.NewLog(store, moves)
		one := func(of ...string) string { return of[r.IntN(len(of))] }
		for step := range 60 {
			switch n := r.IntN(40); {
			case n == 0 && seed%2 == 0: // retention, in every other life
				stream := annals.StreamName("shelf", one("a", "b"))
				change := annals.RetentionEvent(stream, annals.Retention{TruncateBefore: annals.Revision(r.IntN(3)), MaxCount: r.IntN(3)})
				if r.IntN(3) == 0 {
					change = annals.DeletionEvent(stream)
				}
				system, err := annals.System(store)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := system.Append(t.Context(), []annals.Event{change}); err != nil && !errors.Is(err, annals.ErrInvalid) && !errors.Is(err, annals.ErrAhead) {
					t.Fatal(err)
				}
			default:
				e := goodsMoved{Shelf: one("a", "b", "c"), Goods: one("tea", "jam"), N: 1 + r.IntN(5)}
				if r.IntN(4) == 0 {
					e.To = one("b", "c")
				}
				move(t, log, e)
			}
			var opts []annals.ReadOption
			if head, err := store.Head(t.Context()); err != nil {
				t.Fatal(err)
			} else if r.IntN(3) == 0 {
				opts = append(opts, annals.AsOf(annals.Position(r.IntN(int(head)+1))))
			}
			same(t, fmt.Sprint("seed ", seed, ", step ", step), log, plain, rack{ID: one("a", "b")}, opts...)
			same(t, fmt.Sprint("seed ", seed, ", step ", step), log, plain, reach{ID: one("a", "b")}, opts...)
			same(t, fmt.Sprint("seed ", seed, ", step ", step), log, plain, fickle{ID: one("a", "b")}, opts...)
		}
		hits += snapshots.hits
	}
	if hits < 1000 {
		t.Errorf("snapshots were used %d times", hits)
	}
}

// same loads a state with and without snapshots.
func same[S decider.State[S, any]](t *testing.T, where string, log, plain *annals.Log[any], initial S, opts ...annals.ReadOption) {
	t.Helper()
	got, err := decider.Load(t.Context(), log, initial, opts...)
	if err != nil {
		t.Fatal(where, err)
	}
	want, err := decider.Load(t.Context(), plain, initial, opts...)
	if err != nil {
		t.Fatal(where, err)
	}
	if !reflect.DeepEqual(got.State, want.State) || got.Revision != want.Revision || got.Position != want.Position || got.Found != want.Found || !got.Boundary.Equal(want.Boundary) {
		t.Fatalf("%s: got %+v\nwant %+v", where, got, want)
	}
}

func TestASnapshotSavesReading(t *testing.T) {
	t.Parallel()
	store := &reads{Store: memory.New()}
	log := keeping(store, newCounting(t), 50, nil)
	for range 120 {
		move(t, log, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
	}
	for i, want := range []int{120, 1, 1} {
		store.n = 0
		if l, err := decider.Load(t.Context(), log, rack{ID: "a"}); err != nil || l.State.Moves != 120 || store.n != want {
			t.Errorf("load %d: got %+v, %v, and read %d events, want %d", i, l.State, err, store.n, want)
		}
	}
	result, err := decider.Update(t.Context(), log, rack{ID: "a"}, func(s rack) ([]any, error) {
		return []any{goodsMoved{Shelf: "a", Goods: "jam", N: s.Goods["tea"]}}, nil
	})
	if err != nil || result.Revision != 120 || result.State.Goods["jam"] != 120 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// late notes how far the store has come when a snapshot is saved.
type late struct {
	annals.Snapshots
	store *memory.Store
	heads []annals.Position
}

func (l *late) Save(ctx context.Context, s annals.Snapshot) error {
	head, err := l.store.Head(ctx)
	if err != nil {
		return err
	}
	l.heads = append(l.heads, head)
	return l.Snapshots.Save(ctx, s)
}

func TestADecisionDoesNotWaitForItsSnapshot(t *testing.T) {
	t.Parallel()
	store := memory.New()
	snapshots := &late{Snapshots: newCounting(t), store: store}
	log := keeping(store, snapshots, 2, nil)
	move(t, log, goodsMoved{Shelf: "a", Goods: "tea", N: 1}, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
	_, err := decider.Update(t.Context(), log, rack{ID: "a"}, func(s rack) ([]any, error) {
		return []any{goodsMoved{Shelf: "a", Goods: "tea", N: -s.Goods["tea"]}}, nil
	})
	if err != nil || len(snapshots.heads) != 1 || snapshots.heads[0] != 3 {
		t.Errorf("%v: saved when the heads were %d, want 3: after the append", err, snapshots.heads)
	}
	l, err := decider.Load(t.Context(), log, rack{ID: "a"}, annals.AsOf(2))
	if err != nil || l.State.Goods["tea"] != 2 { // the snapshot has none of what was decided
		t.Errorf("got %+v, %v", l.State, err)
	}
}

// exploding cannot save anything.
type exploding struct{ annals.Snapshots }

func (exploding) Save(context.Context, annals.Snapshot) error { panic("the disk is on fire") }

func TestAPanicOfTheSnapshotsDoesNotHideAnAppend(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := keeping(memory.New(), exploding{newCounting(t)}, 2, slog.New(slog.NewTextHandler(&out, nil)))
	move(t, log, goodsMoved{Shelf: "a", Goods: "tea", N: 1}, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
	result, err := decider.Update(t.Context(), log, rack{ID: "a"}, func(rack) ([]any, error) {
		return []any{goodsMoved{Shelf: "a", Goods: "tea", N: 1}}, nil
	})
	if err != nil || result.Position != 3 || !strings.Contains(out.String(), "the disk is on fire") {
		t.Errorf("got %+v, %v, reported %s", result, err, out.String())
	}
}

func TestAnotherVersionOrSchemaMakesASnapshotStale(t *testing.T) {
	t.Parallel()
	store, snapshots := memory.New(), newCounting(t)
	log := keeping(store, snapshots, 1, nil)
	move(t, log, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
	load := func(log *annals.Log[any]) int {
		t.Helper()
		l, err := decider.Load(t.Context(), log, rack{ID: "a"})
		if err != nil {
			t.Fatal(err)
		}
		return l.State.Goods["tea"]
	}
	load(log)
	doubled := annals.NewSchema([]any{goodsMoved{}}, annals.Upcast(1, func(g goodsMoved) goodsMoved { g.N *= 2; return g }))
	policy := annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: snapshots, Every: 1})
	if got := load(annals.NewLog(store, doubled, policy)); got != 2 {
		t.Errorf("by another schema: got %d", got)
	}
	if got := load(log); got != 1 {
		t.Errorf("by the first one: got %d", got)
	}
	if saves := snapshots.saves; saves != 3 {
		t.Errorf("%d snapshots were made", saves)
	}
}

func TestASnapshotOfAnotherStoreIsNotUsed(t *testing.T) {
	t.Parallel()
	snapshots := newCounting(t)
	first := keeping(memory.New(), snapshots, 1, nil)
	move(t, first, goodsMoved{Shelf: "a", Goods: "tea", N: 1}, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
	for _, events := range []int{0, 1, 2, 3} {
		if _, err := decider.Load(t.Context(), first, rack{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		other := memory.New()
		log := keeping(other, snapshots, 1000, nil)
		for range events {
			move(t, log, goodsMoved{Shelf: "a", Goods: "jam", N: 1})
		}
		same(t, fmt.Sprint(events, " events"), log, annals.NewLog(other, moves), rack{ID: "a"})
	}
	if snapshots.hits != 4 {
		t.Errorf("snapshots were found %d times", snapshots.hits)
	}
	if branch := first.On(memory.New()); branch.SnapshotPolicy() != nil {
		t.Error("the log on another store has snapshots")
	}
}

func TestAStoreThatWasPutBackGetsSnapshotsOfItsOwn(t *testing.T) {
	t.Parallel()
	snapshots := newCounting(t)
	longer := keeping(memory.New(), snapshots, 1, nil)
	for range 3 {
		move(t, longer, goodsMoved{Shelf: "a", Goods: "tea", N: 1}, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
		if _, err := decider.Load(t.Context(), longer, rack{ID: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	store := &reads{Store: memory.New()}
	log := keeping(store, snapshots, 1, nil)
	move(t, log, goodsMoved{Shelf: "a", Goods: "jam", N: 1}, goodsMoved{Shelf: "a", Goods: "jam", N: 1})
	for i, want := range []int{1 + 2, 1, 1} {
		store.n = 0
		if l, err := decider.Load(t.Context(), log, rack{ID: "a"}); err != nil || l.State.Goods["jam"] != 2 || store.n != want {
			t.Errorf("load %d: got %+v, %v, and read %d events, want %d", i, l.State, err, store.n, want)
		}
	}
}

// wired cannot be written as JSON.
type wired struct {
	ID   string
	Wire chan int
}

func (w wired) Boundary() annals.Query { return annals.Stream("shelf-" + w.ID) }
func (w wired) Evolve(any) wired       { return w }
func (w wired) SnapshotVersion() int   { return 1 }

func TestAStateThatIsNoJSONIsFoldedAndReported(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := keeping(memory.New(), newCounting(t), 1, slog.New(slog.NewTextHandler(&out, nil)))
	move(t, log, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
	if l, err := decider.Load(t.Context(), log, wired{ID: "a"}); err != nil || !l.Found {
		t.Errorf("got %+v, %v", l, err)
	}
	if !strings.Contains(out.String(), "decider: snapshot of wired: the state before any event") {
		t.Errorf("reported is %s", out.String())
	}
}

func TestSnapshotsThatFailAreReportedAndFailNothing(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	snapshots := newCounting(t)
	log := keeping(memory.New(), snapshots, 1, slog.New(slog.NewTextHandler(&out, nil)))
	snapshots.fail = errors.New("no room")
	for range 3 {
		if _, err := decider.Update(t.Context(), log, rack{ID: "a"}, func(rack) ([]any, error) { return []any{goodsMoved{Shelf: "a", Goods: "tea", N: 1}}, nil }); err != nil {
			t.Error(err)
		}
	}
	if got := out.String(); !strings.Contains(got, "decider: snapshot of rack: load: no room") || !strings.Contains(got, "decider: snapshot of rack: no room") {
		t.Errorf("reported is %s", got)
	}
}

func TestADamagedSnapshotIsFoldedAgain(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	snapshots := newCounting(t)
	log := keeping(memory.New(), spoiling{snapshots}, 1, slog.New(slog.NewTextHandler(&out, nil)))
	move(t, log, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
	for range 2 {
		if l, err := decider.Load(t.Context(), log, rack{ID: "a"}); err != nil || l.State.Moves != 1 {
			t.Errorf("got %+v, %v", l, err)
		}
	}
	if !strings.Contains(out.String(), "snapshot of rack: decode") {
		t.Errorf("reported is %s", out.String())
	}
}

// spoiling saves what is no state.
type spoiling struct{ annals.Snapshots }

func (s spoiling) Save(ctx context.Context, snap annals.Snapshot) error {
	snap.Data = []byte("{")
	return s.Snapshots.Save(ctx, snap)
}

func TestAStateThatJSONLosesIsNotKept(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	snapshots := newCounting(t)
	log := keeping(memory.New(), snapshots, 1, slog.New(slog.NewTextHandler(&out, nil)))
	move(t, log, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
	for range 2 {
		if l, err := decider.Load(t.Context(), log, shut{id: "a"}); err != nil || l.State.n != 1 {
			t.Errorf("got %+v, %v", l, err)
		}
	}
	if snapshots.saves != 0 || !strings.Contains(out.String(), "snapshot of shut: the state does not come back from JSON as it was: export its fields") {
		t.Errorf("%d were saved; reported is %s", snapshots.saves, out.String())
	}
}

// shut has unexported fields.
type shut struct {
	id string
	n  int
}

func (s shut) Boundary() annals.Query { return annals.Stream("shelf-" + s.id) }
func (s shut) Evolve(any) shut        { s.n++; return s }
func (s shut) SnapshotVersion() int   { return 1 }

// lowerCase and byPointer would be skipped in silence.
type (
	lowerCase struct{ ID string }
	byPointer struct{ ID string }
)

func (s lowerCase) Boundary() annals.Query { return annals.Stream("shelf-" + s.ID) }
func (s lowerCase) Evolve(any) lowerCase   { return s }
func (s lowerCase) Snapshotversion() int   { return 1 }

func (s byPointer) Boundary() annals.Query { return annals.Stream("shelf-" + s.ID) }
func (s byPointer) Evolve(any) byPointer   { return s }
func (s *byPointer) SnapshotVersion() int  { return 1 }

func TestANearMissOfSnapshotVersionIsRefused(t *testing.T) {
	t.Parallel()
	log := keeping(memory.New(), newCounting(t), 1, nil)
	for range 2 {
		_, err := decider.Load(t.Context(), log, lowerCase{ID: "a"})
		wantError(t, err, decider.ErrDeclaration)
		_, err = decider.Load(t.Context(), log, byPointer{ID: "a"})
		wantError(t, err, decider.ErrDeclaration)
	}
	for _, state := range []rack2{{rack{ID: "a"}}} {
		if _, err := decider.Load(t.Context(), log, state); err != nil {
			t.Error(err)
		}
	}
	defer func() {
		if r := recover(); r == nil {
			t.Error("a policy without Snapshots is accepted")
		}
	}()
	annals.NewLog(memory.New(), moves, annals.KeepSnapshots(annals.SnapshotPolicy{}))
}

// gate begins open, which JSON leaves out when it is shut.
type gate struct {
	ID   string
	Open bool     `json:",omitempty"`
	Tags []string `json:",omitempty"`
}

func (g gate) Boundary() annals.Query { return annals.Stream("shelf-" + g.ID) }
func (g gate) Evolve(any) gate        { g.Open, g.Tags = false, nil; return g }
func (g gate) SnapshotVersion() int   { return 1 }

func TestWhatJSONLeavesOutIsNotThatOfTheInitialState(t *testing.T) {
	t.Parallel()
	store, snapshots := memory.New(), newCounting(t)
	log := keeping(store, snapshots, 1, nil)
	move(t, log, goodsMoved{Shelf: "a", Goods: "tea", N: 1})
	for range 2 {
		same(t, "gate", log, annals.NewLog(store, moves), gate{ID: "a", Open: true, Tags: []string{"new"}})
	}
	if snapshots.hits != 1 {
		t.Errorf("snapshots were used %d times", snapshots.hits)
	}
}

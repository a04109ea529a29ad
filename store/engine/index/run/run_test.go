package run_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/annalsdb/annals/store/engine/index/run"
)

func TestARunSaysWhatWasWritten(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		events, singles int
		small           bool
	}{
		{1, 0, false},
		{2, 3, true},
		{130, 50, true},
		{5000, 2000, false},
		{5000, 2000, true},
		{60_000 / share, 3000, true},
		{200_000 / share, 20_000 / share, false},
	} {
		t.Run(fmt.Sprintf("%d events, small %t", c.events, c.small), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			x := generate(rnd, 1+rnd.Uint64N(1<<40), c.events, c.singles)
			file := x.build(t, c.small)
			for _, o := range []run.ReadOptions{
				{},
				{Budget: run.NewBudget(0)},
				{Cache: run.NewCache(1 << 20)},
			} {
				r := open(t, file, o)
				must(t, r.Check(t.Context()))
				verify(t, rnd, x, r)
				must(t, r.Check(t.Context()))
			}
		})
	}
}

// verify compares all that a run says with what it should.
func verify(t *testing.T, rnd *rand.Rand, x *index, r *run.Reader) {
	t.Helper()
	if r.Meta() != x.meta {
		t.Fatalf("about %+v, want %+v", r.Meta(), x.meta)
	}
	stats := run.Stats{Terms: uint64(len(x.lists))}
	i := 0
	for e, err := range r.Terms() {
		must(t, err)
		if i == len(x.lists) {
			t.Fatal("more terms than there are")
		}
		same(t, &x.lists[i], e, x.meta.First)
		i++
	}
	if i < len(x.lists) {
		t.Fatalf("%d terms of %d", i, len(x.lists))
	}
	for i := range x.lists {
		l := &x.lists[i]
		stats.Positions += uint64(len(l.positions))
		e, found, err := r.Find(l.Term)
		if err != nil || !found {
			t.Fatalf("term %x: found %t, %v", l.Term, found, err)
		}
		same(t, l, e, x.meta.First)
		if l.Filter {
			stats.Filtered++
			if may, err := r.MayHave(l.Term); !may || err != nil {
				t.Fatalf("the filter does not have %x: %v", l.Term, err)
			}
		}
		if len(l.positions) < 10 && i%8 > 0 {
			continue
		}
		for range 4 {
			walkOver(t, rnd, x, l, r, e)
		}
		ranks(t, rnd, x, l, r, e)
	}
	if r.Stats() != stats {
		t.Fatalf("got %+v, want %+v", r.Stats(), stats)
	}
	absent(t, rnd, x, r)
	until(t, rnd, x, r)
}

func same(t *testing.T, l *list, e run.Entry, first uint64) {
	t.Helper()
	if e.List != l.List || e.Count != uint32(len(l.positions)) || e.First != first+uint64(l.positions[0]) ||
		e.Last != first+uint64(l.positions[len(l.positions)-1]) {
		t.Fatalf("got %+v, want %+v with %d positions", e, l.List, len(l.positions))
	}
}

// walkOver seeks over a part of a list in both directions, from key to key or in leaps.
func walkOver(t *testing.T, rnd *rand.Rand, x *index, l *list, r *run.Reader, e run.Entry) {
	t.Helper()
	m := x.meta
	after, upto := rnd.Uint64N(m.Events()+3)+m.First-1, rnd.Uint64N(m.Events()+3)+m.First-1
	if rnd.IntN(3) == 0 {
		after = 0
	}
	if rnd.IntN(3) == 0 {
		upto = math.MaxUint64
	}
	backwards := rnd.IntN(2) == 0
	var want []uint64
	for _, p := range l.positions {
		if q := m.First + uint64(p); q > after && q <= upto {
			if backwards {
				q = ^q
			}
			want = append(want, q)
		}
	}
	if backwards {
		slices.Reverse(want)
	}
	c := r.Cursor(e, after, upto, backwards)
	leap := uint64(1)
	if rnd.IntN(2) == 0 {
		leap = 1 + 2*m.Events()/uint64(1+rnd.IntN(50))
	}
	key, left := uint64(0), want
	for n := 0; ; n++ {
		i, _ := slices.BinarySearch(left, key)
		left = left[i:]
		wanted := run.Done
		if len(left) > 0 {
			wanted = left[0]
		}
		if most := c.AtMost(); most < len(left) {
			t.Fatalf("at most %d of %d", most, len(left))
		}
		got := c.Seek(key)
		if got != wanted || c.Err() != nil {
			t.Fatalf("seek %d (backwards %t) in (%d, %d] gave %d, %v, want %d; list of %d",
				key, backwards, after, upto, got, c.Err(), wanted, len(l.positions))
		}
		if got == run.Done {
			return
		}
		if again := c.Seek(key); again != got {
			t.Fatalf("seek %d gave %d, and %d when asked again", key, got, again)
		}
		if most := c.AtMost(); most < len(left) {
			t.Fatalf("at most %d of %d", most, len(left))
		}
		key = got + 1 + rnd.Uint64N(leap)
		if key < got || n > 20_000 {
			return
		}
	}
}

func ranks(t *testing.T, rnd *rand.Rand, x *index, l *list, r *run.Reader, e run.Entry) {
	t.Helper()
	for range 10 {
		i := rnd.IntN(len(l.positions))
		p := x.meta.First + uint64(l.positions[i])
		if at, err := r.At(e, uint32(i)); err != nil || at != p {
			t.Fatalf("position %d of %d is %d, %v, want %d", i, len(l.positions), at, err, p)
		}
		q := rnd.Uint32N(uint32(x.meta.Events()))
		want, _ := slices.BinarySearch(l.positions, q)
		if got, err := r.Rank(e, x.meta.First+uint64(q)); err != nil || got != uint32(want) {
			t.Fatalf("rank %d, %v, want %d", got, err, want)
		}
	}
	if _, err := r.At(e, e.Count); err == nil {
		t.Fatal("a position behind the last")
	}
	if n, err := r.Rank(e, 0); n != 0 || err != nil {
		t.Fatalf("rank of 0 is %d, %v", n, err)
	}
	if n, err := r.Rank(e, math.MaxUint64); n != e.Count || err != nil {
		t.Fatalf("rank behind all is %d of %d, %v", n, e.Count, err)
	}
}

// absent looks for terms that there are not, near to those that there are and far from them.
func absent(t *testing.T, rnd *rand.Rand, x *index, r *run.Reader) {
	t.Helper()
	there := map[uint64]bool{}
	for _, l := range x.lists {
		there[l.Term] = true
	}
	look := func(term uint64) bool {
		if there[term] {
			return false
		}
		if _, found, err := r.Find(term); found || err != nil {
			t.Fatalf("found %x: %v", term, err)
		}
		may, err := r.MayHave(term)
		must(t, err)
		return may
	}
	for i := 0; i < len(x.lists); i += 1 + len(x.lists)/500 {
		look(x.lists[i].Term - 1)
		look(x.lists[i].Term + 1)
	}
	look(0)
	look(math.MaxUint64)
	const n = 10_000
	wrong := 0
	for range n {
		if look(rnd.Uint64()) {
			wrong++
		}
	}
	if filter := r.ResidentBytes() > 0; filter && wrong > n*6/1000+10 {
		t.Fatalf("the filter was wrong for %d of %d", wrong, n)
	}
}

func until(t *testing.T, rnd *rand.Rand, x *index, r *run.Reader) {
	t.Helper()
	m := x.meta
	look := func(at int64) {
		last := m.First - 1
		if at >= m.FirstTime {
			last = min(uint64(at/1000)*3+2, m.Last)
		}
		low, high, err := r.Until(at)
		if err != nil || last < low || last > high || high-low >= run.TimesEvery {
			t.Fatalf("until %d: between %d and %d, %v; it is %d", at, low, high, err, last)
		}
	}
	for range 200 {
		look(m.FirstTime - 2 + rnd.Int64N(m.LastTime-m.FirstTime+5))
	}
	for _, at := range append(x.times, m.FirstTime, m.LastTime) {
		for d := int64(-1000); d <= 1000; d += 500 {
			look(at + d)
		}
		look(at - 1)
	}
}

func TestTimesAreThoseOfTheLogWhereverARunBegins(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for first := uint64(4*run.TimesEvery - 3); first <= 4*run.TimesEvery+3; first++ {
		for last := 6*run.TimesEvery - 4; last <= 6*run.TimesEvery+4; last++ {
			x := &index{meta: meta(first, uint64(last))}
			x.times = timesOf(x.meta)
			until(t, rnd, x, open(t, x.build(t, false), run.ReadOptions{}))
		}
	}
}

func TestAnEmptyRunHasNothing(t *testing.T) {
	t.Parallel()
	x := &index{meta: meta(5, 9)}
	file := x.build(t, false)
	if len(file) != blockBytes {
		t.Errorf("%d bytes", len(file))
	}
	r := open(t, file, run.ReadOptions{})
	must(t, r.Check(t.Context()))
	verify(t, rand.New(rand.NewPCG(1, 1)), x, r)
}

package run_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/annalsdb/annals/store/engine/index/run"
)

func TestJoinedRunsAreTheRunThatWasWrittenWhole(t *testing.T) {
	t.Parallel()
	for range 1 + 5/share {
		seed := rand.Uint64()
		rnd := rand.New(rand.NewPCG(seed, 0))
		events := 1 + rnd.IntN(40_000/share)
		x := generate(rnd, 1+rnd.Uint64N(1<<20), events, 3000/share)
		whole := x.build(t, false)
		var parts []*run.Reader
		for first := x.meta.First; first <= x.meta.Last; {
			last := min(x.meta.Last, first+rnd.Uint64N(uint64(events)))
			parts = append(parts, open(t, x.part(first, last).build(t, rnd.IntN(2) == 0), run.ReadOptions{}))
			first = last + 1
		}
		var joined bytes.Buffer
		size, err := run.Merge(t.Context(), &joined, parts...)
		if err != nil || size != int64(joined.Len()) {
			t.Fatalf("seed %d: %d runs, size %d, %v; %d were written", seed, len(parts), size, err, joined.Len())
		}
		r := open(t, joined.Bytes(), run.ReadOptions{})
		must(t, r.Check(t.Context()))
		verify(t, rnd, x, r)
		if !bytes.Equal(joined.Bytes(), whole) {
			t.Fatalf("seed %d: %d joined runs answer as the whole does, with other bytes", seed, len(parts))
		}
	}
}

func TestAStreamIsRegularAfterJoiningOnlyIfItGoesOn(t *testing.T) {
	t.Parallel()
	stream := func(first, last uint64, regular bool) run.List {
		return run.List{Term: 5, Numbered: true, FirstRevision: first, LastRevision: last, Regular: regular}
	}
	for name, c := range map[string]struct{ a, b, want run.List }{
		"it goes on":                {stream(3, 4, true), stream(5, 6, true), stream(3, 6, true)},
		"revisions are missing":     {stream(3, 4, true), stream(6, 7, true), stream(3, 7, false)},
		"revisions are there twice": {stream(3, 4, true), stream(4, 5, true), stream(3, 5, false)},
		"one part is irregular":     {stream(3, 9, false), stream(10, 11, true), stream(3, 11, false)},
		"one part is no stream":     {stream(3, 4, true), run.List{Term: 5}, run.List{Term: 5}},
		"one part is in the filter": {run.List{Term: 5}, run.List{Term: 5, Filter: true}, run.List{Term: 5, Filter: true}},
	} {
		a := &index{meta: meta(1, 10), lists: []list{{List: c.a, positions: []uint32{1, 7}}}}
		b := &index{meta: meta(11, 20), lists: []list{{List: c.b, positions: []uint32{0, 9}}}}
		var joined bytes.Buffer
		_, err := run.Merge(t.Context(), &joined,
			open(t, a.build(t, false), run.ReadOptions{}), open(t, b.build(t, false), run.ReadOptions{}))
		must(t, err)
		e, found, err := open(t, joined.Bytes(), run.ReadOptions{}).Find(5)
		if err != nil || !found || e.List != c.want || e.Count != 4 || e.First != 2 || e.Last != 20 {
			t.Errorf("%s: got %+v, %v, want %+v", name, e, err, c.want)
		}
	}
}

func TestRunsThatDoNotLieSideBySideAreNotJoined(t *testing.T) {
	t.Parallel()
	reader := func(change func(*run.Meta), first, last uint64) *run.Reader {
		x := &index{meta: meta(first, last)}
		x.times = timesOf(x.meta)
		change(&x.meta)
		return open(t, x.build(t, false), run.ReadOptions{})
	}
	same := func(*run.Meta) {}
	for name, readers := range map[string][]*run.Reader{
		"none":             {},
		"a gap":            {reader(same, 1, 10), reader(same, 12, 20)},
		"an overlap":       {reader(same, 1, 10), reader(same, 10, 20)},
		"the wrong order":  {reader(same, 11, 20), reader(same, 1, 10)},
		"another store":    {reader(same, 1, 10), reader(func(m *run.Meta) { m.Store[0]++ }, 11, 20)},
		"another life":     {reader(same, 1, 10), reader(func(m *run.Meta) { m.Incarnation++ }, 11, 20)},
		"too many":         {reader(func(m *run.Meta) { m.First, m.Last = 1, 10 }, 1, 10), wide(t, 11)},
		"an earlier clock": {reader(func(m *run.Meta) { m.LastTime += 5000 }, 1, 10), reader(same, 11, 20)},
	} {
		var joined bytes.Buffer
		if _, err := run.Merge(t.Context(), &joined, readers...); !errors.Is(err, run.ErrMisuse) {
			t.Errorf("%s: got %v, want ErrMisuse", name, err)
		}
	}
}

// wide is a run of as many positions as there can be, without lists.
func wide(t *testing.T, first uint64) *run.Reader {
	t.Helper()
	x := &index{meta: meta(first, first)}
	x.meta.Last = first + run.EventsMax - 1
	x.meta.LastTime = timeOf(x.meta.Last)
	x.times = make([]int64, x.meta.Last/run.TimesEvery-(first-1)/run.TimesEvery)
	for i := range x.times {
		x.times[i] = x.meta.LastTime
	}
	return open(t, x.build(t, false), run.ReadOptions{})
}

func TestTheWidestRunHoldsItsLastPosition(t *testing.T) {
	t.Parallel()
	x := &index{meta: meta(7, 7)}
	x.meta.Last = 7 + run.EventsMax - 1
	for p := x.meta.First; p <= x.meta.Last; p++ {
		if p%run.TimesEvery == 0 {
			x.times = append(x.times, x.meta.FirstTime)
			p += run.TimesEvery - 1
		}
	}
	const last = run.EventsMax - 1
	spread := make([]uint32, 5000)
	for i := range spread {
		spread[i] = uint32(i) * (last / 5000)
	}
	x.lists = []list{
		{List: run.List{Term: 1}, positions: []uint32{last}},
		{List: run.List{Term: 2}, positions: []uint32{0, last}},
		{List: run.List{Term: 3}, positions: []uint32{0, 5, last}},
		{List: run.List{Term: 4}, positions: append(slices.Clone(spread), last)},
		{List: run.List{Term: 5}, positions: append(slices.Clone(spread[:1000]), last)},
	}
	r := open(t, x.build(t, false), run.ReadOptions{})
	must(t, r.Check(t.Context()))
	for i := range x.lists {
		l := &x.lists[i]
		e, found, err := r.Find(l.Term)
		if err != nil || !found {
			t.Fatalf("found %t, %v", found, err)
		}
		same(t, l, e, x.meta.First)
		if key := r.Cursor(e, x.meta.Last-1, x.meta.Last, false).Seek(0); key != x.meta.Last {
			t.Errorf("list %d: the last is %d, want %d", i, key, x.meta.Last)
		}
		if key := r.Cursor(e, 0, x.meta.Last, true).Seek(0); ^key != x.meta.Last {
			t.Errorf("list %d: the first from behind is %d, want %d", i, ^key, x.meta.Last)
		}
	}
}

// stops counts how often it is looked whether it is over, and then it is.
type stops struct {
	context.Context //nolint:containedctx // it is a context

	left int
}

func (s *stops) Err() error {
	if s.left--; s.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestMergeAndCheckStopWhenTheyAreCancelled(t *testing.T) {
	t.Parallel()
	x := generate(rand.New(rand.NewPCG(1, 2)), 1, 300_000, 5000)
	r := open(t, x.build(t, true), run.ReadOptions{})
	for left := range 12 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var joined bytes.Buffer
		if _, err := run.Merge(&stops{ctx, left}, &joined, r); !errors.Is(err, context.Canceled) {
			t.Errorf("merge after %d looks: got %v", left, err)
		}
		if err := r.Check(&stops{ctx, left}); !errors.Is(err, context.Canceled) {
			t.Errorf("check after %d looks: got %v", left, err)
		}
	}
}

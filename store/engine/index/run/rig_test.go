package run_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/annalsdb/annals/store/engine/index/run"
)

var update = flag.Bool("update", false, "write the golden file anew: a change of format")

// list is a list as the tests know it: with its positions, counted from the first of the run.
type list struct {
	run.List
	positions []uint32
}

// index is what a run should say.
type index struct {
	meta  run.Meta
	lists []list // by term
	times []int64
}

const blockBytes = 4096

func meta(first, last uint64) run.Meta {
	return run.Meta{
		Store: [16]byte{0: 1, 15: 2}, Incarnation: 3, First: first, Last: last, FirstSeq: first / 2, LastSeq: last / 2,
		LastHash: [32]byte{0: byte(last), 31: 7}, LastEpoch: 9, FirstTime: timeOf(first), LastTime: timeOf(last),
		IDLow: idOf(first, 0), IDHigh: idOf(last, 1),
	}
}

func idOf(p uint64, end byte) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:], p)
	id[15] = end
	return id
}

// timeOf is when a position was written. Some share it.
func timeOf(p uint64) int64 { return int64(p/3) * 1000 }

func timesOf(m run.Meta) (times []int64) {
	for p := m.First; p <= m.Last; p++ {
		if p%run.TimesEvery == 0 {
			times = append(times, timeOf(p))
		}
	}
	return times
}

// generate makes an index of events from first on, with lists of all shapes.
func generate(rnd *rand.Rand, first uint64, events, singles int) *index {
	x := &index{meta: meta(first, first+uint64(events)-1)}
	x.times = timesOf(x.meta)
	n := uint32(events)
	all := make([]uint32, n)
	for i := range all {
		all[i] = uint32(i)
	}
	shapes := [][]uint32{all, all[:1], all[n-1:], slices.Compact([]uint32{0, n - 1}), all[n/3 : n/2+1]}
	for _, density := range []float64{0.001, 0.01, 0.03, 0.1, 0.3, 0.5, 0.9, 0.999} {
		shapes = append(shapes, thin(rnd, all, density))
	}
	for range 20 {
		shapes = append(shapes, bursts(rnd, n), thin(rnd, all, rnd.Float64()*rnd.Float64()*rnd.Float64()))
	}
	for range singles {
		shapes = append(shapes, []uint32{rnd.Uint32N(n)})
	}
	for range singles / 4 {
		shapes = append(shapes, few(rnd, n))
	}
	used := map[uint64]bool{}
	for _, s := range shapes {
		if len(s) == 0 {
			continue
		}
		l := list{List: run.List{Term: rnd.Uint64(), Filter: rnd.IntN(4) > 0}, positions: slices.Clone(s)}
		if rnd.IntN(50) == 0 {
			l.Term >>= rnd.IntN(60) // some close together
		}
		if used[l.Term] {
			continue
		}
		used[l.Term] = true
		if rnd.IntN(4) == 0 {
			l.Numbered = true
			l.FirstRevision = rnd.Uint64N(1000)
			l.LastRevision = l.FirstRevision + uint64(len(s)) - 1
			if l.Regular = rnd.IntN(3) > 0; !l.Regular {
				l.LastRevision += rnd.Uint64N(10)
			}
		}
		x.lists = append(x.lists, l)
	}
	slices.SortFunc(x.lists, func(a, b list) int {
		if a.Term < b.Term {
			return -1
		}
		return 1
	})
	return x
}

func thin(rnd *rand.Rand, all []uint32, density float64) (s []uint32) {
	for _, p := range all {
		if rnd.Float64() < density {
			s = append(s, p)
		}
	}
	return s
}

// bursts is some positions close together, then for long none.
func bursts(rnd *rand.Rand, n uint32) (s []uint32) {
	for p := rnd.Uint32N(n); p < n; p += rnd.Uint32N(n/20 + 2) {
		for range rnd.IntN(30) {
			if p += 1 + rnd.Uint32N(4); p < n {
				s = append(s, p)
			}
		}
	}
	return s
}

func few(rnd *rand.Rand, n uint32) (s []uint32) {
	for range 2 + rnd.IntN(6) {
		s = append(s, rnd.Uint32N(n))
	}
	slices.Sort(s)
	return slices.Compact(s)
}

// build writes the run. If it is small, its trees are high and its filters many.
func (x *index) build(tb testing.TB, small bool) []byte {
	tb.Helper()
	var file bytes.Buffer
	w, err := run.NewWriter(&file, x.meta)
	if err != nil {
		tb.Fatal(err)
	}
	if small {
		w.Small(3, 100)
	}
	for i, l := range x.lists {
		must(tb, w.Begin(l.List))
		for rest := l.positions; len(rest) > 0; {
			n := len(rest)
			if i%2 == 0 {
				n = 1 + i*37%n
			}
			must(tb, w.Add(rest[:n]))
			rest = rest[n:]
		}
		must(tb, w.End())
	}
	must(tb, w.Times(x.times...))
	size, err := w.Finish()
	if err != nil || size != int64(file.Len()) {
		tb.Fatalf("size %d, %v; %d were written", size, err, file.Len())
	}
	return file.Bytes()
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func open(tb testing.TB, file []byte, o run.ReadOptions) *run.Reader {
	tb.Helper()
	r, err := run.Open(bytes.NewReader(file), int64(len(file)), o)
	must(tb, err)
	return r
}

// part is what a run over a part of the positions should say.
func (x *index) part(first, last uint64) *index {
	m := meta(first, last)
	y := &index{meta: m, times: timesOf(m)}
	low, high := uint32(first-x.meta.First), uint32(last-x.meta.First)
	for _, l := range x.lists {
		from, _ := slices.BinarySearch(l.positions, low)
		to, _ := slices.BinarySearch(l.positions, high+1)
		if from == to {
			continue
		}
		p := list{List: l.List}
		for _, q := range l.positions[from:to] {
			p.positions = append(p.positions, q-low)
		}
		if l.Regular {
			p.FirstRevision = l.FirstRevision + uint64(from)
			p.LastRevision = l.FirstRevision + uint64(to) - 1
		} else if l.Numbered {
			// What the file says is what the writer was told; joined, the ends have to be those of the whole.
			p.FirstRevision = l.FirstRevision + min(uint64(from)*20, l.LastRevision)
			if to == len(l.positions) {
				p.LastRevision = l.LastRevision
			}
		}
		y.lists = append(y.lists, p)
	}
	return y
}

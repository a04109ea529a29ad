package run_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/annalsdb/annals/store/engine/index/run"
)

// ids is an index as a log without tags has it: a term of its own for each event.
func ids(events int) *index {
	rnd := rand.New(rand.NewPCG(3, 4))
	x := &index{meta: meta(1, uint64(events))}
	x.times = timesOf(x.meta)
	for i := range events {
		x.lists = append(x.lists, list{List: run.List{Term: rnd.Uint64(), Filter: true}, positions: []uint32{uint32(i)}})
	}
	slices.SortFunc(x.lists, func(a, b list) int { return bytes.Compare(bigEndian(a.Term), bigEndian(b.Term)) })
	return x
}

func TestWhatIsAskedMostAllocatesNothing(t *testing.T) {
	x := ids(50_000)
	hot := list{List: run.List{Term: 77, Filter: true}}
	for p := range uint32(50_000) {
		if p%3 > 0 {
			hot.positions = append(hot.positions, p)
		}
	}
	x.lists = slices.Insert(x.lists, 0, hot)
	if x.lists[1].Term <= 77 {
		t.Fatal("terms do not ascend")
	}
	file := x.build(t, false)
	for name, o := range map[string]run.ReadOptions{"plain": {}, "cached": {Cache: run.NewCache(2 << 20)}} {
		r := open(t, file, o)
		e, found, err := r.Find(77)
		if !found || err != nil {
			t.Fatal(err)
		}
		if may, err := r.MayHave(77); !may || err != nil {
			t.Fatal(err)
		}
		n := 0
		for what, do := range map[string]func() error{
			"Find": func() error { _, _, err := r.Find(x.lists[1+n%5000].Term); return err },
			"MayHave": func() error {
				_, err := r.MayHave(x.lists[1+n%5000].Term)
				return err
			},
			"At":   func() error { _, err := r.At(e, uint32(n*97)%e.Count); return err },
			"Rank": func() error { _, err := r.Rank(e, uint64(n*97)%50_000); return err },
		} {
			for range 5000 { // fills the cache and the pool
				n++
				must(t, do())
			}
			if allocs := testing.AllocsPerRun(2000, func() {
				n++
				must(t, do())
			}); allocs > allocsMost {
				t.Errorf("%s, %s: %.2f allocations", name, what, allocs)
			}
		}
	}
}

func TestACursorOverAHotListHoldsNoMoreThanAFewBlocks(t *testing.T) {
	x := &index{meta: meta(1, 2_000_000)}
	x.times = timesOf(x.meta)
	hot := list{List: run.List{Term: 77}}
	rnd := rand.New(rand.NewPCG(1, 2))
	for p := uint32(0); p < 2_000_000; p += 1 + rnd.Uint32N(4) {
		hot.positions = append(hot.positions, p)
	}
	x.lists = []list{hot}
	f := &counting{f: bytes.NewReader(x.build(t, false))}
	r, err := run.Open(f, f.f.Size(), run.ReadOptions{})
	must(t, err)
	e, _, err := r.Find(77)
	must(t, err)
	for name, c := range map[string]*run.Cursor{
		"forwards":     r.Cursor(e, 1_234_567, 1<<63, false),
		"backwards":    r.Cursor(e, 0, 1_234_567, true),
		"in the midst": r.Cursor(e, 1_234_567, 1_235_000, false),
	} {
		f.reads = 0
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.Seek(0)
		runtime.ReadMemStats(&after)
		if f.reads > 2 || after.TotalAlloc-before.TotalAlloc > 32<<10 {
			t.Errorf("%s: to seek took %d reads and %d bytes", name, f.reads, after.TotalAlloc-before.TotalAlloc)
		}
	}
	f.reads = 0
	c, n := r.Cursor(e, 0, 1<<63, false), 0
	for key := c.Seek(0); key != run.Done; key = c.Seek(key + 1) {
		n++
	}
	if c.Err() != nil || n != len(hot.positions) || int64(f.reads) > r.Size()/blockBytes {
		t.Errorf("to walk over all %d of %d took %d reads of a file of %d blocks", n, len(hot.positions), f.reads, r.Size()/blockBytes)
	}
}

type counting struct {
	f     *bytes.Reader
	reads int
}

func (c *counting) ReadAt(b []byte, off int64) (int, error) {
	c.reads++
	return c.f.ReadAt(b, off)
}

func TestABudgetBoundsWhatReadersKeep(t *testing.T) {
	t.Parallel()
	x := ids(150_000)
	file := x.build(t, false)
	look := func(r *run.Reader) (wrong int) {
		for i := range uint64(1500) {
			may, err := r.MayHave(i * 0x9e3779b97f4a7c15)
			must(t, err)
			if may {
				wrong++
			}
			l := &x.lists[i*100]
			if _, found, err := r.Find(l.Term); !found || err != nil {
				t.Fatalf("found %t, %v", found, err)
			}
			if may, err := r.MayHave(l.Term); !may || err != nil {
				t.Fatalf("the filter does not have a term: %v", err)
			}
		}
		return wrong
	}
	alone := open(t, file, run.ReadOptions{})
	if look(alone); alone.ResidentBytes() < 150_000 || alone.ResidentBytes() > 200_000 {
		t.Errorf("%d bytes are kept of 150,000 terms", alone.ResidentBytes())
	}
	alone.Drop()
	if alone.ResidentBytes() != 0 {
		t.Errorf("%d bytes are kept after all was dropped", alone.ResidentBytes())
	}
	for _, bytes := range []int64{0, 100, 10_000, 100_000, 250_000} {
		b := run.NewBudget(bytes)
		one, other := open(t, file, run.ReadOptions{Budget: b}), open(t, file, run.ReadOptions{Budget: b})
		look(one)
		wrong := look(other)
		if b.Used() > bytes || b.Used() != one.ResidentBytes()+other.ResidentBytes() {
			t.Errorf("%d bytes of %d are used, %d and %d are kept", b.Used(), bytes, one.ResidentBytes(), other.ResidentBytes())
		}
		one.Drop()
		if bytes == 250_000 && (wrong < 500 || look(other) > 20) {
			t.Errorf("what one reader dropped does not serve the other")
		}
		other.Drop()
		if b.Used() != 0 {
			t.Errorf("%d bytes are used after all was dropped", b.Used())
		}
	}
}

func TestACacheIsBounded(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	x := ids(100_000)
	f := &counting{f: bytes.NewReader(x.build(t, false))}
	for _, size := range []int64{0, 64 << 10, 300 << 10, 10 << 20} {
		c := run.NewCache(size)
		r, err := run.Open(f, f.f.Size(), run.ReadOptions{Cache: c})
		must(t, err)
		for range 2 {
			f.reads = 0
			for range 5000 { // at least one of each block
				if _, found, err := r.Find(x.lists[rnd.IntN(len(x.lists))].Term); !found || err != nil {
					t.Fatalf("found %t, %v", found, err)
				}
			}
			if int64(c.Used()) > size {
				t.Errorf("%d bytes of %d are used", c.Used(), size)
			}
		}
		if whole := size > f.f.Size(); whole != (f.reads == 0) {
			t.Errorf("%d reads with a cache of %d bytes", f.reads, size)
		}
	}
}

func TestAReaderServesManyAtOnce(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(5, 6))
	x := generate(rnd, 1, 20_000, 3000)
	file := x.build(t, true)
	for _, o := range []run.ReadOptions{{}, {Budget: run.NewBudget(20_000)}, {Cache: run.NewCache(100 << 10)}} {
		r := open(t, file, o)
		var readers sync.WaitGroup
		for i := range uint64(4) {
			readers.Go(func() {
				rnd := rand.New(rand.NewPCG(i, 0))
				for n := range 600 {
					l := &x.lists[rnd.IntN(len(x.lists))]
					e, found, err := r.Find(l.Term)
					if err != nil || !found || e.Count != uint32(len(l.positions)) {
						t.Errorf("found %t, %v", found, err)
						return
					}
					if may, err := r.MayHave(l.Term); err != nil || l.Filter && !may {
						t.Errorf("the filter does not have it, %v", err)
						return
					}
					at := rnd.IntN(len(l.positions))
					c := r.Cursor(e, 0, 1<<63, false)
					want := x.meta.First + uint64(l.positions[at])
					if key := c.Seek(want); key != want || c.Err() != nil {
						t.Errorf("seek %d gave %d, %v", want, key, c.Err())
						return
					}
					if n%100 == 0 {
						r.Drop()
					}
				}
			})
		}
		readers.Wait()
		r.Drop()
		if o.Budget != nil && o.Budget.Used() != 0 {
			t.Errorf("%d bytes of the budget are lost", o.Budget.Used())
		}
	}
}

func TestTheMemoryOfAWriterDoesNotGrowWithTheRun(t *testing.T) {
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	most := func(events uint32) int64 {
		before := live()
		w, err := run.NewWriter(io.Discard, meta(1, uint64(events)))
		must(t, err)
		one := make([]uint32, 1)
		for i := range events {
			one[0] = i
			must(t, w.Begin(run.List{Term: uint64(i) << 30, Filter: true}))
			must(t, w.Add(one))
			must(t, w.End())
		}
		all := make([]uint32, 1000)
		must(t, w.Begin(run.List{Term: 1 << 63}))
		for i := uint32(0); i < events; i += 1000 {
			for j := range all {
				all[j] = i + uint32(j)
			}
			must(t, w.Add(all))
		}
		after := live()
		must(t, w.End())
		return after - before
	}
	few, many := most(100_000), most(400_000)
	if many > few+300_000 || few > 3<<20 {
		t.Errorf("%d bytes for 100,000 terms, %d for 400,000", few, many)
	}
}

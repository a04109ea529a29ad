package run_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/annalsdb/annals/store/engine/index/run"
)

// onDisk is a run in a file whose pages the system has in memory.
func onDisk(b *testing.B, x *index, o run.ReadOptions) (*run.Reader, io.ReaderAt) {
	b.Helper()
	name := filepath.Join(b.TempDir(), "run")
	must(b, os.WriteFile(name, x.build(b, false), 0o600))
	f, err := os.Open(name)
	must(b, err)
	b.Cleanup(func() { must(b, f.Close()) })
	info, err := f.Stat()
	must(b, err)
	r, err := run.Open(f, info.Size(), o)
	must(b, err)
	return r, f
}

// BenchmarkBlock is what every block costs that is not in a cache: to be compared with BenchmarkFind.
func BenchmarkBlock(b *testing.B) {
	r, f := onDisk(b, ids(1_000_000), run.ReadOptions{})
	block := make([]byte, blockBytes)
	table := crc32.MakeTable(crc32.Castagnoli)
	at, blocks := int64(0), r.Size()/blockBytes
	for name, verify := range map[string]bool{"read": false, "read and verify": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				at = (at + 797) % blocks
				if _, err := f.ReadAt(block, at*blockBytes); err != nil {
					b.Fatal(err)
				}
				if verify {
					crc32.Update(uint32(at), table, block)
				}
			}
		})
	}
}

func BenchmarkBuild(b *testing.B) {
	x := ids(1_000_000)
	terms, positions := make([]uint64, len(x.lists)), make([]uint32, len(x.lists))
	for i := range x.lists { // so that it is not the lists of the test that are waited for
		terms[i], positions[i] = x.lists[i].Term, x.lists[i].positions[0]
	}
	for _, filter := range []bool{true, false} {
		b.Run(fmt.Sprintf("filter %t", filter), func(b *testing.B) {
			for b.Loop() {
				w, err := run.NewWriter(io.Discard, x.meta)
				must(b, err)
				for i, term := range terms {
					if w.Begin(run.List{Term: term, Filter: filter}) != nil || w.Add(positions[i:i+1]) != nil || w.End() != nil {
						b.Fatal("not written")
					}
				}
				must(b, w.Times(x.times...))
				size, err := w.Finish()
				must(b, err)
				b.ReportMetric(float64(size)/float64(len(terms)), "bytes/term")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(terms)), "ns/term")
		})
	}
}

func BenchmarkFind(b *testing.B) {
	x := ids(1_000_000)
	for name, o := range map[string]run.ReadOptions{
		"plain":     {},
		"cached":    {Cache: run.NewCache(64 << 20)},
		"no memory": {Budget: run.NewBudget(0)},
	} {
		r, _ := onDisk(b, x, o)
		for i := range x.lists {
			if i%100 == 0 {
				_, _, err := r.Find(x.lists[i].Term)
				must(b, err)
			}
		}
		for _, hot := range []int{len(x.lists), 100} {
			b.Run(fmt.Sprintf("%s, one of %d", name, hot), func(b *testing.B) {
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i = (i + 7919) % hot
					if _, found, err := r.Find(x.lists[i].Term); !found || err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkMayHave(b *testing.B) {
	x := ids(1_000_000)
	r, _ := onDisk(b, x, run.ReadOptions{})
	b.ReportAllocs()
	rnd := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		if _, err := r.MayHave(rnd.Uint64()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(r.ResidentBytes())/float64(len(x.lists)), "resident_bytes/term")
}

func BenchmarkCursor(b *testing.B) {
	for _, every := range []uint32{1, 2, 30, 1000} {
		x := &index{meta: meta(1, 4_000_000)}
		x.times = timesOf(x.meta)
		rnd := rand.New(rand.NewPCG(1, 2))
		hot := list{List: run.List{Term: 77}}
		for p := uint32(0); p < 4_000_000; p += 1 + rnd.Uint32N(2*every-1) {
			hot.positions = append(hot.positions, p)
		}
		x.lists = []list{hot}
		r, _ := onDisk(b, x, run.ReadOptions{})
		e, _, err := r.Find(77)
		must(b, err)
		for _, backwards := range []bool{false, true} {
			b.Run(fmt.Sprintf("one of %d, backwards %t", every, backwards), func(b *testing.B) {
				for b.Loop() {
					c := r.Cursor(e, 0, 1<<63, backwards)
					n := 0
					for key := c.Seek(0); key != run.Done; key = c.Seek(key + 1) {
						n++
					}
					if n != len(hot.positions) {
						b.Fatal(c.Err())
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(hot.positions)), "ns/position")
				b.ReportMetric(float64(r.Size())/float64(len(hot.positions)), "bytes/position")
			})
		}
		b.Run(fmt.Sprintf("one of %d, one seek", every), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if r.Cursor(e, rnd.Uint64N(3_900_000), 1<<63, false).Seek(0) == run.Done {
					b.Fatal("nothing there")
				}
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	x := ids(1_000_000)
	var parts []*run.Reader
	for first := uint64(1); first <= 1_000_000; first += 125_000 {
		r, _ := onDisk(b, x.part(first, first+124_999), run.ReadOptions{})
		parts = append(parts, r)
	}
	for b.Loop() {
		var out bytes.Buffer
		out.Grow(20_000_000)
		_, err := run.Merge(b.Context(), &out, parts...)
		must(b, err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(x.lists)), "ns/term")
}

// BenchmarkMixed is a run as a log has it with two tags an event, of orders that have ten events each.
func BenchmarkMixed(b *testing.B) {
	x := mixed(1_000_000)
	for b.Loop() {
		var out bytes.Buffer
		out.Grow(40_000_000)
		w, err := run.NewWriter(&out, x.meta)
		must(b, err)
		for i := range x.lists {
			l := &x.lists[i]
			if w.Begin(l.List) != nil || w.Add(l.positions) != nil || w.End() != nil {
				b.Fatal("not written")
			}
		}
		must(b, w.Times(x.times...))
		size, err := w.Finish()
		must(b, err)
		b.ReportMetric(float64(size)/1_000_000, "bytes/event")
	}
}

func mixed(events int) *index {
	x := ids(events)
	rnd := rand.New(rand.NewPCG(7, 8))
	terms := map[uint64]*list{}
	at := func(term uint64) *list {
		term *= 0x9e3779b97f4a7c15
		if terms[term] == nil {
			terms[term] = &list{List: run.List{Term: term, Filter: true}}
		}
		return terms[term]
	}
	for i := range uint32(events) {
		order := 1000 + uint64(i)/1000*100 + rnd.Uint64N(100)
		for _, term := range []uint64{rnd.Uint64N(20), order, 1<<40 + order, 1<<41 + rnd.Uint64N(5000), 999} {
			l := at(term)
			l.positions = append(l.positions, i)
		}
	}
	for _, l := range terms {
		x.lists = append(x.lists, *l)
	}
	slices.SortFunc(x.lists, func(a, b list) int { return bytes.Compare(bigEndian(a.Term), bigEndian(b.Term)) })
	return x
}

package index_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index"
)

// shop makes events as a shop has them: many streams, two tags each, ids that ascend with time.
type shop struct {
	*rand.Rand
	revisions map[string]annals.Revision
	n         int
}

func (s *shop) event() annals.Recorded {
	s.n++
	stream := fmt.Sprint("order-", s.n/5)
	e := annals.Recorded{Event: annals.Event{
		ID: annals.MakeID(time.UnixMilli(int64(1e12+s.n)), [10]byte{byte(s.n)}), Type: fmt.Sprint("Type", s.IntN(12)), Stream: stream,
		Tags: []string{fmt.Sprint("customer:", s.IntN(20_000)), fmt.Sprint("order:", s.n/5)},
	}}
	e.Revision = s.revisions[stream]
	s.revisions[stream]++
	return e
}

const benchFrame = 100

// fill adds so many frames of 100 events.
func (s *shop) fill(x *index.Index, frames int) {
	h := x.Hasher()
	for range frames {
		keys := make([]index.Keys, benchFrame)
		head, number := x.HeadFrame()
		for i := range keys {
			e := s.event()
			keys[i], _ = h.Keys(&e.Event, nil)
			keys[i].Revision = e.Revision
		}
		x.Add(keys, head+1)
		x.Advance(&frame.Header{Seq: number + 1, FirstPosition: annals.Position(head + 1), EventCount: benchFrame, Time: time.UnixMilli(int64(1e12 + s.n))})
	}
}

// filled is an index of so many events: mostly in runs, some in memory.
func filled(b *testing.B, events, epoch int) *index.Index {
	b.Helper()
	c := index.Config{Identity: identity, Logger: discard, FS: vfs.NewMem(), Dir: dir, EpochEvents: epoch, Foreground: true}
	x := index.Open(b.Context(), c)
	(&shop{Rand: rand.New(rand.NewPCG(1, 1)), revisions: map[string]annals.Revision{}}).fill(x, events/benchFrame)
	runs, epochs := x.Pieces()
	b.Logf("%d runs and %d epochs", runs, epochs)
	return x
}

func BenchmarkAdd(b *testing.B) {
	const events = 60_000
	s := &shop{Rand: rand.New(rand.NewPCG(1, 1)), revisions: map[string]annals.Revision{}}
	h := index.NewHasher(identity.HashSeed)
	keys := make([]index.Keys, events)
	for i := range keys {
		e := s.event()
		keys[i], _ = h.Keys(&e.Event, nil)
		keys[i].Revision = e.Revision
	}
	b.ReportAllocs()
	for b.Loop() {
		x := index.Open(b.Context(), index.Config{Identity: identity, Logger: discard})
		for at := 0; at < events; at += benchFrame {
			x.Add(keys[at:at+benchFrame], uint64(at+1))
			x.Advance(&frame.Header{Seq: uint64(at/benchFrame + 1), FirstPosition: annals.Position(at + 1), EventCount: benchFrame})
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
}

func BenchmarkKeys(b *testing.B) {
	s := &shop{Rand: rand.New(rand.NewPCG(1, 1)), revisions: map[string]annals.Revision{}}
	e := s.event()
	h := index.NewHasher(identity.HashSeed)
	var buf []index.Term
	b.ReportAllocs()
	for b.Loop() {
		_, buf = h.Keys(&e.Event, buf[:0])
	}
}

func BenchmarkSeal(b *testing.B) {
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		x := index.Open(b.Context(), index.Config{Identity: identity, Logger: discard, FS: vfs.NewMem(), Dir: dir, EpochEvents: 1 << 30, Foreground: true})
		b.StopTimer()
		(&shop{Rand: rand.New(rand.NewPCG(1, 1)), revisions: map[string]annals.Revision{}}).fill(x, 300)
		b.StartTimer()
		x.Close()
		n += 300 * benchFrame
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/event")
}

func none(uint64) (bool, error) { return false, nil }

// A new id is looked for in every piece, by its range alone if it is one that ascends with time.
func BenchmarkFindID(b *testing.B) {
	x := filled(b, 100_000, 2000)
	for name, id := range map[string]annals.ID{
		"new, ascending": annals.MakeID(time.UnixMilli(2e12), [10]byte{1}),
		"new, random":    {6: 0x40, 9: 1},
		"within":         annals.MakeID(time.UnixMilli(1e12+50_000), [10]byte{99}),
	} {
		b.Run(name, func(b *testing.B) {
			e := annals.Event{ID: id, Stream: "order-9999999"}
			k, _ := x.Hasher().Keys(&e, nil)
			b.ReportAllocs()
			for b.Loop() {
				v := x.View()
				if p, err := v.FindID(&k, none); p != 0 || err != nil {
					b.Fatal(p, err)
				}
				v.Release()
			}
		})
	}
}

func BenchmarkWalk(b *testing.B) {
	x := filled(b, 100_000, 2000)
	for name, q := range map[string]annals.Query{
		"a tag that is rare":     annals.Tags("order:77"),
		"a tag that is not":      annals.Tags("customer:none"),
		"a type, of all":         annals.Types("Type3"),
		"a type and a tag":       annals.Tags("customer:77").Types("Type3"),
		"a stream":               annals.Stream("order-77"),
		"everything, and no tag": annals.All(),
	} {
		plan := x.Hasher().Plan(q)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v := x.View()
				for part := range v.Walk(&plan, index.Range{Upto: v.Head()}) {
					for key := part.Seek(0); key != index.Done; key = part.Seek(key + 1) {
					}
				}
				v.Release()
			}
		})
	}
}

func BenchmarkLastRevision(b *testing.B) {
	x := filled(b, 100_000, 2000)
	record := func(uint64) (string, annals.Revision, error) { return "order-77", 4, nil }
	for _, name := range []string{"order-77", "order-none", "order-19999"} {
		term := x.Hasher().Stream(name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v := x.View()
				if _, _, err := v.LastRevision(name, term, v.Head(), record); err != nil {
					b.Fatal(err)
				}
				v.Release()
			}
		})
	}
}

// What the sequencer asks of every append.
func BenchmarkMemory(b *testing.B) {
	x := index.Open(b.Context(), index.Config{Identity: identity, Logger: discard})
	(&shop{Rand: rand.New(rand.NewPCG(1, 1)), revisions: map[string]annals.Revision{}}).fill(x, 500)
	e := annals.Event{ID: annals.MakeID(time.UnixMilli(2e12), [10]byte{1}), Stream: "order-77"}
	k, _ := x.Hasher().Keys(&e, nil)
	plan := x.Hasher().Plan(annals.Tags("customer:77", "order:1").Types("Type3").Or(annals.Stream("order-77")))
	b.ReportAllocs()
	for b.Loop() {
		m := x.Memory()
		if m.HasID(&k, 49_990) || m.Any(&plan, 49_990) {
			b.Fatal("there is no such event")
		}
		m.Latest("order-77", k.StreamTerm())
		m.Release()
	}
}

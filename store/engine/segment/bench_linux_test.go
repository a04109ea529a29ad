package segment_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/segment"
)

var eventsFlag = flag.Int("events", 200_000, "how many events the benchmarks read")

// benchFrame is how many events share a frame.
const benchFrame = 1000

// measured is the event at a position: 256 bytes of data, a stream, one to three tags.
func measured(p annals.Position, rng random) annals.Event {
	e := annals.Event{
		ID: annals.MakeID(at, [10]byte{byte(p), byte(p >> 8), byte(p >> 16)}), Type: "OrderPlaced", Version: 1,
		Stream: fmt.Sprintf("order-%d", p%5000), Data: make([]byte, 256),
	}
	for i := range 1 + int(p)%3 {
		e.Tags = append(e.Tags, fmt.Sprintf("%c:%d", 'a'+i, rng.IntN(1000)))
	}
	for i := 0; i < len(e.Data); i += 8 {
		copy(e.Data[i:], fmt.Sprint(rng.Uint32()))
	}
	return e
}

// onDisk makes a store of so many events in a directory of the machine, and leaves it open.
func onDisk(b *testing.B, dir string, events, perFrame int, o segment.Options) *segment.Dir {
	b.Helper()
	d, err := segment.Open(b.Context(), vfs.OS{}, dir, o)
	if err != nil {
		b.Fatal(err)
	}
	s, err := write(d)
	if err != nil {
		b.Fatal(err)
	}
	rng := seeded(7)
	id := d.Identity()
	revisions := map[string]annals.Revision{}
	var record, buf []byte
	for s.pos < annals.Position(events) {
		_, epoch, err := d.Head(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		fb := frame.NewBuilder(frame.Header{
			Store: id.Store, Incarnation: id.Incarnation, Epoch: epoch, Seq: s.head.Seq + 1, FirstPosition: s.pos + 1,
			Time: at, PrevHash: s.head.Hash,
		}, buf)
		for i := range min(perFrame, events-int(s.pos)) {
			e := measured(s.pos+annals.Position(i)+1, rng)
			record = frame.AppendBody(record[:0], &e, [16]byte{1}, frame.FlagLast)
			fb.Add(record, frame.BodyHash(record), revisions[e.Stream])
			revisions[e.Stream]++
		}
		f, h := fb.Finish()
		if err := d.CompareAppend(b.Context(), s.head, f); err != nil {
			b.Fatal(err)
		}
		s.head, s.pos, buf = h.Ref(), h.LastPosition(), f
	}
	return d
}

// benchStore is a closed store on disk, opened again: most of it is sealed.
func benchStore(b *testing.B) *segment.Dir {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "store")
	o := segment.Options{Random: seeded(1)}
	if err := onDisk(b, dir, *eventsFlag, benchFrame, o).Close(); err != nil {
		b.Fatal(err)
	}
	d, err := segment.Open(b.Context(), vfs.OS{}, dir, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	return d
}

// meter counts what the events of a benchmark take, of the processor too: the time that passes depends on who else is there.
type meter struct {
	allocs uint64
	cpu    time.Duration
}

func metered() meter { return meter{mallocs(), cpu()} }

func (m meter) report(b *testing.B, n int) {
	b.Helper()
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(cpu()-m.cpu)/float64(n), "cpu-ns/event")
	b.ReportMetric(float64(mallocs()-m.allocs)/float64(n), "allocs/event")
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkScan reads the whole log, warm, every checksum verified.
func BenchmarkScan(b *testing.B) {
	d := benchStore(b)
	b.Run("owned", func(b *testing.B) {
		n, m := 0, metered()
		for b.Loop() {
			for r, err := range d.Scan(b.Context(), 0, annals.Position(*eventsFlag)) {
				if err != nil || len(r.Data) != 256 {
					b.Fatal(r.Position, err)
				}
				n++
			}
		}
		m.report(b, n)
	})
	b.Run("lent", func(b *testing.B) {
		n, m := 0, metered()
		for b.Loop() {
			for r, err := range d.ScanLent(b.Context(), 0, annals.Position(*eventsFlag)) {
				if err != nil || len(r.Data) != 256 {
					b.Fatal(err)
				}
				n++
			}
		}
		m.report(b, n)
	})
}

// BenchmarkRecord reads single events at random positions, warm.
func BenchmarkRecord(b *testing.B) {
	d := benchStore(b)
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	n, m := 0, metered()
	for b.Loop() {
		n++
		p := annals.Position(rng.IntN(*eventsFlag)) + 1
		if r, err := d.Record(context.Background(), p); err != nil || r.Position != p {
			b.Fatal(err)
		}
	}
	m.report(b, n)
}

// BenchmarkBareRead is what the system takes for a read of a record's size at a random place, which no point read can beat.
func BenchmarkBareRead(b *testing.B) {
	const size, file = 400, 64 << 20
	f, err := os.Create(filepath.Join(b.TempDir(), "bare"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, file)); err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, size)
	n, m := 0, metered()
	for b.Loop() {
		n++
		if _, err := f.ReadAt(buf, rng.Int64N(file-size)); err != nil {
			b.Fatal(err)
		}
	}
	m.report(b, n)
}

// BenchmarkOpen opens a store whose active segment is as good as full: closed, and after its process was killed.
func BenchmarkOpen(b *testing.B) {
	for name, leave := range map[string]func(*segment.Dir) error{"clean": (*segment.Dir).Close, "killed": segment.Abandon} {
		b.Run(name, func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "store")
			o := segment.Options{Random: seeded(1)}
			if err := leave(onDisk(b, dir, *eventsFlag, benchFrame, o)); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			n, m := 0, metered()
			for range b.N {
				n += *eventsFlag
				d, err := segment.Open(b.Context(), vfs.OS{}, dir, o)
				if err != nil || d.Recovered().Positions != annals.Position(*eventsFlag) {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := leave(d); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			m.report(b, n)
		})
	}
}

// BenchmarkVerify reads and verifies everything, warm.
func BenchmarkVerify(b *testing.B) {
	d := benchStore(b)
	n, m := 0, metered()
	for b.Loop() {
		r, err := d.Verify(b.Context())
		if err != nil || len(r.Damage) > 0 || r.Events != uint64(*eventsFlag) {
			b.Fatal(r, err)
		}
		n += *eventsFlag
	}
	m.report(b, n)
}

// BenchmarkLookup reads events at random positions in ascending order, warm: beside BenchmarkRecord it shows what a lookup costs
// or saves. One in so many events is read.
func BenchmarkLookup(b *testing.B) {
	d := benchStore(b)
	for _, step := range []annals.Position{3, 100, 10_000} {
		b.Run(fmt.Sprintf("one-in=%d", step), func(b *testing.B) {
			n, m := 0, metered()
			for b.Loop() {
				for _, err := range d.Lookup(b.Context(), func(yield func(annals.Position) bool) {
					for p := step; p <= annals.Position(*eventsFlag) && yield(p); p += step {
					}
				}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			m.report(b, n)
		})
	}
}

// BenchmarkCold reads 200 events far apart whose segments have been dropped from the cache of the system: one by one, and by a
// lookup.
func BenchmarkCold(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "store")
	o := segment.Options{Random: seeded(1)}
	if err := onDisk(b, dir, *eventsFlag, benchFrame, o).Close(); err != nil {
		b.Fatal(err)
	}
	d, err := segment.Open(b.Context(), vfs.OS{}, dir, o)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	positions := func(yield func(annals.Position) bool) {
		for p := annals.Position(7); p <= annals.Position(*eventsFlag) && yield(p); p += annals.Position(*eventsFlag / 200) {
		}
	}
	for how, read := range map[string]iter.Seq2[frame.Record, error]{
		"one-by-one": func(yield func(frame.Record, error) bool) {
			for p := range positions {
				if !yield(d.Record(b.Context(), p)) {
					return
				}
			}
		},
		"lookup": d.Lookup(b.Context(), positions),
	} {
		b.Run(how, func(b *testing.B) {
			n := 0
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				dropped(b, dir)
				b.StartTimer()
				for _, err := range read {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// dropped lets the system forget the segments.
func dropped(b *testing.B, dir string) {
	b.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		f, err := vfs.OS{}.Open(name)
		if err == nil {
			err = errors.Join(f.DropCache(), f.Close())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

package segment_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/segment"
)

// detached is a record that shares no memory with r.
func detached(r frame.Record) frame.Record {
	r.Event = r.Clone()
	return r
}

// all reads every record by its position.
func all(t *testing.T, d *segment.Dir, upto annals.Position) []frame.Record {
	t.Helper()
	var records []frame.Record
	for p := annals.Position(1); p <= upto; p++ {
		r, err := d.Record(t.Context(), p)
		if err != nil {
			t.Fatalf("record %d: %v", p, err)
		}
		records = append(records, r)
	}
	return records
}

// lentOf collects a lending scan, cloned.
func lentOf(seq iter.Seq2[*frame.Record, error]) (records []frame.Record, failed error) {
	for r, err := range seq {
		if err != nil {
			return records, err
		}
		records = append(records, detached(*r))
	}
	return records, nil
}

func ownedOf(seq iter.Seq2[frame.Record, error]) (records []frame.Record, failed error) {
	for r, err := range seq {
		if err != nil {
			return records, err
		}
		records = append(records, r)
	}
	return records, nil
}

// assorted is a store of events of all sizes: some larger than what is read at once.
func assorted(t *testing.T, fs vfs.FS, o segment.Options) *script {
	t.Helper()
	o.SegmentBytes = 1 << 20
	s := started(t, fs, o)
	rng := seeded(11)
	for i := range 120 {
		size := rng.IntN(3000)
		if i%17 == 0 {
			size = rng.IntN(600 << 10)
		}
		s.mustAppend(t, 1+rng.IntN(8), size)
	}
	return s
}

func TestEveryWayOfReadingGivesTheSame(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := assorted(t, mem, options(1))
	for _, how := range []string{"while it is written", "to write", "to read"} {
		d := s.d
		if o, again := bothWays()[how]; again {
			closing(t, s.d)
			d = open(t, mem, o)
		}
		want := all(t, d, s.pos)
		for _, r := range want {
			if !bytes.Equal(r.Data, eventAt(r.Position, len(r.Data)).Data) {
				t.Fatalf("%s: record %d is another than was written", how, r.Position)
			}
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for range 30 {
			after := annals.Position(rng.Uint64N(uint64(s.pos)))
			upto := after + annals.Position(rng.Uint64N(uint64(s.pos-after)+1))
			owned, err := ownedOf(d.Scan(t.Context(), after, upto))
			if err != nil || !reflect.DeepEqual(owned, want[after:upto]) && after < upto {
				t.Fatalf("%s: scanning from %d to %d: %v, or another record", how, after, upto, err)
			}
			lent, err := lentOf(d.ScanLent(t.Context(), after, upto))
			if err != nil || !reflect.DeepEqual(lent, owned) {
				t.Fatalf("%s: scanning lent from %d to %d: %v, or another record", how, after, upto, err)
			}
			var positions []annals.Position
			for range rng.IntN(200) {
				positions = append(positions, 1+annals.Position(rng.Uint64N(uint64(s.pos))))
			}
			switch rng.IntN(3) {
			case 0:
				slices.Sort(positions)
			case 1:
				slices.Sort(positions)
				slices.Reverse(positions)
			}
			found, err := ownedOf(d.Lookup(t.Context(), slices.Values(positions)))
			if err != nil || len(found) != len(positions) {
				t.Fatalf("%s: looking up %v: %d records, %v", how, positions, len(found), err)
			}
			for i, p := range positions {
				if !reflect.DeepEqual(found[i], want[p-1]) {
					t.Fatalf("%s: looking up %v: record %d is another", how, positions, p)
				}
			}
		}
		closing(t, d)
	}
}

// Owned values must not change when what they were read with is used again.
func TestRecordsThatAreKeptDoNotChange(t *testing.T) {
	t.Parallel()
	s := assorted(t, vfs.NewMem(), options(1))
	positions := func(yield func(annals.Position) bool) {
		for p := annals.Position(1); p <= s.pos && yield(p); p++ {
		}
	}
	for what, seq := range map[string]iter.Seq2[frame.Record, error]{
		"scanned": s.d.Scan(t.Context(), 0, s.pos), "looked up": s.d.Lookup(t.Context(), positions),
	} {
		var kept, copies []frame.Record
		for r, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			kept, copies = append(kept, r), append(copies, detached(r))
		}
		for range 3 {
			if _, err := lentOf(s.d.ScanLent(t.Context(), 0, s.pos)); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(kept, copies) {
			t.Errorf("records that were %s have changed", what)
		}
		for i := range kept {
			if cap(kept[i].Data) != len(kept[i].Data) || cap(kept[i].Tags) != len(kept[i].Tags) {
				t.Fatalf("record %d that was %s has room behind its data or tags", i+1, what)
			}
		}
	}
}

func TestALookupGivesDamageInItsPlaceAndGoesOn(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := started(t, mem, options(1))
	for range 60 {
		s.mustAppend(t, 2, 300)
	}
	closing(t, s.d)
	name := storeDir + "/" + segmentsOf(t, mem)[1]
	b := file(t, mem, name)
	offs := envelopes(b)
	put(t, mem, name, []byte{b[offs[3]+300] ^ 1}, offs[3]+300) // in the first record of a frame
	d := open(t, mem, reading())
	damaged := annals.Position(0)
	for p := annals.Position(1); p <= s.pos; p++ {
		if _, err := d.Record(t.Context(), p); err != nil {
			if damaged != 0 {
				t.Fatalf("%d and %d are damaged", damaged, p)
			}
			damaged = p
		}
	}
	for _, step := range []annals.Position{1, 2, 7} {
		i := annals.Position(0)
		for r, err := range d.Lookup(t.Context(), func(yield func(annals.Position) bool) {
			for p := damaged%step + step; p <= s.pos && yield(p); p += step {
			}
		}) {
			p := damaged%step + step + i*step
			var loss *annals.DataLossError
			switch {
			case p == damaged && (!errors.As(err, &loss) || loss.First != p || loss.Last != p || !reflect.DeepEqual(r, frame.Record{})):
				t.Errorf("in steps of %d: record %d is damaged; got %+v, %v", step, p, r, err)
			case p != damaged && (err != nil || r.Position != p):
				t.Errorf("in steps of %d: record %d: got %d, %v", step, p, r.Position, err)
			}
			i++
		}
		if last := damaged%step + i*step; last+step <= s.pos {
			t.Errorf("in steps of %d the lookup ended at %d", step, last)
		}
	}
}

func TestALookupOfWhatIsNotThereSaysSo(t *testing.T) {
	t.Parallel()
	s := started(t, vfs.NewMem(), options(1))
	for range 5 {
		s.mustAppend(t, 2, 300)
	}
	i := 0
	for r, err := range s.d.Lookup(t.Context(), slices.Values([]annals.Position{3, 11, 0, 4})) {
		if ahead := i == 1 || i == 2; ahead != errors.Is(err, annals.ErrAhead) || !ahead && err != nil {
			t.Errorf("number %d: got %d, %v", i, r.Position, err)
		}
		i++
	}
	if i != 4 {
		t.Errorf("%d of 4 positions were answered", i)
	}
}

func TestReadingEndsWithItsContextAndWithTheDir(t *testing.T) {
	t.Parallel()
	s := assorted(t, vfs.NewMem(), options(1))
	positions := func(yield func(annals.Position) bool) {
		for p := annals.Position(1); p <= s.pos && yield(p); p++ {
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ways := func(ctx context.Context) map[string]func() (int, error) {
		return map[string]func() (int, error){
			"Scan":     func() (int, error) { got, err := ownedOf(s.d.Scan(ctx, 0, s.pos)); return len(got), err },
			"ScanLent": func() (int, error) { got, err := lentOf(s.d.ScanLent(ctx, 0, s.pos)); return len(got), err },
			"Lookup":   func() (int, error) { got, err := ownedOf(s.d.Lookup(ctx, positions)); return len(got), err },
		}
	}
	for r, err := range s.d.Lookup(ctx, positions) {
		if r.Position == 20 {
			cancel()
		}
		if r.Position > 20 {
			t.Fatal("the context had ended")
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	for what, read := range ways(ctx) {
		if n, err := read(); n > 64 || !errors.Is(err, context.Canceled) {
			t.Errorf("%s in a context that has ended: %d records, %v", what, n, err)
		}
	}
	closing(t, s.d)
	for what, read := range ways(t.Context()) {
		if n, err := read(); n > 0 || !errors.Is(err, annals.ErrClosed) {
			t.Errorf("%s of a Dir that is closed: %d records, %v", what, n, err)
		}
	}
}

// slow is a device that takes its time, and counts how many reads it has at once.
type slow struct {
	vfs.FS
	mu        sync.Mutex
	now, most int
	reads     int
}

func (s *slow) Open(name string) (vfs.File, error) {
	f, err := s.FS.Open(name)
	return slowFile{f, s}, err
}

type slowFile struct {
	vfs.File
	s *slow
}

func (f slowFile) ReadAt(b []byte, off int64) (int, error) {
	f.s.count(1)
	defer f.s.count(-1)
	time.Sleep(100 * time.Microsecond) //nolint:forbidigo // of a synctest bubble: it takes no time
	return f.File.ReadAt(b, off)
}

func (s *slow) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now += n
	s.most = max(s.most, s.now)
	s.reads += max(n, 0)
}

func TestALookupOnASlowDeviceReadsSeveralAtOnceAndNeighboursTogether(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	o := options(1)
	o.SegmentBytes = 4 << 20
	s := started(t, mem, o)
	for range 400 {
		s.mustAppend(t, 10, 1000)
	}
	closing(t, s.d)
	synctest.Test(t, func(t *testing.T) {
		disk := &slow{FS: mem}
		o := reading()
		o.Foreground = false
		d := open(t, disk, o)
		for _, c := range []struct {
			step        annals.Position
			reads, most int // of the device, for 40 records; at once
		}{{100, 60, 16}, {1, 16, 1}} {
			if _, err := d.Record(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			disk.reads, disk.most = 0, 0
			start, n := time.Now(), 0
			for r, err := range d.Lookup(t.Context(), func(yield func(annals.Position) bool) {
				for p := annals.Position(1); p <= 40*c.step && yield(p); p += c.step {
				}
			}) {
				if err != nil || r.Position != annals.Position(n)*c.step+1 {
					t.Fatal(r.Position, err)
				}
				n++
			}
			if n != 40 || disk.reads > c.reads || disk.most > 16 || disk.most < c.most {
				t.Errorf("in steps of %d: %d records by %d reads, %d at once; want 40 by %d, %d at once", c.step, n, disk.reads, disk.most, c.reads, c.most)
			}
			if took := time.Since(start); took > 2*time.Millisecond {
				t.Errorf("in steps of %d it took %s; one by one it takes 4 ms", c.step, took)
			}
		}
	})
}

// A part of the device that cannot be read takes only the records in it.
func TestAnUnreadablePartOfABlockTakesItsRecordsOnly(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := assorted(t, mem, options(1))
	closing(t, s.d)
	const from, to = 100 << 10, 104 << 10
	d := open(t, vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if o.Kind == vfs.OpRead && o.Offset < to && o.Offset+int64(o.Bytes) > from && o.Bytes < 1<<20 {
			return vfs.Fault{Err: syscall.EIO, Read: int(max(0, from-o.Offset))}
		}
		return vfs.Fault{}
	}), reading())
	lost, served := 0, 0
	for p := annals.Position(1); p <= s.pos; p++ {
		want, wantErr := d.Record(t.Context(), p)
		got, err := ownedOf(d.Scan(t.Context(), p-1, min(p+3, s.pos)))
		lent, lentErr := lentOf(d.ScanLent(t.Context(), p-1, min(p+3, s.pos)))
		if wantErr != nil {
			lost++
			if err == nil || lentErr == nil || len(got) > 0 || len(lent) > 0 {
				t.Errorf("record %d cannot be read; scanned %d, %v, and %d, %v", p, len(got), err, len(lent), lentErr)
			}
			continue
		}
		served++
		if len(got) == 0 || len(lent) == 0 || !reflect.DeepEqual(got[0], want) || !reflect.DeepEqual(lent[0], want) {
			t.Errorf("record %d can be read; scanned %d, %v, and %d, %v", p, len(got), err, len(lent), lentErr)
		}
	}
	if lost == 0 || served < int(s.pos)-20 {
		t.Errorf("%d records are lost, %d are served", lost, served)
	}
}

// A point read believes no footer that it has not verified: what it finds there it compares with the record.
func TestAFooterThatMisleadsIsFoundOut(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	s := started(t, mem, options(1))
	for range 60 {
		s.mustAppend(t, 3, 300)
	}
	want := all(t, s.d, s.pos)
	closing(t, s.d)
	name := storeDir + "/" + segmentsOf(t, mem)[1]
	b := file(t, mem, name)
	footer := bytes.LastIndex(b, []byte("ANNLFTR1"))
	frames := len(envelopes(b))
	records := footer + 16 + 3*24 + 8*frames
	n := 3 * frames
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range 60 {
		fs := mem.Kill()
		switch i % 3 {
		case 0: // two records change places
			x, y := records+4*rng.IntN(n), records+4*rng.IntN(n)
			put(t, fs, name, b[x:x+4], y)
			put(t, fs, name, b[y:y+4], x)
		case 1:
			put(t, fs, name, []byte{byte(rng.Uint32()), byte(rng.Uint32())}, records+4*rng.IntN(n)+rng.IntN(4))
		default:
			put(t, fs, name, make([]byte, 4*n), records)
		}
		d := open(t, fs, reading())
		for _, p := range rng.Perm(int(s.pos)) {
			r, err := d.Record(t.Context(), annals.Position(p)+1)
			if err != nil || !reflect.DeepEqual(r, want[p]) {
				t.Fatalf("damage %d: record %d: %d, %v", i, p+1, r.Position, err)
			}
		}
		closing(t, d)
	}
}

package faultlane_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

var (
	sweepStride = count("sweepstride", 1, 61, "sweep one of so many operations")
	faultPairs  = count("faultpairs", 400, 20, "how many pairs of faults to try, beside each fault alone")
)

// stage is where a scene plays: a disk on which one operation may fail, and what the store on it must hold.
type stage struct {
	*witness
	vocabulary
	fs  vfs.FS
	m   *machine
	now time.Time
	// err is what was wrong; once there is something, the rest of the scene does nothing.
	err error
	// dead says that the machine is, from a strike on.
	dead bool
	// lenient is for two faults: then what fails may fail again.
	lenient bool
}

// errOver ends a scene whose machine does not boot, or is dead.
var errOver = errors.New("the scene is over")

func newStage(fs vfs.FS) *stage {
	s := &stage{witness: newWitness(map[string]int{}, func(string, ...any) {}), vocabulary: vocabulary{seeded(1, 20)}, fs: fs, now: epoch}
	return s
}

func (s *stage) plan() plan {
	return plan{segmentBytes: 8 << 10, random: seeded(uint64(s.life), 21), clock: func() time.Time {
		s.now = s.now.Add(time.Millisecond)
		return s.now
	}}
}

// do does a part of a scene.
func (s *stage) do(part func() error) {
	if s.err == nil {
		s.err = part()
	}
}

func (s *stage) boot() {
	s.do(func() (err error) {
		s.life++
		if s.m, err = boot(s.fs, s.plan()); err != nil {
			if !s.failed {
				return fmt.Errorf("opening, and no operation failed: %w", err)
			}
			if s.m, err = boot(s.fs, s.plan()); err != nil { // as a program does that is started again
				return errOver
			}
		}
		if err := s.recovered(s.m); errors.Is(err, errUnread) {
			return errOver
		} else if err != nil {
			return err
		}
		return nil
	})
}

func (s *stage) shut() {
	s.do(func() error {
		if err := s.m.shut(); err != nil && !s.failed {
			return fmt.Errorf("closing: %w", err)
		}
		return nil
	})
}

// kill leaves the machine; its successor finds the lock free.
func (s *stage) kill() {
	s.do(func() error {
		s.m.fail()
		return nil
	})
}

// append appends, and again if that was not written, as a caller does, which must then work.
func (s *stage) append(es []annals.Event, conds ...annals.Condition) {
	s.do(func() error {
		a := tried{es, conds}
		for try := 1; ; try++ {
			receipt, err := s.m.Append(background, es, conds...)
			if err := s.answered(a, nil, receipt, err); err != nil {
				return err
			}
			switch {
			case err == nil, isRefusal(err), errors.Is(err, annals.ErrUnknownOutcome), errors.Is(err, annals.ErrReadOnly):
				return nil
			case s.dead:
				return errOver
			case try == 2 && !s.lenient:
				return fmt.Errorf("what was not written is not taken when it is tried again: %w", err)
			case try == 3:
				return nil
			}
		}
	})
}

// fill appends events of so many bytes, one at a time.
func (s *stage) fill(n, size int) {
	for range n {
		e := s.event()
		e.Data = bytes.Repeat([]byte{1 + byte(s.IntN(255))}, size)
		s.append([]annals.Event{e})
	}
}

func (s *stage) read(queries ...annals.Query) {
	for i, q := range queries {
		s.do(func() error { return s.reads(s.m, q, i%2 == 1) })
	}
}

// scene is something that a store does. It is prepared on a disk that works.
type scene struct {
	name          string
	prepare, play func(s *stage)
}

func scenes() []scene {
	begun := func(s *stage) { s.boot(); s.fill(3, 200); s.shut() }
	grown := func(s *stage) { s.boot(); s.fill(14, 2000); s.shut() }
	left := func(s *stage) { s.boot(); s.fill(9, 1500); s.kill() }
	torn := func(s *stage) { left(s); s.do(func() error { return tear(s.fs) }) }
	return []scene{
		{"make a store", nil, func(s *stage) { s.boot(); s.fill(2, 100); s.shut() }},
		{"append", begun, func(s *stage) {
			s.boot()
			for range 6 {
				s.append(s.events())
			}
			s.kill()
		}},
		{"append batches", begun, func(s *stage) {
			s.boot()
			for range 4 {
				var batch []annals.Event
				for range 12 {
					batch = append(batch, s.event())
				}
				s.append(batch)
			}
			s.kill()
		}},
		{"go on in the next segment", begun, func(s *stage) { s.boot(); s.fill(10, 1700); s.kill() }},
		{"seal segments", begun, func(s *stage) { s.boot(); s.fill(8, 3000); s.shut() }},
		{"append what is larger than a segment", begun, func(s *stage) { s.boot(); s.fill(2, 20000); s.fill(1, 100); s.shut() }},
		{"close and open", grown, func(s *stage) {
			for range 2 {
				s.boot()
				s.fill(1, 300)
				s.shut()
			}
		}},
		{"open after a kill", left, func(s *stage) { s.boot(); s.fill(2, 900); s.shut() }},
		{"open after a torn frame", torn, func(s *stage) {
			s.boot()
			s.fill(2, 900)
			s.shut()
		}},
		{"append on conditions", grown, func(s *stage) {
			s.boot()
			for range 8 {
				s.append(s.events(), s.conditions(s.log)...)
			}
			s.kill()
		}},
		{"send again", grown, func(s *stage) {
			s.boot()
			for _, r := range s.past[:5] {
				s.append(r.events)
			}
			other := s.past[0].events[0]
			other.Data = []byte("other")
			s.append([]annals.Event{other})
			s.append([]annals.Event{s.past[1].events[0], s.event()})
			s.shut()
			s.boot()
			s.append(s.past[len(s.past)-1].events)
			s.kill()
		}},
		{"read what is sealed", grown, func(s *stage) {
			s.boot()
			s.read(names()...)
			s.do(func() error { return s.follows(s.m, annals.All(), 3) })
			s.do(func() error { return s.heads(s.m) })
			s.shut()
		}},
	}
}

// tear leaves a part of a frame behind the last one, as a kill in the middle of a write does.
func tear(fs vfs.FS) error {
	list, err := fs.List(storeDir)
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(list) {
		if !strings.HasSuffix(name, ".seg") {
			continue
		}
		f, err := fs.OpenReadWrite(storeDir + "/" + name)
		if err != nil {
			return err
		}
		b := make([]byte, 64<<10)
		n, _ := f.ReadAt(b, 0) // up to the end
		at := len(bytes.TrimRight(b[:n], "\x00"))
		if at > 4096 && n-at > 200 {
			_, err = f.WriteAt([]byte("ANNLENV1 a part of a frame"), int64(at+8-at%8))
			return errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return errors.New("there is no segment with room")
}

// prepared is the disk that a scene begins with, and a stage on which it was prepared.
func (c scene) prepared(fs func(*vfs.Mem) vfs.FS) (*vfs.Mem, *stage, error) {
	mem := reserved().Kill()
	s := newStage(mem)
	if c.prepare != nil {
		c.prepare(s)
		mem = mem.Kill()
	}
	s.fs = fs(mem)
	s.failed = false
	return mem, s, s.err
}

// strike is an operation that fails, and how. Without a fault the machine is dead from then on.
type strike struct {
	n     int
	fault *vfs.Fault
}

// run plays a scene with some strikes, and then looks at what is left, in every way in which it may be left.
func (c scene) run(strikes []strike, rng *rand.Rand) (hit int, err error) {
	var left []*vfs.Mem
	var s *stage
	mem, s, err := c.prepared(func(mem *vfs.Mem) vfs.FS {
		return vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
			if s.dead {
				return vfs.Fault{Err: errDead}
			}
			for _, at := range strikes {
				if at.n != o.N {
					continue
				}
				hit++
				s.failed, s.unread = true, s.unread || o.Kind == vfs.OpRead
				if at.fault != nil {
					return *at.fault
				}
				s.dead = true
				left = append(left, mem.Kill(), mem.Crash(rng)) // before the operation did anything
				return vfs.Fault{Err: errDead, Written: rng.IntN(max(o.Bytes, 1)), Kept: rng.IntN(2) == 0}
			}
			return vfs.Fault{}
		})
	})
	if err != nil {
		return hit, fmt.Errorf("preparing: %w", err)
	}
	s.lenient = len(strikes) > 1
	c.play(s)
	if s.err != nil && !errors.Is(s.err, errOver) {
		return hit, s.err
	}
	if !s.dead {
		left = append(left, mem.Kill())
	}
	for i, fs := range append(left, mem.Crash(rng)) {
		if err := s.survives(fs, rng); err != nil {
			return hit, fmt.Errorf("afterwards, way %d: %w", i, err)
		}
	}
	return hit, nil
}

// survives opens what is left twice, with a power cut between, and wants the same log; it may have the append of which nobody
// knows, which is recognised when it is sent again.
func (s *stage) survives(mem *vfs.Mem, rng *rand.Rand) error {
	want := s.log
	for _, what := range []string{"opened", "opened again after a power cut"} {
		m, err := boot(mem, s.plan())
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if damage := m.dir.Recovered().Damage; len(damage) > 0 {
			return fmt.Errorf("%s: %w", what, damage[0])
		}
		got, err := all(m, annals.All())
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if s.open != nil && len(got) == len(want)+len(s.open.events) {
			for i, e := range s.open.events {
				if r := got[len(want)+i]; r.ID != e.ID || !r.SameContent(e) {
					return fmt.Errorf("%s: at %d is another event than the one nobody knew of", what, r.Position)
				}
			}
			want = got
		}
		if err := differ(what, got, want); err != nil {
			return err
		}
		for _, q := range names()[rng.IntN(5):6] {
			found, err := all(m, q)
			if err = errors.Join(err, differ(q.String(), found, matching(want, q))); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		again := []annals.Event{s.event()}
		if s.open != nil {
			again = s.open.events
		}
		r, err := m.Append(background, again)
		if err != nil || r.Duplicate != (s.open != nil && len(want) > len(s.log)) {
			return fmt.Errorf("%s: an append was answered %+v, %w", what, r, err)
		}
		if want, err = all(m, annals.All()); err != nil {
			return err
		}
		if s.open != nil { // it is there now, and known to be
			s = &stage{witness: &witness{log: want, life: s.life}, vocabulary: s.vocabulary, now: s.now}
		}
		m.fail()
		mem = mem.Crash(rng)
	}
	return nil
}

// trace is the operations of a scene.
func (c scene) trace() ([]vfs.Op, error) {
	var fs *vfs.Faulty
	_, s, err := c.prepared(func(mem *vfs.Mem) vfs.FS {
		fs = vfs.NewFaulty(mem, func(vfs.Op) vfs.Fault { return vfs.Fault{} })
		fs.Record()
		return fs
	})
	if err != nil {
		return nil, err
	}
	c.play(s)
	return fs.Trace(), s.err
}

// faultsOf is how an operation can fail, by name; nil is a power cut.
func faultsOf(o vfs.Op) map[string]*vfs.Fault {
	fs := map[string]*vfs.Fault{"crash": nil, "EIO": {Err: syscall.EIO}}
	switch o.Kind {
	case vfs.OpSync, vfs.OpSyncDir:
		fs["EIO, and it was done"] = &vfs.Fault{Err: syscall.EIO, Kept: true}
	case vfs.OpWrite:
		fs["short write"] = &vfs.Fault{Err: syscall.EIO, Written: o.Bytes * 2 / 3}
		fs["no space, short write"] = &vfs.Fault{Err: vfs.ErrNoSpace, Written: o.Bytes / 3}
	case vfs.OpCreate:
		fs["no space"] = &vfs.Fault{Err: vfs.ErrNoSpace}
		fs["too many files"] = &vfs.Fault{Err: syscall.EMFILE}
	case vfs.OpOpen:
		fs["too many files"] = &vfs.Fault{Err: syscall.EMFILE}
	case vfs.OpRead:
		fs["short read"] = &vfs.Fault{Err: syscall.EIO, Read: o.Bytes / 2}
	}
	return fs
}

func TestEveryFaultAtEveryOperationOfEveryScene(t *testing.T) {
	t.Parallel()
	var points, covered, violations, pairs atomic.Int64
	type job struct {
		scene   scene
		name    string
		strikes []strike
	}
	jobs := make(chan job)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range jobs {
				if violations.Load() > 5 {
					continue
				}
				hit, err := j.scene.run(j.strikes, seeded(uint64(j.strikes[0].n), 22).Rand)
				points.Add(1)
				if hit > 0 {
					covered.Add(1)
				}
				if err != nil {
					violations.Add(1)
					t.Errorf("%s, %s: %v", j.scene.name, j.name, err)
				}
			}
		})
	}
	rng := seeded(*seedFlag, 23)
	list := scenes()
	for _, c := range list {
		ops, err := c.trace()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for i := 0; i < len(ops); i += *sweepStride {
			for what, f := range faultsOf(ops[i]) {
				jobs <- job{c, fmt.Sprintf("operation %d, %s %s: %s", i+1, ops[i].Kind, ops[i].Name, what), []strike{{i + 1, f}}}
			}
		}
		for range *faultPairs / len(list) {
			var pair []strike
			name := ""
			n := 0
			for range 2 {
				if n >= len(ops) {
					break
				}
				n += 1 + rng.IntN(min(len(ops)-n, 40))
				fs := faultsOf(ops[n-1])
				what := pick(rng, "crash", "EIO", "EIO", "short write", "no space")
				f, can := fs[what]
				if !can {
					what, f = "EIO", fs["EIO"]
				}
				pair = append(pair, strike{n, f})
				name += fmt.Sprintf("operation %d, %s %s: %s; ", n, ops[n-1].Kind, ops[n-1].Name, what)
			}
			if len(pair) == 2 {
				pairs.Add(1)
				jobs <- job{c, name, pair}
			}
		}
	}
	close(jobs)
	workers.Wait()
	if covered.Load() < points.Load() {
		t.Errorf("%d of %d faults never struck: a scene does not repeat", points.Load()-covered.Load(), points.Load())
	}
	report(t, "sweep", "scenes=%d points=%d covered=%d pairs=%d violations=%d", len(list), points.Load()-pairs.Load(), covered.Load()-pairs.Load(), pairs.Load(), violations.Load())
}

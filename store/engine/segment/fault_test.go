package segment_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/journal"
	"github.com/annalsdb/annals/store/engine/segment"
)

var (
	errDead = errors.New("the machine is off")
	// errForgotten and errNotTaken are what a scenario must not meet, whatever fails.
	errForgotten = errors.New("frames that were acknowledged are not there")
	errNotTaken  = errors.New("what was not written is not taken when it is tried again")
)

// scenario opens a store twice, appends, fills segments, and closes. It goes on after failures as a caller would, and
// tells what was acknowledged.
func scenario(fs vfs.FS) (*script, error) {
	s := &script{}
	for round := range 2 {
		d, err := segment.Open(context.Background(), fs, storeDir, options(uint64(round)))
		if err != nil {
			return s, err
		}
		s.d = d
		if round > 0 {
			reopened, err := write(d)
			if err != nil {
				return s, errors.Join(err, d.Close())
			}
			if len(reopened.acked) < len(s.acked) {
				return s, fmt.Errorf("%w: %d of %d", errForgotten, len(reopened.acked), len(s.acked))
			}
			s = reopened
		}
		for i := range 12 {
			size := 900 * (i%3 + 1)
			err := s.append(1+i%2, size)
			if err != nil && !errors.Is(err, journal.ErrStopped) {
				err = s.append(1+i%2, size) // what is not written may be tried again
			}
			if err != nil && !errors.Is(err, journal.ErrStopped) && !errors.Is(err, errDead) {
				return s, errors.Join(fmt.Errorf("%w: %w", errNotTaken, err), d.Close())
			}
		}
		if err := d.Close(); err != nil {
			return s, err
		}
	}
	return s, nil
}

// faults are how an operation can fail.
var faults = map[string]vfs.Fault{
	"EIO":                       {Err: syscall.EIO},
	"EIO, kept if it is a sync": {Err: syscall.EIO, Kept: true},
	"short write":               {Err: syscall.EIO, Written: 700},
	"ENOSPC":                    {Err: vfs.ErrNoSpace, Written: 100},
}

// survives opens what is left, as it is, after the process was killed, and after power was cut, and wants every acknowledged frame.
func survives(mem *vfs.Mem, s *script, rng *rand.Rand) error {
	for what, fs := range map[string]*vfs.Mem{"killed": mem.Kill(), "power cut": mem.Crash(rng)} {
		if err := reopens(fs, s, rng); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// reopens opens a store, wants everything there, and that what is served survives a power cut right then.
func reopens(fs *vfs.Mem, s *script, rng *rand.Rand) error {
	d, err := segment.Open(context.Background(), fs, storeDir, options(rng.Uint64()))
	if err != nil {
		return fmt.Errorf("opening: %w", err)
	}
	if r := d.Recovered(); len(r.Damage) > 0 {
		return fmt.Errorf("it is damaged: %w", r.Damage[0])
	}
	if err := holds(d, s.acked); err != nil {
		return err
	}
	served, err := write(d)
	if err != nil {
		return err
	}
	if err := served.append(1, 100); err != nil {
		return fmt.Errorf("appending: %w", err)
	}
	d, err = segment.Open(context.Background(), fs.Crash(rng), storeDir, options(rng.Uint64()))
	if err != nil {
		return fmt.Errorf("opening again: %w", err)
	}
	return errors.Join(holds(d, served.acked), d.Close())
}

func TestAcknowledgedFramesSurviveAFaultAtEveryOperation(t *testing.T) {
	t.Parallel()
	counted := vfs.NewFaulty(vfs.NewMem(), func(vfs.Op) vfs.Fault { return vfs.Fault{} })
	if _, err := scenario(counted); err != nil {
		t.Fatal(err)
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; n <= counted.Count(); n++ {
				mem := vfs.NewMem()
				var failed vfs.Op
				s, err := scenario(vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
					if o.N != n {
						return vfs.Fault{}
					}
					failed = o
					return fault
				}))
				if errors.Is(err, errForgotten) || errors.Is(err, errNotTaken) {
					t.Fatalf("operation %d, %s %s: %v", n, failed.Kind, failed.Name, err)
				}
				if err := survives(mem, s, rand.New(rand.NewPCG(uint64(n), 1))); err != nil {
					t.Fatalf("operation %d, %s %s: %v", n, failed.Kind, failed.Name, err)
				}
			}
		})
	}
	t.Logf("%d operations, %d faults each", counted.Count(), len(faults))
}

func TestAcknowledgedFramesSurviveAPowerCutAtEveryOperation(t *testing.T) {
	t.Parallel()
	for n := 1; ; n += powerStride {
		mem := vfs.NewMem()
		rng := rand.New(rand.NewPCG(uint64(n), 2))
		var left []*vfs.Mem
		var at vfs.Op
		s, _ := scenario(vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
			if o.N == n {
				at = o
				left = []*vfs.Mem{mem.Kill(), mem.Crash(rng), mem.Crash(rng), mem.Crash(rng)}
				return vfs.Fault{Err: errDead, Written: rng.IntN(max(o.Bytes, 1))}
			}
			if o.N > n {
				return vfs.Fault{Err: errDead}
			}
			return vfs.Fault{}
		}))
		if left == nil {
			t.Logf("%d operations", n-1)
			return
		}
		for i, fs := range append(left, mem.Crash(rng), mem.Kill()) {
			if err := reopens(fs, s, rng); err != nil {
				t.Fatalf("operation %d, %s %s, way %d: %v", n, at.Kind, at.Name, i, err)
			}
		}
	}
}

func TestAFailedSyncStopsWritingForGood(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	broken, syncs := false, 0
	fs := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if o.Kind == vfs.OpSync {
			syncs++
			if broken {
				broken = false
				return vfs.Fault{Err: syscall.EIO}
			}
		}
		return vfs.Fault{}
	})
	s := started(t, fs, options(1))
	s.mustAppend(t, 1, 10)
	broken = true
	if err := s.append(1, 10); !errors.Is(err, journal.ErrStopped) || !errors.Is(err, journal.ErrAmbiguous) || !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want ErrStopped and ErrAmbiguous for the I/O error", err)
	}
	before := syncs
	for range 3 {
		if err := s.append(1, 10); !errors.Is(err, journal.ErrStopped) || errors.Is(err, journal.ErrAmbiguous) {
			t.Errorf("got %v, want ErrStopped and no doubt", err)
		}
	}
	if err := holds(s.d, s.acked); err != nil {
		t.Error(err)
	}
	if err := s.d.Close(); err != nil {
		t.Error(err)
	}
	if syncs != before {
		t.Errorf("a sync that failed was tried again")
	}
	// The frame reads back from the cache of the page, but it is not on the device.
	d := open(t, mem, options(2))
	if r := d.Recovered(); r.Clean || r.Frames != 1 {
		t.Errorf("recovered %+v, want one frame", r)
	}
}

func TestAFullDiskRefusesFramesUntilThereIsSpace(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	full := false
	fs := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if full && (o.Kind == vfs.OpCreate || o.Kind == vfs.OpWrite && strings.Contains(o.Name, ".tmp")) {
			return vfs.Fault{Err: vfs.ErrNoSpace}
		}
		return vfs.Fault{}
	})
	s := started(t, fs, options(1))
	s.mustAppend(t, 1, 3000)
	full = true
	var err error
	for err == nil {
		err = s.append(1, 3000)
	}
	if !errors.Is(err, journal.ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if err := s.append(1, 3000); !errors.Is(err, journal.ErrFull) {
		t.Errorf("got %v, want ErrFull again", err)
	}
	full = false
	for range 20 {
		s.mustAppend(t, 1, 3000)
	}
	if err := holds(s.d, s.acked); err != nil {
		t.Error(err)
	}
}

func TestTheReserveLetsAFullDiskBeOpened(t *testing.T) {
	t.Parallel()
	mem, acked := filled(t, 5)
	if i, err := mem.Stat(storeDir + "/RESERVE"); err != nil || i.Size != 1<<20 {
		t.Fatalf("the reserve: %+v, %v", i, err)
	}
	var d *segment.Dir
	fs := vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		if _, err := mem.Stat(storeDir + "/RESERVE"); err == nil && o.Kind == vfs.OpWrite || o.Kind == vfs.OpCreate && strings.HasSuffix(o.Name, "RESERVE") {
			return vfs.Fault{Err: vfs.ErrNoSpace}
		}
		return vfs.Fault{}
	})
	d = open(t, fs, options(2))
	if err := holds(d, acked); err != nil {
		t.Error(err)
	}
	closing(t, d)
	full := true
	fs = vfs.NewFaulty(mem.Kill(), func(o vfs.Op) vfs.Fault {
		if full && o.Kind == vfs.OpWrite {
			return vfs.Fault{Err: vfs.ErrNoSpace}
		}
		return vfs.Fault{}
	})
	r := started(t, fs, options(2))
	if err := holds(r.d, acked); err != nil {
		t.Errorf("without any space: %v", err)
	}
	if err := r.append(1, 100); !errors.Is(err, journal.ErrFull) {
		t.Errorf("without any space: got %v, want ErrFull", err)
	}
	full = false
	r.mustAppend(t, 1, 100)
	closing(t, r.d)
	if d := open(t, fs, options(3)); !d.Recovered().Clean || d.Recovered().Frames != r.head.Seq {
		t.Errorf("recovered %+v, want it clean, with %d frames", d.Recovered(), r.head.Seq)
	}
	if _, err := segment.Open(t.Context(), vfs.NewFaulty(vfs.NewMem(), func(o vfs.Op) vfs.Fault {
		if o.Kind == vfs.OpWrite {
			return vfs.Fault{Err: vfs.ErrNoSpace}
		}
		return vfs.Fault{}
	}), storeDir, options(2)); !errors.Is(err, annals.ErrFull) {
		t.Errorf("a new store: got %v, want ErrFull", err)
	}
}

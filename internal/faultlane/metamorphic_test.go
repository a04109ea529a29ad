package faultlane_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

var pairs = count("pairs", 300, 20, "how many pairs of differently configured stores to compare")

// played is a random history on a store with random options: how it is cut into files, and how often it is closed or killed and
// opened again, which are to make no difference. Each answer is compared with store/memory's; what is left is all events.
func played(seed, options uint64) (log []annals.Recorded, config string, err error) {
	o := seeded(options, 30) // decides what must not matter
	w := newWitness(map[string]int{}, func(string, ...any) {})
	v := vocabulary{seeded(seed, 31)} // decides what is done
	now := epoch
	p := plan{
		segmentBytes: pick[int64](o, 8<<10, 12<<10, 64<<10, 1<<20), frameBytes: pick(o, 0, 300, 5000), frameEvents: pick(o, 0, 1, 7),
		random: o, clock: func() time.Time { return now },
	}
	reopen := pick(o, 0, 3, 20)
	config = fmt.Sprintf("segments of %d, frames of %d bytes and %d events, reopened at %d%%", p.segmentBytes, p.frameBytes, p.frameEvents, reopen)
	disk := reserved().Kill()
	m, err := boot(disk, p)
	if err != nil {
		return nil, config, err
	}
	defer func() { m.fail() }()
	for range 60 {
		now = now.Add(time.Millisecond)
		a := tried{events: v.events()}
		if v.chance(50) {
			a.conds = v.conditions(w.log)
		}
		if len(w.past) > 0 && v.chance(20) {
			a = w.past[v.IntN(len(w.past))].tried
		}
		receipt, err := m.Append(background, a.events, a.conds...)
		if err = w.answered(a, nil, receipt, err); err == nil && v.chance(30) {
			err = w.reads(m, v.query(), v.chance(50))
		}
		if err != nil {
			return nil, config, err
		}
		if !o.chance(reopen) {
			continue
		}
		if m, disk, err = again(m, disk, p, o); err != nil {
			return nil, config, err
		}
	}
	if m, _, err = again(m, disk, p, o); err != nil {
		return nil, config, err
	}
	log, err = all(m, annals.All().WithSystem())
	return log, config, errors.Join(err, differ("at last", log, w.log), w.everything(m))
}

// again closes a machine, or kills it, and boots another.
func again(m *machine, disk *vfs.Mem, p plan, o random) (*machine, *vfs.Mem, error) {
	if o.chance(50) {
		if err := m.shut(); err != nil {
			return m, disk, err
		}
	} else {
		m.fail()
		disk = disk.Kill()
	}
	next, err := boot(disk, p)
	if err != nil {
		return m, disk, err
	}
	return next, disk, nil
}

func TestOptionsMakeNoDifferenceToWhatAStoreHolds(t *testing.T) {
	t.Parallel()
	first, last := *seedFlag, *seedFlag
	if first == 0 {
		first, last = 1, uint64(*pairs)
	}
	var next atomic.Uint64
	next.Store(first - 1)
	var diffs atomic.Int64
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed := next.Add(1); seed <= last; seed = next.Add(1) {
				a, one, err := played(seed, 2*seed)
				b, other, err2 := played(seed, 2*seed+1)
				if err = errors.Join(err, err2, differ("one and the other", a, b)); err != nil {
					diffs.Add(1)
					t.Errorf("-seed=%d, %s; and %s: %v", seed, one, other, err)
				}
			}
		})
	}
	workers.Wait()
	report(t, "metamorphic", "pairs=%d diffs=%d", last-first+1, diffs.Load())
}

package faultlane_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
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

var seeds = count("seeds", 2500, 60, "how many worlds to simulate")

var fromFlag = flag.Uint64("from", 1, "the seed of the first world, so that long runs see other worlds than the short ones")

// sometimes is what must happen in one world or another, or the lane proves less than it says.
var sometimes = []string{
	"segment rolled", "segment sealed", "torn tail cut", "unacknowledged tail kept", "unacknowledged tail gone",
	"recovery interrupted", "recovery interrupted 3 times", "killed", "power cut", "killed, then power cut", "closed", "opened clean",
	"operation failed", "cut in an operation", "full", "appended after full", "opened while full", "stopped", "unknown outcome", "not written",
	"duplicate", "duplicate after crash", "duplicate of an unknown outcome", "conflict", "conflict after crash", "id reused", "partial duplicate",
	"read", "read failed", "subscription", "clock went back", "quarantine kept",
}

// world is one store on one simulated disk that lives through many machines, and what it must hold.
type world struct {
	vocabulary
	*witness
	disk *vfs.Mem
	plan plan
	now  time.Time
	// Of this life: whether the disk is full, or was, and whether the machine is dead.
	full, refused, dead bool
	interrupted         int // openings in a row
}

func simulate(seed uint64, count map[string]int, trace func(string, ...any)) error {
	w := &world{vocabulary: vocabulary{seeded(seed, 10)}, witness: newWitness(count, trace), disk: vfs.NewMem(), now: epoch}
	if !w.chance(10) {
		w.disk = reserved().Kill()
	}
	w.plan = plan{
		segmentBytes: pick[int64](w.random, 8<<10, 8<<10, 16<<10, 64<<10), frameBytes: pick(w.random, 0, 2000), frameEvents: pick(w.random, 0, 3),
		clock: w.clock, random: seeded(seed, 11),
	}
	for life := range 7 {
		w.begin(life)
		if err := w.live(); err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
	}
	return w.end()
}

// reserved is a disk with the reserve of a store that was not finished, whose megabyte takes more time to make than all that follows.
var reserved = sync.OnceValue(func() *vfs.Mem {
	mem := vfs.NewMem()
	m, err := boot(mem, plan{segmentBytes: 8 << 10, clock: func() time.Time { return epoch }, random: seeded(0, 12)})
	if err != nil {
		panic(err) // a disk that works
	}
	m.fail()
	left := mem.Kill()
	names, err := left.List(storeDir)
	for _, name := range names {
		if name != "RESERVE" && name != "quarantine" {
			err = errors.Join(err, left.Remove(storeDir+"/"+name))
		}
	}
	if err = errors.Join(err, left.SyncDir(storeDir)); err != nil {
		panic(err)
	}
	return left
})

// clock goes forwards, and now and then back.
func (w *world) clock() time.Time {
	w.now = w.now.Add(time.Millisecond)
	if w.chance(3) {
		w.count["clock went back"]++
		return w.now.Add(-time.Hour)
	}
	return w.now
}

// live boots a machine, uses it, and ends it: by closing the store, by killing it, or by a power cut, which may come in the middle of
// an operation, of recovery too.
func (w *world) live() error {
	before := w.disk
	fs, over := w.weather(before)
	err := w.run(fs)
	w.disk = over()
	return err
}

// weather is a disk that may fail, fill up, and stop for good. Over is what is left in the end.
func (w *world) weather(mem *vfs.Mem) (fs *vfs.Faulty, over func() *vfs.Mem) {
	w.full, w.refused, w.dead = false, false, false
	dies, fails, fills, frees := 1<<30, 0, 0, 0
	switch {
	case w.interrupted > 0 && w.interrupted < 3 && w.chance(60):
		dies = 1 + w.IntN(25)
	case w.chance(60):
		dies = 1 + w.IntN(200)
	}
	if w.chance(30) {
		fails = 1 + w.IntN(120)
	}
	if w.chance(25) {
		fills = 1 + w.IntN(100)
		frees = fills + 1 + w.IntN(100)
	}
	var next *vfs.Mem
	end := func() *vfs.Mem {
		if next == nil {
			next = w.remains(mem)
		}
		return next
	}
	return vfs.NewFaulty(mem, func(o vfs.Op) vfs.Fault {
		w.full = o.N >= fills && o.N < frees
		w.see(o)
		switch {
		case o.N == dies:
			w.count["cut in an operation"]++
			w.failed = true
			if w.chance(50) {
				end() // before the operation did anything
			}
			return vfs.Fault{Err: errDead, Written: w.IntN(max(o.Bytes, 1)), Kept: w.chance(50)}
		case o.N > dies:
			end()
			w.dead = true
			return vfs.Fault{Err: errDead}
		case o.N == fails:
			w.count["operation failed"]++
			w.failed, w.unread = true, w.unread || o.Kind == vfs.OpRead
			w.trace("operation %d fails: %s %s", o.N, o.Kind, o.Name)
			return vfs.Fault{
				Err: pick[error](w.random, syscall.EIO, syscall.EIO, vfs.ErrNoSpace, syscall.EMFILE), Written: w.IntN(max(o.Bytes, 1)),
				Read: w.IntN(max(o.Bytes, 1)), Kept: w.chance(50),
			}
		case w.full && grows(mem, o):
			w.failed, w.refused = true, true
			return vfs.Fault{Err: vfs.ErrNoSpace, Written: w.IntN(max(o.Bytes, 1))}
		}
		return vfs.Fault{}
	}), end
}

// grows tells whether an operation takes space on the disk.
func grows(mem *vfs.Mem, o vfs.Op) bool {
	if o.Kind == vfs.OpCreate {
		return true
	}
	i, err := mem.Stat(o.Name)
	return o.Kind == vfs.OpWrite && err == nil && o.Offset+int64(o.Bytes) > i.Size
}

// see counts what the engine does.
func (w *world) see(o vfs.Op) {
	switch segment := strings.HasSuffix(o.Name, ".seg"); {
	case segment && o.Kind == vfs.OpTruncate:
		w.count["segment sealed"]++
	case segment && o.Kind == vfs.OpCreate && strings.Contains(o.Name, "00000003-"):
		w.count["segment rolled"]++
	}
}

// remains is what the end of a machine leaves.
func (w *world) remains(mem *vfs.Mem) *vfs.Mem {
	switch w.IntN(4) {
	case 0:
		w.count["killed"]++
		return mem.Kill()
	case 1:
		w.count["killed, then power cut"]++
		return mem.Kill().Crash(w.Rand)
	}
	w.count["power cut"]++
	return mem.Crash(w.Rand)
}

func (w *world) run(fs *vfs.Faulty) error {
	m, err := boot(fs, w.plan)
	if err != nil {
		w.trace("boot: %v", err)
		if !w.failed {
			return fmt.Errorf("opening, and no operation failed: %w", err)
		}
		w.interrupted++
		w.count["recovery interrupted"]++
		if w.interrupted == 3 {
			w.count["recovery interrupted 3 times"]++
		}
		return nil
	}
	defer m.fail()
	w.interrupted = 0
	if w.refused {
		w.count["opened while full"]++
	}
	if err := w.recovered(m); errors.Is(err, errUnread) {
		return nil
	} else if err != nil {
		return err
	}
	for i := 5 + w.IntN(25); i > 0; i-- {
		if w.dead {
			i = min(i, 2)
		}
		if err := w.operate(m); err != nil {
			return err
		}
	}
	if w.chance(40) {
		if err := m.shut(); err == nil {
			w.count["closed"]++
		} else if !w.failed {
			return fmt.Errorf("closing: %w", err)
		}
	}
	return nil
}

func (w *world) operate(m *machine) error {
	switch n := w.IntN(100); {
	case n < 65:
		return w.append(m)
	case n < 85:
		return w.reads(m, w.query(), w.chance(30))
	case n < 92:
		return w.follows(m, w.query(), annals.Position(w.IntN(len(w.log)+1)))
	default:
		return w.heads(m)
	}
}

// next is an append: a new one, or one that was tried before, whole or changed.
func (w *world) next() (a tried, again *remembered) {
	a = tried{events: w.events()}
	if w.chance(50) {
		a.conds = w.conditions(w.log)
	}
	if len(w.past) == 0 || !w.chance(25) {
		return a, nil
	}
	r := &w.past[len(w.past)-1-w.IntN(min(len(w.past), 30))]
	switch w.IntN(6) {
	case 0:
		changed := slices.Clone(r.events)
		changed[0].Data = append([]byte("other "), changed[0].Data...)
		return tried{changed, nil}, nil
	case 1:
		return tried{append(slices.Clone(r.events), a.events...), nil}, nil
	}
	return r.tried, r
}

func (w *world) append(m *machine) error {
	a, again := w.next()
	receipt, err := m.Append(background, a.events, a.conds...)
	if err == nil && !receipt.Duplicate && w.refused && !w.full {
		w.count["appended after full"]++
	}
	return w.answered(a, again, receipt, err)
}

// end boots on what is left, with a disk that works, and looks at everything; then again, after a power cut.
func (w *world) end() error {
	for _, what := range []string{"at last", "once more"} {
		w.begin(w.life + 1)
		m, err := boot(w.disk, w.plan)
		if err != nil {
			return fmt.Errorf("%s: opening: %w", what, err)
		}
		if err := errors.Join(w.recovered(m), w.everything(m)); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		m.fail()
		w.disk = w.remains(w.disk)
	}
	return nil
}

func TestAWholeStoreLivesThroughCrashesAndFaults(t *testing.T) {
	t.Parallel()
	first, last := *seedFlag, *seedFlag
	trace := t.Logf
	if first == 0 {
		first, last, trace = *fromFlag, *fromFlag+uint64(*seeds)-1, func(string, ...any) {}
	}
	start := time.Now()
	total := map[string]int{}
	var mu sync.Mutex
	var violations atomic.Int64
	next := atomic.Uint64{}
	next.Store(first - 1)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			count := map[string]int{}
			for seed := next.Add(1); seed <= last && violations.Load() < 5; seed = next.Add(1) {
				if err := simulate(seed, count, trace); err != nil {
					t.Errorf("-seed=%d: %v", seed, err)
					violations.Add(1)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for what, n := range count {
				total[what] += n
			}
		})
	}
	all.Wait()
	happened := 0
	for _, what := range sometimes {
		if total[what] > 0 {
			happened++
		} else if *seedFlag == 0 {
			t.Errorf("it never happened: %s", what)
		}
	}
	for what := range maps.Keys(total) {
		if !slices.Contains(sometimes, what) && *seedFlag == 0 {
			t.Logf("also: %s %d times", what, total[what])
		}
	}
	n := last - first + 1
	report(t, "simulation", "seeds=%d violations=%d seeds/min=%.0f sometimes=%d/%d %v",
		n, violations.Load(), float64(n)/time.Since(start).Minutes(), happened, len(sometimes), total)
}

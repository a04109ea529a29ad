package faultlane_test

import (
	"context"
	"errors"
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
	seed  uint64
	disk  *vfs.Mem
	plan  plan
	now   time.Time
	model *oracle
	log   []annals.Recorded // the model's
	count map[string]int
	trace func(format string, args ...any)

	past []remembered
	// open is the append of which nobody knows, until the next machine.
	open *tried
	life int
	// Of this life: whether an operation failed, whether one that reads did, whether the disk is full, was full.
	failed, unread, full, refused bool
	dead                          bool // the machine is
	interrupted                   int  // openings in a row
}

type remembered struct {
	tried
	life    int
	unknown bool // when it was answered first
}

func simulate(seed uint64, count map[string]int, trace func(string, ...any)) error {
	w := &world{vocabulary: vocabulary{seeded(seed, 10)}, seed: seed, disk: vfs.NewMem(), model: newOracle(), now: epoch, count: count, trace: trace}
	if !w.chance(10) {
		w.disk = reserved().Kill()
	}
	w.plan = plan{
		segmentBytes: pick[int64](w.random, 8<<10, 8<<10, 16<<10, 64<<10), frameBytes: pick(w.random, 0, 2000), frameEvents: pick(w.random, 0, 3),
		clock: w.clock, random: seeded(seed, 11),
	}
	for w.life = range 7 {
		if err := w.live(); err != nil {
			return fmt.Errorf("life %d: %w", w.life, err)
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
	w.failed, w.unread, w.full, w.refused, w.dead = false, false, false, false, false
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

// errUnread ends a life in which the disk does not let the log be compared: it may have the append of which nobody knows.
var errUnread = errors.New("the log cannot be read")

// recovered wants the log to be the one that was acknowledged, and at most the append of which nobody knew.
func (w *world) recovered(m *machine) error {
	r := m.dir.Recovered()
	w.trace("recovered %+v", r)
	for _, loss := range r.Damage {
		if !w.unread || loss.First != 0 {
			return fmt.Errorf("damage after crashes only: %w", loss)
		}
	}
	if r.Clean {
		w.count["opened clean"]++
	}
	if r.CutBytes > 0 {
		w.count["torn tail cut"]++
		if r.QuarantineFile != "" {
			w.count["quarantine kept"]++
		}
	}
	got, err := all(m, annals.All())
	if err != nil {
		if err := w.unable("reading", err); err != nil {
			return err
		}
		return errUnread
	}
	if w.open != nil {
		if len(got) > len(w.log) && len(got) == len(w.log)+len(w.open.events) {
			receipt := receiptOf(got[len(w.log):])
			if err := w.accept(*w.open, receipt, true); err != nil {
				return fmt.Errorf("of the append nobody knew of: %w", err)
			}
			w.count["unacknowledged tail kept"]++
		} else {
			w.past = append(w.past, remembered{*w.open, w.life, true})
			w.count["unacknowledged tail gone"]++
		}
		w.open = nil
	}
	return differ("the log after recovery", got, w.log)
}

// receiptOf is what the append of these events would have been told.
func receiptOf(es []annals.Recorded) annals.Receipt {
	r := annals.Receipt{First: es[0].Position, Last: es[len(es)-1].Position, Revision: annals.NoRevision, Time: es[0].Time}
	for _, e := range es {
		if e.Stream != "" {
			r.Revision = e.Revision
		}
	}
	return r
}

// unable is an error unless the disk explains it.
func (w *world) unable(what string, err error) error {
	if w.failed && isInability(err) {
		w.count["read failed"]++
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (w *world) operate(m *machine) error {
	switch n := w.IntN(100); {
	case n < 65:
		return w.append(m)
	case n < 85:
		return w.read(m)
	case n < 92:
		q, after := w.query(), annals.Position(w.IntN(len(w.log)+1))
		got, err := followed(m, q, after)
		if err != nil {
			return w.unable("subscribing", err)
		}
		w.count["subscription"]++
		return differ(fmt.Sprintf("a subscription to %s after %d", q, after), got, matching(w.log[after:], q))
	default:
		head, err := m.Head(context.Background())
		if err != nil || int(head) != len(w.log) {
			return fmt.Errorf("the head is %d, %w; want %d", head, err, len(w.log))
		}
		return nil
	}
}

func (w *world) read(m *machine) error {
	q := w.query()
	var opts []annals.ReadOption
	backwards := w.chance(30)
	if backwards {
		opts = append(opts, annals.Backwards())
	}
	got, err := all(m, q, opts...)
	if err != nil {
		return w.unable("reading", err)
	}
	w.count["read"]++
	want := matching(w.log, q)
	if backwards {
		slices.Reverse(want)
	}
	return differ(fmt.Sprintf("%s, backwards %v", q, backwards), got, want)
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
	receipt, err := m.Append(context.Background(), a.events, a.conds...)
	w.trace("append of %d, again %v: %+v, %v", len(a.events), again != nil, receipt, err)
	switch {
	case err == nil:
		if receipt.Duplicate && again != nil {
			w.count["duplicate"]++
			if again.life < w.life {
				w.count["duplicate after crash"]++
			}
			if again.unknown {
				w.count["duplicate of an unknown outcome"]++
			}
		}
		if w.count["full"] > 0 && !receipt.Duplicate && w.refused && !w.full {
			w.count["appended after full"]++
		}
		return w.accept(a, receipt, false)
	case isRefusal(err):
		w.count[refusalOf(err)]++
		if w.life > 0 && errors.Is(err, annals.ErrConflict) {
			w.count["conflict after crash"]++
		}
		return w.model.refuse(a, err)
	case !w.failed:
		return fmt.Errorf("an append was answered %w, and no operation failed", err)
	case errors.Is(err, annals.ErrUnknownOutcome):
		if w.open != nil {
			return fmt.Errorf("two appends in a life have no known outcome: %w", err)
		}
		w.open = &a
		w.count["unknown outcome"]++
	case !isInability(err):
		return fmt.Errorf("an append was answered %w", err)
	case errors.Is(err, annals.ErrFull):
		w.count["full"]++
	case errors.Is(err, annals.ErrReadOnly):
		w.count["stopped"]++
	case errors.Is(err, annals.ErrNotWritten):
		w.count["not written"]++
	}
	return nil
}

func refusalOf(err error) string {
	switch {
	case errors.Is(err, annals.ErrConflict):
		return "conflict"
	case errors.Is(err, annals.ErrIDReused):
		return "id reused"
	case errors.Is(err, annals.ErrPartialDuplicate):
		return "partial duplicate"
	}
	return "refused"
}

// accept enters an append into the model.
func (w *world) accept(a tried, receipt annals.Receipt, unknown bool) error {
	if err := w.model.accept(a, receipt); err != nil {
		return err
	}
	if !receipt.Duplicate {
		w.past = append(w.past, remembered{a, w.life, unknown})
		added, err := all(w.model, annals.All(), annals.After(annals.Position(len(w.log))))
		if err != nil {
			return err
		}
		w.log = append(w.log, added...)
	}
	return nil
}

// end boots on what is left, with a disk that works, and looks at everything; then again, after a power cut.
func (w *world) end() error {
	for _, what := range []string{"at last", "once more"} {
		w.failed = false
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

// everything asks for all names, verifies all bytes, and appends.
func (w *world) everything(m *machine) error {
	for _, q := range []annals.Query{
		annals.Stream("s-1"), annals.Stream("s-2"), annals.Stream("r-1"), annals.Category("s"), annals.Types("A"), annals.Types("B"),
		annals.Types("C"), annals.Tags("k:1"), annals.Tags("k:2"), annals.Tags("l:1"), annals.Tags("k:1", "l:1"),
	} {
		got, err := all(m, q)
		if err = errors.Join(err, differ(q.String(), got, matching(w.log, q))); err != nil {
			return err
		}
	}
	report, err := m.dir.Verify(context.Background())
	if err != nil || len(report.Damage) > 0 {
		return fmt.Errorf("it does not verify: %v, %w", report.Damage, err)
	}
	for _, r := range w.past[max(0, len(w.past)-10):] {
		receipt, err := m.Append(context.Background(), r.events, r.conds...)
		switch {
		case err == nil:
			err = w.accept(r.tried, receipt, false)
		case isRefusal(err):
			err = w.model.refuse(r.tried, err)
		}
		if err != nil {
			return fmt.Errorf("sent again: %w", err)
		}
	}
	return nil
}

func TestAWholeStoreLivesThroughCrashesAndFaults(t *testing.T) {
	t.Parallel()
	first, last := *seedFlag, *seedFlag
	trace := t.Logf
	if first == 0 {
		first, last, trace = 1, uint64(*seeds), func(string, ...any) {}
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

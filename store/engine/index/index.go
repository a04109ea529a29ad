package index

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index/run"
)

// Index says where events are. It is made of pieces, each for a part of the log: runs, which are files and never change,
// then epochs in memory, of which only the last one grows. See [Open].
//
// One goroutine at a time publishes; everything else may be called concurrently.
type Index struct {
	hasher  Hasher
	config  Config
	files   files
	options run.ReadOptions

	mu sync.RWMutex
	// head is written under the lock. Whoever reads with it sees nothing past it, though more may be indexed already.
	head    atomic.Uint64
	frame   uint64 // the number of the frame that holds the head
	set     *set
	lost    []*annals.DataLossError // positions that are known to be unreadable, ascending, each with First and Last
	changed chan struct{}           // closed when head grows; nil if nobody waits

	builder builder
	noted   noted
}

// set is the pieces at one time, which together have every position up to the head once. It does not change, but for the
// last epoch. While somebody uses it, its runs stay open.
type set struct {
	runs   []*piece // ascending
	epochs []*epoch // ascending; the last is the one that grows
	users  atomic.Int64
}

// floor is the first position that is in memory.
func (s *set) floor() uint64 { return s.epochs[0].first }

func (s *set) active() *epoch { return s.epochs[len(s.epochs)-1] }

// Hasher makes the terms that this index knows.
func (x *Index) Hasher() Hasher { return x.hasher }

// Head is the last visible position.
func (x *Index) Head() uint64 { return x.head.Load() }

// HeadFrame is the last visible position, and the number of the frame that holds it.
func (x *Index) HeadFrame() (head, frame uint64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.head.Load(), x.frame
}

// Watch is the head, and a channel that is closed when it grows.
func (x *Index) Watch() (uint64, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.changed == nil {
		x.changed = make(chan struct{})
	}
	return x.head.Load(), x.changed
}

// addAtOnce is how many events are indexed under one lock, so that readers do not wait for all of a large frame.
const addAtOnce = 256

// Add indexes events at the positions from first on, which follow the last that were added, or a gap that is lost. They are
// not visible before [Index.Advance]. It keeps nothing of what it is given.
func (x *Index) Add(events []Keys, first uint64) {
	for len(events) > 0 {
		n := min(len(events), addAtOnce)
		x.add(events[:n], first)
		first += uint64(n)
		events = events[n:]
	}
}

func (x *Index) add(events []Keys, first uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e := x.set.active()
	if e.empty() && e.first != first { // what is between is lost
		e = newEpoch(first)
		x.changeLocked(x.set.runs, append(slices.Clone(x.set.epochs[:len(x.set.epochs)-1]), e))
	}
	for i := range events {
		e.add(&events[i])
	}
}

// Advance makes the events of a frame visible, all of which were added.
func (x *Index) Advance(h *frame.Header) {
	x.mu.Lock()
	e := x.set.active()
	e.endFrame(h)
	x.frame = h.Seq
	x.advanceLocked(uint64(h.LastPosition()))
	full := e.events() >= x.config.EpochEvents || e.names >= x.config.EpochEvents*listsPerEvent
	if full {
		x.changeLocked(x.set.runs, append(slices.Clone(x.set.epochs), newEpoch(e.last+1)))
	}
	x.mu.Unlock()
	if full {
		x.builder.kick(&x.builder.seal)
	}
}

// listsPerEvent bounds an epoch whose events have many names each.
const listsPerEvent = 8

// advanceLocked moves the head and wakes who waits for it.
func (x *Index) advanceLocked(head uint64) {
	x.head.Store(head)
	if x.changed != nil {
		close(x.changed)
		x.changed = nil
	}
}

// changeLocked replaces the pieces. Runs that are no longer among them are closed when nobody uses them.
func (x *Index) changeLocked(runs []*piece, epochs []*epoch) {
	next := &set{runs: runs, epochs: epochs}
	next.users.Store(1) // the index
	for _, p := range runs {
		p.sets.Add(1)
	}
	last := x.set
	x.set = next
	if last != nil {
		last.release()
	}
}

// release ends the use of a set.
func (s *set) release() {
	if s.users.Add(-1) > 0 {
		return
	}
	for _, p := range s.runs {
		p.release()
	}
}

// Lose notes that positions cannot be read. They count as part of the log. Nothing after them is written to files, so that
// a log that has been mended is indexed anew.
func (x *Index) Lose(e *annals.DataLossError) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lost = append(x.lost, e)
	if a := x.set.active(); !a.empty() {
		x.changeLocked(x.set.runs, append(slices.Clone(x.set.epochs), newEpoch(uint64(e.Last)+1)))
	}
	x.advanceLocked(max(x.head.Load(), uint64(e.Last)))
}

// Lost are the positions that are known to be unreadable.
func (x *Index) Lost() []*annals.DataLossError {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return append([]*annals.DataLossError(nil), x.lost...)
}

// FirstLost is the first known loss that a walk over r meets, if any.
func (x *Index) FirstLost(r Range) *annals.DataLossError {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var found *annals.DataLossError
	for _, l := range x.lost {
		if r.empty() || uint64(l.First) > r.Upto || uint64(l.Last) <= r.After {
			continue
		}
		found = l
		if !r.Backwards {
			break
		}
	}
	return found
}

// Stats are figures about an index.
type Stats struct {
	// Runs is how many files it is in, Bytes their size, and Damaged how many of them are being made anew.
	Runs, Damaged int
	Bytes         int64
	// InMemory is how many events are in no file yet.
	InMemory int
	// Resident is how much memory filters and fences of runs take, in bytes.
	Resident int64
}

// Stats are figures about the index as it is now.
func (x *Index) Stats() Stats {
	x.mu.RLock()
	defer x.mu.RUnlock()
	st := Stats{Runs: len(x.set.runs), Resident: x.options.Budget.Used()}
	for _, p := range x.set.runs {
		if p.reader != nil {
			st.Bytes += p.reader.Size()
		}
		if p.damaged.Load() {
			st.Damaged++
		}
	}
	for _, e := range x.set.epochs {
		st.InMemory += e.events()
	}
	return st
}

// View is the index up to one head. [View.Release] it.
type View struct {
	x    *Index
	set  *set
	head uint64
}

// View is the index as it is now.
func (x *Index) View() View {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.set.users.Add(1)
	return View{x: x, set: x.set, head: x.head.Load()}
}

// Release ends the use of the view and of everything that was got from it.
func (v View) Release() { v.set.release() }

// Head is the last position of the view.
func (v View) Head() uint64 { return v.head }

// UpTo is v as it was at an earlier head. It is released with v.
func (v View) UpTo(head uint64) View {
	v.head = min(v.head, head)
	return v
}

// list is what an epoch has of a term.
func (v View) list(e *epoch, t Term) ([]uint32, uint64) {
	if e == v.set.active() {
		v.x.mu.RLock()
		defer v.x.mu.RUnlock()
	}
	l := e.find(t)
	if l == nil {
		return nil, e.first
	}
	return l.offsets, e.first
}

// UptoTime is a range of positions (After, Upto] in which the last position lies that had been written at t; it is After if
// no position in the range had.
func (v View) UptoTime(t time.Time) Range {
	nanos := t.UnixNano()
	for _, e := range slices.Backward(v.set.epochs) {
		if p := v.epochUpto(e, nanos); p > 0 {
			p = min(p, v.head)
			return Range{After: p, Upto: p}
		}
	}
	return v.uptoTimeInRuns(nanos)
}

func (v View) epochUpto(e *epoch, nanos int64) uint64 {
	v.x.mu.RLock()
	defer v.x.mu.RUnlock()
	if p := e.upto(nanos); p >= e.first {
		return p
	}
	return 0
}

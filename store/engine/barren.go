package engine

import (
	"runtime"
	"sync"

	"github.com/annalsdb/annals/store/engine/index"
)

// A condition whose query asks for several names at once may have to look through long lists to find that no event has
// them all. Two things keep that from others. What was looked through is remembered, so that whoever asks again looks at
// what has come since. And those who begin to look do so one after the other, on part of the processors.
const (
	// narrowFrom is how many positions a condition must reach back over for any of this to be worth its while.
	narrowFrom = 4096
	// noteFrom is how many keys of the index must have been in question for a stretch to be remembered.
	noteFrom = 4096
	// heavyFrom is how many in one part of the index make a walk one that waits for its turn.
	heavyFrom = 16384
	// barrenMost is how many stretches a generation has; there are two.
	barrenMost = 2048
)

// stretch is a part of the log, (after, upto].
type stretch struct{ after, upto uint64 }

// barren remembers for plans where the index has no candidate. That never changes: what has a position keeps it and its names,
// and retention can only hide. So nothing here ever has to be taken back; the memory is bounded by forgetting what was not
// asked for lately. It is safe for concurrent use.
type barren struct {
	mu         sync.Mutex
	young, old map[string]stretch // by the key of a plan
	turns      chan struct{}      // one for each of those who may walk far at the same time
}

func (b *barren) open() {
	b.young = map[string]stretch{}
	b.turns = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
}

// skip is the position up to which nothing needs to be looked at by one who would begin after a position.
func (b *barren) skip(key []byte, after uint64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, found := b.lookUpLocked(key); found && known.after <= after {
		return max(after, known.upto)
	}
	return after
}

func (b *barren) lookUpLocked(key []byte) (stretch, bool) {
	known, found := b.young[string(key)]
	if !found {
		if known, found = b.old[string(key)]; found {
			b.putLocked(key, known)
		}
	}
	return known, found
}

// note remembers that there is no candidate in a stretch. Of two that do not touch the longer one is kept.
func (b *barren) note(key []byte, s stretch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, found := b.lookUpLocked(key); found {
		switch {
		case s.after <= known.upto && known.after <= s.upto:
			s = stretch{min(s.after, known.after), max(s.upto, known.upto)}
		case known.upto-known.after >= s.upto-s.after:
			return
		}
	}
	b.putLocked(key, s)
}

func (b *barren) putLocked(key []byte, s stretch) {
	if _, found := b.young[string(key)]; !found && len(b.young) >= barrenMost {
		b.young, b.old = make(map[string]stretch, barrenMost), b.young
	}
	b.young[string(key)] = s
}

// narrow leaves out the beginning of a range in which a plan has no candidate.
func (v *evaluation) narrow(plan *index.Plan, in index.Range) (index.Range, error) {
	always := v.store.config.heavy == heavyAlways
	if !plan.Intersects() || !always && in.Upto < in.After+narrowFrom {
		return in, nil
	}
	var (
		b     = &v.store.barren
		space [128]byte
		key   = plan.AppendKey(space[:0])
	)
	begin := in.After
	in.After = b.skip(key, begin)
	work, first, met, err := v.firstCandidate(plan, in, key)
	if err != nil {
		return in, err
	}
	in.After = in.Upto
	if met {
		in.After = first - 1
	}
	// A short way is not worth a place: the next who asks goes it again, until it has become a long one.
	if work >= noteFrom || always {
		b.note(key, stretch{begin, max(begin, in.After)})
	}
	return in, nil
}

// firstCandidate walks to the first position that may match. Work is about how many keys were in question.
func (v *evaluation) firstCandidate(plan *index.Plan, in index.Range, key []byte) (work int, first uint64, met bool, err error) {
	b, turn := &v.store.barren, false
	defer func() {
		if turn {
			<-b.turns
		}
	}()
	for part := range v.view.Walk(plan, in) {
		n, from := part.AtMost(), uint64(0)
		if !turn && !part.Everything && (n >= heavyFrom || v.store.config.heavy == heavyAlways) {
			select {
			case b.turns <- struct{}{}:
				turn = true
			case <-v.ctx.Done():
				return work, 0, false, contextEnd(v.ctx)
			}
		}
		if turn { // others may have looked while this one waited
			from = b.skip(key, in.After) + 1
		}
		work += n
		if at := part.Seek(from); at != index.Done {
			return work, at, true, nil
		}
	}
	return work, 0, false, nil
}

// heavyChoice makes every walk one that is remembered and waits for its turn, for tests: it may change speed only.
type heavyChoice uint8

const (
	heavyFree heavyChoice = iota
	heavyAlways
)

package live

import (
	"math/bits"
	"sync/atomic"

	"github.com/annalsdb/annals"
)

// ring holds the last events that matched for anybody, numbered as they came, for all subscribers together. The hub's
// goroutine writes; whoever reads a place finds the event it looks for, or that the place was used again.
type ring struct {
	slots    []atomic.Pointer[slot]
	bytesMax int

	// What follows belongs to who holds the hub's lock.
	oldest, next uint64 // the numbers that are in the ring: from oldest up to before next
	bytes        int
}

// slot is an event in the ring. It is never written again.
type slot struct {
	number uint64
	bytes  int
	event  annals.Recorded
}

// slotBytes is what an event takes beside its text and its data.
const slotBytes = 256

func newRing(events, bytes int) *ring {
	size := 1 << bits.Len(uint(events-1))
	return &ring{slots: make([]atomic.Pointer[slot], size), bytesMax: bytes}
}

// put adds an event, and gives it a number. One that is larger than the whole ring is gone at once.
func (r *ring) put(e annals.Recorded) uint64 {
	s := &slot{number: r.next, event: e, bytes: slotBytes + len(e.Type) + len(e.Stream) + len(e.ContentType) + len(e.Data) + len(e.Metadata)}
	for _, t := range e.Tags {
		s.bytes += len(t) + 16
	}
	r.next++
	if r.next-r.oldest > uint64(len(r.slots)) {
		r.evict()
	}
	r.place(s.number).Store(s)
	for r.bytes += s.bytes; r.bytes > r.bytesMax; {
		r.evict()
	}
	return s.number
}

func (r *ring) evict() {
	at := r.place(r.oldest)
	r.bytes -= at.Load().bytes
	at.Store(nil)
	r.oldest++
}

func (r *ring) place(number uint64) *atomic.Pointer[slot] {
	return &r.slots[number&uint64(len(r.slots)-1)]
}

// get is the event with this number; nil if it is no longer there.
func (r *ring) get(number uint64) *slot {
	if s := r.place(number).Load(); s != nil && s.number == number {
		return s
	}
	return nil
}

package live

import (
	"sync"

	"github.com/annalsdb/annals"
)

// Subscriber is one subscription. It is used by one goroutine.
type Subscriber struct {
	hub   *Hub
	query annals.Query
	items []annals.Item
	wake  chan struct{} // with room for one

	// What follows is guarded by the hub's lock.
	place   int // among the members, while live
	entries []*entry
	from    uint64 // it reads up to here by itself
	seen    uint64 // the last position it was a candidate for
	fresh   queue  // of the frame that is looked at
	lost    bool   // something in that frame had no room

	mu sync.Mutex
	// behind is written with the hub's lock held too.
	behind bool
	// What follows is guarded by mu.
	queue queue  // what waits
	upto  uint64 // everything that matches up to here is in the queue, or was
	told  uint64 // how far the subscriber has come, as it said
	due   uint64 // it is to be told that the hub has looked so far, at least
}

// queue is numbers of events in the ring, ascending, as runs.
type queue []run

type run struct{ first, last uint64 }

// push adds a number that is higher than all.
func (q *queue) push(number uint64) {
	if n := len(*q); n > 0 && (*q)[n-1].last+1 == number {
		(*q)[n-1].last = number
		return
	}
	*q = append(*q, run{number, number})
}

// join pushes all of more, the first of which is higher than all.
func (q *queue) join(more queue) {
	for _, r := range more {
		q.push(r.first)
		(*q)[len(*q)-1].last = r.last
	}
}

// State is what there is for a subscriber.
type State int

// The states.
const (
	// Idle: nothing. Wait for [Subscriber.Ready].
	Idle State = iota
	// Matched: an event.
	Matched
	// Progress: a position up to which every event that matches has been taken.
	Progress
	// Behind: the log is to be read up to the head, and then joined again.
	Behind
)

// Ready receives when it is worth while to Take, after that has said Idle, though it may find nothing new. After
// [Hub.Close] it need not.
func (s *Subscriber) Ready() <-chan struct{} { return s.wake }

// Join makes a subscriber that is behind live, and is the position up to which it must read: everything that matches
// behind it can be taken.
func (s *Subscriber) Join() uint64 {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind {
		s.behind = false
		s.from = s.hub.joinLocked(s)
		s.upto = s.from
	}
	return s.from
}

// Leave ends the subscription, whatever it does. Nothing may be called afterwards.
func (s *Subscriber) Leave() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.behind {
		s.hub.partLocked(s)
		s.dropLocked()
	}
	s.hub.subscribers--
}

// Take is what comes next for one who has come to a position, not before what Join said: an event, or the position that
// progress has.
func (s *Subscriber) Take(at uint64) (State, *annals.Recorded, uint64) {
	state, e, p := s.take(at)
	if state == Behind {
		s.hub.fallBehind(s) // if it is not, it has found out by itself
	}
	return state, e, p
}

func (s *Subscriber) take(at uint64) (State, *annals.Recorded, uint64) {
	looked := s.hub.looked.Load() // before the queue: what matches up to there has been put into it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = max(s.told, at)
	switch {
	case s.behind:
		return Behind, nil, 0
	case len(s.queue) > 0:
		found := s.hub.ring.Load().get(s.queue[0].first)
		if found == nil {
			return Behind, nil, 0
		}
		s.popLocked()
		e := found.event // the subscriber's own, to do with as it likes
		return Matched, &e, uint64(e.Position)
	}
	p := s.promisedLocked(at, looked)
	if p <= at {
		return Idle, nil, 0
	}
	s.told = p
	return Progress, nil, p
}

// More reports whether Take has something for one who has come to a position.
func (s *Subscriber) More(at uint64) bool {
	looked := s.hub.looked.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind || len(s.queue) > 0 || s.promisedLocked(at, looked) > at
}

// promisedLocked is the progress that may be made from a position while nothing waits: over the frame of the last match, and,
// if it is due, as far as the hub has looked.
func (s *Subscriber) promisedLocked(at, looked uint64) uint64 {
	if s.due > at {
		return max(s.upto, s.due, looked)
	}
	return s.upto
}

func (s *Subscriber) popLocked() {
	if first := &s.queue[0]; first.first < first.last {
		first.first++
		return
	}
	s.hub.queued.Add(-1)
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = nil
	}
}

// dropLocked forgets what waits. The hub's lock is held too.
func (s *Subscriber) dropLocked() {
	s.hub.queued.Add(-int64(len(s.queue) + len(s.fresh)))
	s.queue, s.fresh, s.lost, s.behind = nil, nil, false, true
}

func (s *Subscriber) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

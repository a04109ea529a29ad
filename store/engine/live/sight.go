package live

import (
	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

const (
	// queueLeast is how many runs may wait for a subscriber whatever waits for the others.
	queueLeast = 8
	// freshKept is how much memory is kept from one frame to the next for what is new for a subscriber, in runs.
	freshKept = 8
)

// sight is what the hub needs to look at a frame.
type sight struct {
	decoder *frame.Decoder
	event   annals.Event  // lent from the record at hand
	touched []*Subscriber // for whom there is something in the frame
}

// look tells those whom a frame's events concern, each once for all of them.
func (h *Hub) look(f bulletin) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, record := range frame.Records(f.bytes) {
		if frame.IsEvent(record) && !h.lookAt(record) { // whoever reads it from the log finds out more
			h.allFallBehindLocked()
			return
		}
	}
	for _, s := range h.sight.touched {
		h.tellLocked(s, f.last)
	}
	clear(h.sight.touched)
	h.sight.touched = h.sight.touched[:0]
	h.looked.Store(f.last)
}

// lookAt puts the event of a record into the ring and into the queues of those whom it matches. It is false if it cannot be
// decoded.
func (h *Hub) lookAt(record []byte) bool {
	e := &h.sight.event
	at, err := frame.Peek(e, record)
	if err != nil {
		return false
	}
	p := uint64(at)
	matched, number := false, uint64(0)
	h.registry.find(e, func(s *Subscriber) {
		if s.seen >= p || s.from >= p || err != nil {
			return
		}
		s.seen = p
		if !s.query.MatchEvent(*e) {
			return
		}
		if !matched {
			var r frame.Record
			if r, _, err = h.sight.decoder.Decode(record); err != nil {
				return
			}
			matched, number = true, h.ring.Load().put(r.Recorded)
		}
		if len(s.fresh) == 0 && !s.lost {
			h.sight.touched = append(h.sight.touched, s)
		}
		h.noteLocked(s, number)
	})
	return err == nil
}

// noteLocked keeps a number for s until the whole frame was looked at.
func (h *Hub) noteLocked(s *Subscriber, number uint64) {
	n := len(s.fresh)
	if s.lost = s.lost || n >= h.config.Queue || n >= queueLeast && h.queued.Load() >= h.config.queuedMax(); s.lost {
		return
	}
	s.fresh.push(number)
	h.queued.Add(int64(len(s.fresh) - n))
}

// tellLocked adds what is new for s to its queue, if that has room and nothing of it is gone from the ring.
func (h *Hub) tellLocked(s *Subscriber, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.queue) + len(s.fresh)
	full := s.lost || n > h.config.Queue || n > queueLeast && h.queued.Load() > h.config.queuedMax()
	if full || s.oldestLocked() < h.ring.Load().oldest {
		h.partLocked(s)
		s.dropLocked()
		s.wakeUp()
		return
	}
	s.queue.join(s.fresh)
	h.queued.Add(int64(len(s.queue) - n))
	if s.fresh = s.fresh[:0]; cap(s.fresh) > freshKept {
		s.fresh = nil
	}
	s.upto = last
	s.wakeUp()
}

// oldestLocked is the oldest event that waits.
func (s *Subscriber) oldestLocked() uint64 {
	if len(s.queue) > 0 {
		return s.queue[0].first
	}
	return s.fresh[0].first
}

func (g *sight) forget() {
	g.event = annals.Event{}
	g.touched = nil
}

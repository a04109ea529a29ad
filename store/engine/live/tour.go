package live

import "time"

// The pace of a tour. A visit, with what it wakes, takes about 5 microseconds of processor time: no more than 5 % of one.
const (
	tourTick   = 5 * time.Millisecond
	tourVisits = 50  // in a tick, over time
	tourBurst  = 300 // in advance
	tourStep   = 50  // before frames are looked at again
)

// tour goes round all who are live, to tell those whom nothing matched how far the hub has looked. A new one begins
// whenever that is further; a tour that is under way is made longer by it, since those who were visited first are to be
// visited again.
type tour struct {
	upto  uint64 // as far as there is to tell
	next  int    // whom to visit
	left  int    // visits until everyone was
	debt  int    // visits that were made in advance
	timer *time.Timer
	armed bool
}

func (t *tour) begin() {
	*t = tour{timer: time.NewTimer(time.Hour)}
	t.timer.Stop()
}

func (t *tour) end() {
	t.timer.Stop()
	t.left = 0
}

// ticks receives at the end of a pause.
func (t *tour) ticks() <-chan time.Time { return t.timer.C }

// tick ends a pause.
func (t *tour) tick() {
	t.armed = false
	t.debt = max(0, t.debt-tourVisits)
}

// travel makes some visits, and tells whether more may follow at once. If nobody is live any more, the goroutine ends.
func (h *Hub) travel() (goOn, ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.members) == 0 {
		h.stopLocked()
		return false, true
	}
	t := &h.tour
	looked := h.looked.Load()
	if looked > t.upto {
		t.upto, t.left = looked, len(h.members)
	}
	t.left = min(t.left, len(h.members))
	for range min(tourStep, tourBurst-t.debt, t.left) {
		if t.next >= len(h.members) {
			t.next = 0
		}
		h.members[t.next].remind(looked)
		t.next++
		t.left--
		t.debt++
	}
	if t.debt > 0 && !t.armed {
		t.timer.Reset(tourTick)
		t.armed = true
	}
	return t.left > 0 && t.debt < tourBurst, false
}

// remind makes s due for progress, if there is some that it does not know of.
func (s *Subscriber) remind(looked uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if max(s.told, s.upto, s.due) < looked {
		s.due = looked
		s.wakeUp()
	}
}

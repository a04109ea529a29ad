package live

import (
	"sync"
	"sync/atomic"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// Config is what a hub is made of.
type Config struct {
	// Store is whose frames are published.
	Store frame.StoreID
	// Head is the last position that is visible to reads. It is called with the hub's lock held and must not block.
	Head func() uint64
	// Bytes bounds the events in the ring, and again the frames that wait to be looked at.
	Bytes int
	// Events is the number of places in the ring. It is rounded up to a power of two.
	Events int
	// Queue bounds what waits for one subscriber, in runs of events that follow each other in the ring. A thousand times
	// that bounds what waits for all of them together, beside the first few of each.
	Queue int
}

// queuedMax bounds what waits for all subscribers together, in runs, of 16 bytes each: as much as 1,000 queues.
func (c *Config) queuedMax() int64 { return int64(c.Queue) * 1000 }

// Hub tells subscribers of frames. Make one with [New]. It may be used concurrently.
type Hub struct {
	config Config

	// live counts those who are to be told. It grows before a subscriber looks at the head, and is looked at by
	// appenders after they have moved the head, so that one of the two sees the other.
	live atomic.Int64
	// looked is the last position that was looked at on behalf of everyone who is live.
	looked atomic.Uint64
	// queued counts the runs that wait for all subscribers.
	queued atomic.Int64
	ring   atomic.Pointer[ring] // nil while nobody is live; the hub's goroutine alone writes into it

	inbox inbox

	// mu is held while a frame is looked at. Before it, no lock of a subscriber is taken.
	mu          sync.Mutex
	registry    registry
	members     []*Subscriber // who is live, in the order of the tour
	subscribers int           // live and behind
	running     bool          // whether the goroutine is there
	closed      bool
	sight       sight
	tour        tour

	closing chan struct{}
	done    sync.WaitGroup
}

// New makes a hub without subscribers, which costs next to nothing.
func New(c Config) *Hub {
	h := &Hub{config: c, closing: make(chan struct{})}
	h.inbox.bytesMax = c.Bytes
	h.inbox.work = make(chan struct{}, 1)
	h.sight.decoder = frame.NewDecoder(c.Store, false)
	return h
}

// Publish tells of a frame that has become visible. It copies f, never waits for anybody, and does nothing at all while
// nobody is live. Frames must be published in order, after [Config].Head covers them.
func (h *Hub) Publish(header *frame.Header, f []byte) {
	if h.live.Load() > 0 {
		h.inbox.put(uint64(header.LastPosition()), f)
	}
}

// Interrupt tells that the head has moved over positions that no frame holds. All who are live fall behind, and find out
// by reading.
func (h *Hub) Interrupt() {
	if h.live.Load() > 0 {
		h.inbox.overflow()
	}
}

// Close ends the hub and waits for its goroutine. Nobody is told of anything from now on, and nobody is woken: who waits
// must know by other means. It may be called again.
func (h *Hub) Close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.closing)
	}
	h.mu.Unlock()
	h.done.Wait()
}

// Stats are figures about a hub.
type Stats struct {
	// Subscribers counts subscriptions, and Behind those among them that read the log, and are not told.
	Subscribers, Behind int
	// Bytes is what the events in the ring and the frames that wait take.
	Bytes int
}

// Stats are figures about the hub as it is now.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := Stats{Subscribers: h.subscribers, Behind: h.subscribers - len(h.members), Bytes: h.inbox.size()}
	if r := h.ring.Load(); r != nil {
		s.Bytes += r.bytes
	}
	return s
}

// Subscribe makes a subscriber, which is behind until it joins. Its owner must let it [Subscriber.Leave].
func (h *Hub) Subscribe(q annals.Query) *Subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribers++
	return &Subscriber{hub: h, query: q, items: q.Items(), behind: true, wake: make(chan struct{}, 1)}
}

// joinLocked makes s live, and is the position behind which it is told of everything.
func (h *Hub) joinLocked(s *Subscriber) uint64 {
	if !h.running {
		h.startLocked()
	}
	h.live.Add(1)
	h.registry.add(s)
	s.place = len(h.members)
	h.members = append(h.members, s)
	if h.tour.left > 0 { // a visit to s on the way would be one too few for those behind it
		h.tour.left++
	}
	return h.config.Head()
}

// startLocked starts the goroutine. What frames there are in the inbox came when the last one was about to end; whoever
// joins now finds them under the head.
func (h *Hub) startLocked() {
	if h.closed {
		return
	}
	h.running = true
	h.inbox.reset()
	h.tour.begin()
	h.ring.Store(newRing(h.config.Events, h.config.Bytes))
	h.done.Go(h.run)
}

// partLocked makes s live no longer.
func (h *Hub) partLocked(s *Subscriber) {
	h.registry.remove(s)
	last := len(h.members) - 1
	h.members[s.place] = h.members[last]
	h.members[s.place].place = s.place
	h.members[last] = nil
	h.members = h.members[:last]
	if h.tour.left > 0 { // who has taken that place might be passed over
		h.tour.left = last
	}
	if h.live.Add(-1) == 0 {
		h.inbox.signal() // for the goroutine to end
	}
}

// fallBehind sends s back to reading.
func (h *Hub) fallBehind(s *Subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fallBehindLocked(s)
}

func (h *Hub) fallBehindLocked(s *Subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.behind {
		h.partLocked(s)
		s.dropLocked()
		s.wakeUp()
	}
}

// run is the goroutine: it looks at frames, and makes tours in between, until nobody is live.
func (h *Hub) run() {
	for {
		select {
		case <-h.inbox.work:
		case <-h.tour.ticks():
			h.tour.tick()
		case <-h.closing:
			h.stop()
			return
		}
		f, overflown, some := h.inbox.take()
		switch {
		case overflown:
			h.allFallBehind()
		case some:
			h.look(f)
			h.inbox.recycle(f)
		}
		goOn, ended := h.travel()
		if ended {
			return
		}
		if goOn || overflown || some {
			h.inbox.signal()
		}
	}
}

func (h *Hub) allFallBehind() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.allFallBehindLocked()
}

func (h *Hub) allFallBehindLocked() {
	h.sight.forget()
	for n := len(h.members); n > 0; n-- {
		h.fallBehindLocked(h.members[n-1])
	}
}

// stop ends what there is when the hub is closed.
func (h *Hub) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.allFallBehindLocked()
	h.stopLocked()
}

// stopLocked lets go of everything when nobody is live.
func (h *Hub) stopLocked() {
	h.running = false
	h.inbox.reset()
	h.tour.end()
	h.ring.Store(nil)
	h.registry.forget()
	h.members = nil
	h.sight.forget()
}

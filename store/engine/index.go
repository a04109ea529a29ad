package engine

import (
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// index says where events are: for each type, tag, stream, category and id the positions at which it occurs. It holds
// names as text, so that its answers are exact and need no verification; reads verify them all the same.
//
// Lists only grow. Whoever has taken a list under the lock may go on reading that much of it without.
type index struct {
	mu         sync.RWMutex
	head       uint64
	frame      uint64 // the number of the frame that holds the head
	types      lists
	tags       lists
	categories lists
	streams    map[string]*stream
	ids        map[annals.ID]uint64   // the first event with this id
	idsMore    map[annals.ID][]uint64 // the others, in other streams
	system     []uint64               // the events that are hidden from most
	frames     []frameEnd
	lost       []*annals.DataLossError // positions that cannot be read, ascending, each with First and Last
	changed    chan struct{}           // closed when head grows; nil if nobody waits
}

type lists map[string]*list

type list struct{ positions []uint64 }

func (m lists) of(name string) *list {
	l := m[name]
	if l == nil {
		l = &list{}
		m[strings.Clone(name)] = l // a name may be part of a large buffer, which the key must not keep alive
	}
	return l
}

// stream is the events of one stream.
type stream struct {
	list
	category *list
	last     annals.Revision
	runs     []run // where revisions do not go on by one, because events are lost; mostly none
}

// run says that the event at this place of the stream's list has this revision, and those after it the following.
type run struct {
	place int
	first annals.Revision
}

// frameEnd says until which position the log had come at a time.
type frameEnd struct {
	nanos int64
	last  uint64
}

// entry is an event to be indexed. Only its id and its names are looked at.
type entry struct {
	event    *annals.Event
	revision annals.Revision
}

func newIndex() *index {
	return &index{
		types: lists{}, tags: lists{}, categories: lists{}, streams: map[string]*stream{},
		ids: map[annals.ID]uint64{}, idsMore: map[annals.ID][]uint64{},
	}
}

// publish adds a frame's events after the head, or after a gap that is lost, and makes them visible.
func (x *index) publish(entries []entry, h *frame.Header) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, e := range entries {
		x.add(e, uint64(h.FirstPosition)+uint64(i))
	}
	x.head, x.frame = uint64(h.LastPosition()), h.Seq
	if n := len(x.frames); n > 0 && x.frames[n-1].nanos == h.Time.UnixNano() {
		x.frames[n-1].last = x.head
	} else {
		x.frames = append(x.frames, frameEnd{nanos: h.Time.UnixNano(), last: x.head})
	}
	if x.changed != nil {
		close(x.changed)
		x.changed = nil
	}
}

// add indexes one event. Whoever calls it holds the lock, or owns the index alone.
func (x *index) add(e entry, p uint64) {
	x.types.of(e.event.Type).push(p)
	for _, t := range e.event.Tags {
		x.tags.of(t).push(p)
	}
	if _, taken := x.ids[e.event.ID]; taken {
		x.idsMore[e.event.ID] = append(x.idsMore[e.event.ID], p)
	} else {
		x.ids[e.event.ID] = p
	}
	if e.event.IsSystem() {
		x.system = append(x.system, p)
	}
	if e.event.Stream != "" {
		x.addToStream(e, p)
	}
}

func (x *index) addToStream(e entry, p uint64) {
	s := x.streams[e.event.Stream]
	next := annals.Revision(0)
	if s == nil {
		s = &stream{category: x.categories.of(e.event.Category())}
		x.streams[strings.Clone(e.event.Stream)] = s
	} else {
		next = s.last + 1
	}
	if e.revision != next {
		s.runs = append(s.runs, run{place: len(s.positions), first: e.revision})
	}
	s.push(p)
	s.category.push(p)
	s.last = e.revision
}

func (l *list) push(p uint64) { l.positions = append(l.positions, p) }

// place is the index in the stream's list of the first event whose revision is at least r.
func (s *stream) place(r annals.Revision) int {
	at := run{}
	end := len(s.positions)
	for _, next := range s.runs {
		if next.first > r {
			end = next.place
			break
		}
		at = next
	}
	return at.place + int(min(uint64(r-at.first), uint64(end-at.place)))
}

// revisionAt is the revision of the event at a place of the stream's list.
func (s *stream) revisionAt(place int) annals.Revision {
	at := run{}
	for _, next := range s.runs {
		if next.place > place {
			break
		}
		at = next
	}
	return at.first + annals.Revision(place-at.place)
}

// lose notes that positions cannot be read. They count as part of the log.
func (x *index) lose(e *annals.DataLossError) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.lost = append(x.lost, e)
	x.head = max(x.head, uint64(e.Last))
}

// firstLost is the first loss that a read of (after, upto] meets.
func (x *index) firstLost(after, upto uint64, backwards bool) *annals.DataLossError {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var found *annals.DataLossError
	for _, l := range x.lost {
		if after >= upto || uint64(l.First) > upto || uint64(l.Last) <= after {
			continue
		}
		found = l
		if !backwards {
			break
		}
	}
	return found
}

func (x *index) visible() uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.head
}

// watch is the head, and a channel that is closed when it grows.
func (x *index) watch() (uint64, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.changed == nil {
		x.changed = make(chan struct{})
	}
	return x.head, x.changed
}

// at is the last position that had been written at t.
func (x *index) at(t time.Time) uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i := sort.Search(len(x.frames), func(i int) bool { return time.Unix(0, x.frames[i].nanos).After(t) })
	switch {
	case i == len(x.frames):
		return x.head
	case i == 0:
		return 0
	}
	return x.frames[i-1].last
}

// last is the last revision of a stream, up to a position.
func (x *index) last(name string, upto uint64) (annals.Revision, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := x.streams[name]
	if s == nil {
		return annals.NoRevision, false
	}
	switch n := len(within(s.positions, 0, upto)); n {
	case 0:
		return annals.NoRevision, false
	case len(s.positions):
		return s.last, true
	default:
		return s.revisionAt(n - 1), true
	}
}

// find is the position of a stream's revision, 0 if there is none.
func (x *index) find(name string, r annals.Revision) uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := x.streams[name]
	if s == nil {
		return 0
	}
	place := s.place(r)
	if place == len(s.positions) || s.revisionAt(place) != r {
		return 0
	}
	return s.positions[place]
}

// from is the positions in a stream, up to one, of revisions not below r.
func (x *index) from(name string, r annals.Revision, upto uint64) []uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := x.streams[name]
	if s == nil {
		return nil
	}
	return within(s.positions[s.place(r):], 0, upto)
}

// withID is the positions of events that have this id, in whatever stream, in (after, upto].
func (x *index) withID(id annals.ID, after, upto uint64) []uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return within(x.withIDLocked(id), after, upto)
}

func (x *index) withIDLocked(id annals.ID) []uint64 {
	p, known := x.ids[id]
	if !known {
		return nil
	}
	return append([]uint64{p}, x.idsMore[id]...)
}

// within cuts an ascending list to (after, upto].
func within(positions []uint64, after, upto uint64) []uint64 {
	if n := len(positions); n == 0 || positions[n-1] <= after {
		return nil
	}
	if after > 0 && positions[0] <= after {
		i, _ := slices.BinarySearch(positions, after+1)
		positions = positions[i:]
	}
	if n := len(positions); upto < math.MaxUint64 && positions[n-1] > upto {
		i, _ := slices.BinarySearch(positions, upto+1)
		positions = positions[:i]
	}
	return positions
}

package engine

import (
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// index says where events are: for each type, tag, stream, category and id the positions at which it occurs. It holds
// names as text, so that its answers are exact and need no verification; reads verify them all the same.
//
// Lists only grow. Whoever has taken a list under the lock may go on reading that much of it without.
type index struct {
	mu sync.RWMutex
	// head is written under the lock. Whoever reads with it sees nothing past it, though more may be indexed already.
	head       atomic.Uint64
	frame      uint64 // the number of the frame that holds the head
	types      lists
	tags       lists
	categories lists
	streams    map[string]*stream
	ids        map[annals.ID]uint64   // the first event with this id
	idsMore    map[annals.ID][]uint64 // the others, in other streams
	streamless []uint64               // the events without a stream
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

// publishAtOnce is how many events are indexed under one lock, so that readers do not wait for all of a large frame.
const publishAtOnce = 1000

// publish adds a frame's events after the head, or after a gap that is lost, and makes them visible together.
func (x *index) publish(entries []entry, h *frame.Header) {
	p := uint64(h.FirstPosition)
	for part := range slices.Chunk(entries, publishAtOnce) {
		x.addAll(part, p)
		p += uint64(len(part))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.frame = h.Seq
	if n := len(x.frames); n > 0 && x.frames[n-1].nanos == h.Time.UnixNano() {
		x.frames[n-1].last = uint64(h.LastPosition())
	} else {
		x.frames = append(x.frames, frameEnd{nanos: h.Time.UnixNano(), last: uint64(h.LastPosition())})
	}
	x.advanceLocked(uint64(h.LastPosition()))
}

func (x *index) addAll(entries []entry, first uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, e := range entries {
		x.add(e, first+uint64(i))
	}
}

// advanceLocked moves the head and wakes who waits for it.
func (x *index) advanceLocked(head uint64) {
	x.head.Store(head)
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
	} else {
		x.streamless = append(x.streamless, p)
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
	x.advanceLocked(max(x.head.Load(), uint64(e.Last)))
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

func (x *index) visible() uint64 { return x.head.Load() }

// watch is the head, and a channel that is closed when it grows.
func (x *index) watch() (uint64, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.changed == nil {
		x.changed = make(chan struct{})
	}
	return x.head.Load(), x.changed
}

// at is the last position that had been written at t. If what is lost hides that, it is an error.
func (x *index) at(t time.Time) (uint64, *annals.DataLossError) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i := sort.Search(len(x.frames), func(i int) bool { return time.Unix(0, x.frames[i].nanos).After(t) })
	p := uint64(0)
	if i > 0 {
		p = x.frames[i-1].last
	}
	for _, l := range x.lost {
		if uint64(l.First) == p+1 { // nothing tells when that was written
			return 0, l
		}
	}
	return p, nil
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

// stored is the position in (after, upto] of the event with this id in this stream, 0 if there is none.
func (x *index) stored(id annals.ID, stream string, after, upto uint64) uint64 {
	x.mu.RLock()
	defer x.mu.RUnlock()
	first, known := x.ids[id]
	if !known {
		return 0
	}
	inStream := within(x.inStreamLocked(stream), after, upto)
	if _, found := slices.BinarySearch(inStream, first); found {
		return first
	}
	short, long := within(x.idsMore[id], after, upto), inStream
	if len(short) > len(long) {
		short, long = long, short
	}
	for _, p := range short {
		if _, found := slices.BinarySearch(long, p); found {
			return p
		}
	}
	return 0
}

// inStreamLocked is the positions of a stream's events, or of those without a stream.
func (x *index) inStreamLocked(stream string) []uint64 {
	if stream == "" {
		return x.streamless
	}
	if s := x.streams[stream]; s != nil {
		return s.positions
	}
	return nil
}

// withIDLocked is the positions of events that have this id, in whatever stream.
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

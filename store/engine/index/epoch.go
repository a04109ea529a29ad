package index

import (
	"slices"
	"sort"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// epoch is the index of the last events, in memory: a hash table from terms to lists of offsets from its first position.
// One goroutine adds; others read under the lock of the [Index] while it is the last epoch, and without one after that.
// Lists only grow: whoever has taken a list under the lock may go on reading that much of it without.
type epoch struct {
	first uint64 // the position with offset 0
	last  uint64 // the last that was added; first-1 if none was

	// shards are by the highest bits of a term. Each grows by itself, so that nobody waits for all of it to be moved.
	shards [shardCount]shard
	names  int      // how many lists there are
	spare  []uint32 // memory for lists
	frames []frameEnd
	// firstSeq is the number of the first frame; tail is the last.
	firstSeq uint64
	tail     Tail
	// ids is the range of the ids that ascend with time, see [runs].
	ids idRange
}

const (
	shardCount = 64
	shardShift = 64 - 6
)

// shard is a part of the table.
type shard struct {
	table   []slot // open addressing; a power of two, or empty
	lists   []list
	streams []stream
}

// slot is a place of the table: a list's index + 1, or 0.
type slot struct {
	term Term
	list uint32
}

// list is where a term occurs.
type list struct {
	term    Term
	offsets []uint32
	// stream is the index + 1 of a stream whose term this is; further streams with the same term follow it.
	stream uint32
	// named says that the term is not only that of ids that ascend with time, which are found by their range.
	named bool
}

// stream is the events of one stream in one epoch.
type stream struct {
	name        string
	first, last annals.Revision
	// regular says that revisions go on by one over the list of the stream's term: no event is lost, and no other stream
	// has the same term.
	regular bool
	more    uint32 // the index + 1 of another stream with this term
}

// frameEnd says until which position the log had come at a time.
type frameEnd struct {
	nanos int64
	last  uint64
}

// slotsMin is the size of a small shard's table.
const slotsMin = 16

func newEpoch(first uint64) *epoch { return &epoch{first: first, last: first - 1} }

func (e *epoch) empty() bool { return e.last < e.first }

// events is how many there are.
func (e *epoch) events() int { return int(e.last + 1 - e.first) }

func (e *epoch) shard(t Term) *shard { return &e.shards[t>>shardShift] }

// find is the list of a term, or nil.
func (e *epoch) find(t Term) *list { return e.shard(t).find(t) }

// find is the list of a term, or nil.
func (s *shard) find(t Term) *list {
	if len(s.table) == 0 {
		return nil
	}
	mask := uint64(len(s.table) - 1)
	for i := t & mask; ; i = (i + 1) & mask {
		switch at := &s.table[i]; {
		case at.list == 0:
			return nil
		case at.term == t:
			return &s.lists[at.list-1]
		}
	}
}

// of is the list of a term, made if need be. The pointer is good until the next call.
func (e *epoch) of(t Term) *list {
	s := e.shard(t)
	if l := s.find(t); l != nil {
		return l
	}
	if len(s.lists)*3 >= len(s.table)*2 {
		s.grow()
	}
	s.lists = append(s.lists, list{term: t})
	s.put(t, len(s.lists))
	e.names++
	return &s.lists[len(s.lists)-1]
}

func (s *shard) grow() {
	s.table = make([]slot, max(slotsMin, 2*len(s.table)))
	for n := range s.lists {
		s.put(s.lists[n].term, n+1)
	}
}

// put enters a list that is not in the table.
func (s *shard) put(t Term, list int) {
	mask := uint64(len(s.table) - 1)
	i := t & mask
	for s.table[i].list != 0 {
		i = (i + 1) & mask
	}
	s.table[i] = slot{term: t, list: uint32(list)}
}

// add indexes the event at the position after the last.
func (e *epoch) add(k *Keys) {
	e.last++
	at := uint32(e.last - e.first)
	for _, t := range k.rest {
		l := e.of(t)
		l.named = true
		e.unsettle(l)
		e.push(l, at)
	}
	byID := e.of(k.id)
	e.unsettle(byID)
	if isTimed(k.EventID) {
		e.ids.include(k.EventID)
	} else {
		byID.named = true
	}
	e.push(byID, at)
	in := e.of(k.stream)
	in.named = true
	if k.Stream != "" {
		e.number(in, k)
	} else {
		e.unsettle(in)
	}
	e.push(in, at)
}

// unsettle notes that a list has an event that is not its stream's, whose name has the same term by chance.
func (e *epoch) unsettle(l *list) {
	if l.stream == 0 {
		return
	}
	s := e.shard(l.term)
	for i := l.stream; i != 0; i = s.streams[i-1].more {
		s.streams[i-1].regular = false
	}
}

// push appends to a list, whose elements never move under a reader: what is outgrown is left as it is.
func (e *epoch) push(l *list, at uint32) {
	n := len(l.offsets)
	if n > 0 && l.offsets[n-1] == at {
		return // two names of one event with the same term
	}
	if n < cap(l.offsets) {
		l.offsets = append(l.offsets, at)
		return
	}
	grown := e.alloc(max(1, 2*n))
	l.offsets = append(append(grown, l.offsets...), at)
}

const spareOffsets = 4096

// alloc is an empty list with room for n.
func (e *epoch) alloc(n int) []uint32 {
	if n > spareOffsets/8 {
		return make([]uint32, 0, n)
	}
	if n > len(e.spare) {
		e.spare = make([]uint32, spareOffsets)
	}
	free := e.spare[:0:n]
	e.spare = e.spare[n:]
	return free
}

// number notes the revision of an event of the stream that l is the list of.
func (e *epoch) number(l *list, k *Keys) {
	if s := e.named(l, k.Stream); s != nil {
		s.regular = s.regular && k.Revision == s.last+1
		s.last = k.Revision
		return
	}
	// A name may be part of a large buffer, which the index must not keep alive.
	added := stream{name: strings.Clone(k.Stream), first: k.Revision, last: k.Revision, regular: l.stream == 0 && len(l.offsets) == 0, more: l.stream}
	e.unsettle(l)
	s := e.shard(l.term)
	s.streams = append(s.streams, added)
	l.stream = uint32(len(s.streams))
}

// named is the stream of this name among those that have l's term.
func (e *epoch) named(l *list, name string) *stream {
	s := e.shard(l.term)
	for i := l.stream; i != 0; i = s.streams[i-1].more {
		if s.streams[i-1].name == name {
			return &s.streams[i-1]
		}
	}
	return nil
}

// latest is the last revision of a stream, if it has an event here.
func (e *epoch) latest(name string, t Term) (annals.Revision, bool) {
	l := e.find(t)
	if l == nil {
		return annals.NoRevision, false
	}
	s := e.named(l, name)
	if s == nil {
		return annals.NoRevision, false
	}
	return s.last, true
}

// endFrame notes the frame that ends at the last position. One before the first event is none of this epoch's.
func (e *epoch) endFrame(h *frame.Header) {
	if e.empty() {
		return
	}
	if e.firstSeq == 0 {
		e.firstSeq = h.Seq
	}
	e.tail = Tail{Position: e.last, Seq: h.Seq, Hash: h.Hash, Epoch: h.Epoch, Time: h.Time}
	nanos := h.Time.UnixNano()
	if n := len(e.frames); n > 0 && e.frames[n-1].nanos == nanos {
		e.frames[n-1].last = e.last
		return
	}
	e.frames = append(e.frames, frameEnd{nanos: nanos, last: e.last})
}

// upto is the last position that had been written at a time; first-1 if none had.
func (e *epoch) upto(nanos int64) uint64 {
	i := sort.Search(len(e.frames), func(i int) bool { return e.frames[i].nanos > nanos })
	if i == 0 {
		return e.first - 1
	}
	return e.frames[i-1].last
}

// reset makes e an empty epoch that begins at a position, and keeps its memory unless it is large.
func (e *epoch) reset(first uint64) {
	if e.names > keptLists {
		*e = *newEpoch(first)
		return
	}
	for i := range e.shards {
		if s := &e.shards[i]; len(s.lists) > 0 {
			clear(s.table)
			clear(s.lists)
			clear(s.streams)
			s.lists, s.streams = s.lists[:0], s.streams[:0]
		}
	}
	e.first, e.last, e.names, e.frames = first, first-1, 0, e.frames[:0]
	e.firstSeq, e.tail, e.ids = 0, Tail{}, idRange{}
}

// keptLists is the largest epoch whose memory is kept: to clear a table takes as long as it ever was large.
const keptLists = 4096

// idRange is the smallest and the largest of the ids that ascend with time: one that lies outside of it is not there.
type idRange struct {
	low, high annals.ID
	any       bool
}

func (r *idRange) include(id annals.ID) {
	if !r.any {
		*r = idRange{id, id, true}
		return
	}
	if lessID(id, r.low) {
		r.low = id
	}
	if lessID(r.high, id) {
		r.high = id
	}
}

func lessID(a, b annals.ID) bool { return slices.Compare(a[:], b[:]) < 0 }

// isTimed reports whether an id is a UUIDv7 (RFC 9562), which ascends with time.
func isTimed(id annals.ID) bool { return id[6]>>4 == 7 }

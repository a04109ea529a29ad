package segment

import (
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// table says where in a segment's file its frames and records are. What was added once does not change, so that whoever
// holds a copy of its slices may go on reading them while frames are added.
type table struct {
	firstSeq  uint64
	firstPos  annals.Position
	frames    []frameAt // by number - firstSeq
	records   []uint32  // by position - firstPos: the offset / 8; 0 is lost
	firstTime time.Time
	lastTime  time.Time
}

// frameAt is where a frame is: off 0 is lost.
type frameAt struct {
	off   int64
	first annals.Position
}

// bytes is about what the table takes in memory.
func (t *table) bytes() int64 { return int64(16*cap(t.frames) + 4*cap(t.records)) }

// run is how many records from p on, of n at most, lie within so many bytes together, and where they end. 0 if not even the
// first does, or if the table does not know where it ends. The record at p is not lost; end is where the last frame ends.
func (t *table) run(p annals.Position, n int, end, bytes int64) (whole int, upto int64) {
	records := t.records[p-t.firstPos:]
	last := records[0]
	most := min((int64(last)*frameAlign+bytes)/frameAlign, end/frameAlign)
	for upto = int64(last); whole < n; whole++ {
		ends := end / frameAlign
		if whole+1 < len(records) {
			next := records[whole+1]
			if next <= last { // lost
				break
			}
			last, ends = next, int64(next)
		}
		if ends > most {
			break
		}
		upto = ends
	}
	return whole, upto * frameAlign
}

// after is the position that follows the frame with this index.
func (t *table) after(i int) annals.Position {
	if i+1 < len(t.frames) {
		return t.frames[i+1].first
	}
	return t.firstPos + annals.Position(len(t.records))
}

// add puts the frame f in, whose envelope is at off.
func (t *table) add(h *frame.Header, off int64, f []byte) {
	t.frames = append(t.frames, frameAt{off: off, first: h.FirstPosition})
	for at, b := range frame.Records(f) {
		if frame.IsEvent(b) {
			t.records = append(t.records, uint32((off+envelopeBytes+int64(at))/frameAlign))
		}
	}
	if t.firstTime.IsZero() {
		t.firstTime = h.Time
	}
	t.lastTime = h.Time
}

// lose puts frames in that are not there, and hold n positions together. Which of them holds which is not known.
func (t *table) lose(frames uint64, n annals.Position) {
	first := t.firstPos + annals.Position(len(t.records))
	for range frames {
		t.frames = append(t.frames, frameAt{first: first})
		first = t.firstPos + annals.Position(len(t.records)) + n
	}
	t.records = append(t.records, make([]uint32, n)...)
}

// frame finds a frame; off 0 if it is lost.
func (t *table) frame(seq uint64) frameAt {
	if i := seq - t.firstSeq; i < uint64(len(t.frames)) {
		return t.frames[i]
	}
	return frameAt{first: t.firstPos + annals.Position(len(t.records))}
}

// record is the offset of a record, 0 if it is lost.
func (t *table) record(p annals.Position) int64 {
	if i := uint64(p - t.firstPos); i < uint64(len(t.records)) {
		return int64(t.records[i]) * frameAlign
	}
	return 0
}

// place is where a record is, given where the frames end.
func (t *table) place(p annals.Position, limit int64) place {
	at := place{p: p, off: t.record(p), next: limit, limit: limit}
	if next := t.record(p + 1); next != 0 {
		at.next = next
	}
	return at
}

// tip is the last frame of a chain.
type tip struct {
	seq   uint64
	pos   annals.Position // its last
	epoch uint64
	hash  [32]byte
	// linked says that hash is known. It is not after frames that are lost.
	linked bool
	// durable is the last frame that is known to be durable, as the envelope says.
	durable uint64
}

func tipOf(h *frame.Header) tip {
	return tip{seq: h.Seq, pos: h.LastPosition(), epoch: h.Epoch, hash: h.Hash, linked: true}
}

func (t tip) ref() frame.Ref { return frame.Ref{Seq: t.seq, Hash: t.hash} }

// precedes tells whether the frame of h is the one that follows t.
func (t tip) precedes(h *frame.Header) bool {
	return h.Seq == t.seq+1 && h.FirstPosition == t.pos+1 && h.Epoch >= t.epoch && (!t.linked || h.PrevHash == t.hash)
}

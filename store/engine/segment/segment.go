package segment

import (
	"errors"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/frame"
)

// segment is one file of the log. Its entry, its end and the table of one that is not sealed belong to the lock of the
// Dir.
type segment struct {
	entry
	// end is where the next envelope goes.
	end int64
	// recorded says that a durable manifest calls it full.
	recorded bool
	// absent says that there is no file; unlinked that the hash of its last frame is not known.
	absent, unlinked bool

	mu    sync.Mutex
	file  vfs.File
	table *table
	// pinned keeps a table that cannot be loaded from the footer.
	pinned bool
	// loading is held by whoever loads the table; others wait for it rather than read the same.
	loading sync.Mutex
	// peeks is how many records were found without the table since there was one.
	peeks atomic.Int32
	// borrowed is how often file is in use. It grows only while mu is held.
	borrowed atomic.Int32
	// touched says that file and table were used since the caches last looked.
	touched atomic.Bool

	// readers are those who hold it, so that its file stays. It grows only while the lock of the Dir is held and the Dir lists
	// it. Once it is retired, which takes it off the list, 0 is for ever: then the file is closed and removed.
	readers atomic.Int32
	retired atomic.Bool
}

func (d *Dir) window(s *segment, limit int64) *window { return &window{f: source{d, s}, limit: limit} }

func (d *Dir) join(name string) string { return filepath.Join(d.dir, name) }

// frameAt verifies the envelope at off and the frame in it, which is lent until the window moves. What does not verify
// is errDamaged, unless its sums match: then it is not damaged, but nothing that this program can read, which is
// ErrNewerFormat. Other errors are those of reading.
func (d *Dir) frameAt(w *window, salt [16]byte, off int64) (envelope, frame.Header, []byte, error) {
	b, err := d.read(w, salt, off)
	if err != nil {
		return envelope{}, frame.Header{}, nil, err
	}
	e, h, err := d.check(b, salt, off, frame.Verify)
	if err != nil {
		return envelope{}, frame.Header{}, nil, err
	}
	return e, h, b[envelopeBytes:], nil
}

// follow adds the frames that follow t to the segment's table, from off on, up to the one with the number upto. It
// tells where it stopped, and why, if not for upto.
func (d *Dir) follow(s *segment, w *window, t *tip, off int64, upto uint64, verify func([]byte, frame.StoreID) (frame.Header, error)) (int64, error) {
	frames := batch{d: d, w: w, salt: s.salt, verify: verify}
	for t.seq < upto {
		e, h, f, err := frames.at(off)
		if err != nil {
			return off, err
		}
		if !t.precedes(&h) {
			return off, damaged("frame %d does not follow frame %d", h.Seq, t.seq)
		}
		s.table.add(&h, off, f)
		*t = tipOf(&h)
		t.durable = e.durableSeq
		off += envelopeBytes + int64(e.size)
	}
	return off, nil
}

// probe verifies what is at off as far as it is asked for: frameAt or beginsAt.
type probe func(w *window, salt [16]byte, off int64) (envelope, frame.Header, error)

// wholeAt is the probe for a frame that can be served.
func (d *Dir) wholeAt(w *window, salt [16]byte, off int64) (envelope, frame.Header, error) {
	e, h, _, err := d.frameAt(w, salt, off)
	return e, h, err
}

// beginsAt is the probe for a frame that may be torn: its envelope verifies. That alone proves that it was written, and
// what was durable then. The header is the zero one if it does not verify.
func (d *Dir) beginsAt(w *window, salt [16]byte, off int64) (envelope, frame.Header, error) {
	b, err := w.at(off, envelopeBytes+frame.HeaderBytes)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = damaged("the file ends")
	}
	if err != nil {
		return envelope{}, frame.Header{}, err
	}
	e, err := decodeEnvelope(b, salt, off, w.limit-off)
	if err != nil {
		return envelope{}, frame.Header{}, err
	}
	h, err := frame.ParseHeader(b[envelopeBytes:])
	if err != nil || h.Store != d.identity.Store || h.Incarnation != d.identity.Incarnation || h.Seq != e.seq {
		h = frame.Header{}
	}
	return e, h, nil
}

// seek finds the first place from off on where the probe finds a frame that is wanted.
func (d *Dir) seek(w *window, s *segment, off int64, is probe, wanted func(envelope) bool) (at int64, h frame.Header, err error) {
	probing := &window{f: w.f, limit: w.limit, patient: w.patient}
	for {
		if at, err = w.find(off); at < 0 || err != nil {
			return -1, h, err
		}
		e, h, err := is(probing, s.salt, at)
		if err == nil && wanted(e) {
			return at, h, nil
		}
		if err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, ErrNewerFormat) {
			return -1, h, err
		}
		off = at + frameAlign
	}
}

// survey makes the table of a segment whose frames all should be there, by looking for them, and lists what is not.
func (d *Dir) survey(s *segment) ([]*annals.DataLossError, error) {
	s.table = &table{firstSeq: s.firstSeq, firstPos: s.firstPos}
	if s.absent {
		s.table.lose(s.lastSeq+1-s.firstSeq, s.lastPos+1-s.firstPos)
		return []*annals.DataLossError{d.loss(s, 0, s.firstPos, s.lastPos, errors.New("the file is missing"))}, nil
	}
	w := d.window(s, s.bodyEnd)
	w.patient = true
	var damage []*annals.DataLossError
	t := tip{seq: s.firstSeq - 1, pos: s.firstPos - 1}
	off := int64(headerBytes)
	for t.seq < s.lastSeq {
		end, reason := d.follow(s, w, &t, off, s.lastSeq, frame.Verify)
		if reason == nil {
			break
		}
		if !errors.Is(reason, errDamaged) && !errors.Is(reason, ErrNewerFormat) {
			return nil, reason
		}
		at, h, err := d.seek(w, s, end, d.wholeAt, func(e envelope) bool { return e.seq > t.seq && e.seq <= s.lastSeq })
		if err != nil {
			return nil, err
		}
		next := tip{seq: s.lastSeq + 1, pos: s.lastPos}
		if at >= 0 {
			next = tip{seq: h.Seq, pos: h.FirstPosition - 1}
		}
		damage = append(damage, d.loss(s, end, t.pos+1, next.pos, reason))
		s.table.lose(next.seq-t.seq-1, next.pos-t.pos)
		t, off = tip{seq: next.seq - 1, pos: next.pos}, at
	}
	if len(damage) == 0 && t.linked && !s.unlinked && t.hash != s.lastHash {
		damage = append(damage, d.loss(s, 0, s.firstPos, s.lastPos, damaged("the hash of the last frame is not that of the manifest")))
	}
	return damage, nil
}

func (d *Dir) loss(s *segment, off int64, first, last annals.Position, reason error) *annals.DataLossError {
	if last < first {
		first, last = 0, 0
	}
	return &annals.DataLossError{File: s.name(), Offset: off, First: first, Last: last, Reason: reason.Error()}
}

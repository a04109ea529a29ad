package segment

import (
	"errors"

	"github.com/annalsdb/annals/store/engine/frame"
)

// tail follows the chain through the segments that may have an end. At the first place that does not verify, after
// frame n:
//
//   - only zeros follow: the log goes on in the next segment, or ends;
//   - a frame follows, there or in a later segment, that was written when a frame after n was known to be durable, or other
//     bytes prove that: what lies between is lost. The log goes on with that frame, if it verifies;
//   - otherwise it is torn: never acknowledged, to be cut, if the log was not closed cleanly.
func (r *recovery) tail() error {
	torn := false
	for i, s := range r.open {
		s.table = newTable(r.tip.seq+1, r.tip.pos+1)
		s.firstSeq, s.firstPos = r.tip.seq+1, r.tip.pos+1
		if s.absent || r.tip.seq >= r.upto {
			continue
		}
		if torn {
			if err := r.leftover(s, errors.New("it follows a torn frame")); err != nil {
				return err
			}
			continue
		}
		var err error
		if torn, err = r.tailOf(i, s); err != nil {
			return err
		}
		s.lastHash = r.tip.hash
	}
	r.sortOut()
	return nil
}

// tailBytes is how much of a segment that may have an end is read at once.
const tailBytes = 4 << 20

// tailOf follows the chain through one segment. It tells whether the log ends there with a torn frame.
func (r *recovery) tailOf(i int, s *segment) (torn bool, err error) {
	w := r.window(s)
	w.ahead = tailBytes
	verify := frame.Verify
	if r.clean != nil { // nothing is to be decided by it
		verify = frame.VerifySums
	}
	for {
		end, reason := r.d.follow(s, w, &r.tip, s.end, r.upto, verify)
		s.end = end
		if reason == nil {
			return false, nil
		}
		if !errors.Is(reason, errDamaged) {
			return false, reason
		}
		w = r.window(s) // what was buffered may be older than what is searched now
		if r.atCleanEnd(s, end) {
			w.limit = min(w.limit, end+zerosChecked)
		}
		_, to, err := w.written(end)
		if err != nil {
			return false, err
		}
		unreadable := errors.Is(reason, errUnreadable)
		if to == 0 && !unreadable {
			return false, nil
		}
		found, goesOn, err := r.later(i, s, end)
		var own ownProof
		if err == nil && found.in == nil && !goesOn {
			own, err = r.acknowledged(i, s, end, to)
		}
		if err != nil {
			return false, err
		}
		// Beside a writer the frame may have been half written. Whatever proves that it was durable says that it is now.
		if again, err := r.grown(s, end); again || err != nil {
			if err != nil {
				return false, err
			}
			continue
		}
		switch {
		case goesOn:
			return false, r.leftover(s, reason)
		case found.in == s && found.h.Seq != 0:
			r.gap(s, end, &found.h, reason)
			s.end = found.at
		case found.in != nil && found.in != s:
			r.doubt = true
			if found.h.Seq != 0 && found.in == r.open[i+1] && found.at == headerBytes {
				r.gap(s, end, &found.h, reason)
			}
			return false, nil // the next segment will find the same frame
		case own.durable && own.h.Seq != 0:
			r.rotten(s, end, &own.h, reason)
			s.end = own.end
		case found.in == s || own.durable || unreadable:
			r.doubtful(s, end, reason)
			return true, nil
		default:
			return true, r.leftover(s, reason)
		}
	}
}

// zerosChecked is how much of the zeros is read that follow the end of a log that was closed: all of them take longer than
// everything else.
const zerosChecked = 256 << 10

// atCleanEnd tells whether the log was closed here, or in a segment before: then nothing follows.
func (r *recovery) atCleanEnd(s *segment, end int64) bool {
	c := r.clean
	return c != nil && !r.rebuilt && r.tip.ref() == c.ref && (s.no != c.segment || end == c.off)
}

// window reads a segment that may have an end. Whoever opens to write must know what is there; whoever only reads is served
// what can be read.
func (r *recovery) window(s *segment) *window {
	w := r.d.window(s, s.size)
	w.patient = r.d.o.ReadOnly
	return w
}

// grown tells whether the frame that did not verify does so now.
func (r *recovery) grown(s *segment, off int64) (bool, error) {
	if !r.d.o.ReadOnly {
		return false, nil
	}
	_, h, _, err := r.d.frameAt(r.window(s), s.salt, off)
	if err != nil && !errors.Is(err, errDamaged) {
		return false, err
	}
	return err == nil && r.tip.precedes(&h), nil
}

// proof is a frame that was written when one after the end of the chain was durable. It may be torn itself, and its header
// be unknown.
type proof struct {
	in *segment
	at int64
	h  frame.Header
}

// later looks for a frame that proves that the log went on after what does not verify at off in s, which is r.open[i]: for
// one that can be served first. It tells instead whether the chain simply goes on in the next segment.
func (r *recovery) later(i int, s *segment, off int64) (p proof, goesOn bool, err error) {
	proves := func(e envelope) bool { return e.seq > r.tip.seq && e.durableSeq > r.tip.seq }
	for _, is := range []probe{r.d.wholeAt, r.d.beginsAt} {
		from := off
		for j, o := range r.open[i:] {
			if o.absent {
				continue
			}
			if j == 1 {
				_, first, err := r.d.wholeAt(r.window(o), o.salt, headerBytes)
				if err == nil && r.tip.precedes(&first) {
					return proof{}, true, nil
				}
				if err != nil && !errors.Is(err, errDamaged) {
					return proof{}, false, err
				}
			}
			at, h, err := r.d.seek(r.window(o), o, from, is, proves)
			if at >= 0 || err != nil {
				return proof{o, at, h}, false, err
			}
			from = headerBytes
		}
	}
	return proof{}, false, nil
}

// ownProof is what the bytes around a frame that does not verify tell of it: that it was durable once, and, unless the header is
// the zero one, what it was and where it ends.
type ownProof struct {
	durable bool
	h       frame.Header
	end     int64
}

// acknowledged tells what the bytes around the end of the chain prove, when no frame does. A frame is written only when
// the one before it is durable, into zeros: so whatever is not zero behind the end that a frame's own envelope gives, or in a
// later segment, was written when that frame was durable already.
func (r *recovery) acknowledged(i int, s *segment, off, to int64) (ownProof, error) {
	e, h, err := r.d.beginsAt(r.window(s), s.salt, off)
	if err != nil && !errors.Is(err, errDamaged) {
		return ownProof{}, err
	}
	if behind := off + envelopeBytes + int64(e.size); err == nil && e.seq == r.tip.seq+1 && to > behind {
		if !r.tip.precedes(&h) {
			h = frame.Header{}
		}
		return ownProof{durable: true, h: h, end: behind}, nil
	}
	for j, o := range r.open[i+1:] {
		if o.absent {
			continue
		}
		w := r.window(o)
		_, written, err := w.written(headerBytes)
		if err != nil {
			return ownProof{}, err
		}
		e, _, err := r.d.beginsAt(w, o.salt, headerBytes)
		if err != nil && !errors.Is(err, errDamaged) {
			return ownProof{}, err
		}
		moved := j == 0 && err == nil && e.seq == r.tip.seq+1 // the frame is there, and what is here never was one
		if written != 0 && !moved {
			return ownProof{durable: true}, nil
		}
	}
	return ownProof{}, nil
}

// rotten notes that the frame of h, which was durable, is lost.
func (r *recovery) rotten(s *segment, off int64, h *frame.Header, reason error) {
	r.doubt = true
	r.lost(s, off, h.FirstPosition, h.LastPosition(), reason)
	s.table.lose(1, h.LastPosition()-r.tip.pos)
	r.tip = tipOf(h)
}

// gap notes that frames are lost before the one of h.
func (r *recovery) gap(s *segment, off int64, h *frame.Header, reason error) {
	r.doubt = true
	r.lost(s, off, r.tip.pos+1, h.FirstPosition-1, reason)
	s.table.lose(h.Seq-r.tip.seq-1, h.FirstPosition-1-r.tip.pos)
	r.tip = tip{seq: h.Seq - 1, pos: h.FirstPosition - 1, durable: r.tip.durable}
}

// leftover notes what follows the last frame of a segment and is no frame.
func (r *recovery) leftover(s *segment, reason error) error {
	_, to, err := r.window(s).written(s.end)
	if err != nil || to == 0 {
		return err
	}
	if r.strict() {
		r.doubtful(s, s.end, reason)
		return nil
	}
	r.cuts = append(r.cuts, cut{s: s, from: s.end, to: to})
	return nil
}

// sortOut tells the active segment from those before, which are full, and from the one after, which is next.
func (r *recovery) sortOut() {
	active := 0
	for i, s := range r.open {
		if len(s.table.frames) > 0 {
			active = i
		}
	}
	for i, s := range r.open {
		switch {
		case i < active:
			s.state, s.bodyEnd = stateFull, s.end
			s.lastSeq = r.open[i+1].firstSeq - 1
			s.lastPos = r.open[i+1].firstPos - 1
			r.segments = append(r.segments, s)
		case i == active:
			s.state, s.lastHash = stateActive, [32]byte{}
			r.segments = append(r.segments, s)
		case r.next == nil && !s.absent:
			s.state = stateNext
			s.firstSeq, s.firstPos, s.lastHash, s.table = 0, 0, [32]byte{}, nil
			r.next = s
		default:
			r.discard(s)
		}
	}
}

// checkClean compares the end of the log with the mark of the clean close.
func (r *recovery) checkClean() {
	c := r.clean
	if c == nil || r.upto < c.ref.Seq {
		return
	}
	s := r.segments[len(r.segments)-1]
	switch {
	case r.tip.seq < c.ref.Seq:
		r.doubts = nil // the mark says how far the log goes
		r.doubt = true
		r.lost(s, s.end, r.tip.pos+1, c.pos, damaged("the log was closed after frame %d, and ends after frame %d", c.ref.Seq, r.tip.seq))
		s.table.lose(c.ref.Seq-r.tip.seq, c.pos-r.tip.pos)
		r.tip = tip{seq: c.ref.Seq, pos: c.pos, hash: c.ref.Hash, linked: true, epoch: r.tip.epoch}
	case r.tip.ref() != c.ref || r.tip.pos != c.pos || s.no != c.segment || s.end != c.off:
		r.doubtful(s, c.off, damaged("the log was closed after frame %d, and ends with another", c.ref.Seq))
	}
}

package segment

import (
	"errors"

	"github.com/annalsdb/annals/store/engine/frame"
)

// tail follows the chain through the segments that may have an end. At the first place that does not verify, after
// frame n:
//
//   - only zeros follow: the log goes on in the next segment, or ends;
//   - a frame follows, there or in a later segment, that verifies and was written when a frame after n was known to be
//     durable: what lies between is lost. The log goes on with that frame;
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

// tailOf follows the chain through one segment. It tells whether the log ends there with a torn frame.
func (r *recovery) tailOf(i int, s *segment) (torn bool, err error) {
	w, err := r.d.window(s, s.size)
	if err != nil {
		return false, err
	}
	for {
		end, reason := r.d.follow(s, w, &r.tip, s.end, r.upto)
		s.end = end
		if reason == nil {
			return false, nil
		}
		if !errors.Is(reason, errDamaged) {
			return false, reason
		}
		if w, err = r.d.window(s, s.size); err != nil { // what was buffered may be older than what is searched now
			return false, err
		}
		_, to, err := w.written(end)
		if err != nil {
			return false, err
		}
		if to == 0 {
			return false, nil
		}
		if again, err := r.grown(s, end); again || err != nil {
			if err != nil {
				return false, err
			}
			continue
		}
		at, h, err := r.later(i, s, end)
		if err != nil {
			return false, err
		}
		if at < 0 {
			if h.Seq != 0 {
				return false, r.leftover(s, reason)
			}
			return true, r.leftover(s, reason)
		}
		if at == 0 {
			r.doubt = true
			return false, nil // the next segment will find the same frame
		}
		r.gap(s, end, &h, reason)
		s.end = at
	}
}

// grown tells whether the frame that did not verify does so now: beside a writer it may have been half written.
func (r *recovery) grown(s *segment, off int64) (bool, error) {
	if !r.d.o.ReadOnly {
		return false, nil
	}
	w, err := r.d.window(s, s.size)
	if err != nil {
		return false, err
	}
	_, h, _, err := r.d.frameAt(w, s.salt, off)
	if err != nil && !errors.Is(err, errDamaged) {
		return false, err
	}
	return err == nil && r.tip.precedes(&h), nil
}

// later looks for a frame that proves that the log went on after what does not verify. It gives its place in s, or 0
// if it is in a later segment, or -1 if there is none. In that case the header tells whether the chain simply goes on in the
// next segment.
func (r *recovery) later(i int, s *segment, off int64) (int64, frame.Header, error) {
	proves := func(e envelope) bool { return e.seq > r.tip.seq && e.durableSeq > r.tip.seq }
	at, h, err := r.d.seek(s, off, s.size, proves)
	if at >= 0 || err != nil {
		return at, h, err
	}
	for j, o := range r.open[i+1:] {
		if o.absent {
			continue
		}
		w, err := r.d.window(o, o.size)
		if err != nil {
			return -1, h, err
		}
		_, first, _, err := r.d.frameAt(w, o.salt, headerBytes)
		if err == nil && j == 0 && r.tip.precedes(&first) {
			return -1, first, nil
		}
		at, h, err := r.d.seek(o, headerBytes, o.size, proves)
		if err != nil {
			return -1, h, err
		}
		if at >= 0 {
			return 0, h, nil
		}
	}
	return -1, frame.Header{}, nil
}

// gap notes that frames are lost before the one of h.
func (r *recovery) gap(s *segment, off int64, h *frame.Header, reason error) {
	r.doubt = true
	r.lost(s, off, r.tip.pos+1, h.FirstPosition-1, reason)
	s.table.lose(h.Seq-r.tip.seq-1, h.FirstPosition-1-r.tip.pos)
	r.tip = tip{seq: h.Seq - 1, pos: h.FirstPosition - 1}
}

// leftover notes what follows the last frame of a segment and is no frame.
func (r *recovery) leftover(s *segment, reason error) error {
	w, err := r.d.window(s, s.size)
	if err != nil {
		return err
	}
	_, to, err := w.written(s.end)
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
		if len(s.table.frames) > 0 || s.state == stateActive && i > 0 && !r.rebuilt {
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
			r.unused = append(r.unused, s.name())
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
		r.doubt = true
		r.lost(s, s.end, r.tip.pos+1, c.pos, damaged("the log was closed after frame %d, and ends after frame %d", c.ref.Seq, r.tip.seq))
		s.table.lose(c.ref.Seq-r.tip.seq, c.pos-r.tip.pos)
		r.tip = tip{seq: c.ref.Seq, pos: c.pos, hash: c.ref.Hash, linked: true, epoch: r.tip.epoch}
	case r.tip.ref() != c.ref || r.tip.pos != c.pos || s.no != c.segment || s.end != c.off:
		r.doubtful(s, c.off, damaged("the log was closed after frame %d, and ends with another", c.ref.Seq))
	}
}

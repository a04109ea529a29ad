package segment

import (
	"context"
	"errors"
	"io/fs"
	"iter"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

// Frames implements [journal.Journal]. After the last frame follows damage that leaves the end of the log in doubt, with no
// positions: nobody knows whether there were more.
func (d *Dir) Frames(ctx context.Context, from uint64, follow bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		r := &reader{d: d, seq: max(from, 1), yield: yield}
		for doubts := d.doubts; ; doubts = nil {
			head, changed, err := d.state()
			if err == nil {
				err = ended(ctx)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !r.upto(ctx, head.seq) {
				return
			}
			for _, loss := range doubts {
				if !yield(nil, loss) {
					return
				}
			}
			if !follow {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// reader yields frames in order.
type reader struct {
	d     *Dir
	seq   uint64
	prev  tip
	lost  *annals.DataLossError // a run of frames that is not over yet
	yield func([]byte, error) bool
}

// upto yields the frames up to this one. It tells whether the sequence goes on.
func (r *reader) upto(ctx context.Context, last uint64) bool {
	for r.seq <= last {
		if !r.held(ctx, r.d.withFrame(r.seq), last) {
			return false
		}
	}
	return true
}

// held yields the frames of a segment that is held.
func (r *reader) held(ctx context.Context, s *segment, last uint64) bool {
	defer r.d.letGo(s)
	v, err := r.d.view(ctx, s)
	if err != nil {
		r.yield(nil, closedError(err))
		return false
	}
	end := v.lastSeq
	if v.state == stateActive {
		end = v.table.firstSeq + uint64(len(v.frames)) - 1
	}
	return r.segment(ctx, v, min(last, end))
}

func (r *reader) segment(ctx context.Context, v *view, last uint64) bool {
	frames := &batch{d: r.d, w: &window{f: v.file, limit: v.end}, salt: v.salt, verify: frame.Verify}
	end := int64(headerBytes)
	for ; r.seq <= last; r.seq++ {
		if err := ended(ctx); err != nil {
			r.yield(nil, err)
			return false
		}
		at := v.frame(r.seq)
		if at.off != 0 {
			end = at.off
		}
		h, f, err := r.frame(frames, v, at)
		if errors.Is(err, fs.ErrClosed) {
			r.yield(nil, annals.ErrClosed)
			return false
		}
		if errors.Is(err, errUnopened) {
			r.yield(nil, err)
			return false
		}
		if err != nil {
			r.lose(v, end, at.first, err)
			continue
		}
		if !r.report(at.first) {
			return false
		}
		r.prev = tipOf(&h)
		end += envelopeBytes + int64(len(f))
		if !r.yield(f, nil) {
			r.seq++
			return false
		}
	}
	return r.report(v.after(int(last - v.table.firstSeq)))
}

// frame reads the frame r.seq and checks that it is the one that was written there.
func (r *reader) frame(frames *batch, v *view, at frameAt) (frame.Header, []byte, error) {
	if at.off == 0 {
		return frame.Header{}, nil, damaged("frame %d is lost", r.seq)
	}
	_, h, f, err := frames.at(at.off)
	switch {
	case err != nil:
		return h, nil, err
	case h.Seq != r.seq || h.FirstPosition != at.first || r.prev.linked && !r.prev.precedes(&h):
		return h, nil, damaged("frame %d does not follow frame %d", h.Seq, r.seq-1)
	case v.state >= stateFull && r.seq == v.lastSeq && !v.unlinked && h.Hash != v.lastHash:
		return h, nil, damaged("frame %d is not the one in the manifest", h.Seq)
	}
	return h, f, nil
}

// lose begins a run of lost frames, or goes on with it.
func (r *reader) lose(v *view, off int64, first annals.Position, reason error) {
	r.prev = tip{}
	if r.lost == nil {
		r.lost = &annals.DataLossError{File: v.name(), Offset: off, First: first, Reason: reason.Error()}
	}
}

// report ends a run of lost frames before the position next.
func (r *reader) report(next annals.Position) bool {
	if r.lost == nil {
		return true
	}
	loss := r.lost
	r.lost = nil
	if loss.Last = next - 1; loss.Last < loss.First {
		loss.First, loss.Last = 0, 0
	}
	return r.yield(nil, loss)
}

func closedError(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return annals.ErrClosed
	}
	return err
}

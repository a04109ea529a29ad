package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index"
)

// load opens the index and adds what it lacks of the journal.
func (s *Store) load(ctx context.Context) error {
	c := s.config.Index
	c.Identity, c.Logger, c.Events = s.identity, s.logger, s.dated
	s.index = index.Open(ctx, c)
	tail, some, err := s.index.Trust(func(t index.Tail) (bool, error) { return s.has(ctx, t) })
	if err != nil {
		return err
	}
	if some {
		s.sequencer.end = end{ref: frame.Ref{Seq: tail.Seq, Hash: tail.Hash}, time: tail.Time, written: tail.Epoch}
	}
	if err := s.loadRetention(ctx); err != nil {
		return err
	}
	s.lastTime.Store(s.sequencer.end.time.UnixNano())
	if _, err = s.follow(ctx, [32]byte{}); err == nil {
		s.retained.Forget(annals.Position(s.index.Head())) // nobody is pinned to an earlier head yet
	}
	return err
}

// has reports whether the journal has a frame, as the hash in the next one says, or, if that is lost, its own.
func (s *Store) has(ctx context.Context, tail index.Tail) (bool, error) {
	ref, _, err := s.journal.Head(ctx)
	if err != nil {
		return false, fmt.Errorf("asking for the head: %w", err)
	}
	if ref.Seq <= tail.Seq {
		return ref == frame.Ref{Seq: tail.Seq, Hash: tail.Hash}, nil
	}
	next, lost, err := s.header(ctx, tail.Seq+1)
	if err != nil || !lost {
		return next.Seq == tail.Seq+1 && next.PrevHash == tail.Hash && uint64(next.FirstPosition) == tail.Position+1, err
	}
	own, lost, err := s.header(ctx, tail.Seq)
	if err != nil || !lost {
		return own.Ref() == frame.Ref{Seq: tail.Seq, Hash: tail.Hash} && uint64(own.LastPosition()) == tail.Position, err
	}
	return true, nil // nothing speaks against it
}

// header is that of a frame. What is no frame has the zero Header.
func (s *Store) header(ctx context.Context, seq uint64) (h frame.Header, lost bool, err error) {
	for f, err := range s.journal.Frames(ctx, seq, false) {
		if _, damaged := errors.AsType[*annals.DataLossError](err); damaged && f == nil {
			return frame.Header{}, true, nil
		}
		if err != nil {
			return frame.Header{}, false, fmt.Errorf("reading frames: %w", err)
		}
		if h, err = frame.ParseHeader(f); err != nil {
			return frame.Header{}, false, nil
		}
		return h, false, nil
	}
	return frame.Header{}, false, nil
}

// dated reads the events from one position to another for the index.
func (s *Store) dated(ctx context.Context, first, last uint64) iter.Seq2[index.Dated, error] {
	return func(yield func(index.Dated, error) bool) {
		var terms []index.Term
		for r, err := range s.records.Scan(ctx, annals.Position(first-1), annals.Position(last)) {
			if err != nil {
				yield(index.Dated{}, err)
				return
			}
			var k index.Keys
			k, terms = s.index.Hasher().Keys(&r.Event, terms[:0])
			k.Revision = r.Revision
			if !yield(index.Dated{Keys: &k, Time: r.Time.UnixNano()}, nil) {
				return
			}
		}
	}
}

// follow indexes every frame of the journal after those that are indexed, and tells whether the first of them has
// the given hash. It is called by whoever holds the baton.
func (s *Store) follow(ctx context.Context, mine [32]byte) (found bool, err error) {
	r := follower{store: s, at: &s.sequencer.end, first: s.sequencer.end.ref.Seq + 1, mine: mine, decoder: frame.NewDecoder(s.identity.Store, true)}
	for f, err := range s.journal.Frames(ctx, r.first, false) {
		var loss *annals.DataLossError
		switch {
		case errors.As(err, &loss) && f == nil:
			r.damaged(ctx, loss)
			continue
		case err != nil:
			return r.found, fmt.Errorf("reading frames: %w", err)
		}
		if err := r.frame(ctx, f); err != nil {
			return r.found, err
		}
	}
	return r.found, r.finish(ctx)
}

// follower indexes frames one after the other.
type follower struct {
	store *Store
	at    *end
	first uint64
	mine  [32]byte
	found bool
	// damage is the loss right before the next frame, whose last position only that frame tells.
	damage  *annals.DataLossError
	decoder *frame.Decoder
	keys    []index.Keys // of the frame at hand
	terms   []index.Term
}

// damaged notes a frame that cannot be read.
func (r *follower) damaged(ctx context.Context, loss *annals.DataLossError) {
	if loss.Last != 0 && uint64(loss.Last) <= r.store.index.Head() {
		return // the index knows what is lost, and whoever reads it finds out
	}
	r.store.logger.ErrorContext(ctx, "positions are lost; appends are refused", slog.Any("error", loss))
	r.store.sequencer.refuse(readOnly(loss))
	switch l := r.damage; {
	case l == nil:
		copied := *loss
		r.damage = &copied
	case l.Last != 0 && loss.First > l.Last:
		r.lose(uint64(l.Last))
		copied := *loss
		r.damage = &copied
	default: // more about the same gap
		l.Last = max(l.Last, loss.Last)
	}
}

// lose gives the pending damage its positions: up to the one given, or, if that is 0, as far as it says itself.
func (r *follower) lose(upto uint64) {
	next := annals.Position(r.store.index.Head() + 1)
	l := r.damage
	r.damage = nil
	l.First = next
	l.Last = max(l.Last, next)
	if upto > 0 {
		l.Last = annals.Position(upto)
	}
	r.store.index.Lose(l)
	r.store.live.Interrupt()
}

// frame indexes one that the journal has verified.
func (r *follower) frame(ctx context.Context, f []byte) error {
	h, err := frame.ParseHeader(f)
	if err != nil {
		return fmt.Errorf("%w: frame after %d: %w", errNonsense, r.at.ref.Seq, err)
	}
	if err := r.checkPlace(&h); err != nil {
		return fmt.Errorf("%w: %w", errNonsense, err)
	}
	if r.damage != nil {
		r.lose(uint64(h.FirstPosition) - 1)
	}
	if err := r.decode(f, &h); err != nil {
		return fmt.Errorf("%w: %w", errNonsense, err)
	}
	r.store.index.Add(r.keys, uint64(h.FirstPosition))
	r.store.lastTime.Store(h.Time.UnixNano())
	r.store.index.Advance(&h)
	r.store.live.Publish(&h, f)
	r.found = r.found || h.Seq == r.first && h.Hash == r.mine
	r.at.ref, r.at.time, r.at.written = h.Ref(), h.Time, h.Epoch
	return r.store.index.Wait(ctx)
}

// decode makes the keys of a frame's events.
func (r *follower) decode(f []byte, h *frame.Header) error {
	hasher := r.store.index.Hasher()
	r.keys, r.terms = slices.Grow(r.keys[:0], int(h.EventCount)), r.terms[:0]
	for at, b := range frame.Records(f) {
		rec, _, err := r.decoder.Decode(b)
		switch {
		case errors.Is(err, frame.ErrSkippable):
			continue
		case err != nil:
			return fmt.Errorf("frame %d at byte %d: %w", h.Seq, at, err)
		case len(r.keys) == int(h.EventCount):
			return fmt.Errorf("frame %d has more than %d events", h.Seq, h.EventCount)
		}
		var k index.Keys
		k, r.terms = hasher.Keys(&rec.Event, r.terms)
		k.Revision = rec.Revision
		if err := r.store.retain(&rec.Recorded); err != nil {
			return err
		}
		r.keys = append(r.keys, k)
	}
	if len(r.keys) != int(h.EventCount) {
		return fmt.Errorf("frame %d has %d events, its header says %d", h.Seq, len(r.keys), h.EventCount)
	}
	return nil
}

// checkPlace wants h to be the frame that comes next, or, after damage, one that comes later.
func (r *follower) checkPlace(h *frame.Header) error {
	next := annals.Position(r.store.index.Head() + 1)
	var problem string
	switch {
	case h.Store != r.store.identity.Store:
		problem = "it belongs to another store"
	case h.Incarnation > r.store.identity.Incarnation:
		problem = fmt.Sprintf("it is of incarnation %d, the store of %d", h.Incarnation, r.store.identity.Incarnation)
	case h.Epoch < r.at.written:
		problem = fmt.Sprintf("its epoch is %d, that of the frame before %d", h.Epoch, r.at.written)
	case h.Time.Before(r.at.time):
		problem = "it is earlier than the frame before"
	case r.damage != nil && (h.Seq <= r.at.ref.Seq+1 || h.FirstPosition <= next):
		problem = fmt.Sprintf("it is frame %d at position %d, after damage behind frame %d and position %d", h.Seq, h.FirstPosition, r.at.ref.Seq, next-1)
	case r.damage == nil && (h.Seq != r.at.ref.Seq+1 || h.PrevHash != r.at.ref.Hash):
		problem = fmt.Sprintf("it does not follow frame %d", r.at.ref.Seq)
	case r.damage == nil && h.FirstPosition != next:
		problem = fmt.Sprintf("it begins at position %d instead of %d", h.FirstPosition, next)
	}
	if problem == "" {
		return nil
	}
	return fmt.Errorf("frame %d: %s", h.Seq, problem)
}

// finish compares what was read with what the journal calls its head.
func (r *follower) finish(ctx context.Context) error {
	ref, epoch, err := r.store.journal.Head(ctx)
	if err != nil {
		return fmt.Errorf("asking for the head: %w", err)
	}
	r.at.epoch = max(epoch, r.at.written)
	switch {
	case r.damage != nil: // nothing but itself tells how far it goes
		r.lose(0)
	case ref.Seq < r.at.ref.Seq || ref.Seq == r.at.ref.Seq && ref.Hash != r.at.ref.Hash:
		return fmt.Errorf("%w: its head is frame %d, its last frame %d", errNonsense, ref.Seq, r.at.ref.Seq)
	}
	return nil
}

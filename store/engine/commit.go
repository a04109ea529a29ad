package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/journal"
)

// pending is a frame that was given to the journal.
type pending struct {
	bytes  []byte
	header frame.Header
	staged []*request
	parked []*request // wait for the fate of the frame, to begin again
	tried  bool       // an earlier try left the outcome open
	found  bool       // among the journal's frames, when others were behind it
}

// commit makes one frame of what can be accepted of a batch, and tells everyone. It is true if somebody else has the baton
// now: the next in the queue, because own is decided, or, if the journal left the outcome open, a goroutine of the store's
// own.
func (s *Store) commit(ctx context.Context, batch []*request, own *request) (given bool) {
	q := &s.sequencer
	p, again := s.pack(batch)
	q.unpack(p.parked)
	q.decide(again, verdict{again: true})
	if len(p.staged) == 0 {
		q.decide(p.parked, verdict{again: true})
		return false
	}
	err := s.journal.CompareAppend(ctx, q.end.ref, p.bytes)
	if err != nil {
		given = !s.settle(ctx, p, err)
		if !given {
			q.delta.forget()
		}
		return given
	}
	s.show(p)
	q.delta.forget()
	given = q.handOnFrom(own) // the next frame is on its way while those of this one wake up
	s.acknowledge(p)
	return given
}

// pack is phase 2, and builds the frame.
func (s *Store) pack(batch []*request) (p pending, again []*request) {
	q := &s.sequencer
	head := s.index.Head() // only the holder of the baton moves it
	q.delta.reset(head + 1)
	memory := s.index.Memory()
	for _, r := range batch {
		switch {
		case r.affectedSince(memory) || s.retained.Affects(r.events, r.conditions, annals.Position(r.checked)):
			again = append(again, r)
		case q.delta.affects(r):
			p.parked = append(p.parked, r)
		default:
			q.delta.stage(r, memory)
			p.staged = append(p.staged, r)
		}
	}
	memory.Release()
	if len(p.staged) == 0 {
		return p, again
	}
	b := frame.NewBuilder(frame.Header{
		Store: s.identity.Store, Incarnation: s.identity.Incarnation, Epoch: q.end.epoch, Seq: q.end.ref.Seq + 1,
		FirstPosition: annals.Position(head + 1), Time: s.now(p.staged), PrevHash: q.end.ref.Hash,
	}, q.buf)
	for _, r := range p.staged {
		for i := range r.events {
			b.Add(r.record(i), r.hashes[i], r.keys[i].Revision)
		}
	}
	p.bytes, p.header = b.Finish()
	q.buf = p.bytes
	if cap(q.buf) > bufBytesMax {
		q.buf = nil
	}
	return p, again
}

// now is the time of the next frame. It is no earlier than when its appends were found to be allowed: what was too old
// then is too old at their place.
func (s *Store) now(batch []*request) time.Time {
	t := s.clock().UTC().Round(0)
	for _, r := range batch {
		if t.Before(r.now) {
			t = r.now
		}
	}
	if last := s.sequencer.end.time; t.Before(last) {
		return last
	}
	return t
}

// settle does what an error of the journal calls for. It is false if that takes waiting.
func (s *Store) settle(ctx context.Context, p pending, err error) bool {
	q := &s.sequencer
	again := verdict{again: true}
	switch {
	case errors.Is(err, journal.ErrStopped), errors.Is(err, annals.ErrReadOnly):
		s.fail(ctx, p, err)
	case errors.Is(err, annals.ErrNotWritten), errors.Is(err, annals.ErrClosed):
		q.decide(p.staged, verdict{err: &annals.OutcomeError{Cause: err}})
		q.decide(p.parked, again)
	case errors.Is(err, journal.ErrFull):
		q.decide(p.staged, verdict{err: fmt.Errorf("%w: %w", annals.ErrFull, err)})
		q.decide(p.parked, again)
	case errors.Is(err, journal.ErrTooLarge) && len(p.staged) > 1:
		q.decide(p.parked, again)
		q.requeue(p.staged)
	case errors.Is(err, journal.ErrTooLarge):
		q.decide(p.staged, verdict{err: fmt.Errorf("%w: %w", annals.ErrTooLarge, err)})
		q.decide(p.parked, again)
	case errors.Is(err, journal.ErrMoved):
		s.logger.WarnContext(ctx, "another writer has appended to the journal", slog.Uint64("frame", p.header.Seq))
		q.unpack(p.staged)
		s.background.Go(func() { s.catchUp(p) })
		return false
	default:
		s.logger.WarnContext(ctx, "the outcome of a frame is unknown; asking the journal", slog.Uint64("frame", p.header.Seq), slog.Any("error", err))
		p.tried = true
		s.background.Go(func() { s.resolve(p) })
		return false
	}
	return true
}

// publish makes a durable frame visible, and then acknowledges it.
func (s *Store) publish(p pending) {
	s.show(p)
	s.acknowledge(p)
}

// show makes a durable frame visible.
func (s *Store) show(p pending) {
	q := &s.sequencer
	for _, r := range p.staged {
		s.index.Add(r.keys, r.first)
		for _, c := range r.changes {
			s.retained.Apply(c.RetentionChange, annals.Position(r.first)+annals.Position(c.event), p.header.Time)
		}
	}
	s.lastTime.Store(p.header.Time.UnixNano())
	s.index.Advance(&p.header)
	s.live.Publish(&p.header, p.bytes)
	q.end.ref, q.end.time, q.end.written = p.header.Ref(), p.header.Time, p.header.Epoch
}

// acknowledge tells those whose events are visible.
func (s *Store) acknowledge(p pending) {
	q := &s.sequencer
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range p.staged {
		r.decideLocked(verdict{receipt: r.receipt(&p.header)})
	}
	q.decideLocked(p.parked, verdict{again: true})
}

// fail ends writing. The frame may come back when the journal is opened again, unless the error says that it was not
// written, by being journal.ErrStopped without journal.ErrAmbiguous.
func (s *Store) fail(ctx context.Context, p pending, err error) {
	s.logger.ErrorContext(ctx, "writing has stopped; the store is read-only", slog.Any("error", err))
	s.sequencer.refuse(readOnly(err))
	outcome := readOnly(err)
	if errors.Is(err, journal.ErrAmbiguous) || errors.Is(err, errNonsense) || p.tried {
		outcome = &annals.OutcomeError{Unknown: true, Cause: err}
	}
	s.sequencer.decide(p.staged, verdict{err: outcome})
	s.sequencer.decide(p.parked, verdict{again: true})
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/journal"
)

// How long to wait before the journal is asked again.
const (
	retryFirst = 5 * time.Millisecond
	retryMost  = time.Second
)

// catchUp indexes what another writer has appended, and lets the appends of p, which is not written, begin again.
func (s *Store) catchUp(p pending) {
	ctx := s.lifetime()
	s.persist(ctx, func() (bool, error) {
		_, err := s.follow(ctx, p.header.Hash)
		if errors.Is(err, errNonsense) {
			s.sequencer.refuse(readOnly(err))
			return true, nil
		}
		return err == nil, err
	})
	s.sequencer.decide(p.staged, verdict{again: true})
	s.sequencer.decide(p.parked, verdict{again: true})
	s.sequencer.delta.forget()
	s.sequencer.handOver(nil)
}

// resolve finds out what became of p, and makes it durable if nobody has appended anything else meanwhile.
func (s *Store) resolve(p pending) {
	ctx := s.lifetime()
	if !s.persist(ctx, func() (bool, error) { return s.askFate(ctx, &p) }) {
		s.sequencer.decide(p.staged, verdict{err: &annals.OutcomeError{Unknown: true, Cause: annals.ErrClosed}})
		s.sequencer.decide(p.parked, verdict{again: true})
	}
	s.sequencer.delta.forget()
	s.sequencer.handOver(nil)
}

// persist tries until something is done, which it reports; it is false if the store was closed before.
func (s *Store) persist(ctx context.Context, try func() (bool, error)) bool {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		done, err := try()
		if done {
			return true
		}
		s.logger.WarnContext(ctx, "the journal does not answer; asking again", slog.Duration("after", wait), slog.Any("error", err))
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.closing:
			timer.Stop()
			return false
		}
	}
}

// askFate asks the journal once. When it is done, everyone who waits for p has a verdict.
func (s *Store) askFate(ctx context.Context, p *pending) (done bool, err error) {
	end := &s.sequencer.end
	if end.ref.Seq >= p.header.Seq { // an earlier try has come this far
		return s.overtaken(ctx, p)
	}
	head, _, err := s.journal.Head(ctx)
	switch {
	case err != nil:
		return false, err
	case head == p.header.Ref():
		s.publish(*p)
		return true, nil
	case head == end.ref:
		return s.resend(ctx, p)
	case head.Seq < p.header.Seq:
		s.fail(ctx, *p, fmt.Errorf("%w: frame %d was durable, and the journal's head is frame %d", errNonsense, end.ref.Seq, head.Seq))
		return true, nil
	}
	return s.overtaken(ctx, p)
}

// resend gives the journal the identical bytes again: should the first try arrive late, only one of them can follow the
// frame before.
func (s *Store) resend(ctx context.Context, p *pending) (done bool, err error) {
	err = s.journal.CompareAppend(ctx, s.sequencer.end.ref, p.bytes)
	switch {
	case err == nil:
		s.publish(*p)
		return true, nil
	case errors.Is(err, journal.ErrStopped), errors.Is(err, annals.ErrReadOnly):
		s.fail(ctx, *p, err)
		return true, nil
	case errors.Is(err, journal.ErrFull), errors.Is(err, journal.ErrTooLarge), errors.Is(err, annals.ErrNotWritten):
		// Should the first try arrive late, the next frame finds that the journal has moved.
		s.sequencer.decide(p.staged, verdict{err: &annals.OutcomeError{Unknown: true, Cause: err}})
		s.sequencer.decide(p.parked, verdict{again: true})
		return true, nil
	}
	return false, err
}

// overtaken reads what the journal holds at p's place and after it.
func (s *Store) overtaken(ctx context.Context, p *pending) (done bool, err error) {
	found, err := s.follow(ctx, p.header.Hash)
	p.found = p.found || found
	switch {
	case errors.Is(err, errNonsense):
		s.fail(ctx, *p, err)
		return true, nil
	case err != nil:
		return false, err
	case p.found:
		s.acknowledge(*p)
	case s.sequencer.stats().ReadOnly != nil: // its place is lost
		s.sequencer.decide(p.staged, verdict{err: &annals.OutcomeError{Unknown: true, Cause: s.sequencer.stats().ReadOnly}})
		s.sequencer.decide(p.parked, verdict{again: true})
	default:
		s.sequencer.decide(p.staged, verdict{again: true})
		s.sequencer.decide(p.parked, verdict{again: true})
	}
	return true, nil
}

// errNonsense: the journal holds what neither this store nor another of its kind can have written.
var errNonsense = errors.New("the journal makes no sense")

package remote

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/wire"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
)

// Store is [annals.Store] on a server. Make one with [Open]. It may be used concurrently.
//
// It has every optional power, and what the store on the server lacks is [annals.ErrUnsupported]. An append whose answer was lost is sent
// again, and has the answer that was lost; if the server was started anew meanwhile, and all ids are the caller's, its receipt says
// Duplicate. A read that was cut off goes on as it was, or fails with [ErrInterrupted]; events that have become too old for their stream's
// MaxAge meanwhile are not in what is left of it.
type Store struct {
	*connection

	system bool
}

// Close ends the store: calls that are under way fail with [annals.ErrClosed], and so does every later one. It may be called again.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.end()
		s.closeErr = s.conn.Close()
	})
	return s.closeErr
}

// System implements [annals.SystemStore].
func (s *Store) System() annals.Store { return &Store{connection: s.connection, system: true} }

// Limits implements [annals.Limiter].
func (s *Store) Limits() annals.Limits { return s.limits }

// ProtectsPersonal implements [annals.Protector].
func (s *Store) ProtectsPersonal() bool { return s.powers.GetProtectsPersonal() }

// Head implements [annals.Store].
func (s *Store) Head(ctx context.Context) (p annals.Position, err error) {
	if s.life.Err() != nil {
		return 0, annals.ErrClosed
	}
	err = s.call(ctx, func(ctx context.Context) error {
		m, err := s.client.Head(ctx, &annalsv1.HeadRequest{Store: s.name})
		p = annals.Position(m.GetPosition())
		return err
	})
	return p, err
}

// Retention implements [annals.Retainer].
func (s *Store) Retention(ctx context.Context, stream string) (kept annals.StreamRetention, err error) {
	if !s.powers.GetRetains() {
		return kept, fmt.Errorf("retention of stream %s: %w", stream, annals.ErrUnsupported)
	}
	if err := annals.CheckRetained(stream, s.limits); err != nil {
		return kept, err
	}
	err = s.call(ctx, func(ctx context.Context) error {
		m, err := s.client.Retention(ctx, &annalsv1.RetentionRequest{Store: s.name, Stream: stream})
		if err == nil {
			kept = wire.ToRetention(m)
		}
		return err
	})
	return kept, err
}

// Tracked implements [annals.Tracker].
func (s *Store) Tracked(ctx context.Context, source string) (p annals.Position, err error) {
	if !s.powers.GetTracks() {
		return 0, fmt.Errorf("tracking of source %s: %w", source, annals.ErrUnsupported)
	}
	if err := annals.CheckSource(source, s.limits); err != nil {
		return 0, err
	}
	err = s.call(ctx, func(ctx context.Context) error {
		m, err := s.client.Tracked(ctx, &annalsv1.TrackedRequest{Store: s.name, Source: source})
		p = annals.Position(m.GetPosition())
		return err
	})
	return p, err
}

// Append implements [annals.Store].
func (s *Store) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	if s.life.Err() != nil {
		return annals.Receipt{}, annals.ErrClosed
	}
	if err := annals.CheckAppend(events, conds, s.limits, s.system); err != nil {
		return annals.Receipt{}, err
	}
	if ctx.Err() != nil {
		return annals.Receipt{}, &annals.OutcomeError{Cause: ended(ctx)}
	}
	if s.system && !s.powers.GetSystem() {
		return annals.Receipt{}, annals.ErrUnsupported
	}
	request := wire.FromAppend(s.name, events, conds, s.system)
	fresh := false // the server cannot know an id of it from before
	for _, e := range request.GetEvents() {
		if len(e.GetId()) == 0 {
			id := annals.NewID()
			e.Id, fresh = id[:], true
		}
	}
	request.Call = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, rand.Uint64()), rand.Uint64())
	r, lost := s.retries(), false
	for {
		here, cancel := s.within(ctx)
		m, err := s.client.Append(here, request)
		cancel()
		if err == nil {
			receipt := wire.ToReceipt(m)
			if lost && fresh {
				receipt.Duplicate = false
			}
			return receipt, nil
		}
		answered, of := wire.Error(err)
		if answered {
			if lost && len(events) == 0 && mayBeOurs(of) {
				of = &annals.OutcomeError{Unknown: true, Cause: of}
			}
			return annals.Receipt{}, of
		}
		if final, means := s.final(ctx, err); final {
			return annals.Receipt{}, &annals.OutcomeError{Unknown: true, Cause: means}
		}
		lost = true
		if err := r.pause(ctx, err); err != nil {
			return annals.Receipt{}, &annals.OutcomeError{Unknown: true, Cause: err}
		}
	}
}

// mayBeOurs reports whether a conflict may be one with an earlier try of the same append, which has no event by which it would be known: the
// position that was to be tracked is stored.
func mayBeOurs(err error) bool {
	e, ok := errors.AsType[*annals.ConflictError](err)
	if !ok {
		return false
	}
	for _, f := range e.Failures {
		if f.Condition.Kind() == annals.KindTracking && f.Tracked == f.Condition.After() {
			return true
		}
	}
	return false
}

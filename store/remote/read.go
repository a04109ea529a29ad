package remote

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/wire"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
)

// errEnough says that the caller wants no more.
var errEnough = errors.New("remote: enough")

// Read implements [annals.Store].
func (s *Store) Read(ctx context.Context, q annals.Query, opts ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	return func(yield func(annals.Recorded, error) bool) {
		o := annals.NewReadOptions(opts...)
		err := o.Check(q, s.limits)
		if err == nil {
			r := reading{store: s, q: q, o: o, yield: yield}
			err = r.run(ctx)
		}
		if err != nil && !errors.Is(err, errEnough) {
			yield(annals.Recorded{}, err)
		}
	}
}

// reading is one read, over as many connections as it takes.
type reading struct {
	store *Store
	q     annals.Query
	o     annals.ReadOptions // of what is left to read
	yield func(annals.Recorded, error) bool

	pinned bool // the head is known
	head   annals.Position
	done   bool // what was wanted is there: the limit is reached
}

func (r *reading) run(ctx context.Context) error {
	if r.store.life.Err() != nil {
		return annals.ErrClosed
	}
	tries := r.store.retries()
	for {
		progressed, err := r.once(ctx)
		if err == nil || errors.Is(err, errEnough) {
			return err
		}
		if final, err := r.store.final(ctx, err); final {
			return err
		}
		if r.done {
			return nil
		}
		if progressed {
			tries.reset()
		}
		r.store.logger.WarnContext(ctx, "a read goes on over another connection", slog.Any("error", err))
		if err := tries.pause(ctx, err); err != nil {
			return err
		}
	}
}

// once reads over one connection.
func (r *reading) once(ctx context.Context) (progressed bool, err error) {
	here, cancel := r.store.within(ctx)
	defer cancel()
	request := wire.FromRead(r.store.name, r.q, r.o)
	if r.pinned {
		request.Pinned = new(uint64(r.head))
	}
	stream, err := r.store.client.Read(here, request)
	if err != nil {
		return false, err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return progressed, nil
		}
		if err != nil {
			return progressed, err
		}
		progressed = true
		if err := r.take(ctx, m); err != nil {
			return progressed, err
		}
	}
}

// take yields what is in a message, and remembers what is left.
func (r *reading) take(ctx context.Context, m *annalsv1.ReadResponse) error {
	if m.Head != nil && !r.pinned {
		r.pinned = true
		head := annals.Position(m.GetHead())
		r.head = head
		if r.o.HeadInto != nil {
			*r.o.HeadInto = head
		}
		r.o.AsOf = head // it says all that the others said
		r.o.AsOfTime, r.o.AsOfRevision = annals.ReadOptions{}.AsOfTime, nil
	}
	for _, e := range m.GetEvents() {
		recorded, err := wire.ToRecorded(e)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ended(ctx)
		}
		if r.o.Backwards {
			r.o.AsOf = recorded.Position - 1
		} else {
			r.o.After, r.o.FromRevision = recorded.Position, nil
		}
		if r.o.Limit > 0 {
			if r.o.Limit--; r.o.Limit == 0 {
				r.done = true
			}
		}
		if !r.yield(recorded, nil) {
			return errEnough
		}
		if r.done {
			return nil
		}
	}
	return nil
}

// Subscribe implements [annals.Store]. It waits for a server that does not answer for as long as ctx allows.
func (s *Store) Subscribe(ctx context.Context, q annals.Query, after annals.Position, opts ...annals.SubscribeOption) iter.Seq2[annals.Update, error] {
	return func(yield func(annals.Update, error) bool) {
		o := annals.NewSubscribeOptions(opts...)
		err := errors.Join(q.Check(s.limits), o.Check())
		if err == nil {
			err = s.subscribe(ctx, &annalsv1.SubscribeRequest{
				Store: s.name, Query: wire.FromQuery(q), After: uint64(after), ProgressEvery: uint64(o.ProgressEvery),
			}, yield)
		}
		if !errors.Is(err, errEnough) {
			yield(annals.Update{}, err)
		}
	}
}

func (s *Store) subscribe(ctx context.Context, request *annalsv1.SubscribeRequest, yield func(annals.Update, error) bool) error {
	if s.life.Err() != nil {
		return annals.ErrClosed
	}
	tries := s.retries()
	tries.limit = 0
	for {
		before := request.GetAfter()
		err := s.follow(ctx, request, yield)
		if errors.Is(err, errEnough) {
			return err
		}
		if final, err := s.final(ctx, err); final {
			return err
		}
		if request.GetAfter() != before {
			tries.reset()
		}
		s.logger.WarnContext(ctx, "a subscription goes on over another connection", slog.Any("error", err), slog.Uint64("after", request.GetAfter()))
		if err := tries.pause(ctx, err); err != nil {
			return err
		}
	}
}

// follow subscribes over one connection. What has been yielded moves request.After.
func (s *Store) follow(ctx context.Context, request *annalsv1.SubscribeRequest, yield func(annals.Update, error) bool) error {
	here, cancel := s.within(ctx)
	defer cancel()
	stream, err := s.client.Subscribe(here, request)
	if err != nil {
		return err
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, update := range m.GetUpdates() {
			u, err := wire.ToUpdate(update)
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ended(ctx)
			}
			request.After = uint64(u.Position)
			if !yield(u, nil) {
				return errEnough
			}
		}
	}
}

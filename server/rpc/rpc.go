// Package rpc serves stores by the native protocol, annals.v1, over gRPC.
//
//	s := grpc.NewServer(rpc.ServerOptions()...)
//	rpc.Register(s, rpc.Service{Stores: func(name string) (annals.Store, error) { … }})
//
// It knows no store in particular. What it says about errors is what store/remote understands.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/wire"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
	"github.com/annalsdb/annals/server/auth"
)

const (
	// messageMax bounds what a client may send at once. Stores have limits of their own, which are lower.
	messageMax = 96 << 20
	// batchBytes and batchEvents bound what is gathered into one message of a stream: enough to hide what a message costs.
	batchBytes, batchEvents = 256 << 10, 1000
	callBytesMax            = 16
	// eventOverhead is about what an event takes in a message, beside its data.
	eventOverhead = 64
)

// Service answers for some stores.
type Service struct {
	// Stores gives the store of a name; "" is the default one. An error that matches [ErrNoStore] says that there is none. Required. It is
	// called for each request, concurrently.
	Stores func(name string) (annals.Store, error)
	// Authorize says whether the caller, whom the context tells of, may do that, and when it may no more: then what it has open ends. Nil lets
	// everybody do everything.
	Authorize func(ctx context.Context, a auth.Access) (ended <-chan struct{}, err error)
	// Stopping ends streams when it is closed: their clients are told to come again. Nil never does.
	Stopping <-chan struct{}
	// Appended is told of each append that the store has decided, and how long that took. Nil is not.
	Appended func(store string, receipt annals.Receipt, events int, took time.Duration, err error)
	// Logger is told of handlers that panicked. Nil is silence.
	Logger *slog.Logger
}

// ErrNoStore is what Stores answers if there is no store of a name.
var ErrNoStore = wire.ErrNoStore

// errStopping tells clients to come again.
var errStopping = status.Error(codes.Unavailable, "the server is shutting down")

// ServerOptions are what a server of the protocol needs.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.MaxRecvMsgSize(messageMax)}
}

// Register adds the service to a server.
func Register(on grpc.ServiceRegistrar, s Service) {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	annalsv1.RegisterStoreServer(on, &service{Service: s})
}

type service struct {
	annalsv1.UnimplementedStoreServer
	Service

	calls calls
}

// store is the one of a name, if the caller may do that with it. It says the same of one that is not there, and of one of which the caller may
// not know.
func (s *service) store(ctx context.Context, a auth.Access) (store annals.Store, ended <-chan struct{}, err error) {
	if s.Authorize != nil {
		ended, err = s.Authorize(ctx, a)
		switch {
		case errors.Is(err, auth.ErrUnauthenticated):
			return nil, nil, wire.ErrUnauthenticated
		case errors.Is(err, auth.ErrUnknownStore):
			return nil, nil, unknown(a.Store)
		case errors.Is(err, auth.ErrForbidden):
			return nil, nil, wire.ErrForbidden
		case err != nil:
			return nil, nil, err
		}
	}
	store, err = s.Stores(a.Store)
	if errors.Is(err, ErrNoStore) {
		err = unknown(a.Store)
	}
	return store, ended, err
}

func unknown(store string) error { return fmt.Errorf("%q: %w", store, ErrNoStore) }

// whole is access to a store as such.
func whole(store string) auth.Access {
	return auth.Access{Store: store, Operation: auth.Read, Whole: true}
}

// guard calls f; a panic is an internal error, and the server goes on.
func (s *service) guard(ctx context.Context, method string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.Logger.ErrorContext(ctx, "a handler panicked", slog.String("method", method), slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			err = status.Error(codes.Internal, "annals: the server failed: its log says how")
		}
	}()
	return wire.Status(f())
}

// Append implements the service.
func (s *service) Append(ctx context.Context, m *annalsv1.AppendRequest) (answer *annalsv1.AppendResponse, err error) {
	err = s.guard(ctx, "Append", func() (err error) {
		answer, err = s.append(ctx, m)
		return err
	})
	return answer, err
}

func (s *service) append(ctx context.Context, m *annalsv1.AppendRequest) (*annalsv1.AppendResponse, error) {
	events, conds, err := wire.ToAppend(m)
	if err != nil {
		return nil, err
	}
	store, _, err := s.store(ctx, appending(m.GetStore(), events, conds, m.GetSystem()))
	if err == nil && m.GetSystem() {
		store, err = annals.System(store)
	}
	if err != nil {
		return nil, err
	}
	if n := len(m.GetCall()); n > callBytesMax {
		return nil, &annals.InvalidError{What: "call", Problem: fmt.Sprintf("has %d bytes, want 16", n)}
	}
	return s.calls.once(m.GetStore(), m.GetCall(), func() (*annalsv1.AppendResponse, error) {
		began := time.Now()
		receipt, err := store.Append(ctx, events, conds...)
		if s.Appended != nil {
			s.Appended(m.GetStore(), receipt, len(events), time.Since(began), err)
		}
		if err != nil {
			return nil, err
		}
		return wire.FromReceipt(receipt), nil
	})
}

// appending is access to append. What conditions look at is read: their answers tell of it.
func appending(store string, events []annals.Event, conds []annals.Condition, system bool) auth.Access {
	a := auth.Access{Store: store, Operation: auth.Append}
	if system {
		a.Operation = auth.Admin
	}
	for i := range events {
		a.Streams = append(a.Streams, events[i].Stream)
	}
	for _, c := range conds {
		switch c.Kind() {
		case annals.KindNoneSince:
			a.Queries = append(a.Queries, c.Query())
		case annals.KindTracking:
		default:
			a.Streams = append(a.Streams, c.Stream())
		}
	}
	return a
}

// Head implements the service.
func (s *service) Head(ctx context.Context, m *annalsv1.HeadRequest) (answer *annalsv1.HeadResponse, err error) {
	err = s.guard(ctx, "Head", func() error {
		store, _, err := s.store(ctx, whole(m.GetStore()))
		if err != nil {
			return err
		}
		head, err := store.Head(ctx)
		answer = &annalsv1.HeadResponse{Position: uint64(head)}
		return err
	})
	return answer, err
}

// Describe implements the service.
func (s *service) Describe(ctx context.Context, m *annalsv1.DescribeRequest) (answer *annalsv1.DescribeResponse, err error) {
	err = s.guard(ctx, "Describe", func() error {
		store, _, err := s.store(ctx, whole(m.GetStore()))
		if err != nil {
			return err
		}
		answer = &annalsv1.DescribeResponse{Limits: wire.FromLimits(annals.LimitsOf(store))}
		_, answer.System = store.(annals.SystemStore)
		_, answer.Retains = store.(annals.Retainer)
		_, answer.Tracks = store.(annals.Tracker)
		if p, ok := store.(annals.Protector); ok {
			answer.ProtectsPersonal = p.ProtectsPersonal()
		}
		return nil
	})
	return answer, err
}

// Retention implements the service.
func (s *service) Retention(ctx context.Context, m *annalsv1.RetentionRequest) (answer *annalsv1.RetentionResponse, err error) {
	err = s.guard(ctx, "Retention", func() error {
		store, _, err := s.store(ctx, auth.Access{Store: m.GetStore(), Operation: auth.Read, Streams: []string{m.GetStream()}})
		if err != nil {
			return err
		}
		kept, err := annals.RetentionOf(ctx, store, m.GetStream())
		answer = wire.FromRetention(kept)
		return err
	})
	return answer, err
}

// Tracked implements the service.
func (s *service) Tracked(ctx context.Context, m *annalsv1.TrackedRequest) (answer *annalsv1.TrackedResponse, err error) {
	err = s.guard(ctx, "Tracked", func() error {
		store, _, err := s.store(ctx, whole(m.GetStore()))
		if err != nil {
			return err
		}
		p, err := annals.Tracked(ctx, store, m.GetSource())
		answer = &annalsv1.TrackedResponse{Position: uint64(p)}
		return err
	})
	return answer, err
}

// until is ctx until the server stops, or the caller's right has ended. named gives an error its reason, if it is one of those.
func (s *service) until(ctx context.Context, ended <-chan struct{}) (both context.Context, cancel context.CancelFunc, named func(err error) error) {
	both, stop := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		select {
		case <-s.Stopping:
			stop(errStopping)
		case <-ended:
			stop(wire.ErrUnauthenticated)
		case <-done:
		}
	}()
	cancel = func() {
		close(done)
		stop(nil)
	}
	return both, cancel, func(err error) error {
		if cause := context.Cause(both); err != nil && (errors.Is(cause, errStopping) || errors.Is(cause, wire.ErrUnauthenticated)) {
			return cause
		}
		return err
	}
}

// Read implements the service.
func (s *service) Read(m *annalsv1.ReadRequest, to grpc.ServerStreamingServer[annalsv1.ReadResponse]) error {
	return s.guard(to.Context(), "Read", func() error {
		q, opts, err := wire.ToRead(m)
		if err != nil {
			return err
		}
		store, ended, err := s.store(to.Context(), reading(m.GetStore(), q))
		if err != nil {
			return err
		}
		ctx, cancel, named := s.until(to.Context(), ended)
		defer cancel()
		unchanged := func() error { return nil }
		if m.Pinned != nil {
			unchanged = func() error { return unretained(ctx, store, annals.Position(m.GetPinned())) }
		}
		return named(read(ctx, store, q, opts, unchanged, to))
	})
}

// reading is access to read.
func reading(store string, q annals.Query) auth.Access {
	return auth.Access{Store: store, Operation: auth.Read, Queries: []annals.Query{q}}
}

// unretained wants nothing to have been said of the retention of streams since a position.
func unretained(ctx context.Context, store annals.Store, since annals.Position) error {
	changes := annals.Types(annals.TypeRetention, annals.TypeDeleted, annals.TypeTombstoned).WithSystem()
	for _, err := range store.Read(ctx, changes, annals.After(since), annals.Limit(1)) {
		if err != nil {
			return err
		}
		return wire.ErrInterrupted
	}
	return nil
}

// read sends what is read. Unchanged is asked once it is pinned.
func read(ctx context.Context, store annals.Store, q annals.Query, opts []annals.ReadOption, unchanged func() error, to grpc.ServerStreamingServer[annalsv1.ReadResponse]) error {
	var head annals.Position
	out := &annalsv1.ReadResponse{}
	first, bytes := true, 0
	flush := func() error {
		if first {
			if err := unchanged(); err != nil {
				return err
			}
			out.Head, first = new(uint64(head)), false
		}
		err := to.Send(out)
		out, bytes = &annalsv1.ReadResponse{}, 0
		return err
	}
	for r, err := range store.Read(ctx, q, append(opts, annals.HeadInto(&head))...) {
		if err != nil {
			if len(out.GetEvents()) > 0 { // what precedes the error has been read
				if sending := flush(); sending != nil {
					return sending
				}
			}
			return err
		}
		out.Events = append(out.Events, wire.FromRecorded(&r))
		if bytes += eventOverhead + len(r.Data) + len(r.Metadata); bytes >= batchBytes || len(out.GetEvents()) >= batchEvents {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if first || len(out.GetEvents()) > 0 {
		return flush()
	}
	return nil
}

// Subscribe implements the service.
func (s *service) Subscribe(m *annalsv1.SubscribeRequest, to grpc.ServerStreamingServer[annalsv1.SubscribeResponse]) error {
	return s.guard(to.Context(), "Subscribe", func() error {
		q, err := wire.ToQuery(m.GetQuery())
		if err != nil {
			return err
		}
		store, ended, err := s.store(to.Context(), reading(m.GetStore(), q))
		if err != nil {
			return err
		}
		ctx, cancel, named := s.until(to.Context(), ended)
		defer cancel()
		return named(subscribe(ctx, store, q, m, to))
	})
}

func subscribe(ctx context.Context, store annals.Store, q annals.Query, m *annalsv1.SubscribeRequest, to grpc.ServerStreamingServer[annalsv1.SubscribeResponse]) error {
	every := m.GetProgressEvery()
	if every > 1<<31-1 {
		return &annals.InvalidError{What: "progress_every", Problem: fmt.Sprintf("%d is too large", every)}
	}
	out, bytes := &annalsv1.SubscribeResponse{}, 0
	for u, err := range store.Subscribe(ctx, q, annals.Position(m.GetAfter()), annals.ProgressEvery(int(every))) {
		if err != nil {
			if len(out.GetUpdates()) > 0 {
				if sending := to.Send(out); sending != nil {
					return sending
				}
			}
			return err
		}
		out.Updates = append(out.Updates, wire.FromUpdate(u))
		if u.Event != nil {
			bytes += len(u.Event.Data) + len(u.Event.Metadata)
		}
		if bytes += eventOverhead; !u.More || bytes >= batchBytes || len(out.GetUpdates()) >= batchEvents {
			if err := to.Send(out); err != nil {
				return err
			}
			out, bytes = &annalsv1.SubscribeResponse{}, 0
		}
	}
	return ctx.Err()
}

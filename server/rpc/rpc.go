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

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/wire"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
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
	// Stopping ends streams when it is closed: their clients are told to come again. Nil never does.
	Stopping <-chan struct{}
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

// store is the one of a name, with leave to use system names if it is asked for.
func (s *service) store(name string, system bool) (annals.Store, error) {
	store, err := s.Stores(name)
	if err == nil && system {
		store, err = annals.System(store)
	}
	return store, err
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
	store, err := s.store(m.GetStore(), m.GetSystem())
	if err != nil {
		return nil, err
	}
	events, conds, err := wire.ToAppend(m)
	if err != nil {
		return nil, err
	}
	if n := len(m.GetCall()); n > callBytesMax {
		return nil, &annals.InvalidError{What: "call", Problem: fmt.Sprintf("has %d bytes, want 16", n)}
	}
	return s.calls.once(m.GetStore(), m.GetCall(), func() (*annalsv1.AppendResponse, error) {
		receipt, err := store.Append(ctx, events, conds...)
		if err != nil {
			return nil, err
		}
		return wire.FromReceipt(receipt), nil
	})
}

// Head implements the service.
func (s *service) Head(ctx context.Context, m *annalsv1.HeadRequest) (answer *annalsv1.HeadResponse, err error) {
	err = s.guard(ctx, "Head", func() error {
		store, err := s.store(m.GetStore(), false)
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
		store, err := s.store(m.GetStore(), false)
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
		store, err := s.store(m.GetStore(), false)
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
		store, err := s.store(m.GetStore(), false)
		if err != nil {
			return err
		}
		p, err := annals.Tracked(ctx, store, m.GetSource())
		answer = &annalsv1.TrackedResponse{Position: uint64(p)}
		return err
	})
	return answer, err
}

// untilStopping is ctx until the server stops. named gives an error its reason, if it is that.
func (s *service) untilStopping(ctx context.Context) (both context.Context, cancel context.CancelFunc, named func(err error) error) {
	both, stop := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		select {
		case <-s.Stopping:
			stop(errStopping)
		case <-done:
		}
	}()
	cancel = func() {
		close(done)
		stop(nil)
	}
	return both, cancel, func(err error) error {
		if err != nil && errors.Is(context.Cause(both), errStopping) {
			return errStopping
		}
		return err
	}
}

// Read implements the service.
func (s *service) Read(m *annalsv1.ReadRequest, to grpc.ServerStreamingServer[annalsv1.ReadResponse]) error {
	return s.guard(to.Context(), "Read", func() error {
		ctx, cancel, named := s.untilStopping(to.Context())
		defer cancel()
		return named(s.read(ctx, m, to))
	})
}

func (s *service) read(ctx context.Context, m *annalsv1.ReadRequest, to grpc.ServerStreamingServer[annalsv1.ReadResponse]) error {
	store, err := s.store(m.GetStore(), false)
	if err != nil {
		return err
	}
	q, opts, err := wire.ToRead(m)
	if err != nil {
		return err
	}
	var head annals.Position
	out := &annalsv1.ReadResponse{}
	first, bytes := true, 0
	flush := func() error {
		if first {
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
		ctx, cancel, named := s.untilStopping(to.Context())
		defer cancel()
		return named(s.subscribe(ctx, m, to))
	})
}

func (s *service) subscribe(ctx context.Context, m *annalsv1.SubscribeRequest, to grpc.ServerStreamingServer[annalsv1.SubscribeResponse]) error {
	store, err := s.store(m.GetStore(), false)
	if err != nil {
		return err
	}
	q, err := wire.ToQuery(m.GetQuery())
	if err != nil {
		return err
	}
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

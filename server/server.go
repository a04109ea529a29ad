// Package server serves stores on one port: the native protocol over gRPC (server/rpc), and HTTP/1.1, told apart by the first bytes of a
// connection.
//
//	s := server.New(server.Config{Stores: map[string]annals.Store{"": store}})
//	err := s.Serve(ctx, listener) // until ctx ends; then streams are told, appends are answered, and it returns
//
// It knows no store in particular, and opens none.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/server/auth"
	"github.com/annalsdb/annals/server/rpc"
	"github.com/annalsdb/annals/server/umadb"
)

const (
	drainDefault       = 20 * time.Second
	connectionsDefault = 10_000
	streamsMax         = 10_000 // of one connection
	readHeaderTimeout  = 10 * time.Second
	idleTimeout        = 2 * time.Minute
	headerBytesMax     = 64 << 10
	// keepaliveEvery is how often a client may ask whether the connection lives.
	keepaliveEvery = 5 * time.Second
)

// Config is what a server is made of.
type Config struct {
	// Stores are served by their names; "" is the default one. At least one is required. The server does not close them.
	Stores map[string]annals.Store
	// Handler answers HTTP requests for other paths than those of health. Nil answers 404.
	Handler http.Handler
	// Keys say who may do what. Nil lets everybody do everything.
	Keys *auth.Keys
	// TLS encrypts connections. Nil does not. Its NextProtos are the server's.
	TLS *tls.Config
	// Checks say by name whether the process is ready, beside the stores, of which each is asked for its head.
	Checks map[string]func(ctx context.Context) error
	// Drain is how long a server that is to end waits for what is under way: by default 20 seconds.
	Drain time.Duration
	// Connections is how many there may be at once: by default 10,000. More are closed at once.
	Connections int
	// Logger is told of failures. Nil is silence.
	Logger *slog.Logger
}

// Server serves stores. Make one with [New]. It serves once.
type Server struct {
	config   Config
	stopping chan struct{} // closed when it is to end
	grpc     *grpc.Server
	http     *http.Server
	health   *health.Server
	metrics  *metrics
}

// ErrConfig says that a configuration lacks something.
var ErrConfig = errors.New("server: wrong configuration")

// New makes a server. It fails with [ErrConfig].
func New(c Config) (*Server, error) {
	if len(c.Stores) == 0 {
		return nil, fmt.Errorf("%w: no store to serve", ErrConfig)
	}
	for name, store := range c.Stores {
		if store == nil {
			return nil, fmt.Errorf("%w: store %q is nil", ErrConfig, name)
		}
	}
	if c.Drain < 0 || c.Connections < 0 {
		return nil, fmt.Errorf("%w: Drain and Connections must not be negative", ErrConfig)
	}
	if c.Drain == 0 {
		c.Drain = drainDefault
	}
	if c.Connections == 0 {
		c.Connections = connectionsDefault
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{config: c, stopping: make(chan struct{}), health: health.NewServer(), metrics: newMetrics(c.Stores)}
	s.grpc = grpc.NewServer(append(rpc.ServerOptions(),
		grpc.MaxConcurrentStreams(streamsMax),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveEvery, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.ConnectionTimeout(readHeaderTimeout),
		grpc.MaxHeaderListSize(headerBytesMax),
		grpc.StreamInterceptor(s.metrics.stream),
	)...)
	service := rpc.Service{Stores: s.store, Stopping: s.stopping, Logger: c.Logger, Appended: s.metrics.appended}
	if c.Keys != nil {
		service.Authorize = c.Keys.Authorize
	}
	rpc.Register(s.grpc, service)
	if store := c.Stores[""]; store != nil {
		umadb.Register(s.grpc, umadb.Service{Store: store, Authorize: service.Authorize, Stopping: s.stopping})
	}
	healthv1.RegisterHealthServer(s.grpc, s.health)
	s.http = &http.Server{
		Handler: s.routes(), ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: headerBytesMax,
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelDebug), // what clients do wrong
	}
	return s, nil
}

func (s *Server) store(name string) (annals.Store, error) {
	if store := s.config.Stores[name]; store != nil {
		return store, nil
	}
	return nil, fmt.Errorf("%q: %w", name, rpc.ErrNoStore)
}

// Serve serves connections of l, which it closes, until ctx ends, and then drains: it takes no new ones, tells streams to come again,
// and waits for what is under way. It returns nil then, or the error that ended it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	split := newSplitter(l, s.config.Connections, s.config.TLS)
	failed := make(chan error, 3) // as many as there are that can fail
	var running sync.WaitGroup
	for _, part := range []func() error{
		split.run,
		func() error { return s.grpc.Serve(split.grpc) },
		func() error { return s.http.Serve(split.http) },
	} {
		running.Go(func() {
			if err := part(); err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, grpc.ErrServerStopped) {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.drain(ctx, split)
	running.Wait()
	return err
}

// drain ends what runs, in order if there is time.
func (s *Server) drain(ctx context.Context, split *splitter) {
	s.health.Shutdown()
	close(s.stopping)
	split.close()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Drain)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(ended)
	}()
	if err := s.http.Shutdown(grace); err != nil {
		s.config.Logger.WarnContext(ctx, "requests that did not end were cut off", slog.Any("error", err))
		_ = s.http.Close() // of connections that are cut nobody wants to know
	}
	select {
	case <-ended:
	case <-grace.Done():
		s.config.Logger.WarnContext(ctx, "calls that did not end were cut off")
		s.grpc.Stop()
		<-ended
	}
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

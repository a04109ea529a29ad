package orders

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/cqrs/cqrsotel"
	"github.com/annalsdb/annals/process"
	"github.com/annalsdb/annals/projection"
)

const (
	hashKeyMin = 16
	// messageTimeout is the longest that a command or a query may take; reads may be made to wait for as long.
	messageTimeout = 30 * time.Second
)

var errNotRunning = errors.New("orders: the projections do not run")

// Config is what a service is made of.
type Config struct {
	// Store keeps the events, and a record of every command: it must be an annals.SystemStore. Required. The service does not
	// close it.
	Store annals.Store
	// Views keep the rows of the read model, and may be lost: they are made of events. Required. The service does not
	// close them.
	Views projection.Views
	// Sales keep the read models that are written in SQL, [Spending] and [Revenue]: they are those of sqliteviews, and may be the same as Views. Nil
	// keeps none, and nobody can ask for them. The service does not close them.
	Sales projection.Views
	// Lease lets several services share Store, Views and Sales, see [projection.Runner]. 0 is for one service.
	Lease time.Duration
	// HashKey hashes e-mail addresses, and idempotency keys where ids of orders are made of them: at least 16 bytes, and the
	// same for as long as the store lives. Required.
	HashKey []byte
	// Authenticate finds out who asks, as [rest.Authenticate] wants it. Required.
	Authenticate func(*http.Request) (annals.Principal, error)
	// Payments is the payment provider. With one, the service takes money and cancels what is not paid in time, and the store
	// must be an annals.SystemStore and an annals.Tracker. Without, requests to pay wait for a service that has one.
	Payments Payments
	// PayWithin is how long a placed order may wait for its money; by default a day.
	PayWithin time.Duration
	// PayBackoff is the first pause before the provider is asked again; by default a second.
	PayBackoff time.Duration
	// Snapshots keep orders, so that long ones need not be read from their beginning. Nil keeps none.
	Snapshots annals.Snapshots
	// Traces and Metrics are where spans and measures of commands and queries go. Nil makes none.
	Traces  trace.TracerProvider
	Metrics metric.MeterProvider
	// Logger is told of every command and query, and of what fails. Nil is silence.
	Logger *slog.Logger
}

// payWithinDefault is [Config.PayWithin] unless it is given.
const payWithinDefault = 24 * time.Hour

// Service is the order service. Make one with [New]. It may be used concurrently.
type Service struct {
	log    *annals.Log[Event]
	bus    *cqrs.Bus[Event]
	trail  *cqrs.Trail
	views  projection.Views
	orders *projection.View[OrderView]
	// sales, spending and revenue are nil if nobody can ask for them.
	sales    projection.Views
	spending *projection.Tables[*sql.Tx]
	revenue  *projection.Tables[*sql.Tx]
	paying   []*process.Process[Order, Event]
	handler  http.Handler
	logger   *slog.Logger
	lease    time.Duration
	// target is the head of the store when Run began: what the rows must have seen before the service is ready.
	target atomic.Uint64
}

// New makes a service. Its read model does not move before [Service.Run].
func New(c Config) (*Service, error) {
	switch {
	case c.Store == nil || c.Views == nil || c.Authenticate == nil:
		return nil, errors.New("orders: Store, Views and Authenticate are required")
	case len(c.HashKey) < hashKeyMin:
		return nil, fmt.Errorf("orders: HashKey has %d bytes, want at least %d", len(c.HashKey), hashKeyMin)
	}
	logger := c.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if c.PayWithin == 0 {
		c.PayWithin = payWithinDefault
	}
	var opts []annals.LogOption
	if c.Snapshots != nil {
		opts = append(opts, annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: c.Snapshots, Logger: logger}))
	}
	log := NewLog(c.Store, c.HashKey, opts...)
	trail, err := cqrs.NewTrail(log, cqrs.TrailOptions{Logger: logger})
	if err != nil {
		return nil, err
	}
	around, err := middleware(c, trail, logger)
	if err != nil {
		return nil, err
	}
	s := &Service{
		log:    log,
		bus:    cqrs.New(log, around...),
		trail:  trail,
		views:  c.Views,
		orders: projection.OfServing(c.Views, Orders),
		sales:  c.Sales,
		lease:  c.Lease,
		logger: logger,
	}
	cqrs.Answer(s.bus, s.answerOrder)
	cqrs.Answer(s.bus, s.answerList)
	cqrs.Answer(s.bus, s.answerAudit)
	cqrs.Answer(s.bus, s.answerProjections)
	if c.Sales != nil {
		s.spending, s.revenue = projection.OfCustom(c.Sales, Spending), projection.OfCustom(c.Sales, Revenue)
		cqrs.Answer(s.bus, s.answerSpending)
		cqrs.Answer(s.bus, s.answerRevenue)
	}
	if s.paying, err = newProcesses(s.bus, c); err != nil {
		return nil, err
	}
	s.handler = s.routes(c.Authenticate, c.HashKey)
	return s, nil
}

// What may be under way at once, commands and queries apart: a flood of readers does not keep orders from being placed. The
// others wait for a little.
const (
	commandsMost = 256
	queriesMost  = 1024
	patience     = 5 * time.Second
)

// middleware is what is around every command and query, the outermost first.
func middleware(c Config, trail *cqrs.Trail, logger *slog.Logger) ([]cqrs.Middleware, error) {
	around := []cqrs.Middleware{cqrs.Recover(), cqrs.Correlation()}
	if c.Traces != nil {
		around = append(around, cqrsotel.Tracing(c.Traces))
	}
	if c.Metrics != nil {
		measure, err := cqrsotel.Metrics(c.Metrics)
		if err != nil {
			return nil, fmt.Errorf("orders: metrics: %w", err)
		}
		around = append(around, measure)
	}
	return append(around,
		cqrs.Logging(logger),
		cqrs.Commands(cqrs.Concurrency(commandsMost, patience)), cqrs.Queries(cqrs.Concurrency(queriesMost, patience)),
		cqrs.Audit(trail.Record), // inside of the limits: a record is an append
		cqrs.Timeout(messageTimeout),
	), nil
}

// Handler serves the routes of openapi.yaml.
func (s *Service) Handler() http.Handler { return s.handler }

// Run keeps the read model up to date, takes money and cancels what is not paid in time, until ctx ends; it answers nil then,
// or what stopped the projection.
func (s *Service) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var processes sync.WaitGroup
	defer processes.Wait()
	defer stop()
	for _, p := range s.paying {
		processes.Go(func() { s.keep(ctx, p) })
	}
	return s.project(ctx)
}

// Settle returns when the service has done by itself what there is to do now: until then, what [Service.Run] does may add
// events.
func (s *Service) Settle(ctx context.Context) error {
	for {
		head, err := s.log.Store().Head(ctx)
		for _, p := range s.paying {
			if err == nil {
				err = p.Wait(ctx, head)
			}
		}
		if err != nil {
			return fmt.Errorf("orders: settle: %w", err)
		}
		if now, err := s.log.Store().Head(ctx); now == head || err != nil {
			return err
		}
	}
}

// keep runs a process, and again if the store has failed it.
func (s *Service) keep(ctx context.Context, p *process.Process[Order, Event]) {
	for {
		err := p.Run(ctx)
		if err == nil {
			return
		}
		s.logger.ErrorContext(ctx, "a process stopped, and begins again", slog.Any("error", err))
		select {
		case <-time.After(processPause):
		case <-ctx.Done():
			return
		}
	}
}

// processPause is how long a process waits that the store has failed.
const processPause = time.Second

// project keeps the read models up to date, and ends when one of them has failed.
func (s *Service) project(ctx context.Context) error {
	head, err := s.log.Store().Head(ctx)
	if err != nil {
		return fmt.Errorf("orders: run: %w", err)
	}
	s.target.Store(uint64(head))
	running, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	errs := make(chan error, 2) // as many as there are runners
	run := func(views projection.Views, defs ...projection.Definition[Event]) {
		all.Go(func() {
			errs <- projection.Runner[Event]{Log: s.log, Views: views, Logger: s.logger, Lease: s.lease}.Run(running, defs...)
			stop()
		})
	}
	switch s.sales {
	case nil:
		run(s.views, Orders)
	case s.views:
		run(s.views, Orders, Spending, Revenue)
	default:
		run(s.views, Orders)
		run(s.sales, Spending, Revenue)
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if !onlyEnded(err) {
			return fmt.Errorf("orders: run: %w", err)
		}
	}
	return nil
}

// onlyEnded reports whether a run ended for no other reason than that it was to.
func onlyEnded(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if !onlyEnded(e) {
				return false
			}
		}
		return true
	}
	return errors.Is(err, context.Canceled)
}

// Ready says whether requests can be served: the store answers, and the read model runs and has seen all that there was
// when it was started. The error matches [projection.ErrLagging] if it is the read model that is not ready.
func (s *Service) Ready(ctx context.Context) error {
	if _, err := s.log.Store().Head(ctx); err != nil {
		return fmt.Errorf("orders: ready: %w", err)
	}
	status, target := s.orders.Status(), annals.Position(s.target.Load())
	if applied, err := s.orders.Position(ctx); err == nil && status.Err == nil { // of the version that serves, which may be an older one
		status.Applied = max(status.Applied, applied)
	}
	lagging := &projection.LaggingError{Projection: Orders.Name, Applied: status.Applied, Wanted: target}
	switch {
	case status.Err != nil:
		lagging.Cause = status.Err
	case !status.Running:
		lagging.Cause = errNotRunning
	case status.Applied >= target:
		return nil
	}
	return fmt.Errorf("orders: ready: %w", lagging)
}

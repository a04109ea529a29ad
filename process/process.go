package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
)

// Options adjust a process. The zero Options are good.
type Options struct {
	// Principal is on whose behalf commands are sent and events appended. By default its id is "process:" and the manager's
	// name, without roles.
	Principal annals.Principal
	// TriesMax is how often an effect is tried before its event stays parked; by default 5.
	TriesMax int
	// Backoff is how long the first pause is between two tries, by default a second; each one is twice the last, BackoffMax, by
	// default a minute, at most.
	Backoff, BackoffMax time.Duration
	// HopsMax is how many reactions may lead from one to the next before it is taken for a circle; by default 50. A timer that
	// fires begins anew, for time has passed.
	HopsMax int
	// Logger is told of what is parked, and of what fails. Nil is silence.
	Logger *slog.Logger
}

func (o Options) withDefaults(name string) (Options, error) {
	if o.TriesMax < 0 || o.Backoff < 0 || o.BackoffMax < 0 || o.HopsMax < 0 {
		return o, &annals.InvalidError{What: fmt.Sprintf("options of process %q", name), Problem: "TriesMax, Backoff, BackoffMax and HopsMax must not be negative"}
	}
	if o.Principal.IsZero() {
		o.Principal.ID = "process:" + name
	}
	if o.TriesMax == 0 {
		o.TriesMax = 5
	}
	if o.Backoff == 0 {
		o.Backoff = time.Second
	}
	if o.BackoffMax == 0 {
		o.BackoffMax = max(time.Minute, o.Backoff)
	}
	if o.HopsMax == 0 {
		o.HopsMax = 50
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Process is a manager at work on a bus. Make one with [New]. It may be used concurrently. Several may run the same manager on
// one store: each event is handled by one of them.
type Process[S decider.State[S, E], E any] struct {
	manager Manager[S, E]
	options Options
	bus     *cqrs.Bus[E]
	log     *annals.Log[E]
	system  annals.Store
	query   annals.Query // the manager's, as stores understand it

	mu      sync.Mutex
	applied annals.Position // everything up to here was dealt with
	moved   chan struct{}   // closed, and made anew, when applied grows
}

// New makes a process. It fails, with everything that is wrong, if the manager is declared wrongly, and with
// annals.ErrUnsupported on a store that keeps no system events or no tracking.
func New[S decider.State[S, E], E any](bus *cqrs.Bus[E], m Manager[S, E], o Options) (*Process[S, E], error) {
	log := bus.Log()
	if err := m.check(log.Schema()); err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	if err := annals.CheckSource(source(m.Name), annals.LimitsOf(log.Store())); err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	o, err := o.withDefaults(m.Name)
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	system, err := annals.System(log.Store())
	if err != nil {
		return nil, fmt.Errorf("process: %s: system events: %w", m.Name, err)
	}
	if !annals.LimitsOf(log.Store()).Tracking {
		return nil, fmt.Errorf("process: %s: tracking: %w", m.Name, annals.ErrUnsupported)
	}
	query, err := log.Schema().Bind(m.Query)
	if err != nil {
		return nil, fmt.Errorf("process: %w", err)
	}
	return &Process[S, E]{manager: m, options: o, bus: bus, log: log, system: system, query: query, moved: make(chan struct{})}, nil
}

// source is the name under which the store tracks a process.
func source(name string) string { return "process-" + name }

// Stream is the system stream in which the process keeps its books.
func (p *Process[S, E]) Stream() string { return "$process-" + p.manager.Name }

// Wait returns when this process has dealt with every event up to a position, be it that it parked some. It is for tests, and
// for decider.WaitFor.
func (p *Process[S, E]) Wait(ctx context.Context, at annals.Position) error {
	for {
		p.mu.Lock()
		applied, moved := p.applied, p.moved
		p.mu.Unlock()
		if applied >= at {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("process: %s: at %d, waiting for %d: %w", p.manager.Name, applied, at, context.Cause(ctx))
		}
	}
}

func (p *Process[S, E]) advance(to annals.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to > p.applied {
		p.applied = to
		close(p.moved)
		p.moved = make(chan struct{})
	}
}

// read folds the stream of the process, up to a position.
func (p *Process[S, E]) read(ctx context.Context, upTo annals.Position) (*table, error) {
	t := newTable()
	return t, p.fold(ctx, t, upTo)
}

// fold has a table know what was stored since, up to a position.
func (p *Process[S, E]) fold(ctx context.Context, t *table, upTo annals.Position) error {
	for r, err := range p.log.Store().Read(ctx, annals.Stream(p.Stream()).WithSystem(), annals.After(t.at), annals.AsOf(upTo)) {
		if err != nil {
			return fmt.Errorf("process: %s: read: %w", p.manager.Name, err)
		}
		if err := t.apply(r); err != nil {
			return err
		}
	}
	return nil
}

// Run reacts to events, fires timers and tries again what has failed, until ctx ends; it answers nil then. It fails if the
// store does; call it again, for it goes on where it was.
func (p *Process[S, E]) Run(ctx context.Context) error {
	at, err := annals.Tracked(ctx, p.log.Store(), source(p.manager.Name))
	if err != nil {
		return p.ended(ctx, fmt.Errorf("process: %s: where was it? %w", p.manager.Name, err))
	}
	// Notes lie behind the events that they are about: the table is ahead of the events.
	t, err := p.read(ctx, annals.NoPosition)
	if err != nil {
		return p.ended(ctx, err)
	}
	w := &worker[S, E]{Process: p, table: t, tracked: at}
	return p.ended(ctx, w.run(ctx))
}

// ended makes an end that was asked for no error.
func (p *Process[S, E]) ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		return nil
	}
	return err
}

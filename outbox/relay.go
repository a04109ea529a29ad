package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/derive"
)

// Relay says what is published where. Name, Messages, Publisher and Query are required.
type Relay[E any] struct {
	// Name tells relays of a store apart. Under another name everything is published again, from the first event on.
	Name string
	// Query says which events matter.
	Query annals.Query
	// Messages makes messages of an event, none if there is nothing to tell. It must be pure: after a crash it is asked again, and the
	// messages must be the same ones, in the same order. An error stops the relay.
	Messages func(e annals.Entry[E]) ([]Message, error)
	// Publisher has the messages.
	Publisher Publisher

	// Lanes is how many messages, of different keys, are published at once; by default 8.
	Lanes int
	// Window is how many events may be under way; by default 1,000. It bounds memory, and how much is published again after a crash.
	Window int
	// Backoff is the first pause after a publisher has failed, by default 100 ms; each is twice the one before, up to BackoffMost, by
	// default a minute.
	Backoff, BackoffMost time.Duration
	// NoteEvery is how often the position is stored while messages are published; by default every second.
	NoteEvery time.Duration
	// Logger is told what starts, stops, fails and is parked. Nil is silence. Data of messages is not logged.
	Logger *slog.Logger
}

const (
	lanesDefault       = 8
	windowDefault      = 1000
	backoffDefault     = 100 * time.Millisecond
	backoffMostDefault = time.Minute
	noteEveryDefault   = time.Second
	// idleEvery is over how many positions without a message the position is stored all the same.
	idleEvery = 10_000
	// storePatience is how long a position may take to be stored.
	storePatience = 10 * time.Second
)

// Running is a relay that can be run. Make one with [New]. It may be used concurrently.
type Running[E any] struct {
	Relay[E]
	log    *annals.Log[E]
	system annals.Store
	query  annals.Query

	mu      sync.Mutex
	running bool
	window  window
	parked  map[annals.ID]Parked
	head    annals.Position
	failing error
	since   time.Time
	moved   chan struct{} // closed, and made anew, when Published has moved
}

// New checks a relay. It fails with annals.ErrUnsupported if the store keeps no system events or no positions of consumers.
func New[E any](log *annals.Log[E], r Relay[E]) (*Running[E], error) {
	var problems []error
	if r.Messages == nil || r.Publisher == nil {
		problems = append(problems, errors.New("what is required: Messages, Publisher"))
	}
	if r.Lanes < 0 || r.Window < 0 || r.Backoff < 0 || r.BackoffMost < 0 || r.NoteEvery < 0 {
		problems = append(problems, errors.New("what must not be negative: Lanes, Window, Backoff, BackoffMost, NoteEvery"))
	}
	if err := annals.CheckSource(source(r.Name), annals.LimitsOf(log.Store())); err != nil || r.Name == "" {
		problems = append(problems, fmt.Errorf("the name %q: %w", r.Name, errors.Join(err, annals.ErrInvalid)))
	}
	query, err := log.Schema().Bind(r.Query)
	if err != nil {
		problems = append(problems, err)
	}
	system, err := annals.System(log.Store())
	if err != nil {
		problems = append(problems, fmt.Errorf("system events: %w", err))
	}
	if !annals.LimitsOf(log.Store()).Tracking {
		problems = append(problems, fmt.Errorf("positions of consumers: %w", annals.ErrUnsupported))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	orDefault := func(d *time.Duration, standard time.Duration) {
		if *d == 0 {
			*d = standard
		}
	}
	orDefault(&r.Backoff, backoffDefault)
	orDefault(&r.BackoffMost, max(backoffMostDefault, r.Backoff))
	orDefault(&r.NoteEvery, noteEveryDefault)
	if r.Lanes == 0 {
		r.Lanes = lanesDefault
	}
	if r.Window == 0 {
		r.Window = windowDefault
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	r.Logger = r.Logger.With(slog.String("relay", r.Name))
	return &Running[E]{Relay: r, log: log, system: system, query: query, parked: map[annals.ID]Parked{}, moved: make(chan struct{})}, nil
}

// source is the name under which the store keeps the position of a relay.
func source(relay string) string { return "outbox-" + relay }

// Run publishes until ctx ends, and answers with its cause, or with what stopped the relay: a [MessageError], [ErrElsewhere], an error
// of the store. It begins behind what was published before.
func (r *Running[E]) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.running {
		r.mu.Unlock()
		return ErrRunning
	}
	r.running = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.running = false
		r.mu.Unlock()
	}()
	err := r.run(ctx)
	if err != nil && ctx.Err() == nil {
		r.Logger.ErrorContext(ctx, "relay failed", slog.Any("error", err))
	} else {
		r.Logger.InfoContext(ctx, "relay stopped")
	}
	return err
}

func (r *Running[E]) run(ctx context.Context) (err error) {
	head, err := r.log.Store().Head(ctx)
	if err != nil {
		return fmt.Errorf("outbox: %s: head: %w", r.Name, err)
	}
	at, err := annals.Tracked(ctx, r.log.Store(), source(r.Name))
	if err != nil {
		return fmt.Errorf("outbox: %s: where is it? %w", r.Name, err)
	}
	if err := r.loadParked(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	r.window, r.failing, r.since = newWindow(at), nil, time.Time{}
	r.mu.Unlock()
	r.Logger.InfoContext(ctx, "relay started", slog.Uint64("position", uint64(at)))

	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	lanes := make([]chan delivery, r.Lanes)
	var publishing, noting sync.WaitGroup
	for i := range lanes {
		lanes[i] = make(chan delivery, r.Window)
		publishing.Go(func() {
			for d := range lanes[i] {
				if err := r.deliver(work, d); err != nil {
					stop(err)
				}
			}
		})
	}
	until, noMore := context.WithCancel(context.WithoutCancel(ctx)) // the last position is stored when the lanes are at their end
	defer noMore()
	noting.Go(func() {
		if err := r.note(until, noted{at, head}); err != nil {
			stop(err)
		}
	})
	err = r.read(work, at, lanes)
	poison := errors.Is(err, ErrMessage)
	if !poison {
		stop(err)
	}
	for _, lane := range lanes {
		close(lane)
	}
	if poison { // what is before the event is published, however long that takes
		r.Logger.ErrorContext(ctx, "no message can be made of an event, and the relay stops behind what is before it", slog.Any("error", err))
	}
	publishing.Wait()
	stop(err)
	noMore()
	noting.Wait()
	return context.Cause(work)
}

// read follows the log and hands messages to the lanes. It ends with an error, always.
func (r *Running[E]) read(ctx context.Context, at annals.Position, lanes []chan delivery) error {
	var entries []annals.Entry[E]
	for u, err := range r.log.Store().Subscribe(ctx, r.query, at) {
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return fmt.Errorf("outbox: %s: subscribe: %w", r.Name, err)
		}
		var messages []Message
		if u.Event != nil && !r.own(u.Event.Stream) {
			if messages, entries, err = r.messages(*u.Event, entries[:0]); err != nil {
				return err
			}
		}
		if err := r.enter(ctx, u.Position, len(messages)); err != nil {
			return err
		}
		for _, m := range messages {
			select {
			case lanes[laneOf(m.Key, len(lanes))] <- delivery{m, u.Position}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return context.Cause(ctx)
}

// own reports whether a stream is the relay's: what it writes there must not make it write more.
func (r *Running[E]) own(stream string) bool {
	return stream == r.Stream() || stream == annals.TrackingStream(source(r.Name))
}

// messages are those of an event, with their ids.
func (r *Running[E]) messages(e annals.Recorded, entries []annals.Entry[E]) ([]Message, []annals.Entry[E], error) {
	entries, err := r.log.Schema().Decode(entries, e)
	if r.log.Schema().Skips(err) {
		return nil, entries, nil
	}
	failed := func(err error) error {
		return &MessageError{Relay: r.Name, Position: e.Position, Type: e.Type, Err: err}
	}
	if err != nil {
		return nil, entries, failed(err)
	}
	var all []Message
	for _, entry := range entries {
		if entry.Parts != 1 && !r.query.Match(entry.Recorded) { // a part of a split event that nobody asked for
			continue
		}
		var some []Message
		err := guard(func() (err error) { some, err = r.Messages(entry); return err })
		if err != nil {
			return nil, entries, failed(err)
		}
		all = append(all, some...)
	}
	for i := range all {
		m := &all[i]
		if m.Topic == "" {
			return nil, entries, failed(errors.New("a message has no topic"))
		}
		m.ID, m.Event = derive.ID("annals outbox", r.Name, e.Stream, e.ID.String(), strconv.Itoa(i)), e
	}
	return all, entries, nil
}

// guard makes an error of a panic.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

// noted is the position of a relay that is stored, and a head of the store up to which nobody else has stored one since.
type noted struct{ position, head annals.Position }

// note stores from time to time how far the relay has come, and once more at the end.
func (r *Running[E]) note(ctx context.Context, at noted) error {
	tick := time.NewTicker(r.NoteEvery)
	defer tick.Stop()
	for {
		last := false
		select {
		case <-tick.C:
		case <-ctx.Done():
			last = true
		}
		to, due := r.due(at.position)
		if due {
			head, err := r.store(ctx, to, at.head)
			switch {
			case err != nil && last && !errors.Is(err, ErrElsewhere): // what was published since is published again
				r.Logger.WarnContext(ctx, "the last position was not stored", slog.Any("error", err))
			case err != nil:
				return err
			}
			at = noted{to, head}
		}
		if last {
			return nil
		}
	}
}

// due is the position to be stored, if it should be. Over events without messages it moves in large steps: the record of a position is
// such an event itself.
func (r *Running[E]) due(stored annals.Position) (to annals.Position, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &r.window
	if w.done <= stored || !w.published && w.done < stored+idleEvery {
		return 0, false
	}
	w.published = false
	return w.done, true
}

// store writes the position, also when ctx has ended, unless another process has since head. It tells the new head.
func (r *Running[E]) store(ctx context.Context, to, head annals.Position) (annals.Position, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storePatience)
	defer cancel()
	others := annals.NoneSince(head, annals.Stream(annals.TrackingStream(source(r.Name))).WithSystem())
	receipt, err := r.system.Append(ctx, nil, annals.TrackingAt(source(r.Name), to), others)
	switch {
	case errors.Is(err, annals.ErrConflict):
		return 0, fmt.Errorf("%w: %s: %w", ErrElsewhere, r.Name, err)
	case err != nil:
		return 0, fmt.Errorf("outbox: %s: store the position: %w", r.Name, err)
	}
	return receipt.Head, nil
}

// Status tells how the relay is doing.
func (r *Running[E]) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Status{
		Running: r.running, Published: r.window.done, Head: r.head, Waiting: r.window.waiting, Parked: len(r.parked),
		Failing: r.failing, Since: r.since,
	}
}

// Wait returns when every message of the events up to p is with its receiver, or parked, as far as this process knows, or when ctx ends.
func (r *Running[E]) Wait(ctx context.Context, p annals.Position) error {
	for {
		r.mu.Lock()
		done, moved := r.window.done, r.moved
		r.mu.Unlock()
		if done >= p {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("outbox: %s is at %d, not at %d: %w", r.Name, done, p, context.Cause(ctx))
		}
	}
}

package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/annalsdb/annals"
)

const (
	batchEventsDefault = 2000
	batchBytesDefault  = 4 << 20
	cacheBytesDefault  = 16 << 20
	// checkpointEvery is over how many positions without a match a checkpoint is not stored, only announced: that many
	// are looked at once more after a restart.
	checkpointEvery = 1000
)

// Runner brings projections up to date with a log. Log and Views are required; the other fields have defaults.
type Runner[E any] struct {
	Log   *annals.Log[E]
	Views Views
	// Logger is told what starts, stops and fails. Nil is silence.
	Logger *slog.Logger
	// BatchEvents and BatchBytes bound what is applied in one transaction, and so what is held in memory: by default 2,000 events, 4 MiB. When nothing
	// more is ready, a batch is committed at once.
	BatchEvents, BatchBytes int
	// CacheBytes is about how much memory each projection keeps its rows of late in, so that they need not be read again: by default 16 MiB;
	// negative keeps none.
	CacheBytes int
	// Hold keeps a new version from taking the place of the one that serves by itself, once it has caught up: [Switch] does it, after
	// a comparison perhaps.
	Hold bool
	// Lease, if it is positive, lets several processes run the same projections on the same views: one of them runs a projection, the
	// others stand by, and one of those goes on if it has said nothing for that long; a process that ends in order gives
	// the lease back at once. Ten seconds is a good one. Nothing is applied twice if a process that was taken for dead wakes up: its batches
	// are refused. All runners of the projection have to be given one. With it the checkpoint is stored also when it moves over
	// events that do not match, so that the other processes' reads see it.
	Lease time.Duration

	holder  string // of the leases
	catchUp bool
}

// Run keeps the projections up to date until ctx ends, as [Runner.Run] does with the defaults.
func Run[E any](ctx context.Context, log *annals.Log[E], views Views, defs ...Definition[E]) error {
	return Runner[E]{Log: log, Views: views}.Run(ctx, defs...)
}

// CatchUp applies everything there is to the projections and returns, as [Runner.CatchUp] does with the defaults.
func CatchUp[E any](ctx context.Context, log *annals.Log[E], views Views, defs ...Definition[E]) error {
	return Runner[E]{Log: log, Views: views}.CatchUp(ctx, defs...)
}

// Rebuild drops the rows of the projections and makes them anew from all events there are, as [Reset] and [CatchUp] do.
func Rebuild[E any](ctx context.Context, log *annals.Log[E], views Views, defs ...Definition[E]) error {
	for _, def := range defs {
		if err := Reset(ctx, views, def); err != nil {
			return err
		}
	}
	return CatchUp(ctx, log, views, defs...)
}

// Reset drops the rows and the checkpoint of a projection, whatever definition and store they were made by, so that the
// next run begins with the first event. It fails with [ErrRunning] while this process runs the projection; a runner of
// another process stops with [ErrReset].
func Reset[E any](ctx context.Context, views Views, def Definition[E]) error {
	shape, err := def.Shape()
	if err != nil {
		return err
	}
	id := shape.String()
	progress := views.Progress()
	if err := progress.claim(id); err != nil {
		return err
	}
	if err := views.Drop(ctx, shape.Name, shape.Version); err != nil {
		progress.unclaim(id)
		return fmt.Errorf("projection: reset %s: %w", id, err)
	}
	progress.dropped(id)
	return nil
}

// Run keeps the projections up to date, each from its checkpoint on, each by a goroutine of its own, until ctx ends. If
// something is wrong with one of them before the start (its definition, its stored shape, its store), none is
// started.
//
// One that fails later stops, with its rows as of its checkpoint, and does not stop the others; [View.Wait] and
// [View.Status] tell, and the logger. Run returns when all have stopped, with the errors of those that failed, and that of
// ctx if it ended; it never returns nil. Events of types that the schema does not list, or has dropped, are skipped.
func (r Runner[E]) Run(ctx context.Context, defs ...Definition[E]) error {
	return r.run(ctx, annals.NoPosition, defs)
}

// CatchUp applies everything up to the head of this moment to the projections and returns; nil if all came there. One that is paused
// is [ErrPaused]. It is otherwise as [Runner.Run].
func (r Runner[E]) CatchUp(ctx context.Context, defs ...Definition[E]) error {
	head, err := r.Log.Store().Head(ctx)
	if err != nil {
		return fmt.Errorf("projection: catch up: head: %w", err)
	}
	return r.CatchUpTo(ctx, head, defs...)
}

// CatchUpTo applies everything up to a position to the projections, or a bit more if they are there already, and returns. In views of
// their own, they are then as they were when the store stood there. It is otherwise as [Runner.CatchUp].
func (r Runner[E]) CatchUpTo(ctx context.Context, p annals.Position, defs ...Definition[E]) error {
	r.catchUp = true
	return r.run(ctx, p, defs)
}

func (r Runner[E]) run(ctx context.Context, until annals.Position, defs []Definition[E]) error {
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.BatchEvents <= 0 {
		r.BatchEvents = batchEventsDefault
	}
	if r.BatchBytes <= 0 {
		r.BatchBytes = batchBytesDefault
	}
	if r.CacheBytes == 0 {
		r.CacheBytes = cacheBytesDefault
	}
	r.holder = newHolder()
	jobs, err := r.prepare(ctx, until, defs)
	if err != nil {
		return err
	}
	errs := make([]error, len(jobs))
	var all, reports sync.WaitGroup
	reporting, end := context.WithCancel(context.WithoutCancel(ctx)) // the last report is of how they ended
	if !r.catchUp {
		reports.Go(func() { r.report(reporting, jobs) })
	}
	for i, j := range jobs {
		all.Go(func() { errs[i] = j.keep(ctx) })
	}
	all.Wait()
	end()
	reports.Wait()
	failed := errors.Join(errs...)
	if until == annals.NoPosition || ctx.Err() != nil {
		return errors.Join(failed, ctx.Err())
	}
	return failed
}

// prepare claims and checks all projections, or none.
func (r Runner[E]) prepare(ctx context.Context, until annals.Position, defs []Definition[E]) (jobs []*job[E], err error) {
	if len(defs) == 0 {
		return nil, &DefinitionError{Problems: []string{"no projection to run"}}
	}
	defer func() {
		if err != nil {
			for _, j := range jobs {
				r.Views.Progress().unclaim(j.id)
			}
		}
	}()
	for _, def := range defs {
		j, err := r.job(def)
		if err != nil {
			return jobs, err
		}
		j.until = until
		if err := r.Views.Progress().claim(j.id); err != nil {
			return jobs, err
		}
		jobs = append(jobs, j)
		if err := j.open(ctx); err != nil {
			return jobs, err
		}
	}
	return jobs, nil
}

func (r Runner[E]) job(def Definition[E]) (*job[E], error) {
	declared, err := def.plan()
	if err != nil {
		return nil, err
	}
	p, err := bind(declared, r.Log.Schema())
	if err != nil {
		return nil, err
	}
	id := p.shape.String()
	return &job[E]{runner: r, plan: p, id: id, logger: r.Logger.With(slog.String("projection", id))}, nil
}

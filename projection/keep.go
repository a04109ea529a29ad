package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// errWanted is the cause of a run that ended since people want something else of it.
var errWanted = errors.New("projection: something else is wanted")

// state tells what the runner is doing.
func (j *job[E]) state(s State) { j.runner.Views.Progress().doing(j.id, s) }

// keep runs the projection until ctx ends or it fails, through pauses and losses of the lease. It was opened once already, to see that it can be.
func (j *job[E]) keep(ctx context.Context) error {
	j.logger.InfoContext(ctx, "projection started", slog.Uint64("position", uint64(j.stored.Position)))
	err := j.turns(ctx)
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) && !errors.Is(err, ErrApply) {
		err = nil
	}
	j.runner.Views.Progress().release(j.id, err)
	if err != nil {
		j.logger.ErrorContext(ctx, "projection failed", slog.Uint64("position", uint64(j.stored.Position)), slog.Any("error", err))
	} else {
		j.logger.InfoContext(ctx, "projection stopped", slog.Uint64("position", uint64(j.stored.Position)))
	}
	return err
}

// turns are runs of the projection, one after the other, until one of them ends for good.
func (j *job[E]) turns(ctx context.Context) error {
	for {
		err := j.turn(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		cause, pause := "", time.Duration(0)
		switch {
		case errors.Is(err, errWanted):
			cause = "something else is wanted of it"
		case errors.Is(err, errLeaseLost) || errors.Is(err, ErrCheckpointMoved) && j.runner.Lease > 0:
			cause = "another process has taken it over"
		case errors.Is(err, ErrCheckpointMoved) && j.onlyRewritten(ctx):
			cause = "its rows were put right by somebody else"
		case errors.Is(err, ErrReset):
			cause = "its rows were dropped"
		case temporary(err) && j.follows():
			cause, pause = "its views cannot do it just now", retryLongest
			j.runner.Views.Progress().retrying(j.id, err)
		default:
			return err
		}
		j.logger.InfoContext(ctx, "projection begins again", slog.String("cause", cause), slog.Any("error", err))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// onlyRewritten reports whether somebody has changed rows, as [Skip] does, and applied no event.
func (j *job[E]) onlyRewritten(ctx context.Context) bool {
	c, err := j.table.Checkpoint(ctx)
	return err == nil && c.Position == j.stored.Position && c.Commits != j.stored.Commits
}

// turn waits until the projection is to be run here, and runs it until something else is wanted.
func (j *job[E]) turn(ctx context.Context) error {
	wanted, err := j.wanted(ctx)
	if err != nil {
		return err
	}
	if wanted.Paused {
		if err := j.open(ctx); err != nil {
			return err
		}
		return j.wait(ctx, wanted)
	}
	if j.runner.Lease > 0 {
		if err := j.acquire(ctx); err != nil {
			return err
		}
		defer j.giveUpLease(ctx)
	}
	here, stop := context.WithCancelCause(ctx)
	var beside sync.WaitGroup
	defer beside.Wait()
	defer stop(nil)
	if j.runner.Lease > 0 {
		beside.Go(func() { j.hold(here, func() { stop(errLeaseLost) }) })
	}
	if err := j.open(here); err != nil { // once more: another process may have run it meanwhile
		return because(here, err)
	}
	if j.follows() {
		beside.Go(func() { j.watch(here, wanted, stop) })
	}
	return because(here, j.work(here))
}

// follows reports whether it runs until it is told to end.
func (j *job[E]) follows() bool { return !j.runner.catchUp }

// wait waits until something else is wanted.
func (j *job[E]) wait(ctx context.Context, wanted control) error {
	if !j.follows() {
		return fmt.Errorf("projection: %s: %w", j.id, ErrPaused)
	}
	j.state(StatePaused)
	j.logger.InfoContext(ctx, "projection is paused", slog.Uint64("position", uint64(j.stored.Position)))
	cause := errWanted
	j.watch(ctx, wanted, func(why error) { cause = why })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return cause
}

// because gives the cause for which a run was ended here.
func because(here context.Context, err error) error {
	if cause := context.Cause(here); err != nil && cause != nil && (errors.Is(cause, errWanted) || errors.Is(cause, errLeaseLost) || errors.Is(cause, ErrReset)) {
		return cause
	}
	return err
}

// work follows the log.
func (j *job[E]) work(ctx context.Context) error {
	j.state(StateRunning)
	if err := j.openParked(ctx); err != nil {
		return err
	}
	if err := j.persist(ctx, func() error { return j.serve(ctx) }); err != nil {
		return err
	}
	if j.building {
		j.state(StateBuilding)
	}
	j.announce(j.stored.Position)
	if err := j.switchOver(ctx, j.stored.Position); err != nil {
		return err
	}
	return j.follow(ctx)
}

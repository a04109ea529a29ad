package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annalsdb/annals"
)

// State is what a runner is doing with a projection.
type State string

// The states of a projection.
const (
	// StateRunning: it follows the log.
	StateRunning State = "running"
	// StateBuilding: it is being built beside the version that serves.
	StateBuilding State = "building"
	// StatePaused: somebody has paused it.
	StatePaused State = "paused"
	// StateStandby: another process runs it.
	StateStandby State = "standby"
	// StateRetrying: the views cannot do it just now, and are asked again.
	StateRetrying State = "retrying"
	// StateFailed: it has stopped with an error.
	StateFailed State = "failed"
	// StateStopped: no runner has said anything for [ReportsLast], or the last one has ended.
	StateStopped State = "stopped"
)

const (
	// ReportsLast is how long a report is believed: a runner reports at least every third of it.
	ReportsLast = 30 * time.Second
	// StalledAfter is how long a projection that is behind may apply nothing before it is said to be stalled.
	StalledAfter = 30 * time.Second
	// rateOver is over how long speed and trend are measured.
	rateOver = 10 * time.Second
)

// Report is what is known of one version of a projection, whatever process runs it.
type Report struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
	// Serving says that it is the version that serves; Previous that [Rollback] goes back to it.
	Serving  bool  `json:"serving"`
	Previous bool  `json:"previous,omitempty"`
	State    State `json:"state"`
	// Runner is the process that runs it: host, process and a name of its own.
	Runner string `json:"runner,omitempty"`
	// At is when the runner said so; zero if none ever did.
	At time.Time `json:"at,omitzero"`
	// Applied is the position up to which every event is in the rows; Head is that of the store.
	Applied annals.Position `json:"applied"`
	Head    annals.Position `json:"head"`
	// Lag is how many positions it is behind, LagSeconds for how long it has not seen what the store had then.
	Lag        uint64  `json:"lag"`
	LagSeconds float64 `json:"lagSeconds"`
	// Trend is how the lag has changed over the last ten seconds: positive is falling behind.
	Trend int64 `json:"trend"`
	// PerSecond is how many positions it has come forward a second, over the last ten.
	PerSecond float64 `json:"perSecond"`
	// Stalled says that it is behind and has applied nothing for [StalledAfter].
	Stalled bool `json:"stalled,omitempty"`
	// Parked is how many events are parked.
	Parked int `json:"parked"`
	// Error is what it has stopped with, or what is tried again.
	Error string `json:"error,omitempty"`
}

// ETA is how long it takes to come to the head at the speed of now; negative if it comes no nearer.
func (r Report) ETA() time.Duration {
	if r.Lag == 0 {
		return 0
	}
	if r.PerSecond <= 0 {
		return -1
	}
	return time.Duration(float64(r.Lag) / r.PerSecond * float64(time.Second))
}

func reportKey(id string) string { return "report/" + id }

// Reports tells of all projections in the views, by name and version.
func Reports(ctx context.Context, views Views) ([]Report, error) {
	shapes, err := views.Stored(ctx)
	if err != nil {
		return nil, fmt.Errorf("projection: reports: %w", err)
	}
	reports := make([]Report, len(shapes))
	for i, shape := range shapes {
		if reports[i], err = reportOf(ctx, views, shape); err != nil {
			return nil, fmt.Errorf("projection: report of %s: %w", shape, err)
		}
	}
	return reports, nil
}

func reportOf(ctx context.Context, views Views, shape Shape) (r Report, err error) {
	note, err := views.Note(ctx, reportKey(shape.String()))
	if err != nil {
		return r, err
	}
	r.State = StateStopped
	if note != nil {
		if err := json.Unmarshal(note, &r); err != nil {
			return r, err
		}
	}
	r.Name, r.Version = shape.Name, shape.Version
	s, err := ServingOf(ctx, views, shape.Name)
	if err != nil {
		return r, err
	}
	r.Serving, r.Previous = s.Version == shape.Version, s.Previous == shape.Version
	t, err := views.Table(ctx, shape)
	if err != nil {
		return r, err
	}
	c, err := t.Checkpoint(ctx)
	if err != nil {
		return r, err
	}
	parked, err := parkedIn(ctx, t)
	if err != nil {
		return r, err
	}
	r.Applied, r.Parked = max(r.Applied, c.Position), len(parked)
	r.Head = max(r.Head, r.Applied)
	r.Lag = uint64(r.Head - r.Applied)
	if r.State != StateFailed && time.Since(r.At) > ReportsLast {
		r.State, r.PerSecond, r.Trend = StateStopped, 0, 0
	}
	return r, nil
}

// sample is how far projection and store were at a moment.
type sample struct {
	at            time.Time
	applied, head annals.Position
}

// reporter tells, of one projection, what its runner does. It is used by one goroutine.
type reporter struct {
	id      string
	samples []sample // of the last seconds, the oldest first
	moved   time.Time
	last    Report // as it was noted
	logged  time.Time
}

// report tells of all projections until ctx ends, and once more then.
func (r Runner[E]) report(ctx context.Context, jobs []*job[E]) {
	reporters := make([]*reporter, len(jobs))
	for i, j := range jobs {
		reporters[i] = &reporter{id: j.id, moved: time.Now()}
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			for i, j := range jobs {
				reporters[i].tell(last, j.runner.Views, j.logger, j.runner.Views.Progress().look(j.id), reporters[i].last.Head, r.holder)
			}
			return
		}
		head, err := r.Log.Store().Head(ctx)
		if err != nil {
			continue // whoever reads the log says so
		}
		for i, j := range jobs {
			reporters[i].tell(ctx, j.runner.Views, j.logger, j.runner.Views.Progress().look(j.id), head, r.holder)
		}
	}
}

// tell notes what has changed.
func (p *reporter) tell(ctx context.Context, views Views, logger *slog.Logger, now tracker, head annals.Position, holder string) {
	if now.state == StateStandby { // who runs it tells
		return
	}
	r := p.next(time.Now(), now, head)
	r.Runner = holder
	if r.State == StateBuilding && r.At.Sub(p.logged) >= rateOver/2 {
		p.logged = r.At
		logger.InfoContext(ctx, "projection is being built", slog.Uint64("position", uint64(r.Applied)), slog.Uint64("head", uint64(r.Head)),
			slog.Int("per_second", int(r.PerSecond)), slog.Duration("eta", r.ETA().Round(time.Second)), slog.Int("parked", r.Parked))
	}
	same := r
	same.At = p.last.At
	if same == p.last && r.At.Sub(p.last.At) < ReportsLast/3 {
		return
	}
	doc, err := json.Marshal(r)
	if err == nil {
		err = changeNote(ctx, views, reportKey(p.id), func([]byte) ([]byte, error) { return doc, nil })
	}
	if err == nil {
		p.last = r
	} else if !errors.Is(err, ErrClosed) && ctx.Err() == nil {
		logger.WarnContext(ctx, "a report of a projection was not kept", slog.Any("error", err))
	}
}

// next is the report of a moment.
func (p *reporter) next(at time.Time, now tracker, head annals.Position) Report {
	r := Report{State: now.state, At: at, Applied: now.applied, Head: max(head, now.applied), Parked: now.waiting}
	switch {
	case now.err != nil:
		r.State, r.Error = StateFailed, now.err.Error()
	case !now.running:
		r.State = StateStopped
	case now.retries != nil:
		r.State, r.Error = StateRetrying, now.retries.Error()
	}
	r.Lag = uint64(r.Head - r.Applied)
	if len(p.samples) == 0 || p.samples[len(p.samples)-1].applied != r.Applied || r.Lag == 0 {
		p.moved = at
	}
	r.Stalled = r.State != StatePaused && at.Sub(p.moved) >= StalledAfter
	p.samples = append(p.samples, sample{at, r.Applied, r.Head})
	first := p.samples[0]
	for _, s := range p.samples {
		if at.Sub(s.at) >= rateOver {
			first = s // the newest that is old enough
		}
	}
	if span := at.Sub(first.at); span > 0 && r.Applied > first.applied {
		r.PerSecond = float64(r.Applied-first.applied) / span.Seconds()
	}
	r.Trend = int64(r.Lag) - int64(first.head-first.applied)
	r.LagSeconds = p.behind(at, r.Applied).Seconds()
	for len(p.samples) > 1 && at.Sub(p.samples[0].at) >= rateOver {
		// What is older is needed no more for the speed, and for the lag only if it is not applied.
		if p.samples[0].head > r.Applied && len(p.samples) < samplesMax {
			break
		}
		p.samples = p.samples[1:]
	}
	return r
}

// samplesMax bounds for how long back a lag is measured exactly: it is that many seconds, and then said to be at least that.
const samplesMax = 3600

// behind is since when the store had an event that is not applied, as far as the samples tell.
func (p *reporter) behind(at time.Time, applied annals.Position) time.Duration {
	for _, s := range p.samples {
		if s.head > applied {
			return at.Sub(s.at)
		}
	}
	return 0
}

// Package projectionmetrics gives Prometheus what projections report.
//
//	registry.MustRegister(projectionmetrics.Collector(views, 2*time.Second))
//
// It reads the views, and so tells of every projection in them, whatever process runs it.
package projectionmetrics

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/annalsdb/annals/projection"
)

// labels tell the versions of projections apart. Their number is that of the versions that are stored.
var labels = []string{"projection", "version"}

func describe(name, help string, more ...string) *prometheus.Desc {
	return prometheus.NewDesc("annals_projection_"+name, help, append(labels, more...), nil)
}

var (
	applied    = describe("applied_position", "Position up to which every event is in the rows.")
	lagEvents  = describe("lag_events", "Positions that the projection is behind the store.")
	lagSeconds = describe("lag_seconds", "For how long the projection has not seen what the store had then.")
	perSecond  = describe("positions_per_second", "Positions a second that the projection has come forward, over the last ten.")
	parked     = describe("parked_events", "Events that could not be applied, or wait for one.")
	stalled    = describe("stalled", "1 if the projection is behind and applies nothing.")
	serving    = describe("serving", "1 if the version is the one that serves.")
	state      = describe("state", "1 for the state that the runner is in.", "state")
	reported   = describe("report_timestamp_seconds", "When the runner has last said something.")
	up         = prometheus.NewDesc("annals_projection_views_up", "1 if the views could be read.", nil, nil)
)

var states = []projection.State{
	projection.StateRunning, projection.StateBuilding, projection.StatePaused, projection.StateStandby,
	projection.StateRetrying, projection.StateFailed, projection.StateStopped,
}

type collector struct {
	views   projection.Views
	timeout time.Duration
}

// Collector reads the reports of all projections in views each time it is asked, for no longer than timeout. If they cannot be read,
// annals_projection_views_up is 0 and nothing else is told. It may be used concurrently.
func Collector(views projection.Views, timeout time.Duration) prometheus.Collector {
	return collector{views, timeout}
}

// Describe implements prometheus.Collector.
func (c collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{applied, lagEvents, lagSeconds, perSecond, parked, stalled, serving, state, reported, up} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	reports, err := projection.Reports(ctx, c.views)
	out <- gauge(up, flag(err == nil))
	if err != nil {
		return
	}
	for _, r := range reports {
		of := []string{r.Name, strconv.Itoa(r.Version)}
		out <- gauge(applied, float64(r.Applied), of...)
		out <- gauge(lagEvents, float64(r.Lag), of...)
		out <- gauge(lagSeconds, r.LagSeconds, of...)
		out <- gauge(perSecond, r.PerSecond, of...)
		out <- gauge(parked, float64(r.Parked), of...)
		out <- gauge(stalled, flag(r.Stalled), of...)
		out <- gauge(serving, flag(r.Serving), of...)
		for _, s := range states {
			out <- gauge(state, flag(r.State == s), append(of, string(s))...)
		}
		if !r.At.IsZero() {
			out <- gauge(reported, float64(r.At.UnixMilli())/1000, of...)
		}
	}
}

func gauge(d *prometheus.Desc, value float64, of ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, of...)
}

func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

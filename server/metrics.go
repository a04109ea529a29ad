package server

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/server/auth"
)

// metricsTimeout is how long a store may take to tell its head.
const metricsTimeout = 2 * time.Second

// metrics are what the server measures. Labels are names of stores and of methods, and never of streams.
type metrics struct {
	registry  *prometheus.Registry
	appends   *prometheus.HistogramVec
	events    *prometheus.CounterVec
	conflicts *prometheus.CounterVec
	streams   *prometheus.GaugeVec
}

func newMetrics(stores map[string]annals.Store) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		appends: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "annals_append_duration_seconds", Help: "How long appends took, by what came of them.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}, []string{"store", "outcome"}),
		events:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "annals_appended_events_total", Help: "Events that were appended."}, []string{"store"}),
		conflicts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "annals_append_conflicts_total", Help: "Appends whose condition did not hold."}, []string{"store"}),
		streams:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "annals_streams", Help: "Streams that are open, by method."}, []string{"method"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "annals_build_info", Help: "Always 1; says which version runs.", ConstLabels: prometheus.Labels{"version": version()}})
	build.Set(1)
	m.registry.MustRegister(m.appends, m.events, m.conflicts, m.streams, build, heads(stores), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// appended measures an append.
func (m *metrics) appended(store string, receipt annals.Receipt, events int, took time.Duration, err error) {
	outcome := "ok"
	switch {
	case errors.Is(err, annals.ErrConflict):
		outcome = "conflict"
		m.conflicts.WithLabelValues(store).Inc()
	case errors.Is(err, annals.ErrInvalid):
		outcome = "invalid"
	case err != nil:
		outcome = "failed"
	case receipt.Duplicate:
		outcome = "duplicate"
	default:
		m.events.WithLabelValues(store).Add(float64(events))
	}
	m.appends.WithLabelValues(store, outcome).Observe(took.Seconds())
}

// stream counts a stream while it is open.
func (m *metrics) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	open := m.streams.WithLabelValues(info.FullMethod)
	open.Inc()
	defer open.Dec()
	return handler(srv, stream)
}

// heads tells where stores stand, when it is asked.
type heads map[string]annals.Store

var headPosition = prometheus.NewDesc("annals_head_position", "Position of the last event.", []string{"store"}, nil)

// Describe implements prometheus.Collector.
func (h heads) Describe(out chan<- *prometheus.Desc) { out <- headPosition }

// Collect implements prometheus.Collector. A store that does not tell its head is left out.
func (h heads) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), metricsTimeout)
	defer cancel()
	for name, store := range h {
		if head, err := store.Head(ctx); err == nil {
			out <- prometheus.MustNewConstMetric(headPosition, prometheus.GaugeValue, float64(head), name)
		}
	}
}

// handler serves the metrics, to whoever may read the default store if there are keys.
func (m *metrics) handler(keys *auth.Keys) http.Handler {
	serve := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	if keys == nil {
		return serve
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := keys.Authenticate(auth.Bearer(r.Header.Get("Authorization")))
		if err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "unauthenticated", http.StatusUnauthorized)
			return
		}
		if err := p.May(auth.Access{Operation: auth.Read, Whole: true}); err != nil {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		serve.ServeHTTP(w, r)
	})
}

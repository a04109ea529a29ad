package cqrsotel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/annalsdb/annals/cqrs"
)

// Metrics measures how long messages take, as the histogram annals.message.duration in seconds, by kind, name and outcome, and
// how many are under way, as annals.message.active. It fails if the provider refuses the instruments.
func Metrics(provider metric.MeterProvider) (cqrs.Middleware, error) {
	meter := provider.Meter(scope)
	duration, err := meter.Float64Histogram("annals.message.duration", metric.WithUnit("s"),
		metric.WithDescription("How long commands and queries take."),
		metric.WithExplicitBucketBoundaries(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
	if err != nil {
		return nil, err
	}
	active, err := meter.Int64UpDownCounter("annals.message.active", metric.WithDescription("Commands and queries under way."))
	if err != nil {
		return nil, err
	}
	return func(next cqrs.Handler) cqrs.Handler {
		return func(ctx context.Context, m cqrs.Message) (v any, err error) {
			name, kind := keyName.String(m.Name), keyKind.String(kindOf(m))
			// What is counted is counted when the caller has gone, too, and when next panics.
			count := context.WithoutCancel(ctx)
			active.Add(count, 1, metric.WithAttributes(name, kind))
			start, outcome := time.Now(), cqrs.OutcomeFailed
			defer func() {
				active.Add(count, -1, metric.WithAttributes(name, kind))
				duration.Record(count, time.Since(start).Seconds(), metric.WithAttributes(name, kind, keyOutcome.String(string(outcome))))
			}()
			v, err = next(ctx, m)
			outcome = cqrs.OutcomeOf(err)
			return v, err
		}
	}, nil
}

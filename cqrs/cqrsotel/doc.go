// Package cqrsotel shows commands and queries to OpenTelemetry, as spans and as metrics. It uses the API alone: what becomes of
// them is for the program to say, which sets up an SDK. Without one, nothing is measured and little is spent.
//
//	metrics, err := cqrsotel.Metrics(otel.GetMeterProvider())
//	bus := cqrs.New(log, cqrs.Recover(), cqrsotel.Tracing(otel.GetTracerProvider()), metrics)
package cqrsotel

// scope is the name of the instrumentation.
const scope = "github.com/annalsdb/annals/cqrs"

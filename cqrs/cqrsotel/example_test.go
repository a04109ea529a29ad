package cqrsotel_test

import (
	"context"
	"fmt"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/cqrs/cqrsotel"
)

// Every command is a span.
func ExampleTracing() {
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)) // a program exports them
	bus := newBus(cqrs.Recover(), cqrsotel.Tracing(provider))
	_, err := cqrs.Do(context.Background(), bus, Ring{Bell: "front"})
	fmt.Println(err)
	for _, s := range spans.Ended() {
		fmt.Println(s.Name())
	}
	// Output:
	// <nil>
	// command Ring
}

// What commands cost is a histogram, by name and outcome.
func ExampleMetrics() {
	reader := sdkmetric.NewManualReader() // a program exports to Prometheus, say
	metrics, err := cqrsotel.Metrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	fmt.Println(err)
	bus := newBus(metrics)
	for range 3 {
		if _, err := cqrs.Do(context.Background(), bus, Ring{Bell: "front"}); err != nil {
			continue // counted as well
		}
	}
	var data metricdata.ResourceMetrics
	fmt.Println(reader.Collect(context.Background(), &data))
	for _, m := range data.ScopeMetrics[0].Metrics {
		if durations, ok := m.Data.(metricdata.Histogram[float64]); ok {
			for _, p := range durations.DataPoints {
				outcome, _ := p.Attributes.Value("annals.outcome")
				fmt.Println(m.Name, outcome.AsString(), p.Count)
			}
		}
	}
	// Unordered output:
	// <nil>
	// <nil>
	// annals.message.duration ok 1
	// annals.message.duration rejected 2
}

package cqrsotel_test

import (
	"context"
	"fmt"

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

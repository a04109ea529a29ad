package cqrsotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
)

// Attributes of spans and metrics. They hold neither messages nor answers nor who asked, for those may be personal.
const (
	keyName        = attribute.Key("annals.message.name")
	keyKind        = attribute.Key("annals.message.kind") // command or query
	keyOutcome     = attribute.Key("annals.outcome")
	keyCorrelation = attribute.Key("annals.correlation_id")
)

// traceparent is the header of the W3C trace context, which events carry as metadata.
const traceparent = "traceparent"

// Tracing makes a span of each message, named by its kind and its name, with its outcome. Events that a command leads to carry
// the span as annals.Metadata.Traceparent. If a message has no span around it but metadata with a Traceparent, as those of
// process managers have, the span is linked to what that names: it may have ended days ago. What somebody should look at is
// an error of the span; refusals are not.
func Tracing(provider trace.TracerProvider) cqrs.Middleware {
	tracer := provider.Tracer(scope)
	return func(next cqrs.Handler) cqrs.Handler {
		return func(ctx context.Context, m cqrs.Message) (any, error) {
			md := annals.MetadataFrom(ctx)
			opts := []trace.SpanStartOption{trace.WithAttributes(keyName.String(m.Name), keyKind.String(kindOf(m)))}
			if md.CorrelationID != "" {
				opts = append(opts, trace.WithAttributes(keyCorrelation.String(md.CorrelationID)))
			}
			if cause := spanOf(md.Traceparent); cause.IsValid() && !trace.SpanContextFromContext(ctx).IsValid() {
				opts = append(opts, trace.WithLinks(trace.Link{SpanContext: cause}))
			}
			ctx, span := tracer.Start(ctx, kindOf(m)+" "+m.Name, opts...)
			err := cqrs.ErrPanic // stands if next does not return
			defer func() {
				outcome := cqrs.OutcomeOf(err)
				span.SetAttributes(keyOutcome.String(string(outcome)))
				if err != nil && faulty(outcome) {
					span.RecordError(err)
					span.SetStatus(codes.Error, string(outcome))
				}
				span.End()
			}()
			if p := parentOf(ctx); p != "" {
				md.Traceparent = p
				ctx = annals.WithMetadata(ctx, md)
			}
			v, failed := next(ctx, m)
			err = failed
			return v, failed
		}
	}
}

// faulty outcomes are those that are nobody's wish.
func faulty(o cqrs.Outcome) bool {
	switch o {
	case cqrs.OutcomeFailed, cqrs.OutcomeTimeout, cqrs.OutcomeLagging, cqrs.OutcomeLimited, cqrs.OutcomeConflict:
		return true
	}
	return false
}

func kindOf(m cqrs.Message) string {
	if m.Query {
		return "query"
	}
	return "command"
}

// parentOf writes the span of ctx as a traceparent; "" if there is none.
func parentOf(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier[traceparent]
}

// spanOf reads a traceparent.
func spanOf(s string) trace.SpanContext {
	if s == "" {
		return trace.SpanContext{}
	}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: s}))
}

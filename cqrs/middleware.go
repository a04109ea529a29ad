package cqrs

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/annalsdb/annals"
)

// Recover turns a panic of what it wraps into a [PanicError]. It is for the functions given to [Answer] and for other
// middleware; panics in Decide and Evolve are errors of package decider anyway.
func Recover() Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, m Message) (v any, err error) {
			defer func() {
				if p := recover(); p != nil {
					v, err = nil, &PanicError{Message: m.Name, Value: p, Stack: debug.Stack()}
				}
			}()
			return next(ctx, m)
		}
	}
}

// Correlation gives the metadata of ctx a new correlation id if it has none, so that the events of a command, and all
// that follows from them, can be found together.
func Correlation() Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, m Message) (any, error) {
			if md := annals.MetadataFrom(ctx); md.CorrelationID == "" {
				md.CorrelationID = annals.NewID().String()
				ctx = annals.WithMetadata(ctx, md)
			}
			return next(ctx, m)
		}
	}
}

// Timeout gives each message at most d, which must be positive. A command that is cut off says annals.ErrNotWritten or
// annals.ErrUnknownOutcome; both match context.DeadlineExceeded.
func Timeout(d time.Duration) Middleware {
	if d <= 0 {
		panic(fmt.Sprintf("cqrs: Timeout: %v is no time at all", d))
	}
	return func(next Handler) Handler {
		return func(ctx context.Context, m Message) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			return next(ctx, m)
		}
	}
}

// Logging writes one line for each message: its name, the principal, the correlation id, how long it took and the
// [Outcome]. What somebody should look at is an error, what the world outside causes is a warning, the rest is
// information. Neither the message itself nor an answer is logged, for they may be personal.
func Logging(logger *slog.Logger) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, m Message) (any, error) {
			start := time.Now()
			v, err := next(ctx, m)
			outcome := OutcomeOf(err)
			attrs := []slog.Attr{
				slog.String("name", m.Name),
				slog.String("principal", annals.PrincipalFrom(ctx).ID),
				slog.Duration("duration", time.Since(start)),
				slog.String("outcome", string(outcome)),
			}
			if id := annals.MetadataFrom(ctx).CorrelationID; id != "" {
				attrs = append(attrs, slog.String("correlation_id", id))
			}
			if err != nil {
				attrs = append(attrs, slog.Any("error", err))
			}
			if m.Query {
				logger.LogAttrs(ctx, outcome.level(), "query", attrs...)
			} else {
				logger.LogAttrs(ctx, outcome.level(), "command", attrs...)
			}
			return v, err
		}
	}
}

func (o Outcome) level() slog.Level {
	switch o {
	case OutcomeFailed:
		return slog.LevelError
	case OutcomeConflict, OutcomeLagging, OutcomeLimited, OutcomeTimeout:
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

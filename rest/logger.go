package rest

import (
	"context"
	"log/slog"
)

type contextKey int

const loggerKey contextKey = iota

// WithLogger gives requests under the returned context a logger for errors whose cause clients do not learn. A
// middleware, or http.Server's BaseContext, is the place to say it for all routes.
func WithLogger(ctx context.Context, l *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey, l)
}

func loggerFrom(ctx context.Context) *slog.Logger {
	if l, ok := ctx.Value(loggerKey).(*slog.Logger); ok && l != nil {
		return l
	}
	return slog.New(slog.DiscardHandler)
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// bodyTimeout is how long a client may take to send the body of a request.
const bodyTimeout = 30 * time.Second

// errStopping is why a wait is cut off. It is no failure, and is matched as what it is for the client: a cancellation.
var errStopping = fmt.Errorf("annals dev is stopping: %w", context.Canceled)

// cutWaits ends the reads that wait for a position once stopping ends: their clients are told to try again, and nothing
// is lost. Whoever does not wait is let finish, commands above all.
func cutWaits(stopping context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Annals-At-Least") == "" || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(stopping, func() { cancel(errStopping) })()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// limitBodies gives up on bodies that take longer than limit, so that nobody holds a handler for ever. The server's
// ReadTimeout will not do: it also ends requests whose body is there, when they are answered later than that.
func limitBodies(limit time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			control := http.NewResponseController(w)
			if control.SetReadDeadline(time.Now().Add(limit)) == nil { // else the connection has none, and no such limit
				r.Body = &limitedBody{ReadCloser: r.Body, lift: func() { _ = control.SetReadDeadline(time.Time{}) }} // as it could be set
			}
		}
		next.ServeHTTP(w, r)
	})
}

// limitedBody lifts the limit once all has been read.
type limitedBody struct {
	io.ReadCloser
	lift func()
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.lift()
	}
	return n, err
}

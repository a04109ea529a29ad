package rest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
)

const (
	waitDefault  = 2 * time.Second
	waitShortest = 50 * time.Millisecond // what "wait=0" gets: enough to look, not to wait
)

// freshness is what became of the wait for the position that a client demands.
type freshness struct {
	cancel context.CancelFunc // of the context that the read is asked under
	// late says that the log itself has not come to the position that the client demands, as long as it waited; nil if
	// it has.
	late *projection.LaggingError
}

// fresh waits until the log has come to the position that the client demands, if it demands one, and lets read models
// wait for it, together as long as the client waits. How long the read takes is another matter.
func fresh(w http.ResponseWriter, r *http.Request, log annals.Store, maxWait time.Duration) (context.Context, freshness, error) {
	ctx, f := r.Context(), freshness{cancel: func() {}}
	value, ok, err := header(r, headerAtLeast)
	if err != nil || !ok {
		return ctx, f, err
	}
	var p annals.Position
	if p.UnmarshalText([]byte(value)) != nil {
		return ctx, f, malformedHeader(headerAtLeast, "want a position, a decimal number")
	}
	wait, asked := preferredWait(r)
	wait = min(wait, maxWait)
	if asked {
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	}
	start := time.Now()
	wait = max(wait, waitShortest)
	head, err := reached(ctx, log, p, wait)
	if err != nil {
		return ctx, f, err
	}
	ctx = projection.WithPatience(annals.WithAtLeast(ctx, p), max(wait-time.Since(start), waitShortest))
	if head < p { // reads of the log itself would wait as long as they may
		f.late = &projection.LaggingError{Projection: "log", Applied: head, Wanted: p}
		ctx, f.cancel = context.WithTimeout(ctx, waitShortest)
	}
	return ctx, f, nil
}

// reached waits for the log to come to p, and is the head that it has come to.
func reached(ctx context.Context, log annals.Store, p annals.Position, wait time.Duration) (annals.Position, error) {
	head, err := log.Head(ctx)
	if err != nil || head >= p {
		return head, err
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for _, err := range log.Read(waiting, annals.All().WithSystem(), annals.AtLeast(p), annals.Backwards(), annals.Limit(1)) {
		if err != nil && waiting.Err() == nil {
			return head, err
		}
	}
	return log.Head(ctx)
}

// reason is err, or that the log lags, if that is why time ran out.
func (f *freshness) reason(r *http.Request, err error) error {
	if f.late != nil && errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, projection.ErrLagging) && r.Context().Err() == nil {
		return f.late
	}
	return err
}

// preferredWait is the wait preference of RFC 7240. A preference that cannot be read is not applied, as that demands.
func preferredWait(r *http.Request) (wait time.Duration, asked bool) {
	for _, line := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(line, ",") {
			preference, _, _ = strings.Cut(preference, ";")
			name, value, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil {
				return waitDefault, false
			}
			return time.Duration(seconds) * time.Second, true
		}
	}
	return waitDefault, false
}

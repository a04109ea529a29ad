package server

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"
)

// checkTimeout is how long a check may take.
const checkTimeout = 5 * time.Second

// errShuttingDown is what readiness says of a server that drains.
var errShuttingDown = errors.New("the server is shutting down")

// routes are those of health, and the configured handler's.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /startupz", s.readyz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.metrics.handler(s.config.Keys))
	rest := s.config.Handler
	if rest == nil {
		rest = http.NotFoundHandler()
	}
	mux.Handle("/", rest)
	return mux
}

// checked is the answer of one check.
type checked struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// readyz answers 204, or 503 with what is not ready. With ?verbose it lists all checks.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	all := s.check(r.Context())
	status := http.StatusNoContent
	var failed []checked
	for _, c := range all {
		if !c.OK {
			status, failed = http.StatusServiceUnavailable, append(failed, c)
		}
	}
	shown := failed
	if r.URL.Query().Has("verbose") {
		shown = all
		if status == http.StatusNoContent {
			status = http.StatusOK
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"ready": len(failed) == 0, "checks": shown}) // the peer may be gone
}

// check asks everything, by name.
func (s *Server) check(ctx context.Context) []checked {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	checks := maps.Clone(s.config.Checks)
	if checks == nil {
		checks = map[string]func(context.Context) error{}
	}
	for name, store := range s.config.Stores {
		label := "store"
		if name != "" {
			label += " " + name
		}
		checks[label] = func(ctx context.Context) error {
			_, err := store.Head(ctx)
			return err
		}
	}
	checks["server"] = func(context.Context) error {
		if s.isStopping() {
			return errShuttingDown
		}
		return nil
	}
	var all []checked
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		c := checked{Name: name, OK: true}
		if err := checks[name](ctx); err != nil {
			c.OK, c.Error = false, err.Error()
		}
		all = append(all, c)
	}
	return all
}

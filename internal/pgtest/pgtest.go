// Package pgtest starts a real PostgreSQL server for the tests of a package.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	url := pgtest.URL(t) // starts the server at the first call
//
// The server listens on a socket in a directory of its own and nowhere else, and goes with the process that started it, however
// that ends. Without PostgreSQL on the machine the tests fail: `make deps` installs it.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Server is a running PostgreSQL.
type Server struct {
	dir string

	mu      sync.Mutex
	watcher *exec.Cmd // ends the server when its input ends
	input   io.Closer
}

var (
	shared     *Server
	errShared  error
	sharedOnce sync.Once
)

// Main runs the tests of a package and stops the server, if any was started.
func Main(m *testing.M) int {
	code := m.Run()
	sharedOnce.Do(func() {})
	if shared != nil {
		if err := shared.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "pgtest:", err)
			return max(code, 1)
		}
	}
	return code
}

// URL is that of the database of the server that the tests of a package share. Tests keep apart by schemas.
func URL(tb testing.TB) string {
	tb.Helper()
	sharedOnce.Do(func() { shared, errShared = Start("fsync=off") })
	if errShared != nil {
		tb.Fatalf("pgtest: %v", errShared)
	}
	return shared.URL()
}

// Start starts a server in a new directory, with settings as "fsync=off".
func Start(settings ...string) (*Server, error) {
	owner, err := account()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "annals-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.start(owner, settings); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) start(owner *owner, settings []string) error {
	if err := owner.chown(s.dir); err != nil {
		return err
	}
	initdb, err := program("initdb")
	if err != nil {
		return err
	}
	// "C" orders text by bytes, as nothing in the tests relies on.
	init := exec.CommandContext(context.Background(), initdb, "--pgdata="+s.data(), "--username=annals", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync") //nolint:gosec // it was found by name
	init.Dir = s.dir
	owner.run(init)
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return s.run(owner, settings)
}

// run runs the server until the pipe ends that this process holds.
func (s *Server) run(owner *owner, settings []string) error {
	postgres, err := program("postgres")
	if err != nil {
		return err
	}
	args := []string{
		"-c", `"$0" "$@" </dev/null & server=$!; cat >/dev/null; kill -INT $server; wait $server`,
		postgres, "-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=200",
	}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	watcher := exec.CommandContext(context.Background(), "/bin/sh", args...) //nolint:gosec // the arguments are ours
	watcher.Dir = s.dir
	owner.run(watcher)
	said, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer said.Close()
	watcher.Stdout, watcher.Stderr = said, said
	input, err := watcher.StdinPipe()
	if err != nil {
		return err
	}
	if err := watcher.Start(); err != nil {
		return err
	}
	s.mu.Lock()
	s.watcher, s.input = watcher, input
	s.mu.Unlock()
	return s.await()
}

// await waits until the server answers.
func (s *Server) await() error {
	ready, err := program("pg_isready")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if exec.CommandContext(ctx, ready, "--host="+s.dir, "--username=annals", "--dbname=postgres", "--quiet").Run() == nil { //nolint:gosec // it was found by name
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			said, _ := os.ReadFile(filepath.Join(s.dir, "log")) // it is only shown
			return fmt.Errorf("the server does not answer: %s", said)
		}
	}
}

// URL is that of the server's database.
func (s *Server) URL() string {
	return "postgres:///postgres?" + url.Values{"host": {s.dir}, "user": {"annals"}}.Encode()
}

// Stop stops the server, as an administrator does who is in a hurry: connections are cut.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher == nil {
		return nil
	}
	err := s.input.Close()
	err = errors.Join(err, s.watcher.Wait())
	s.watcher = nil
	return err
}

// Restart starts a server that was stopped.
func (s *Server) Restart(settings ...string) error {
	owner, err := account()
	if err != nil {
		return err
	}
	return s.run(owner, settings)
}

// Close stops the server and removes its directory.
func (s *Server) Close() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// program finds one of PostgreSQL's, which Debian does not put on the path.
func program(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err == nil && len(found) > 0 {
		return found[len(found)-1], nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is not installed, `make deps` does it: %w", err)
	}
	return path, nil
}

package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/server"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/store/remote"
)

// start serves until stop is called, which gives what Serve said.
func start(t *testing.T, c server.Config) (addr string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	stop = func() error {
		cancel()
		err := <-served
		served <- err
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String(), stop
}

func open(t *testing.T, url string, opts ...remote.Option) *remote.Store {
	t.Helper()
	s, err := remote.Open(t.Context(), url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(b)
}

func event(data string) []annals.Event {
	return []annals.Event{{Type: "Noted", Stream: "s", Data: []byte(data)}}
}

func TestOnePortServesBothProtocolsAndSeveralStores(t *testing.T) {
	t.Parallel()
	one, two := memory.New(), memory.New()
	hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	addr, _ := start(t, server.Config{Stores: map[string]annals.Store{"": one, "shop": two}, Handler: hello})
	if _, err := open(t, "annals://"+addr).Append(t.Context(), event("1")); err != nil {
		t.Fatal(err)
	}
	if head, err := open(t, "annals://"+addr+"/shop").Head(t.Context()); head != 0 || err != nil {
		t.Errorf("the other store is at %d, %v", head, err)
	}
	if _, err := remote.Open(t.Context(), "annals://"+addr+"/none"); !errors.Is(err, remote.ErrNoStore) {
		t.Errorf("a store that is not there: %v", err)
	}
	if status, body := get(t, "http://"+addr+"/anything"); status != http.StatusOK || body != "hello" {
		t.Errorf("HTTP answers %d %q", status, body)
	}
	if status, _ := get(t, "http://"+addr+"/livez"); status != http.StatusNoContent {
		t.Errorf("livez answers %d", status)
	}
}

func TestReadinessTellsWhatIsNotReady(t *testing.T) {
	t.Parallel()
	store := memory.New()
	failing := errors.New("the disk is slow")
	var broken error
	addr, _ := start(t, server.Config{
		Stores: map[string]annals.Store{"": store},
		Checks: map[string]func(context.Context) error{"disk": func(context.Context) error { return broken }},
	})
	if status, _ := get(t, "http://"+addr+"/readyz"); status != http.StatusNoContent {
		t.Errorf("readyz answers %d", status)
	}
	status, body := get(t, "http://"+addr+"/readyz?verbose")
	var answer struct {
		Ready  bool
		Checks []struct{ Name string }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK || !answer.Ready || len(answer.Checks) != 3 {
		t.Errorf("it answers %d %s", status, body)
	}
	broken = failing
	if status, body := get(t, "http://"+addr+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the disk is slow") {
		t.Errorf("it answers %d %s", status, body)
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if a, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil || a.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health over gRPC: %v, %v", a, err)
	}
}

// slow is a store whose appends wait.
type slow struct {
	*memory.Store
	begun chan struct{}
	goOn  chan struct{}
}

func (s *slow) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	close(s.begun)
	<-s.goOn
	return s.Store.Append(ctx, events, conds...)
}

func TestAServerThatEndsFinishesAppendsAndTellsStreams(t *testing.T) {
	t.Parallel()
	store := &slow{Store: memory.New(), begun: make(chan struct{}), goOn: make(chan struct{})}
	addr, stop := start(t, server.Config{Stores: map[string]annals.Store{"": store}})
	s := open(t, "annals://"+addr, remote.Patience(100*time.Millisecond))
	following, caughtUp := make(chan error, 1), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for u, err := range s.Subscribe(ctx, annals.All(), 0) {
			if err != nil {
				following <- err
				return
			}
			if u.CaughtUp {
				close(caughtUp)
			}
		}
	}()
	<-caughtUp
	appended := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), event("1"))
		appended <- err
	}()
	<-store.begun
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	select {
	case err := <-stopped:
		t.Fatalf("it ended with %v while an append was under way", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(store.goOn)
	if err := <-appended; err != nil {
		t.Errorf("the append ends with %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the server ends with %v", err)
	}
	if head, err := store.Head(t.Context()); head != 1 || err != nil {
		t.Errorf("the head is %d, %v", head, err)
	}
	cancel()
	if err := <-following; !errors.Is(err, context.Canceled) { // it waits for the server to come again
		t.Errorf("the subscription ends with %v", err)
	}
}

func TestADrainThatTakesTooLongIsCutShort(t *testing.T) {
	t.Parallel()
	store := &slow{Store: memory.New(), begun: make(chan struct{}), goOn: make(chan struct{})}
	addr, stop := start(t, server.Config{Stores: map[string]annals.Store{"": store}, Drain: 50 * time.Millisecond})
	s := open(t, "annals://"+addr, remote.Patience(100*time.Millisecond))
	appended := make(chan error, 1)
	go func() {
		_, err := s.Append(t.Context(), event("1"))
		appended <- err
	}()
	<-store.begun
	time.AfterFunc(300*time.Millisecond, func() { close(store.goOn) }) // gRPC waits for handlers, also when it cuts connections
	if err := stop(); err != nil {
		t.Errorf("the server ends with %v", err)
	}
	if err := <-appended; !errors.Is(err, annals.ErrUnknownOutcome) {
		t.Errorf("the append ends with %v", err)
	}
}

// Connections that say nothing, or nonsense, hurt nobody else; more than there is room for are closed.
func TestStrangeConnectionsHurtNobodyElse(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, server.Config{Stores: map[string]annals.Store{"": memory.New()}, Connections: 30})
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for i, first := range []string{"", "P", "PR", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense", "\x00\x01\x02\x03", "GET / HTTP/9.9\r\n\r\n", strings.Repeat("A", 1<<20)} {
		c := dial()
		if _, err := io.WriteString(c, first); err != nil && i < 3 {
			t.Fatal(err)
		}
	}
	if _, err := open(t, "annals://"+addr).Append(t.Context(), event("1")); err != nil {
		t.Fatal(err)
	}
	var idle []net.Conn
	for range 40 {
		idle = append(idle, dial())
	}
	last := idle[len(idle)-1]
	if err := last.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := last.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a connection for which there is no room ends with %v", err)
	}
	for _, c := range idle {
		c.Close()
	}
	for end := time.Now().Add(10 * time.Second); ; { // there is room again
		if status, err := tryGet(t, fmt.Sprintf("http://%s/livez", addr)); err == nil && status == http.StatusNoContent {
			return
		}
		if time.Now().After(end) {
			t.Fatal("there is never room again")
		}
	}
}

func tryGet(t *testing.T, url string) (int, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return 0, err
	}
	return a.StatusCode, a.Body.Close()
}

func TestAConfigurationThatLacksSomethingIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []server.Config{{}, {Stores: map[string]annals.Store{"": nil}}, {Stores: map[string]annals.Store{"": memory.New()}, Drain: -1}} {
		if _, err := server.New(c); !errors.Is(err, server.ErrConfig) {
			t.Errorf("the error is %v", err)
		}
	}
}

func TestMetricsTellWhatWasDone(t *testing.T) {
	t.Parallel()
	addr, _ := start(t, server.Config{Stores: map[string]annals.Store{"": memory.New(), "shop": memory.New()}})
	s := open(t, "annals://"+addr)
	for range 3 {
		if _, err := s.Append(t.Context(), append(event("1"), event("2")...)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(t.Context(), event("3"), annals.NoStream("s")); !errors.Is(err, annals.ErrConflict) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for u, err := range s.Subscribe(ctx, annals.All(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if !u.CaughtUp {
			continue
		}
		status, body := get(t, "http://"+addr+"/metrics")
		for _, line := range []string{
			`annals_appended_events_total{store=""} 6`, `annals_append_conflicts_total{store=""} 1`, `annals_head_position{store=""} 6`, `annals_head_position{store="shop"} 0`,
			`annals_append_duration_seconds_count{outcome="ok",store=""} 3`, `annals_append_duration_seconds_count{outcome="conflict",store=""} 1`,
			`annals_streams{method="/annals.v1.Store/Subscribe"} 1`, `annals_build_info{version=`,
		} {
			if status != http.StatusOK || !strings.Contains(body, line) {
				t.Errorf("the metrics, %d, lack %s", status, line)
			}
		}
		break
	}
}

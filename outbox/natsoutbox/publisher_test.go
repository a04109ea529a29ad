package natsoutbox_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/outbox"
	"github.com/annalsdb/annals/outbox/natsoutbox"
	"github.com/annalsdb/annals/store/memory"
)

type Placed struct {
	Order string `json:"order" annals:"order,stream"`
	N     int    `json:"n"`
}

// start runs a real server, on a port of its own, whose streams lie in dir.
func start(t *testing.T, port int, dir string) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true, MaxPayload: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the server does not come up")
	}
	return s
}

func connect(t *testing.T, s *server.Server) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(s.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func newStream(t *testing.T, js jetstream.JetStream) jetstream.Stream {
	t.Helper()
	stream, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "orders", Subjects: []string{"orders.>"}})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// received are the messages of a stream, in order.
func received(t *testing.T, stream jetstream.Stream) (got []string) {
	t.Helper()
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %s %s %s", m.Subject, m.Header.Get(natsoutbox.HeaderKey), m.Header.Get(natsoutbox.HeaderEventType), m.Data))
	}
	return got
}

func newRelay(t *testing.T, log *annals.Log[any], js jetstream.JetStream) *outbox.Running[any] {
	t.Helper()
	p, err := natsoutbox.New(js, natsoutbox.Timeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	relay, err := outbox.New(log, outbox.Relay[any]{
		Name: "orders", Query: annals.Category("order"), Publisher: p, Backoff: 10 * time.Millisecond, BackoffMost: 100 * time.Millisecond,
		Messages: func(e annals.Entry[any]) ([]outbox.Message, error) {
			placed, _ := e.Value.(Placed)
			return []outbox.Message{{Topic: "orders.placed", Key: placed.Order, Data: e.Data}}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return relay
}

func run(t *testing.T, r *outbox.Running[any]) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// A real server is stopped, and started again, while messages are published: each is there once, in order.
func TestMessagesAreThereOnceThoughTheServerGoesAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, server.RANDOM_PORT, dir)
	js := connect(t, s)
	stream := newStream(t, js)
	log := annals.NewLog(memory.New(), annals.NewSchema([]any{Placed{}}))
	place := func(n int) annals.Position {
		r, err := log.Append(t.Context(), []any{Placed{"42", n}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Last
	}
	relay := newRelay(t, log, js)
	stop := run(t, relay)
	for n := range 10 {
		if err := relay.Wait(t.Context(), place(n)); err != nil {
			t.Fatal(err)
		}
	}
	port := strings.Split(s.ClientURL(), ":")[2]
	s.Shutdown()
	s.WaitForShutdown()
	var last annals.Position
	for n := 10; n < 20; n++ {
		last = place(n)
	}
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	s = start(t, number, dir)
	defer s.Shutdown()
	if err := relay.Wait(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	stop()
	// A relay under the same name that knows nothing of the position, as after a crash before it was stored.
	again := newRelay(t, annals.NewLog(replica(t, log.Store()), annals.NewSchema([]any{Placed{}})), js)
	stop = run(t, again)
	if err := again.Wait(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	stop()
	got := received(t, stream)
	for n := range max(20, len(got)) {
		if want := fmt.Sprintf(`orders.placed 42 Placed {"order":"42","n":%d}`, n); n >= len(got) || got[n] != want {
			t.Fatalf("message %d: got %q, want %q", n, got, want)
		}
	}
}

// replica has the same events, and no position of a relay.
func replica(t *testing.T, s annals.Store) annals.Store {
	t.Helper()
	copied := memory.New()
	for e, err := range s.Read(t.Context(), annals.Category("order")) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := copied.Append(t.Context(), []annals.Event{e.Event}); err != nil {
			t.Fatal(err)
		}
	}
	return copied
}

func TestWhatTheServerRefusesIsParked(t *testing.T) {
	t.Parallel()
	s := start(t, server.RANDOM_PORT, t.TempDir())
	defer s.Shutdown()
	js := connect(t, s)
	newStream(t, js)
	p, err := natsoutbox.New(js)
	if err != nil {
		t.Fatal(err)
	}
	large := outbox.Message{Topic: "orders.placed", Data: make([]byte, 2<<20)}
	if err := p.Publish(t.Context(), large); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("got %v", err)
	}
	if err := p.Publish(t.Context(), outbox.Message{Topic: "unheard"}); err == nil {
		t.Error("nobody listens, and it is published")
	}
	if _, err := natsoutbox.New(nil); !errors.Is(err, annals.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

package remote_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/projection"
	"github.com/annalsdb/annals/server/rpc"
	"github.com/annalsdb/annals/store/disk"
	"github.com/annalsdb/annals/store/memory"
	"github.com/annalsdb/annals/store/remote"
	"github.com/annalsdb/annals/storetest"
)

// serve serves a store on this machine until the test ends, and gives its address.
func serve(t *testing.T, store annals.Store) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(rpc.ServerOptions()...)
	rpc.Register(s, rpc.Service{Stores: func(name string) (annals.Store, error) {
		if name != "" {
			return nil, rpc.ErrNoStore
		}
		return store, nil
	}})
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func open(t *testing.T, addr string, opts ...remote.Option) *remote.Store {
	t.Helper()
	s, err := remote.Open(t.Context(), "annals://"+addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func newDisk(t *testing.T) annals.Store {
	t.Helper()
	s, err := disk.Open(t.Context(), filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestAStoreOnAServerKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(t *testing.T) annals.Store{
		"memory": func(*testing.T) annals.Store { return memory.New() },
		"disk":   newDisk,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			served := func(t *testing.T) annals.Store {
				t.Helper()
				return open(t, serve(t, store(t)))
			}
			storetest.Run(t, served)
			for seed := range uint64(3) {
				storetest.Model(t, served, seed)
			}
		})
	}
}

// Every promise is kept over connections that live for a few milliseconds.
func TestAStoreOverConnectionsThatBreakKeepsEveryPromise(t *testing.T) {
	t.Parallel()
	var seed atomic.Uint64
	var mu sync.Mutex
	var proxies []*proxy
	cutting := func(longest time.Duration) func(t *testing.T) annals.Store {
		return func(t *testing.T) annals.Store {
			t.Helper()
			if strings.Contains(t.Name(), "retention_as_it_was") {
				longest = 0 // a read that is cut off in this cannot go on as it was, and says so
			}
			p := newProxy(t, serve(t, memory.New()), seed.Add(1), longest)
			mu.Lock()
			proxies = append(proxies, p)
			mu.Unlock()
			return open(t, p.addr())
		}
	}
	storetest.Run(t, cutting(200*time.Millisecond), storetest.Patience(2*time.Minute))
	for seed := range uint64(3) {
		storetest.Model(t, cutting(30*time.Millisecond), seed, storetest.Operations(100))
	}
	cuts := int64(0)
	for _, p := range proxies {
		cuts += p.cuts.Load()
	}
	if t.Logf("%d connections were cut", cuts); cuts < 50 {
		t.Error("that is hardly a test")
	}
}

// lossy is a store whose answers to appends get lost on the way.
type lossy struct {
	*memory.Store
	proxy *proxy
	lose  atomic.Int64
}

func (s *lossy) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	receipt, err := s.Store.Append(ctx, events, conds...)
	if s.lose.Add(-1) >= 0 {
		s.proxy.cut()
		<-ctx.Done() // the connection is gone, and the answer goes nowhere
	}
	return receipt, err
}

func event(stream, data string) annals.Event {
	return annals.Event{Type: "Noted", Stream: stream, Data: []byte(data)}
}

func TestAnAppendWhoseAnswerWasLostTakesEffectOnce(t *testing.T) {
	t.Parallel()
	base := &lossy{Store: memory.New()}
	base.proxy = newProxy(t, serve(t, base), 0, 0)
	s := open(t, base.proxy.addr())
	ctx := t.Context()
	for n := range 5 {
		base.lose.Store(int64(n % 3))
		r, err := s.Append(ctx, []annals.Event{event("s", fmt.Sprint(n))}, annals.NoneSince(annals.Position(n), annals.Stream("s")))
		if err != nil || r.Duplicate || r.Last != annals.Position(n+1) {
			t.Fatalf("append %d: %+v, %v", n, r, err)
		}
	}
	base.lose.Store(1)
	if r, err := s.Append(ctx, nil, annals.StreamAt("s", 4)); err != nil || r.Head != 5 {
		t.Errorf("conditions alone: %+v, %v", r, err)
	}
	base.lose.Store(1)
	_, err := s.Append(ctx, nil, annals.TrackingAt("me", 7)) // whose repetition would be a conflict with itself
	if err != nil {
		t.Errorf("tracking alone: %v", err)
	}
	if p, err := s.Tracked(ctx, "me"); err != nil || p != 7 {
		t.Errorf("tracked is %d, %v", p, err)
	}
	base.proxy.down.Store(true)
	base.proxy.cut()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = s.Append(short, []annals.Event{event("s", "lost")})
	if !errors.Is(err, annals.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an append that is never answered ends with %v", err)
	}
}

func TestASubscriptionAndAReadGoOnOverANewConnection(t *testing.T) {
	t.Parallel()
	p := newProxy(t, serve(t, memory.New()), 0, 0)
	s := open(t, p.addr())
	ctx := t.Context()
	const n = 5000
	var some []annals.Event
	for i := range n {
		some = append(some, event("s", strings.Repeat("x", 300)+fmt.Sprint(i)))
		if len(some) == 500 {
			if _, err := s.Append(ctx, some); err != nil {
				t.Fatal(err)
			}
			some = some[:0]
		}
	}
	for _, backwards := range []bool{false, true} {
		var opts []annals.ReadOption
		if backwards {
			opts = append(opts, annals.Backwards())
		}
		var head annals.Position
		seen := 0
		for e, err := range s.Read(ctx, annals.Stream("s"), append(opts, annals.HeadInto(&head), annals.Limit(n-10))...) {
			if err != nil {
				t.Fatal(err)
			}
			want := annals.Position(seen + 1)
			if backwards {
				want = annals.Position(n - seen)
			}
			if e.Position != want {
				t.Fatalf("event %d is at %d, wanted %d", seen, e.Position, want)
			}
			if seen++; seen%700 == 0 {
				p.cut()
			}
		}
		if seen != n-10 || head != n {
			t.Errorf("%d events were read, head %d", seen, head)
		}
	}
	seen := annals.Position(0)
	for u, err := range s.Subscribe(ctx, annals.Stream("s"), 0) {
		if err != nil {
			t.Fatal(err)
		}
		if u.Event == nil {
			continue
		}
		if seen++; u.Event.Position != seen {
			t.Fatalf("event %d is at %d", seen, u.Event.Position)
		}
		if seen%900 == 0 {
			p.cut()
		}
		if seen == n {
			break
		}
	}
}

// A server that is started again, on the same directory, is found again.
func TestAServerThatIsStartedAgainIsFoundAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	start := func() (addr string, stop func()) {
		store, err := disk.Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		stopping := make(chan struct{})
		server := grpc.NewServer(rpc.ServerOptions()...)
		rpc.Register(server, rpc.Service{Stores: func(string) (annals.Store, error) { return store, nil }, Stopping: stopping})
		served := make(chan error, 1)
		go func() { served <- server.Serve(l) }()
		return l.Addr().String(), func() {
			close(stopping)
			server.GracefulStop()
			if err := errors.Join(<-served, store.Close()); err != nil {
				t.Error(err)
			}
		}
	}
	addr, stop := start()
	p := newProxy(t, addr, 0, 0)
	s := open(t, p.addr())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const n = 300
	got := make(chan error, 1)
	go func() {
		next := annals.Position(1)
		for u, err := range s.Subscribe(ctx, annals.Stream("s"), 0) {
			if err != nil {
				got <- err
				return
			}
			if u.Event != nil {
				if u.Event.Position != next {
					got <- fmt.Errorf("after %d came %d", next-1, u.Event.Position)
					return
				}
				if next++; next > n {
					got <- nil
					return
				}
			}
		}
	}()
	for i := range n {
		if i%100 == 50 {
			stop()
			again, stopAgain := start()
			stop = stopAgain
			p.to.Store(&again)
		}
		if _, err := s.Append(ctx, []annals.Event{event("s", fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	stop()
}

func TestAServerThatDoesNotAnswerIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	p := newProxy(t, serve(t, memory.New()), 0, 0)
	s := open(t, p.addr(), remote.Patience(200*time.Millisecond))
	p.down.Store(true)
	p.cut()
	ctx := t.Context()
	if _, err := s.Head(ctx); !errors.Is(err, remote.ErrUnavailable) {
		t.Errorf("head: %v", err)
	}
	_, err := s.Append(ctx, []annals.Event{event("s", "x")})
	if !errors.Is(err, remote.ErrUnavailable) || !errors.Is(err, annals.ErrUnknownOutcome) {
		t.Errorf("append: %v", err)
	}
	for _, err := range s.Read(ctx, annals.All()) {
		if !errors.Is(err, remote.ErrUnavailable) {
			t.Errorf("read: %v", err)
		}
	}
	if _, err := remote.Open(ctx, "annals://"+p.addr(), remote.Patience(100*time.Millisecond)); !errors.Is(err, remote.ErrUnavailable) {
		t.Errorf("open: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	for _, err := range s.Subscribe(short, annals.All(), 0) { // waits as long as it may
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("subscribe: %v", err)
		}
	}
	p.down.Store(false)
	for end := time.Now().Add(20 * time.Second); ; { // gRPC takes its time to try again
		_, err := s.Head(ctx)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("once it is there again: %v", err)
		}
	}
}

// A projection outlives a server that is away for longer than anybody's patience.
func TestAProjectionWaitsForItsServer(t *testing.T) {
	t.Parallel()
	p := newProxy(t, serve(t, memory.New()), 0, 0)
	log := annals.NewLog(open(t, p.addr(), remote.Patience(50*time.Millisecond)), annals.NewSchema([]any{noted{}}))
	views := projection.NewMemory()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- projection.Run(ctx, log, views, notes) }()
	at, err := log.Append(ctx, []any{noted{"a"}})
	if err == nil {
		err = projection.Of(views, notes).Wait(projection.WithPatience(ctx, 20*time.Second), at.Last)
	}
	if err != nil {
		t.Fatal(err)
	}
	p.down.Store(true)
	p.cut()
	for range 3 {
		if _, err := log.Store().Head(ctx); !errors.Is(err, remote.ErrUnavailable) {
			t.Errorf("the server answers with %v", err)
		}
	}
	p.down.Store(false)
	for end := time.Now().Add(20 * time.Second); ; {
		if at, err = log.Append(ctx, []any{noted{"a"}}); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if err := projection.Of(views, notes).Wait(projection.WithPatience(ctx, 20*time.Second), at.Last); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the run ends with %v", err)
	}
}

type noted struct {
	Note string `json:"note" annals:"note,stream"`
}

var notes = projection.Rows[int, any]{
	Name: "notes", By: "note", Query: annals.Types("noted"),
	Apply: func(_ string, row *int, _ annals.Entry[any]) error {
		*row++
		return nil
	},
}

func TestWrongURLsAndUnknownStoresAreNamed(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "http://host", "annals://", "annals://host:0", "annals://host:x", "annals://host/a/b", "annals://host?x=1", "annals://u:p@host", "annals://%zz"} {
		if _, err := remote.Open(t.Context(), url); !errors.Is(err, remote.ErrURL) {
			t.Errorf("%q: the error is %v", url, err)
		}
	}
	addr := serve(t, memory.New())
	if _, err := remote.Open(t.Context(), "annals://"+addr+"/other"); !errors.Is(err, remote.ErrNoStore) {
		t.Errorf("the error is %v", err)
	}
}

// What a read that was cut off would have seen, and what it would see now, must not be mixed.
func TestAReadThatCannotGoOnAsItWasSaysSo(t *testing.T) {
	t.Parallel()
	p := newProxy(t, serve(t, memory.New()), 0, 0)
	s := open(t, p.addr())
	ctx := t.Context()
	for i := range 3 {
		var some []annals.Event
		for n := range 900 {
			some = append(some, event("s", strings.Repeat("x", 1000)+fmt.Sprint(i, n)))
		}
		if _, err := s.Append(ctx, some); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	var failed error
	for _, err := range s.Read(ctx, annals.Stream("s")) {
		if err != nil {
			failed = err
			break
		}
		if seen++; seen == 10 {
			if _, err := annals.DeleteStream(ctx, s, "s"); err != nil {
				t.Fatal(err)
			}
			p.cut()
		}
	}
	if !errors.Is(failed, remote.ErrInterrupted) && seen != 2700 {
		t.Errorf("after %d events it ends with %v", seen, failed)
	}
	if failed == nil {
		t.Log("everything had arrived before the connection was cut")
	}
}

package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/wire"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
	"github.com/annalsdb/annals/server/rpc"
	"github.com/annalsdb/annals/store/memory"
)

// client speaks to a service by the protocol itself.
func client(t *testing.T, s rpc.Service) annalsv1.StoreClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(rpc.ServerOptions()...)
	rpc.Register(server, s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := conn.Close()
		server.Stop()
		if err := errors.Join(err, <-served); err != nil {
			t.Error(err)
		}
	})
	return annalsv1.NewStoreClient(conn)
}

func one(s annals.Store) func(string) (annals.Store, error) {
	return func(name string) (annals.Store, error) {
		if name != "" {
			return nil, fmt.Errorf("%q: %w", name, rpc.ErrNoStore)
		}
		return s, nil
	}
}

func numbered(n uint64, stream, data string) *annalsv1.NumberedAppend {
	return &annalsv1.NumberedAppend{Number: n, Append: wire.FromAppend("", []annals.Event{{Type: "Noted", Stream: stream, Data: []byte(data)}}, nil, false)}
}

func TestManyAppendsAreUnderWayOnOneStream(t *testing.T) {
	t.Parallel()
	store := memory.New()
	stream, err := client(t, rpc.Service{Stores: one(store)}).AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 3000
	sent := make(chan error, 1)
	go func() {
		for i := range uint64(n) {
			m := numbered(i, "s", fmt.Sprint(i))
			if i%10 == 9 { // a condition that fails
				m.Append.Conditions = []*annalsv1.Condition{wire.FromCondition(annals.StreamExists("none"))}
			}
			if err := stream.Send(m); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	answered, refused := map[uint64]bool{}, 0
	for range n {
		a, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if answered[a.GetNumber()] {
			t.Fatalf("append %d is answered twice", a.GetNumber())
		}
		answered[a.GetNumber()] = true
		if a.GetProblem() != nil {
			refused++
			if err := wire.ToError(a.GetProblem()); !errors.Is(err, annals.ErrConflict) || a.GetNumber()%10 != 9 {
				t.Fatalf("append %d: %v", a.GetNumber(), err)
			}
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if head, err := store.Head(t.Context()); err != nil || head != n-n/10 || refused != n/10 {
		t.Errorf("the head is %d, %v; %d were refused", head, err, refused)
	}
}

func TestWhenTheServerStopsStreamsAreToldAndAppendsAnswered(t *testing.T) {
	t.Parallel()
	stopping := make(chan struct{})
	store := &slow{Store: memory.New(), begun: make(chan struct{}), goOn: make(chan struct{})}
	c := client(t, rpc.Service{Stores: one(store), Stopping: stopping})
	follow, err := c.Subscribe(t.Context(), &annalsv1.SubscribeRequest{Query: wire.FromQuery(annals.All()), ProgressEvery: 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := follow.Recv(); err != nil { // it has caught up
		t.Fatal(err)
	}
	appends, err := c.AppendStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := appends.Send(numbered(7, "s", "x")); err != nil {
		t.Fatal(err)
	}
	<-store.begun
	close(stopping)
	if _, err := follow.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a subscription ends with %v", err)
	}
	close(store.goOn)
	if a, err := appends.Recv(); err != nil || a.GetNumber() != 7 || a.GetProblem() != nil {
		t.Errorf("what was under way is answered with %v, %v", a, err)
	}
	if _, err := appends.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream of appends ends with %v", err)
	}
}

// slow is a store whose appends wait.
type slow struct {
	annals.Store
	begun, goOn chan struct{}
}

func (s *slow) Append(ctx context.Context, events []annals.Event, conds ...annals.Condition) (annals.Receipt, error) {
	close(s.begun)
	<-s.goOn
	return s.Store.Append(ctx, events, conds...)
}

func TestAPanicIsAnErrorAndTheServerGoesOn(t *testing.T) {
	t.Parallel()
	store := memory.New()
	c := client(t, rpc.Service{Stores: func(name string) (annals.Store, error) {
		if name == "broken" {
			return broken{}, nil
		}
		return store, nil
	}})
	if _, err := c.Head(t.Context(), &annalsv1.HeadRequest{Store: "broken"}); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "secret") {
		t.Errorf("the error is %v", err)
	}
	read, err := c.Read(t.Context(), &annalsv1.ReadRequest{Store: "broken", Query: wire.FromQuery(annals.All())})
	if err == nil {
		_, err = read.Recv()
	}
	if status.Code(err) != codes.Internal {
		t.Errorf("the error is %v", err)
	}
	if _, err := c.Head(t.Context(), &annalsv1.HeadRequest{}); err != nil {
		t.Error(err)
	}
}

type broken struct{ annals.Store }

func (broken) Head(context.Context) (annals.Position, error) { panic("secret") }

func (broken) Read(context.Context, annals.Query, ...annals.ReadOption) iter.Seq2[annals.Recorded, error] {
	panic("secret")
}

func TestWrongRequestsAreNamed(t *testing.T) {
	t.Parallel()
	c := client(t, rpc.Service{Stores: one(memory.New())})
	ctx := t.Context()
	_, head := c.Head(ctx, &annalsv1.HeadRequest{Store: "other"})
	_, empty := c.Append(ctx, &annalsv1.AppendRequest{})
	_, system := c.Append(ctx, wire.FromAppend("", []annals.Event{{Type: "$x"}}, nil, false))
	_, call := c.Append(ctx, &annalsv1.AppendRequest{Call: make([]byte, 100)})
	read, err := c.Read(ctx, &annalsv1.ReadRequest{})
	if err == nil {
		_, err = read.Recv()
	}
	for what, want := range map[string]struct {
		err  error
		code codes.Code
		is   error
	}{
		"an unknown store": {head, codes.NotFound, rpc.ErrNoStore},
		"an empty append":  {empty, codes.InvalidArgument, annals.ErrInvalid},
		"a system name":    {system, codes.InvalidArgument, annals.ErrReserved},
		"a long call":      {call, codes.InvalidArgument, annals.ErrInvalid},
		"no query":         {err, codes.InvalidArgument, annals.ErrInvalid},
	} {
		if _, of := wire.Error(want.err); status.Code(want.err) != want.code || !errors.Is(of, want.is) {
			t.Errorf("%s: the error is %v", what, want.err)
		}
	}
}

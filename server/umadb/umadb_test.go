package umadb_test

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/annalsdb/annals"
	umadbv1 "github.com/annalsdb/annals/proto/umadb/v1"
	"github.com/annalsdb/annals/server/auth"
	"github.com/annalsdb/annals/server/umadb"
	"github.com/annalsdb/annals/store/memory"
)

func client(t *testing.T, s umadb.Service) umadbv1.DCBClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	umadb.Register(server, s)
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
	return umadbv1.NewDCBClient(conn)
}

func tagged(tags ...string) *umadbv1.Query {
	return &umadbv1.Query{Items: []*umadbv1.QueryItem{{Tags: tags}}}
}

// wantRefused wants an error whose details, by themselves, are what clients of the protocol read. gRPC for Go is none of those, takes the
// details for something else and says so, with the code that was sent.
func wantRefused(t *testing.T, err error, trailer metadata.MD, code codes.Code, kind umadbv1.ErrorResponse_ErrorType) {
	t.Helper()
	var details umadbv1.ErrorResponse
	sent := trailer.Get("grpc-status-details-bin")
	if !strings.Contains(status.Convert(err).Message(), "grpc-status="+code.String()+",") || len(sent) != 1 || proto.Unmarshal([]byte(sent[0]), &details) != nil || details.GetErrorType() != kind || details.GetMessage() == "" {
		t.Errorf("the error is %v with details %q; wanted %v, %v", err, sent, code, kind)
	}
}

func TestErrorsAreOfTheKindsThatClientsKnow(t *testing.T) {
	t.Parallel()
	store := memory.New()
	c, ctx := client(t, umadb.Service{Store: store}), t.Context()
	if _, err := c.Append(ctx, &umadbv1.AppendRequest{Events: []*umadbv1.Event{{EventType: "A", Tags: []string{"a"}, Data: []byte("1")}}}); err != nil {
		t.Fatal(err)
	}
	for name, c2 := range map[string]struct {
		m    *umadbv1.AppendRequest
		code codes.Code
		kind umadbv1.ErrorResponse_ErrorType
	}{
		"condition": {&umadbv1.AppendRequest{
			Events: []*umadbv1.Event{{EventType: "A"}}, Condition: &umadbv1.AppendCondition{FailIfEventsMatch: tagged("a")},
		}, codes.FailedPrecondition, umadbv1.ErrorResponse_INTEGRITY},
		"everything": {&umadbv1.AppendRequest{
			Events: []*umadbv1.Event{{EventType: "A"}}, Condition: &umadbv1.AppendCondition{},
		}, codes.FailedPrecondition, umadbv1.ErrorResponse_INTEGRITY},
		"type":  {&umadbv1.AppendRequest{Events: []*umadbv1.Event{{}}}, codes.InvalidArgument, umadbv1.ErrorResponse_INVALID_ARGUMENT},
		"uuid":  {&umadbv1.AppendRequest{Events: []*umadbv1.Event{{EventType: "A", Uuid: "x"}}}, codes.InvalidArgument, umadbv1.ErrorResponse_INVALID_ARGUMENT},
		"track": {&umadbv1.AppendRequest{Events: []*umadbv1.Event{{EventType: "A"}}, TrackingInfo: &umadbv1.TrackingInfo{}}, codes.InvalidArgument, umadbv1.ErrorResponse_INVALID_ARGUMENT},
	} {
		t.Run(name, func(t *testing.T) {
			var trailer metadata.MD
			_, err := c.Append(ctx, c2.m, grpc.Trailer(&trailer))
			wantRefused(t, err, trailer, c2.code, c2.kind)
		})
	}
	if a, err := c.Append(ctx, &umadbv1.AppendRequest{}); err != nil || a.GetPosition() != 0 {
		t.Errorf("nothing is appended at %v, %v", a, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	var trailer metadata.MD
	_, err := c.Head(ctx, &umadbv1.HeadRequest{}, grpc.Trailer(&trailer))
	wantRefused(t, err, trailer, codes.Unavailable, umadbv1.ErrorResponse_IO)
}

func TestEventsOfOthersAreSeen(t *testing.T) {
	t.Parallel()
	store := memory.New()
	c, ctx := client(t, umadb.Service{Store: store}), t.Context()
	other := annals.Event{Type: "Placed", Stream: "order-1", Tags: []string{"order:1"}, Data: []byte(`{}`), Metadata: []byte(`{"actor":"ann","n":{"x":1}}`)}
	if _, err := store.Append(ctx, []annals.Event{other}); err != nil {
		t.Fatal(err)
	}
	read, err := c.Read(ctx, &umadbv1.ReadRequest{Query: tagged("order:1")})
	if err != nil {
		t.Fatal(err)
	}
	m, err := read.Recv()
	if err != nil || len(m.GetEvents()) != 1 || m.GetHead() != 1 {
		t.Fatalf("it reads %v, %v", m, err)
	}
	got := map[string]string{}
	for _, pair := range m.GetEvents()[0].GetEvent().GetMetadata() {
		got[pair.GetKey()] = pair.GetValue()
	}
	if got["actor"] != "ann" || got["n"] != `{"x":1}` {
		t.Errorf("the metadata is %v", got)
	}
	follow, err := c.Read(ctx, &umadbv1.ReadRequest{Subscribe: new(true), Start: new(uint64(1))})
	if err == nil {
		m, err = follow.Recv()
	}
	if err != nil || m.GetEvents()[0].GetPosition() != 1 {
		t.Errorf("an old subscription gives %v, %v", m, err)
	}
}

func TestKeysAreAskedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys.json")
	_, secret, err := func() (auth.Key, string, error) {
		keys, _, err := auth.Open(path)
		if err != nil {
			return auth.Key{}, "", err
		}
		if err := keys.Close(); err != nil {
			return auth.Key{}, "", err
		}
		return auth.Add(path, "reader", []auth.Grant{{Operations: []auth.Operation{auth.Read}}}, time.Time{})
	}()
	if err != nil {
		t.Fatal(err)
	}
	keys, _, err := auth.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Close()
	c := client(t, umadb.Service{Store: memory.New(), Authorize: keys.Authorize})
	var trailer metadata.MD
	_, err = c.Head(t.Context(), &umadbv1.HeadRequest{}, grpc.Trailer(&trailer))
	wantRefused(t, err, trailer, codes.Unauthenticated, umadbv1.ErrorResponse_AUTHENTICATION)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+secret)
	if _, err := c.Head(ctx, &umadbv1.HeadRequest{}); err != nil {
		t.Error(err)
	}
	_, err = c.Append(ctx, &umadbv1.AppendRequest{Events: []*umadbv1.Event{{EventType: "A"}}}, grpc.Trailer(&trailer))
	wantRefused(t, err, trailer, codes.PermissionDenied, umadbv1.ErrorResponse_AUTHENTICATION)
}

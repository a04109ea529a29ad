// Package umadb serves stores by the protocol of UmaDB, umadb.v1.DCB, so that clients of that database work unchanged.
//
// What an event of a client has goes into an event of the store, and comes back: type, tags, data, UUID and metadata. Events that were
// appended otherwise are seen too, streams aside. A call is about the default store.
package umadb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/annalsdb/annals"
	umadbv1 "github.com/annalsdb/annals/proto/umadb/v1"
	"github.com/annalsdb/annals/server/auth"
)

const (
	batchDefault, batchMax = 100, 1000
	batchBytes             = 256 << 10
	opaque                 = "application/octet-stream"
	detailsHeader          = "grpc-status-details-bin"
)

// Service answers for a store.
type Service struct {
	// Store is the one to serve. Required.
	Store annals.Store
	// Authorize is as that of rpc.Service. Nil lets everybody do everything.
	Authorize func(ctx context.Context, a auth.Access) (ended <-chan struct{}, err error)
	// Stopping ends streams when it is closed. Nil never does.
	Stopping <-chan struct{}
}

// Register adds the service to a server.
func Register(on grpc.ServiceRegistrar, s Service) {
	umadbv1.RegisterDCBServer(on, &service{Service: s})
}

type service struct {
	umadbv1.UnimplementedDCBServer
	Service
}

// may asks whether the caller may do that.
func (s *service) may(ctx context.Context, a auth.Access) (<-chan struct{}, error) {
	if s.Authorize == nil {
		return nil, nil
	}
	return s.Authorize(ctx, a)
}

// until is ctx until the server stops or the caller's right has ended.
func (s *service) until(ctx context.Context, ended <-chan struct{}) (context.Context, context.CancelFunc) {
	both, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-s.Stopping:
		case <-ended:
		case <-both.Done():
		}
		cancel()
	}()
	return both, cancel
}

// fail is an error as clients of the protocol read it: details are an ErrorResponse by itself.
func fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return status.FromContextError(ctx.Err()).Err()
	}
	code, kind := codes.Internal, umadbv1.ErrorResponse_INTERNAL
	switch {
	case errors.Is(err, annals.ErrConflict), errors.Is(err, annals.ErrIDReused), errors.Is(err, annals.ErrPartialDuplicate):
		code, kind = codes.FailedPrecondition, umadbv1.ErrorResponse_INTEGRITY
	case errors.Is(err, annals.ErrInvalid), errors.Is(err, annals.ErrUnsupported), errors.Is(err, annals.ErrAhead):
		code, kind = codes.InvalidArgument, umadbv1.ErrorResponse_INVALID_ARGUMENT
	case errors.Is(err, annals.ErrDataLoss):
		code, kind = codes.DataLoss, umadbv1.ErrorResponse_CORRUPTION
	case errors.Is(err, auth.ErrUnauthenticated):
		code, kind = codes.Unauthenticated, umadbv1.ErrorResponse_AUTHENTICATION
	case errors.Is(err, auth.ErrForbidden), errors.Is(err, auth.ErrUnknownStore):
		code, kind = codes.PermissionDenied, umadbv1.ErrorResponse_AUTHENTICATION
	case errors.Is(err, annals.ErrFull), errors.Is(err, annals.ErrReadOnly), errors.Is(err, annals.ErrOverloaded), errors.Is(err, annals.ErrClosed):
		code, kind = codes.Unavailable, umadbv1.ErrorResponse_IO
	}
	details, failed := proto.Marshal(&umadbv1.ErrorResponse{Message: err.Error(), ErrorType: kind})
	if failed == nil {
		failed = grpc.SetTrailer(ctx, metadata.Pairs(detailsHeader, string(details)))
	}
	if failed != nil {
		return status.Error(codes.Internal, failed.Error())
	}
	return status.Error(code, err.Error())
}

// queryOf is a query; none, and one without items, is everything.
func queryOf(q *umadbv1.Query) annals.Query {
	if len(q.GetItems()) == 0 {
		return annals.All()
	}
	items := make([]annals.Item, len(q.GetItems()))
	for i, it := range q.GetItems() {
		items[i] = annals.Item{Types: it.GetTypes(), Tags: it.GetTags()}
	}
	return annals.QueryOf(items...)
}

func toEvent(m *umadbv1.Event) (annals.Event, error) {
	e := annals.Event{Type: m.GetEventType(), Tags: m.GetTags(), Data: m.GetData()}
	if !json.Valid(e.Data) {
		e.ContentType = opaque
	}
	if m.GetUuid() != "" {
		id, err := annals.ParseID(m.GetUuid())
		if err != nil {
			return e, &annals.InvalidError{What: "uuid", Problem: fmt.Sprintf("%q is none", m.GetUuid())}
		}
		e.ID = id
	}
	if len(m.GetMetadata()) > 0 {
		all := map[string]string{}
		for _, pair := range m.GetMetadata() {
			all[pair.GetKey()] = pair.GetValue()
		}
		b, err := json.Marshal(all)
		if err != nil {
			return e, err
		}
		e.Metadata = b
	}
	return e, nil
}

func fromRecorded(r *annals.Recorded) *umadbv1.SequencedEvent {
	m := &umadbv1.Event{EventType: r.Type, Tags: r.Tags, Data: r.Data, Uuid: r.ID.String()}
	var all map[string]any
	if len(r.Metadata) > 0 && json.Unmarshal(r.Metadata, &all) == nil {
		for key, value := range all {
			text, ok := value.(string)
			if !ok {
				b, err := json.Marshal(value)
				if err != nil {
					continue // it was decoded a line above
				}
				text = string(b)
			}
			m.Metadata = append(m.Metadata, &umadbv1.Metadata{Key: key, Value: text})
		}
	}
	return &umadbv1.SequencedEvent{Position: uint64(r.Position), Event: m}
}

// Append implements the service. An append without events is position 0, and checks its condition.
func (s *service) Append(ctx context.Context, m *umadbv1.AppendRequest) (*umadbv1.AppendResponse, error) {
	r, err := s.append(ctx, m)
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &umadbv1.AppendResponse{Position: uint64(r.Last)}, nil
}

func (s *service) append(ctx context.Context, m *umadbv1.AppendRequest) (annals.Receipt, error) {
	a := auth.Access{Operation: auth.Append}
	var events []annals.Event
	for i, e := range m.GetEvents() {
		event, err := toEvent(e)
		if err != nil {
			return annals.Receipt{}, fmt.Errorf("event %d: %w", i, err)
		}
		events, a.Streams = append(events, event), append(a.Streams, "")
	}
	var conds []annals.Condition
	if c := m.GetCondition(); c != nil {
		head, err := s.Store.Head(ctx)
		if err != nil {
			return annals.Receipt{}, err
		}
		q := queryOf(c.GetFailIfEventsMatch())
		// A position that does not exist yet is allowed here: nothing lies behind it.
		conds = append(conds, annals.NoneSince(min(annals.Position(c.GetAfter()), head), q))
		a.Queries = append(a.Queries, q)
	}
	if t := m.GetTrackingInfo(); t != nil {
		conds = append(conds, annals.TrackingAt(t.GetSource(), annals.Position(t.GetPosition())))
	}
	if _, err := s.may(ctx, a); err != nil {
		return annals.Receipt{}, err
	}
	if len(events) == 0 && len(conds) == 0 {
		return annals.Receipt{}, nil
	}
	return s.Store.Append(ctx, events, conds...)
}

// Head implements the service.
func (s *service) Head(ctx context.Context, _ *umadbv1.HeadRequest) (*umadbv1.HeadResponse, error) {
	if _, err := s.may(ctx, auth.Access{Operation: auth.Read, Whole: true}); err != nil {
		return nil, fail(ctx, err)
	}
	head, err := s.Store.Head(ctx)
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &umadbv1.HeadResponse{Position: optional(head)}, nil
}

// optional is a position; nil if it is none.
func optional(p annals.Position) *uint64 {
	if p == 0 {
		return nil
	}
	return new(uint64(p))
}

// GetTrackingInfo implements the service.
func (s *service) GetTrackingInfo(ctx context.Context, m *umadbv1.TrackingRequest) (*umadbv1.TrackingResponse, error) {
	if _, err := s.may(ctx, auth.Access{Operation: auth.Read, Whole: true}); err != nil {
		return nil, fail(ctx, err)
	}
	p, err := annals.Tracked(ctx, s.Store, m.GetSource())
	if err != nil {
		return nil, fail(ctx, err)
	}
	return &umadbv1.TrackingResponse{Position: optional(p)}, nil
}

// batchOf is how many events a message has at most.
func batchOf(asked uint32) int {
	if asked == 0 {
		return batchDefault
	}
	return min(int(asked), batchMax)
}

// Read implements the service. The head is that of the store or, with a limit, the position of the last event.
func (s *service) Read(m *umadbv1.ReadRequest, to grpc.ServerStreamingServer[umadbv1.ReadResponse]) error {
	ctx := to.Context()
	q := queryOf(m.GetQuery())
	ended, err := s.may(ctx, auth.Access{Operation: auth.Read, Queries: []annals.Query{q}})
	if err != nil {
		return fail(ctx, err)
	}
	if m.Limit != nil && m.GetLimit() == 0 {
		return to.Send(&umadbv1.ReadResponse{})
	}
	reading, cancel := s.until(ctx, ended)
	defer cancel()
	if m.GetSubscribe() { // as clients of before did
		after := uint64(0)
		if m.GetStart() > 0 {
			after = m.GetStart() - 1
		}
		return fail(ctx, s.follow(reading, q, after, batchOf(m.GetBatchSize()), func(events []*umadbv1.SequencedEvent) error {
			return to.Send(&umadbv1.ReadResponse{Events: events})
		}))
	}
	return fail(ctx, s.read(reading, q, m, to))
}

func (s *service) read(ctx context.Context, q annals.Query, m *umadbv1.ReadRequest, to grpc.ServerStreamingServer[umadbv1.ReadResponse]) error {
	var head annals.Position
	opts := []annals.ReadOption{annals.HeadInto(&head)}
	now, err := s.Store.Head(ctx)
	if err != nil {
		return err
	}
	start := annals.Position(m.GetStart())
	switch {
	case m.GetBackwards():
		opts = append(opts, annals.Backwards())
		if m.Start != nil {
			opts = append(opts, annals.AsOf(min(start, now)))
		}
	case start > 0:
		opts = append(opts, annals.After(min(start-1, now)))
	}
	if m.Limit != nil {
		opts = append(opts, annals.Limit(int(m.GetLimit())))
	}
	var last annals.Position
	out, bytes := &umadbv1.ReadResponse{}, 0
	known := func() *uint64 {
		if m.Limit != nil {
			return optional(last)
		}
		return optional(max(head, now))
	}
	for r, err := range s.Store.Read(ctx, q, opts...) {
		if err != nil {
			return err
		}
		last = r.Position
		out.Events = append(out.Events, fromRecorded(&r))
		if bytes += len(r.Data) + len(r.Metadata); bytes >= batchBytes || len(out.GetEvents()) >= batchOf(m.GetBatchSize()) {
			out.Head = known()
			if err := to.Send(out); err != nil {
				return err
			}
			out, bytes = &umadbv1.ReadResponse{}, 0
		}
	}
	out.Head = known()
	return to.Send(out)
}

// Subscribe implements the service.
func (s *service) Subscribe(m *umadbv1.SubscribeRequest, to grpc.ServerStreamingServer[umadbv1.SubscribeResponse]) error {
	ctx := to.Context()
	q := queryOf(m.GetQuery())
	ended, err := s.may(ctx, auth.Access{Operation: auth.Read, Queries: []annals.Query{q}})
	if err != nil {
		return fail(ctx, err)
	}
	following, cancel := s.until(ctx, ended)
	defer cancel()
	return fail(ctx, s.follow(following, q, m.GetAfter(), batchOf(m.GetBatchSize()), func(events []*umadbv1.SequencedEvent) error {
		return to.Send(&umadbv1.SubscribeResponse{Events: events})
	}))
}

// follow sends events as they come, many in a message.
func (s *service) follow(ctx context.Context, q annals.Query, after uint64, batch int, send func([]*umadbv1.SequencedEvent) error) error {
	var events []*umadbv1.SequencedEvent
	bytes := 0
	for u, err := range s.Store.Subscribe(ctx, q, annals.Position(after)) {
		if err != nil {
			return err
		}
		if u.Event != nil {
			events = append(events, fromRecorded(u.Event))
			bytes += len(u.Event.Data) + len(u.Event.Metadata)
		}
		if len(events) > 0 && (!u.More || bytes >= batchBytes || len(events) >= batch) {
			if err := send(events); err != nil {
				return err
			}
			events, bytes = nil, 0
		}
	}
	return ctx.Err()
}

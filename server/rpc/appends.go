package rpc

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/annalsdb/annals/internal/wire"
	annalsv1 "github.com/annalsdb/annals/proto/annals/v1"
)

// inFlightMax is how many appends of one stream may be under way. A client that sends more waits, by the flow control of gRPC.
const inFlightMax = 1024

// appends is one stream of them.
type appends struct {
	service *service
	both    grpc.BidiStreamingServer[annalsv1.NumberedAppend, annalsv1.NumberedAnswer]
	answers chan *annalsv1.NumberedAnswer

	mu       sync.Mutex
	stopped  bool // no more are taken on; guarded by mu
	underWay sync.WaitGroup
}

// AppendStream implements the service. Each append is decided by a goroutine of its own, so that they share the store's syncs. When the
// server stops, those that it has taken on are answered.
func (s *service) AppendStream(both grpc.BidiStreamingServer[annalsv1.NumberedAppend, annalsv1.NumberedAnswer]) error {
	a := &appends{service: s, both: both, answers: make(chan *annalsv1.NumberedAnswer, inFlightMax)}
	received, sent := make(chan error, 1), make(chan error, 1)
	go func() { received <- a.receive() }() // ends with the stream
	go func() { sent <- a.send() }()
	var err error
	select {
	case err = <-received:
	case <-s.Stopping:
		err = errStopping
	}
	a.mu.Lock()
	a.stopped = true
	a.mu.Unlock()
	a.underWay.Wait()
	close(a.answers)
	if failed := <-sent; failed != nil {
		return failed
	}
	return err
}

// receive takes on what comes, until the client has said all.
func (a *appends) receive() error {
	room := make(chan struct{}, inFlightMax)
	for {
		m, err := a.both.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case room <- struct{}{}:
		case <-a.both.Context().Done():
			return a.both.Context().Err()
		}
		taken := a.take(func() {
			a.answers <- a.service.answer(a.both.Context(), m)
			<-room
		})
		if !taken {
			return nil
		}
	}
}

// take starts the work on an append, unless the server stops.
func (a *appends) take(work func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.stopped {
		a.underWay.Go(work)
	}
	return !a.stopped
}

// send sends answers until there are no more; after an error they go nowhere, so that nobody waits.
func (a *appends) send() (err error) {
	for answer := range a.answers {
		if err == nil {
			err = a.both.Send(answer)
		}
	}
	return err
}

// answer decides one append.
func (s *service) answer(ctx context.Context, m *annalsv1.NumberedAppend) *annalsv1.NumberedAnswer {
	a := &annalsv1.NumberedAnswer{Number: m.GetNumber()}
	err := s.guard(ctx, "AppendStream", func() (err error) {
		a.Response, err = s.append(ctx, m.GetAppend())
		return err
	})
	if err != nil {
		a.Response = nil
		_, of := wire.Error(err) // a status without a problem stands for itself
		a.Problem = wire.FromError(of)
	}
	return a
}

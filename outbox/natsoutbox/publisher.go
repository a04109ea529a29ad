// Package natsoutbox publishes the messages of an outbox to NATS JetStream.
//
//	js, err := jetstream.New(conn)
//	publisher, err := natsoutbox.New(js)
//	relay, err := outbox.New(log, outbox.Relay[Event]{Publisher: publisher, …})
//
// A message is published when a stream has acknowledged it. Its id goes as Nats-Msg-Id, by which a stream drops what it has already: within its
// window for duplicates, two minutes unless it is configured otherwise, a message that is published again is stored once. Consumers
// that must not see one twice after a longer outage go by the same header.
package natsoutbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/outbox"
)

// Headers of messages, beside Nats-Msg-Id.
const (
	// HeaderKey is the message's key.
	HeaderKey = "Annals-Key"
	// HeaderContentType is the media type of the data; absent for JSON.
	HeaderContentType = "Content-Type"
	// HeaderEventID, HeaderEventType, HeaderPosition and HeaderTime are those of the event that it was made of.
	HeaderEventID   = "Annals-Event-Id"
	HeaderEventType = "Annals-Event-Type"
	HeaderPosition  = "Annals-Position"
	HeaderTime      = "Annals-Time"
	// HeaderCorrelationID is that of the event, if it has one.
	HeaderCorrelationID = "Annals-Correlation-Id"
)

// publisher publishes to JetStream.
type publisher struct {
	js      jetstream.JetStream
	timeout time.Duration
}

// Option adjusts a publisher.
type Option func(*publisher)

// Timeout is how long a stream may take to acknowledge a message; by default five seconds.
func Timeout(d time.Duration) Option { return func(p *publisher) { p.timeout = d } }

// New makes a publisher: the topic of a message is the subject that it is published to, which a stream must listen to.
func New(js jetstream.JetStream, opts ...Option) (outbox.Publisher, error) {
	p := &publisher{js: js, timeout: 5 * time.Second}
	for _, f := range opts {
		f(p)
	}
	if js == nil || p.timeout <= 0 {
		return nil, &annals.InvalidError{What: "NATS publisher", Problem: "a JetStream and a positive timeout are required"}
	}
	return p, nil
}

// Publish implements outbox.Publisher. What NATS would refuse the next time, too, such as a message that is too large, is
// outbox.Permanent; that no stream listens is not, for one may be made.
func (p *publisher) Publish(ctx context.Context, m outbox.Message) error {
	n := nats.NewMsg(m.Topic)
	n.Data = m.Data
	n.Header.Set(nats.MsgIdHdr, m.ID.String())
	for name, value := range map[string]string{
		HeaderKey: m.Key, HeaderContentType: m.ContentType, HeaderEventID: m.Event.ID.String(), HeaderEventType: m.Event.Type,
		HeaderPosition: m.Event.Position.String(), HeaderTime: m.Event.Time.Format(time.RFC3339Nano), HeaderCorrelationID: m.Event.Meta().CorrelationID,
	} {
		if value != "" {
			n.Header.Set(name, value)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	_, err := p.js.PublishMsg(ctx, n)
	for _, refusal := range []error{nats.ErrMaxPayload, nats.ErrBadSubject, nats.ErrBadHeaderMsg, nats.ErrHeadersNotSupported} {
		if errors.Is(err, refusal) {
			return outbox.Permanent(fmt.Errorf("natsoutbox: %s: %w", m.Topic, err))
		}
	}
	if err != nil {
		return fmt.Errorf("natsoutbox: %s: %w", m.Topic, err)
	}
	return nil
}

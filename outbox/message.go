package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/annalsdb/annals"
)

// Message is something that another system is told. A [Relay] makes of an event what Messages says, and fills in the rest.
type Message struct {
	// Topic says what it is about, in the words of whoever receives it. Required.
	Topic string
	// Key is what it belongs to: messages of one key stay in order. "" is a key too.
	Key string
	// ContentType of Data, as a media type; "" is JSON.
	ContentType string
	Data        []byte

	// ID is the same each time the message is published: a receiver that has it drops the message. Filled in.
	ID annals.ID
	// Event is what the message was made of. Filled in.
	Event annals.Recorded
}

// Publisher hands messages to another system.
type Publisher interface {
	// Publish returns when the other system has the message for sure, else with an error, after which it is called again with the same
	// message; see [Permanent] for what is of no use to repeat. It is called concurrently for different keys. The message must
	// not be changed.
	Publish(ctx context.Context, m Message) error
}

// Func is a function as a [Publisher].
type Func func(ctx context.Context, m Message) error

// Publish calls f.
func (f Func) Publish(ctx context.Context, m Message) error { return f(ctx, m) }

// errPermanent marks errors that are of no use to repeat.
var errPermanent = errors.New("outbox: refused for good")

// Permanent says of an error of [Publisher.Publish] that it will be the same next time: the message is too large, its topic
// does not exist. It is parked, with the words of err, which are kept. The error matches err.
//
// Nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errPermanent, err)
}

// Local is a [Publisher] for other parts of the same program: whoever has subscribed to a topic is called, one after the other. The
// zero value has no subscribers. It may be used concurrently.
type Local struct {
	mu       sync.RWMutex
	handlers map[string][]Func
}

// Subscribe has f called for each message of a topic. Its error makes the relay try again, with all handlers of the topic.
func (l *Local) Subscribe(topic string, f func(ctx context.Context, m Message) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.handlers == nil {
		l.handlers = map[string][]Func{}
	}
	l.handlers[topic] = append(l.handlers[topic], f)
}

// Publish implements [Publisher].
func (l *Local) Publish(ctx context.Context, m Message) error {
	l.mu.RLock()
	handlers := l.handlers[m.Topic]
	l.mu.RUnlock()
	for _, f := range handlers {
		if err := f(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// Status is how a relay is doing.
type Status struct {
	// Running says that Run is under way in this process.
	Running bool
	// Published is the position up to which every message is with its receiver, or parked; Head that of the store when it
	// was seen last.
	Published, Head annals.Position
	// Waiting is how many messages are not there yet, of those that were made.
	Waiting int
	// Parked is how many were refused for good.
	Parked int
	// Failing is the last error of the publisher, nil if nothing fails at the moment, and Since when it began.
	Failing error
	Since   time.Time
}

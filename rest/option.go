package rest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// CommandOption adjusts a route made by [Command].
type CommandOption interface{ applyCommand(*commandOptions) }

// ReadOption adjusts a route made by [Query], [State] or [History].
type ReadOption interface{ applyRead(*readOptions) }

// Option adjusts any route.
type Option interface {
	CommandOption
	ReadOption
}

// routeOptions are common to all routes.
type routeOptions struct {
	timeout time.Duration // 0: none
	logger  *slog.Logger  // nil: that of the request's context
}

type commandOptions struct {
	routeOptions
	name     string // of the command
	maxBody  int64
	fill     map[string]fillFunc
	location *locationPattern
	decider  []decider.Option
}

type readOptions struct {
	routeOptions
	maxWait time.Duration
}

type fillFunc func(r *http.Request, command, sent string) (string, error)

const (
	maxBodyDefault = 1 << 20
	maxWaitDefault = 30 * time.Second
)

type commandOption func(*commandOptions)

func (f commandOption) applyCommand(o *commandOptions) { f(o) }

type readOption func(*readOptions)

func (f readOption) applyRead(o *readOptions) { f(o) }

type routeOption func(*routeOptions)

func (f routeOption) applyCommand(o *commandOptions) { f(&o.routeOptions) }
func (f routeOption) applyRead(o *readOptions)       { f(&o.routeOptions) }

// NewID fills a field of the command with a new id, a UUIDv7. A client that sends the field is refused.
//
// Under an Idempotency-Key the id is made from the key, the principal and the command's name instead, so that a request
// sent again is the same command again, and creates nothing new however the two race each other.
func NewID(field string) CommandOption {
	return fill(field, func(r *http.Request, command, sent string) (string, error) {
		if sent != "" {
			return "", &MalformedError{Place: memberPlace(field), Problem: "is chosen by the server: leave it out"}
		}
		key, ok, err := sentKey(r)
		switch {
		case err != nil:
			return "", err
		case ok:
			return derivedID(annals.PrincipalFrom(r.Context()).ID, command, field, key).String(), nil
		}
		return annals.NewID().String(), nil
	})
}

// derivedID is a UUIDv8 (RFC 9562) made of a hash of the parts.
func derivedID(parts ...string) (id annals.ID) {
	h := sha256.New()
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part)))) // so that no two lists of parts look alike
		h.Write([]byte(part))
	}
	copy(id[:], h.Sum(nil))
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Fill sets a field of the command, a string of any named type, to what f returns. f is given the value that the client
// sent in path or body, "" if none, and decides between them: a customer's order takes the customer from the
// principal, a clerk's takes it from the body.
//
// An error of f ends the request, through [WriteProblem]: return a [MalformedError], [ErrUnauthenticated],
// decider.ErrForbidden or the like. If f gives another value for the same request sent again, the same Idempotency-Key
// stands for two commands, which is refused. A field that the command does not have makes [Command] panic.
func Fill(field string, f func(r *http.Request, sent string) (string, error)) CommandOption {
	if f == nil {
		panic(fmt.Sprintf("rest: Fill: the field %q is filled by a nil function", field))
	}
	return fill(field, func(r *http.Request, _, sent string) (string, error) { return f(r, sent) })
}

func fill(field string, f fillFunc) CommandOption {
	return commandOption(func(o *commandOptions) {
		if o.fill[field] != nil {
			panic(fmt.Sprintf("rest: Fill: the field %q is filled twice", field))
		}
		o.fill[field] = f
	})
}

// Created answers 201 with this Location, such as "/orders/{order}". What stands in braces is taken from the JSON of the
// first event, so that a command sent again under its Idempotency-Key names what the first try created. A command that
// decides no event answers 200.
func Created(location string) CommandOption {
	pattern, err := parseLocation(location)
	if err != nil {
		panic(fmt.Sprintf("rest: Created: %q: %v", location, err))
	}
	return commandOption(func(o *commandOptions) { o.location = pattern })
}

// MaxBody is the most bytes of a body that are taken, 1 MiB unless said.
func MaxBody(bytes int64) CommandOption {
	if bytes <= 0 {
		panic(fmt.Sprintf("rest: MaxBody: %d bytes hold no body", bytes))
	}
	return commandOption(func(o *commandOptions) { o.maxBody = bytes })
}

// WaitFor holds the answer to an accepted command back until the views have applied its events. If one lags for too
// long, the answer is 202 instead of 200 or 201: the command was accepted, and is not to be sent again.
func WaitFor(views ...decider.View) CommandOption {
	return commandOption(func(o *commandOptions) { o.decider = append(o.decider, decider.WaitFor(views...)) })
}

// MaxWait is the longest that a client may make a read wait for the position it demands, 30 s unless said.
func MaxWait(d time.Duration) ReadOption {
	if d <= 0 {
		panic(fmt.Sprintf("rest: MaxWait: %v is no time at all", d))
	}
	return readOption(func(o *readOptions) { o.maxWait = d })
}

// Timeout gives each request at most d.
func Timeout(d time.Duration) Option {
	if d <= 0 {
		panic(fmt.Sprintf("rest: Timeout: %v is no time at all", d))
	}
	return routeOption(func(o *routeOptions) { o.timeout = d })
}

// Logger is told of errors whose cause clients do not learn, instead of the logger that [WithLogger] put into the
// request's context. Without either, nobody is told.
func Logger(l *slog.Logger) Option {
	return routeOption(func(o *routeOptions) { o.logger = l })
}

// start prepares a request.
func (o *routeOptions) start(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := r.Context(), context.CancelFunc(func() {})
	if o.timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
	}
	if o.logger != nil {
		ctx = WithLogger(ctx, o.logger)
	}
	return r.WithContext(ctx), cancel
}

func newReadOptions(opts []ReadOption) readOptions {
	o := readOptions{maxWait: maxWaitDefault}
	for _, f := range opts {
		f.applyRead(&o)
	}
	return o
}

package rest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
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
	timeout   time.Duration   // 0: none
	logger    *slog.Logger    // nil: that of the request's context
	wildcards map[string]bool // of the pattern, that fill no field
}

type commandOptions struct {
	routeOptions
	name     string // of the command
	maxBody  int64
	fill     map[string]fillFunc
	notFound []decider.Rule
	location *locationPattern
	decider  []decider.Option
}

type readOptions struct {
	routeOptions
	maxWait            time.Duration
	revision, position *answerFact
	showStates         bool
}

// answerFact is a number that answers of one type tell.
type answerFact struct {
	option string
	of     reflect.Type
	get    func(answer any) uint64
}

func factOf[R any, N ~uint64](option string, f func(R) N) *answerFact {
	if f == nil {
		panic(fmt.Sprintf("rest: %s: the function is nil", option))
	}
	return &answerFact{option: option, of: reflect.TypeFor[R](), get: func(answer any) uint64 {
		r, _ := answer.(R) // a nil interface, at most, is no R
		return uint64(f(r))
	}}
}

type fillFunc func(r *http.Request, command, sent string) (string, error)

const (
	maxBodyDefault = 1 << 20
	maxWaitDefault = 30 * time.Second
	secretBytesMin = 16
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
// Under an Idempotency-Key the id is made from the key, the principal, the command's name and the secret instead, so that
// a request sent again is the same command again, and creates nothing new however the two race each other. Without the
// secret, whoever guesses somebody's key could compute the id, and ask whether it is there. It has at least 16 bytes, else
// NewID panics, and is the same for as long as requests may be sent again: under another they are refused, with 422
// key-reused. The key given to annals.HashKey will do.
func NewID(field string, secret []byte) CommandOption {
	if len(secret) < secretBytesMin {
		panic(fmt.Sprintf("rest: NewID: a secret of %d bytes is too short, give at least %d", len(secret), secretBytesMin))
	}
	secret = slices.Clone(secret)
	return fill(field, func(r *http.Request, command, sent string) (string, error) {
		if sent != "" {
			return "", &MalformedError{Place: memberPlace(field), Problem: "is chosen by the server: leave it out"}
		}
		key, ok, err := sentKey(r)
		switch {
		case err != nil:
			return "", err
		case ok:
			return derivedID(secret, annals.PrincipalFrom(r.Context()).ID, command, field, key).String(), nil
		}
		return annals.NewID().String(), nil
	})
}

// derivedID is a UUIDv8 (RFC 9562) made of a keyed hash of the parts.
func derivedID(secret []byte, parts ...string) (id annals.ID) {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte("rest.NewID\x00")) // whatever else the secret is for
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
// first event, so that a command sent again under its Idempotency-Key names what the first try created. Values are
// escaped whole, for a path as for a parameter. One that cannot stand there, an empty one or a segment of dots, leaves
// the Location out, and the logger is told. A command that decides no event answers 200. If-Match is refused: what is not
// there yet is at no revision.
func Created(location string) CommandOption {
	pattern, err := parseLocation(location)
	if err != nil {
		panic(fmt.Sprintf("rest: Created: %q: %v", location, err))
	}
	return commandOption(func(o *commandOptions) { o.location = pattern })
}

// NotFound answers 404 not-found, instead of 409 rule-broken, if a command breaks one of these rules: those that say
// that what the command is about is not there.
func NotFound(rules ...decider.Rule) CommandOption {
	if len(rules) == 0 {
		panic("rest: NotFound: no rule is named")
	}
	return commandOption(func(o *commandOptions) { o.notFound = append(o.notFound, rules...) })
}

// missing makes an error that breaks one of the rules of [NotFound] tell so.
func (o *commandOptions) missing(err error) error {
	if rejected, ok := errors.AsType[*decider.RejectedError](err); ok {
		for _, rule := range o.notFound {
			if errors.Is(rejected.Err, rule) {
				return &missingError{rule: rule, rejected: rejected}
			}
		}
	}
	return err
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

// MaxWait is the longest that a client may make a read wait for the position it demands, 30 s unless said. How long the
// read takes is another matter, see [Timeout].
func MaxWait(d time.Duration) ReadOption {
	if d <= 0 {
		panic(fmt.Sprintf("rest: MaxWait: %v is no time at all", d))
	}
	return readOption(func(o *readOptions) { o.maxWait = d })
}

// ShowStates makes a [History] show the state after each event, and what the event has changed. The states are what commands
// decide on: say so only if whoever is allowed may see all of it.
func ShowStates() ReadOption { return readOption(func(o *readOptions) { o.showStates = true }) }

// Revision makes the entity's revision, which f finds in the answer of a [Query], part of an ETag: "7-", and a digest of
// the answer, for what is joined into it may change without a new revision. Sent back as If-Match it stands for
// the revision, and as If-None-Match it is answered with 304 as long as the answer is the same. An answer of
// annals.NoRevision has no ETag.
func Revision[R any](f func(answer R) annals.Revision) ReadOption {
	fact := factOf("Revision", f)
	return readOption(func(o *readOptions) { o.revision = fact })
}

// Position puts the position that the answer of a [Query] is complete up to, and that f finds in it, into
// Annals-Position: what a client sends back as Annals-At-Least, so as not to see less the next time. 0 is not told.
func Position[R any](f func(answer R) annals.Position) ReadOption {
	fact := factOf("Position", f)
	return readOption(func(o *readOptions) { o.position = fact })
}

// Wildcards names wildcards of the route's pattern that fill no field of the command or the query, since somebody else
// reads them, such as a middleware or the function of a [Fill]. Any other that fills none is a mistake.
func Wildcards(names ...string) Option {
	return routeOption(func(o *routeOptions) {
		if o.wildcards == nil {
			o.wildcards = map[string]bool{}
		}
		for _, name := range names {
			o.wildcards[name] = true
		}
	})
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

// handler calls f for each request, under the route's options, and answers with the problem that it returns, or that a
// panic of whatever it calls is.
func (o *routeOptions) handler(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, cancel := o.start(r)
		defer cancel()
		err := error(&MalformedError{Place: "path", Problem: "is not UTF-8"})
		if utf8.ValidString(r.URL.Path) {
			err = unpanicked(r, func() error { return f(w, r) })
		}
		if err != nil {
			WriteProblem(w, r, err)
		}
	})
}

// unpanicked is the error of f, or its panic as one. http.ErrAbortHandler stays what it is: there is to be no answer.
func unpanicked(r *http.Request, f func() error) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			err = &cqrs.PanicError{Message: r.Pattern, Value: p, Stack: debug.Stack()}
		}
	}()
	return f()
}

// newReadOptions panics for an option that speaks of another answer than the route has; nil is none of a bus.
func newReadOptions(route string, answer reflect.Type, opts []ReadOption) readOptions {
	o := readOptions{maxWait: maxWaitDefault}
	for _, f := range opts {
		f.applyRead(&o)
	}
	for _, fact := range []*answerFact{o.revision, o.position} {
		switch {
		case fact == nil || fact.of == answer:
		case answer == nil:
			panic(fmt.Sprintf("rest: %s: %s is for the answers of a Query", route, fact.option))
		default:
			panic(fmt.Sprintf("rest: %s: %s is of %s, but the answer is %s", route, fact.option, fact.of, answer))
		}
	}
	return o
}

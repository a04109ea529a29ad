package decider

import (
	"context"

	"github.com/annalsdb/annals"
)

// triesDefault is how often a decision is made, unless [Retry] says otherwise.
const triesDefault = 10

// Option adjusts one call of [Execute] or [Update].
type Option func(*options)

type options struct {
	expect *annals.Revision
	key    *string
	views  []View
	dryRun bool
	tries  int
}

// View is a read model that can be waited for.
type View interface {
	// Wait returns when the view has applied every event up to p, or with an error. It may be called concurrently.
	Wait(ctx context.Context, p annals.Position) error
}

// Expect wants the entity to be at revision r still, as the caller saw it: the stream that the initial state's boundary
// names, or if it names none or several, that of the first decided event. annals.NoRevision expects it not to exist. If
// it is elsewhere, the answer is an annals.ConflictError with the events that are in the way, and no second try.
func Expect(r annals.Revision) Option { return func(o *options) { o.expect = &r } }

// IdempotencyKey makes a repeated command harmless, for ever: if the same principal gave a command of this name under
// this key before, and it led to events, the answer is made from those, with Duplicate set, and nothing is decided. If
// it was another command, the error matches [ErrKeyReused]. A command that was rejected or decided nothing is decided
// afresh. For an [Update], the name is that of the state's type, and the initial boundary tells one from another.
func IdempotencyKey(key string) Option { return func(o *options) { o.key = &key } }

// WaitFor returns only when the views have applied what was appended. If one of them fails, the error comes with the
// full result, for the events are stored.
func WaitFor(views ...View) Option {
	return func(o *options) { o.views = append(o.views, views...) }
}

// DryRun does everything but append: the result has the events that would be, and the state that they would lead to.
// Position and Revision are those that were loaded. Views are not waited for.
func DryRun() Option { return func(o *options) { o.dryRun = true } }

// Retry decides at most this many times, at least 1, if others change the boundary meanwhile. By default 10.
func Retry(tries int) Option { return func(o *options) { o.tries = tries } }

func newOptions(opts []Option) (options, error) {
	if len(opts) == 0 { // then they need no place that outlives the call
		return options{tries: triesDefault}, nil
	}
	return applied(opts)
}

func applied(opts []Option) (options, error) {
	o := options{tries: triesDefault}
	for _, f := range opts {
		f(&o)
	}
	switch {
	case o.tries < 1:
		return o, &annals.InvalidError{What: "Retry", Problem: "must be at least 1"}
	case o.key != nil && *o.key == "":
		return o, &annals.InvalidError{What: "IdempotencyKey", Problem: "empty"}
	}
	if o.expect != nil {
		o.tries = 1
	}
	return o, nil
}

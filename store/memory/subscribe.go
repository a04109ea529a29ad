package memory

import (
	"context"
	"iter"

	"github.com/annalsdb/annals"
)

// Subscribe implements [annals.Store].
func (s *Store) Subscribe(ctx context.Context, q annals.Query, after annals.Position, opts ...annals.SubscribeOption) iter.Seq2[annals.Update, error] {
	return func(yield func(annals.Update, error) bool) {
		sub := subscription{store: s, query: q, at: after, options: annals.NewSubscribeOptions(opts...), yield: yield}
		if err := sub.run(ctx); err != nil {
			yield(annals.Update{}, err)
		}
	}
}

// subscription follows the log from one position on.
type subscription struct {
	store   *Store
	query   annals.Query
	options annals.SubscribeOptions
	at      annals.Position // everything up to here was yielded, as an event or by progress
	yield   func(annals.Update, error) bool
}

// run yields until the consumer stops, which is no error.
func (u *subscription) run(ctx context.Context) error {
	if err := u.query.Check(u.store.Limits()); err != nil {
		return err
	}
	if err := u.options.Check(); err != nil {
		return err
	}
	for first := true; ; first = false {
		if err := ended(ctx); err != nil {
			return err
		}
		v, err := u.store.snapshot(u.query)
		if err != nil {
			return err
		}
		head := v.head()
		if u.at > head {
			return &annals.AheadError{Position: u.at, Head: head}
		}
		if u.at < head {
			if more, err := u.deliver(ctx, v); !more || err != nil {
				return err
			}
			continue
		}
		if first && !u.yield(annals.Update{Position: u.at, CaughtUp: true}, nil) {
			return nil
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
		}
	}
}

// deliver yields what lies between u.at and the head of v, and tells whether the consumer wants more. The last
// update stands at that head: the event there, or progress.
func (u *subscription) deliver(ctx context.Context, v view) (more bool, err error) {
	quiet := 0
	for _, r := range v.log[u.at:] {
		if err := ended(ctx); err != nil {
			return false, err
		}
		matches := v.sees(r) && u.query.Match(r)
		quiet++
		if matches {
			quiet = 0
		}
		last := r.Position == v.head()
		if !matches && !last && quiet < u.options.ProgressEvery {
			continue
		}
		quiet = 0
		update := annals.Update{Position: r.Position, CaughtUp: last && u.isHead(r.Position)}
		if matches {
			event := r
			update.Event = &event
		}
		update.More = !update.CaughtUp
		u.at = r.Position
		if !u.yield(update, nil) {
			return false, nil
		}
	}
	return true, nil
}

// isHead reports whether p is the head still.
func (u *subscription) isHead(p annals.Position) bool {
	v, err := u.store.snapshot(annals.Query{})
	return err == nil && v.head() == p
}

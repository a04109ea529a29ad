package engine

import (
	"context"
	"iter"

	"github.com/annalsdb/annals"
)

// Subscribe implements [annals.Store].
func (s *Store) Subscribe(ctx context.Context, q annals.Query, after annals.Position, opts ...annals.SubscribeOption) iter.Seq2[annals.Update, error] {
	return func(yield func(annals.Update, error) bool) {
		sub := subscription{store: s, query: q, at: uint64(after), options: annals.NewSubscribeOptions(opts...), yield: yield}
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
	at      uint64 // everything up to here was yielded, as an event or by progress
	yield   func(annals.Update, error) bool
}

// run yields until the consumer stops, which is no error.
func (u *subscription) run(ctx context.Context) error {
	if err := u.query.Check(u.store.limits); err != nil {
		return err
	}
	if err := u.options.Check(); err != nil {
		return err
	}
	for first := true; ; first = false {
		if err := u.store.ended(ctx); err != nil {
			return err
		}
		head, changed := u.store.index.Watch()
		if u.at > head {
			return &annals.AheadError{Position: annals.Position(u.at), Head: annals.Position(head)}
		}
		if u.at < head {
			if more, err := u.deliver(ctx, head); !more || err != nil {
				return err
			}
			continue
		}
		if first && !u.yield(annals.Update{Position: annals.Position(u.at), CaughtUp: true}, nil) {
			return nil
		}
		select {
		case <-changed:
		case <-u.store.closing:
		case <-ctx.Done():
		}
	}
}

// deliver yields what lies between u.at and the head, and tells whether the consumer wants more. The last update stands
// at the head: the event there, or progress.
func (u *subscription) deliver(ctx context.Context, head uint64) (more bool, err error) {
	for r, err := range u.store.walk(ctx, u.query, cut{after: u.at, upto: head}, 0) {
		if err != nil {
			return false, err
		}
		matches := u.query.Match(r)
		upto := uint64(r.Position)
		if matches {
			upto--
		}
		if more, err := u.progress(ctx, upto, head); !more || err != nil {
			return false, err
		}
		if matches && !u.update(annals.Update{Event: &r, Position: r.Position}, head) {
			return false, nil
		}
	}
	if more, err := u.progress(ctx, head, head); !more || err != nil {
		return false, err
	}
	return u.at == head || u.update(annals.Update{Position: annals.Position(head)}, head), nil
}

// progress yields, for the positions up to one of which none matches, as many updates as were asked for.
func (u *subscription) progress(ctx context.Context, upto, head uint64) (more bool, err error) {
	every := uint64(u.options.ProgressEvery)
	for u.at < upto && upto-u.at >= every {
		if err := u.store.ended(ctx); err != nil {
			return false, err
		}
		if !u.update(annals.Update{Position: annals.Position(u.at + every)}, head) {
			return false, nil
		}
	}
	return true, nil
}

// update yields one, and says whether it is the last for now.
func (u *subscription) update(update annals.Update, head uint64) bool {
	p := uint64(update.Position)
	update.CaughtUp = p == head && u.store.index.Head() == p && !u.store.closed.Load()
	update.More = !update.CaughtUp
	u.at = p
	return u.yield(update, nil)
}

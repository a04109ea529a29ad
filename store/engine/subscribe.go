package engine

import (
	"context"
	"iter"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/live"
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
	live    *live.Subscriber
	joined  bool // the hub tells of what comes
}

// joinWithin is how near the head a subscription joins those who are told, and reads what lies before it meanwhile. So
// one that reads faster than others write gets there.
const joinWithin = 1000

// run yields until the consumer stops, which is no error.
func (u *subscription) run(ctx context.Context) error {
	if err := u.query.Check(u.store.limits); err != nil {
		return err
	}
	if err := u.options.Check(); err != nil {
		return err
	}
	if err := u.store.ended(ctx); err != nil {
		return err
	}
	head := u.store.index.Head()
	if u.at > head {
		return &annals.AheadError{Position: annals.Position(u.at), Head: annals.Position(head)}
	}
	u.live = u.store.live.Subscribe(u.query)
	defer u.live.Leave()
	if u.at == head && !u.update(annals.Update{Position: annals.Position(head)}, head) {
		return nil
	}
	for {
		if more, err := u.catchUp(ctx); !more || err != nil {
			return err
		}
		if more, err := u.follow(ctx); !more || err != nil {
			return err
		}
	}
}

// catchUp reads the log until the head is near, joins those who are told of what comes, and reads the rest. It tells
// whether the consumer wants more.
func (u *subscription) catchUp(ctx context.Context) (more bool, err error) {
	u.joined = false
	for head := u.store.index.Head(); head-u.at > joinWithin; head = u.store.index.Head() {
		if more, err := u.deliver(ctx, head); !more || err != nil {
			return false, err
		}
	}
	from := u.live.Join()
	u.joined = true
	if u.at == from {
		return true, nil
	}
	return u.deliver(ctx, from)
}

// follow yields what the hub tells, until the consumer wants no more, or is behind.
func (u *subscription) follow(ctx context.Context) (more bool, err error) {
	for {
		if err := u.store.ended(ctx); err != nil {
			return false, err
		}
		switch state, e, p := u.live.Take(u.at); state {
		case live.Behind:
			return true, nil
		case live.Matched:
			hidden, err := u.store.seen(ctx, u.store.index.Head()).Hides(e)
			if err != nil {
				return false, err
			}
			if hidden {
				if more, err := u.over(ctx, p); !more || err != nil {
					return false, err
				}
				continue
			}
			if more, err := u.event(ctx, e, p); !more || err != nil {
				return false, err
			}
		case live.Progress:
			if more, err := u.over(ctx, p); !more || err != nil {
				return false, err
			}
		case live.Idle:
			select {
			case <-u.live.Ready():
			case <-u.store.closing:
			case <-ctx.Done():
			}
		}
	}
}

// deliver yields what lies between u.at and a position that is visible, and tells whether the consumer wants more. The
// last update stands there: the event, or progress.
func (u *subscription) deliver(ctx context.Context, upto uint64) (more bool, err error) {
	more = true
	u.store.walk(ctx, u.query, cut{after: u.at, upto: upto, seen: u.store.seen(ctx, u.store.index.Head())}, 0, owned, func(r *annals.Recorded, failed error) bool {
		switch {
		case failed != nil:
			more, err = false, failed
		case u.query.Accepts(&r.Event):
			e := *r
			more, err = u.event(ctx, &e, upto)
		default:
			more, err = u.progress(ctx, uint64(r.Position), upto)
		}
		return more && err == nil
	})
	if !more || err != nil {
		return false, err
	}
	return u.over(ctx, upto)
}

// event yields one that matches, after the progress that is due before it.
func (u *subscription) event(ctx context.Context, e *annals.Recorded, upto uint64) (more bool, err error) {
	if more, err := u.progress(ctx, uint64(e.Position)-1, upto); !more || err != nil {
		return false, err
	}
	return u.update(annals.Update{Event: e, Position: e.Position}, upto), nil
}

// over yields progress up to a position, unless the consumer is there.
func (u *subscription) over(ctx context.Context, upto uint64) (more bool, err error) {
	if more, err := u.progress(ctx, upto, upto); !more || err != nil {
		return false, err
	}
	return u.at == upto || u.update(annals.Update{Position: annals.Position(upto)}, upto), nil
}

// progress yields, for the positions up to one of which none matches, as many updates as were asked for.
func (u *subscription) progress(ctx context.Context, p, upto uint64) (more bool, err error) {
	every := uint64(u.options.ProgressEvery)
	for u.at < p && p-u.at >= every {
		if err := u.store.ended(ctx); err != nil {
			return false, err
		}
		if !u.update(annals.Update{Position: annals.Position(u.at + every)}, upto) {
			return false, nil
		}
	}
	return true, nil
}

// update yields one, of those up to a position, and says whether it is the last for now.
func (u *subscription) update(update annals.Update, upto uint64) bool {
	p := uint64(update.Position)
	u.at = p
	update.CaughtUp = p == u.store.index.Head() && !u.store.closed.Load()
	update.More = !update.CaughtUp && (p < upto || !u.joined || u.live.More(p) || u.store.closed.Load())
	return u.yield(update, nil)
}

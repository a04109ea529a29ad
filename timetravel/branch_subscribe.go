package timetravel

import (
	"context"
	"iter"

	"github.com/annalsdb/annals"
)

// Subscribe implements annals.Store.
func (b *Branch) Subscribe(ctx context.Context, q annals.Query, after annals.Position, opts ...annals.SubscribeOption) iter.Seq2[annals.Update, error] {
	return func(yield func(annals.Update, error) bool) {
		u := subscription{branch: b, query: q, at: after, options: annals.NewSubscribeOptions(opts...), yield: yield}
		if err := u.run(ctx); err != nil {
			yield(annals.Update{}, err)
		}
	}
}

// subscription follows the branch from one position on.
type subscription struct {
	branch  *Branch
	query   annals.Query
	options annals.SubscribeOptions
	at      annals.Position // everything up to here was yielded, as an event or by progress
	yield   func(annals.Update, error) bool
}

// run yields until the consumer stops, which is no error.
func (u *subscription) run(ctx context.Context) error {
	if err := u.query.Check(u.branch.limits); err != nil {
		return err
	}
	if err := u.options.Check(); err != nil {
		return err
	}
	for first := true; ; first = false {
		if err := ended(ctx); err != nil {
			return err
		}
		v := u.branch.pinned()
		if u.at > v.head {
			return &annals.AheadError{Position: u.at, Head: v.head}
		}
		if u.at < v.head {
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

// deliver yields what lies between u.at and the head of v, and tells whether the consumer wants more. The last update stands at
// that head: the event there, or progress.
func (u *subscription) deliver(ctx context.Context, v view) (more bool, err error) {
	more = true
	err = v.each(ctx, u.query, u.at, func(e annals.Recorded) bool {
		more = u.progress(v, e.Position-1) && u.update(v, annals.Update{Event: &e, Position: e.Position})
		return more
	})
	if err != nil || !more {
		return false, err
	}
	if u.at == v.head {
		return true, nil
	}
	return u.progress(v, v.head-1) && u.update(v, annals.Update{Position: v.head}), nil
}

// progress tells of positions without a match before the next update, if they are many.
func (u *subscription) progress(v view, upto annals.Position) bool {
	for upto-u.at >= annals.Position(u.options.ProgressEvery) {
		if !u.update(v, annals.Update{Position: u.at + annals.Position(u.options.ProgressEvery)}) {
			return false
		}
	}
	return true
}

func (u *subscription) update(v view, next annals.Update) bool {
	next.CaughtUp = next.Position == v.head && u.branch.pinned().head == v.head
	next.More = !next.CaughtUp
	u.at = next.Position
	return u.yield(next, nil)
}

package annals

import (
	"context"
	"iter"
)

// Store keeps events as bytes. It is implemented by the packages under store/, and proved by the suite in storetest.
// All methods may be called concurrently.
//
// What else a store can do is found by asserting an interface, as in database/sql/driver: [Limiter], [Scanner],
// [SystemStore], [Retainer], [Tracker].
type Store interface {
	// Append records all the events, or none, if all the conditions hold. When it returns without an error the
	// events are as durable as the store makes them, and every read that begins afterwards, anywhere, sees them.
	//
	// In this order: the shape of the call is checked ([ErrInvalid], [ErrTooLarge], [ErrReserved], [ErrUnsupported]).
	// An event in a stream that has ended for good is [ErrStreamTombstoned]. If every event's (stream, id) is stored already with the same content, in ascending order, the answer is the first receipt with
	// Duplicate set, and no condition is looked at; if only some are, [ErrPartialDuplicate]; if one is stored with
	// another content, which weighs more, [ErrIDReused]. Then all conditions are checked: [ErrAhead], or [ErrConflict] with every failure.
	//
	// Without events the conditions alone are checked. If ctx ends while the append waits, the error matches
	// [ErrNotWritten] or [ErrUnknownOutcome], and the context's cause. The store keeps none of its arguments: the
	// caller may reuse the slices.
	Append(ctx context.Context, events []Event, conds ...Condition) (Receipt, error)

	// Read yields the events of q in order of position. It is pinned to the head at the moment of ranging, which
	// [HeadInto] tells; events appended later are not part of it. It sees every append that was acknowledged before.
	//
	// Nothing is opened before ranging; ranging twice reads twice; break frees everything. At most one error is
	// yielded, last, with the zero event; the end of ctx is such an error and never a quiet end. Yielded values stay
	// valid for ever and must not be written to.
	Read(ctx context.Context, q Query, opts ...ReadOption) iter.Seq2[Recorded, error]

	// Subscribe yields the events of q after the given position, first those there are, then, without gap or
	// doubling, those that come. It never ends by itself: only by break or by an error, yielded last; the end of ctx
	// is such an error. A position past the head is [ErrAhead]. A slow consumer delays nobody else.
	//
	// An event that matches is yielded as soon as it is visible. When the head has moved over events that do not match,
	// progress follows soon, unasked: at once where a store has a few subscriptions, and within about a second where it has
	// 10,000, since it may tell those that have nothing else to do one after the other, and several commits at once.
	Subscribe(ctx context.Context, q Query, after Position, opts ...SubscribeOption) iter.Seq2[Update, error]

	// Head is the position of the last event that is visible to reads, 0 in an empty store.
	Head(ctx context.Context) (Position, error)
}

// Update is what a subscription yields: an event, or progress.
type Update struct {
	// Event is nil for progress.
	Event *Recorded
	// Position is that of the event; for progress, a position up to which every matching event has been yielded, so
	// that a checkpoint can move on over events that did not match. A subscription that begins after it yields what this
	// one would have.
	Position Position
	// CaughtUp says that with this update everything there was has been yielded: Position is the head. Said again each
	// time the subscription reaches the head after having been behind it.
	CaughtUp bool
	// More says that a further update is ready now. False is the moment to commit a batch. Neither CaughtUp nor More: the
	// head has moved on this very moment, and whether that concerns the subscription is not known yet.
	More bool
}

// SubscribeOption adjusts a subscription.
type SubscribeOption func(*SubscribeOptions)

// SubscribeOptions is what [SubscribeOption]s say, for those who implement stores.
type SubscribeOptions struct {
	// ProgressEvery is the number of positions without a match after which progress is yielded even while catching
	// up: no update moves on by more. By default 10,000.
	ProgressEvery int
}

// NewSubscribeOptions applies opts to the defaults.
func NewSubscribeOptions(opts ...SubscribeOption) SubscribeOptions {
	o := SubscribeOptions{ProgressEvery: 10_000}
	for _, f := range opts {
		f(&o)
	}
	return o
}

// Check reports what is wrong with the options, as an [InvalidError].
func (o SubscribeOptions) Check() error {
	if o.ProgressEvery < 1 {
		return invalid("ProgressEvery", "must be at least 1")
	}
	return nil
}

// ProgressEvery asks for progress at least after this many positions without a match.
func ProgressEvery(positions int) SubscribeOption {
	return func(o *SubscribeOptions) { o.ProgressEvery = positions }
}

// SystemStore is implemented by stores that can keep the system's own events.
type SystemStore interface {
	// System is a view of the same store whose appends may use names that begin with "$".
	System() Store
}

// System gives leave to append events whose names begin with "$", which is where the toolkit keeps its own books:
// timers, audit, process state. It fails with [ErrUnsupported] if s cannot. It is not for applications.
func System(s Store) (Store, error) {
	if sys, ok := s.(SystemStore); ok {
		return sys.System(), nil
	}
	return nil, ErrUnsupported
}

// Protector is implemented by stores that keep personal data from lying in plain on a disk: they encrypt it, or have no disk. A [Log] does
// not hand events with fields of a type that has a method IsPersonal, such as privacy.Personal, to other stores.
type Protector interface {
	// ProtectsPersonal reports whether it does.
	ProtectsPersonal() bool
}

// protects reports whether a store may be given personal data.
func protects(s Store) bool {
	p, ok := s.(Protector)
	return ok && p.ProtectsPersonal()
}

// Scanner is implemented by stores that can lend events instead of giving them away, which spares a copy of each and
// several times the time of a long read. Use it through [Scan]. It is for whoever keeps nothing of what it reads, or keeps
// copies: folds, exports, servers.
type Scanner interface {
	// Scan is [Store.Read] in everything but this: the event, with all its strings, tags, data and metadata, is lent until
	// the next one is asked for, or the loop ends. What is to be kept longer is copied: [Event.Clone] detaches all of it. With an
	// error comes nil instead of the zero event.
	Scan(ctx context.Context, q Query, opts ...ReadOption) iter.Seq2[*Recorded, error]
}

// Scan lends the events of q in order of position, as [Scanner] says; a store that is none is read. Either way an event is good only
// until the next one is asked for.
func Scan(ctx context.Context, s Store, q Query, opts ...ReadOption) iter.Seq2[*Recorded, error] {
	if lends, ok := s.(Scanner); ok {
		return lends.Scan(ctx, q, opts...)
	}
	return func(yield func(*Recorded, error) bool) {
		for e, err := range s.Read(ctx, q, opts...) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(&e, nil) {
				return
			}
		}
	}
}

package annals

import (
	"fmt"
	"strings"
)

// ConditionKind tells what a [Condition] asks for.
type ConditionKind uint8

// The kinds of condition. The zero kind is no condition at all and is refused.
const (
	// KindStreamAt wants the stream's last revision to be exactly the one given.
	KindStreamAt ConditionKind = iota + 1
	// KindNoStream wants the stream to have no event that can be read.
	KindNoStream
	// KindStreamExists wants the stream to have an event that can be read.
	KindStreamExists
	// KindNoneSince wants no event after a position to match a query.
	KindNoneSince
	// KindStreamIn wants the stream to be in one of several states.
	KindStreamIn
	// KindTracking wants the position of a source to be below the one given, and moves it there.
	KindTracking
)

// StreamState is what has become of a stream, or a set of such: a | b is either.
type StreamState uint8

// The states. A stream is in exactly one of them; without a [Retainer] there are only the first two.
const (
	// StreamNone: no event was ever appended to it.
	StreamNone StreamState = 1 << iota
	// StreamLive: an event of it can be read.
	StreamLive
	// StreamEmpty: it had events, and all of them were truncated or are too old.
	StreamEmpty
	// StreamDeleted: it was deleted, and nothing was appended since.
	StreamDeleted
	// StreamTombstoned: it has ended for good.
	StreamTombstoned

	streamStatesAll = StreamTombstoned<<1 - 1
)

// String writes the state, or the states of the set.
func (s StreamState) String() string {
	var names []string
	for i, name := range []string{"none", "live", "empty", "deleted", "tombstoned"} {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "nothing"
	}
	return strings.Join(names, " or ")
}

// Condition is what must hold for an append to be accepted. It sees the state before the append, and exactly what a
// read would return at that instant: the append's own events never count. An append may have several; all must hold.
type Condition struct {
	kind       ConditionKind
	withEvents bool
	stream     string
	revision   Revision
	after      Position // of KindTracking: where the source is to be
	query      Query
	states     StreamState
	source     string
}

// StreamAt wants r to be the last revision that was given in the stream: nobody has written to it since the caller read
// it. That the event can be read still is not asked: revisions go on after truncation and deletion.
func StreamAt(stream string, r Revision) Condition {
	return Condition{kind: KindStreamAt, stream: stream, revision: r}
}

// NoStream wants the stream to have no event that can be read: none was ever appended, or all are truncated, too old,
// or deleted. To tell these apart there is [StreamIn].
func NoStream(stream string) Condition { return Condition{kind: KindNoStream, stream: stream} }

// StreamExists wants the stream to have at least one event that can be read.
func StreamExists(stream string) Condition { return Condition{kind: KindStreamExists, stream: stream} }

// StreamIn wants the stream to be in one of the states: StreamIn("order-42", StreamNone|StreamDeleted).
func StreamIn(stream string, states StreamState) Condition {
	return Condition{kind: KindStreamIn, stream: stream, states: states}
}

// NoneSince wants no event that matches q to lie after the given position: what the caller decided on is still all
// there is. It is the append condition of the DCB specification (dcb.events). Events at or before that position are ignored;
// a position past the head is [ErrAhead]. NoneSince(0, q) wants that no event ever matched.
func NoneSince(after Position, q Query) Condition {
	return Condition{kind: KindNoneSince, after: after, query: q}
}

// TrackingAt stores p as the position that a consumer, which calls itself source, has come to, in one with the append, if
// the position stored for it is lower still. So a consumer that replays what it has dealt with, or that runs twice, cannot
// have its effect twice: it has a conflict, which names the position that is stored ([Failure.Tracked]).
//
// p is a position of whatever the consumer reads, and at least 1. An append without events moves the position alone, and
// has a conflict when it is repeated. An append whose events are all stored already is a duplicate as ever, and leaves the
// position where it is. The receipt speaks of the events given; behind them lies a system event of type [TypeTracked] for
// each TrackingAt, which counts as an event of the append against the limits. A store that is no [Tracker] refuses it with
// [ErrUnsupported].
func TrackingAt(source string, p Position) Condition {
	return Condition{kind: KindTracking, source: source, after: p}
}

// WithEvents asks for the conflicting events themselves in [Failure.Events], should the condition fail.
func (c Condition) WithEvents() Condition {
	c.withEvents = true
	return c
}

// Kind tells what c asks for.
func (c Condition) Kind() ConditionKind { return c.kind }

// Stream is the stream of a condition on one, or "".
func (c Condition) Stream() string { return c.stream }

// Revision is the revision that [StreamAt] wants.
func (c Condition) Revision() Revision { return c.revision }

// After is the position of [NoneSince], or the one that [TrackingAt] stores.
func (c Condition) After() Position { return c.after }

// States are the states of [StreamIn].
func (c Condition) States() StreamState { return c.states }

// Source is the source of [TrackingAt], or "".
func (c Condition) Source() string { return c.source }

// Query is the query of [NoneSince], or the zero Query.
func (c Condition) Query() Query { return c.query }

// WantsEvents reports whether [Condition.WithEvents] was said.
func (c Condition) WantsEvents() bool { return c.withEvents }

// String writes c for people.
func (c Condition) String() string {
	switch c.kind {
	case KindStreamAt:
		return fmt.Sprintf("stream %s at revision %d", c.stream, c.revision)
	case KindNoStream:
		return fmt.Sprintf("no stream %s", c.stream)
	case KindStreamExists:
		return fmt.Sprintf("stream %s exists", c.stream)
	case KindNoneSince:
		return fmt.Sprintf("none of %s after %d", c.query, c.after)
	case KindStreamIn:
		return fmt.Sprintf("stream %s %s", c.stream, c.states)
	case KindTracking:
		return fmt.Sprintf("source %s before %d", c.source, c.after)
	}
	return "unknown condition"
}

func (c Condition) check(at place, limits Limits) error {
	switch c.kind {
	case KindStreamAt, KindNoStream, KindStreamExists, KindStreamIn:
		if c.stream == "" {
			return invalid(at.String(), "a revision condition on the stream \"\"")
		}
		if c.kind == KindStreamAt && c.revision == NoRevision {
			return invalid(at.String(), "NoRevision is no revision: use NoStream")
		}
		if c.kind == KindStreamIn && (c.states == 0 || c.states&^streamStatesAll != 0) {
			return invalid(at.String(), fmt.Sprintf("%#x is no set of stream states", uint8(c.states)))
		}
		return checkName(at.of("stream"), c.stream, limits.streamBytes(c.stream))
	case KindTracking:
		if !limits.Tracking {
			return fmt.Errorf("%s: tracking: %w", at, ErrUnsupported)
		}
		if c.after == 0 || c.after == NoPosition {
			return invalid(at.String(), fmt.Sprintf("%d is no position to track", c.after))
		}
		return checkSource(at.of("source").String(), c.source, limits)
	case KindNoneSince:
		if err := c.query.Check(limits); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return nil
	}
	return invalid(at.String(), fmt.Sprintf("unknown condition kind %d", c.kind))
}

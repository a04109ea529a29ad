package annals

import "fmt"

// ConditionKind tells what a [Condition] asks for.
type ConditionKind uint8

// The kinds of condition. The zero kind is no condition at all and is refused.
const (
	// KindStreamAt wants the stream's last revision to be exactly the one given.
	KindStreamAt ConditionKind = iota + 1
	// KindNoStream wants the stream to have no event.
	KindNoStream
	// KindStreamExists wants the stream to have an event.
	KindStreamExists
	// KindNoneSince wants no event after a position to match a query.
	KindNoneSince
)

// Condition is what must hold for an append to be accepted. It sees the state before the append, and exactly what a
// read would return at that instant: the append's own events never count. An append may have several; all must hold.
type Condition struct {
	kind       ConditionKind
	withEvents bool
	stream     string
	revision   Revision
	after      Position
	query      Query
}

// StreamAt wants the last event of the stream to have revision r: nobody has written to it since the caller read it.
func StreamAt(stream string, r Revision) Condition {
	return Condition{kind: KindStreamAt, stream: stream, revision: r}
}

// NoStream wants the stream to have no event yet.
func NoStream(stream string) Condition { return Condition{kind: KindNoStream, stream: stream} }

// StreamExists wants the stream to have at least one event.
func StreamExists(stream string) Condition { return Condition{kind: KindStreamExists, stream: stream} }

// NoneSince wants no event that matches q to lie after the given position: what the caller decided on is still all
// there is. It is the append condition of the DCB specification (dcb.events). Events at or before that position are ignored;
// a position past the head is [ErrAhead]. NoneSince(0, q) wants that no event ever matched.
func NoneSince(after Position, q Query) Condition {
	return Condition{kind: KindNoneSince, after: after, query: q}
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

// After is the position of [NoneSince].
func (c Condition) After() Position { return c.after }

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
	}
	return "unknown condition"
}

func (c Condition) check(at place, limits Limits) error {
	switch c.kind {
	case KindStreamAt, KindNoStream, KindStreamExists:
		if c.stream == "" {
			return invalid(at.String(), "a revision condition on the stream \"\"")
		}
		if c.kind == KindStreamAt && c.revision == NoRevision {
			return invalid(at.String(), "NoRevision is no revision: use NoStream")
		}
		return checkName(at.of("stream"), c.stream, limits.StreamBytes)
	case KindNoneSince:
		if err := c.query.Check(limits); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return nil
	}
	return invalid(at.String(), fmt.Sprintf("unknown condition kind %d", c.kind))
}

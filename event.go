package annals

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Position is an event's place in the whole store: 1 for the first, then without gaps, in the order of commit.
// 0 is the place before the first event. In JSON it is a string, since JavaScript loses large integers.
type Position uint64

// Revision is an event's place in its own stream: 0 for the first. Revisions go on after truncation.
type Revision uint64

// NoRevision is the revision of an event that has no stream.
const NoRevision = Revision(math.MaxUint64)

// String writes the decimal number.
func (p Position) String() string { return strconv.FormatUint(uint64(p), 10) }

// MarshalText writes the decimal number: in JSON a string.
func (p Position) MarshalText() ([]byte, error) { return strconv.AppendUint(nil, uint64(p), 10), nil }

// UnmarshalText reads the decimal number.
func (p *Position) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return invalid("position", strconv.Quote(string(b))+" is not a decimal number")
	}
	*p = Position(n)
	return nil
}

// ContentTypeJSON is what an empty [Event.ContentType] stands for.
const ContentTypeJSON = "application/json"

// Event is an immutable fact, as it is stored. Stores keep what they were given, byte for byte, save that tags are
// sorted, a zero version becomes 1 and [ContentTypeJSON] written out becomes "".
type Event struct {
	// ID and Stream together are the idempotency key: an append that is sent again with the same ids has no second
	// effect. Zero: the store makes an id.
	ID ID
	// Type is the name of what happened, such as "OrderPlaced". Required.
	Type string
	// Stream is the entity that the event belongs to, such as "order-42". Optional. What precedes the first "-" is
	// the stream's category.
	Stream string
	// Version is the schema version of Data. 0 means 1.
	Version uint16
	// Tags are further things that the event is about, such as "product:tea"; opaque strings, none twice.
	Tags []string
	// ContentType is the media type of Data. Empty means application/json.
	ContentType string
	// Data is the fact itself. Stores do not look inside.
	Data []byte
	// Metadata is what is known about the fact: by convention a JSON object, see [Metadata].
	Metadata []byte
}

// IsSystem reports whether the event is one of the system's own: its type, its stream or one of its tags begins
// with "$". Such events are hidden from reads that do not ask for them with [Query.WithSystem], and writing them
// takes a store made by [System].
func (e Event) IsSystem() bool {
	return isSystemName(e.Type) || isSystemName(e.Stream) || slices.ContainsFunc(e.Tags, isSystemName)
}

func isSystemName(s string) bool { return strings.HasPrefix(s, "$") }

// Category is the part of a stream's name before the first "-": "order" for "order-42". A name without "-" is its
// own category.
func (e Event) Category() string { return CategoryOf(e.Stream) }

// CategoryOf is the category of the stream with this name.
func CategoryOf(stream string) string {
	category, _, _ := strings.Cut(stream, "-")
	return category
}

// SameContent reports whether e and o, which have the same id and stream, are the same event sent twice: type,
// version, content type, tags and data are equal. Metadata is not compared, for a retry carries a new trace.
// Both must be in canonical form ([Event.Canonical]).
func (e Event) SameContent(o Event) bool {
	return e.Type == o.Type && e.Version == o.Version && e.ContentType == o.ContentType &&
		slices.Equal(e.Tags, o.Tags) && string(e.Data) == string(o.Data)
}

// Canonical is e as stores keep it: tags sorted (in a new slice, if they were not), version at least 1, content type
// empty for JSON.
func (e Event) Canonical() Event {
	if !slices.IsSorted(e.Tags) {
		e.Tags = slices.Sorted(slices.Values(e.Tags))
	}
	if len(e.Tags) == 0 {
		e.Tags = nil
	}
	e.Version = max(e.Version, 1)
	if e.ContentType == ContentTypeJSON {
		e.ContentType = ""
	}
	return e
}

// Clone is a copy of e that shares no memory with it.
func (e Event) Clone() Event {
	n := len(e.Type) + len(e.Stream) + len(e.ContentType)
	for _, t := range e.Tags {
		n += len(t)
	}
	var all strings.Builder // one piece of memory for all texts
	all.Grow(n)
	keep := func(s string) string {
		from := all.Len()
		all.WriteString(s)
		return all.String()[from:]
	}
	e.Type, e.Stream, e.ContentType = keep(e.Type), keep(e.Stream), keep(e.ContentType)
	e.Tags = slices.Clone(e.Tags)
	for i, t := range e.Tags {
		e.Tags[i] = keep(t)
	}
	e.Data, e.Metadata = cloned(e.Data, e.Metadata)
	return e
}

// cloned are copies of both, in one piece of memory.
func cloned(a, b []byte) (x, y []byte) {
	if len(a) == 0 || len(b) == 0 {
		return slices.Clone(a), slices.Clone(b)
	}
	both := slices.Concat(a, b)
	return both[:len(a):len(a)], both[len(a):]
}

// Recorded is an event that a store has accepted. It never changes; whoever is given one must not write to its
// slices, which may be shared.
type Recorded struct {
	Event
	// Position is the event's place in the store.
	Position Position
	// Revision is the event's place in its stream, or [NoRevision].
	Revision Revision
	// Time is when the store accepted the event, in UTC. It never decreases with the position, and all events of one
	// append have the same. Order never depends on it.
	Time time.Time
}

// Meta decodes the event's metadata. Metadata that is not a JSON object of [Metadata]'s shape reads as empty.
func (r Recorded) Meta() Metadata {
	var m Metadata
	if json.Unmarshal(r.Metadata, &m) != nil {
		return Metadata{}
	}
	return m
}

// Receipt says where an append went.
type Receipt struct {
	// First and Last are the positions of the first and the last event of the append. Both are 0 if it had none.
	First, Last Position
	// Head is a position up to which the store was read to decide: at least Last. For an append of no events it is
	// the head at which its conditions were checked.
	Head Position
	// Revision is that of the append's last event that has a stream, or [NoRevision].
	Revision Revision
	// Time is when the events were accepted, or what [TrackingAt] stores.
	Time time.Time
	// Duplicate says that the events were in the store already, put there by an earlier try. Nothing was written and
	// no condition was checked; the other fields describe what is stored.
	Duplicate bool
}

package annals

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits are what a store accepts. Sizes are in bytes, names in bytes of UTF-8.
type Limits struct {
	// EventBytes bounds data and metadata of one event together.
	EventBytes int
	// AppendBytes bounds all events of one append: their data, metadata, types, streams and tags.
	AppendBytes int
	// AppendEvents bounds the number of events of one append.
	AppendEvents int

	TypeBytes, StreamBytes, TagBytes int
	// EventTags bounds the number of tags of one event.
	EventTags int
	// QueryItems and QueryTerms bound a query: a term is a type, a tag, a stream, a category or an id.
	QueryItems, QueryTerms int
	// Conditions bounds the number of conditions of one append.
	Conditions int

	// Retention says that the store honours retention events, see [Retainer]; else they are refused.
	Retention bool
	// Tracking says that appends may have the condition [TrackingAt], see [Tracker]; else it is refused.
	Tracking bool
}

// streamBytes bounds the name of a stream. That of a stream's retention is longer than the stream's own.
func (l Limits) streamBytes(name string) int {
	if strings.HasPrefix(name, retentionPrefix) {
		return l.StreamBytes + len(retentionPrefix)
	}
	return l.StreamBytes
}

// MinLimits is what every store guarantees to accept. A program that stays within them runs on any store.
func MinLimits() Limits {
	return Limits{
		EventBytes: 256 << 10, AppendBytes: 512 << 10, AppendEvents: 990,
		TypeBytes: 256, StreamBytes: 1024, TagBytes: 512, EventTags: 64,
		QueryItems: 1000, QueryTerms: 4096, Conditions: 256,
	}
}

// Limiter is implemented by stores that accept more than [MinLimits].
type Limiter interface {
	// Limits are fixed while the store is open. Safe for concurrent use.
	Limits() Limits
}

// LimitsOf are the limits of s.
func LimitsOf(s Store) Limits {
	if l, ok := s.(Limiter); ok {
		return l.Limits()
	}
	return MinLimits()
}

// appendOverheadBytes is counted for each event of an append beside its fields, so that many tiny events are bounded
// by bytes too.
const appendOverheadBytes = 64

// CheckAppend reports what is wrong with the shape of an append, before any state is looked at. Every store calls
// it, so that every store refuses the same things with the same errors: [InvalidError], [LimitError], [ErrUnsupported]. System
// names ("$…") are refused unless system is true.
func CheckAppend(events []Event, conds []Condition, limits Limits, system bool) error {
	if len(events) == 0 && len(conds) == 0 {
		return invalid("append", "neither events nor conditions: use Head to ask for the head")
	}
	if n := len(events) + trackings(conds); n > limits.AppendEvents {
		return &LimitError{What: "append", Unit: "events", Limit: limits.AppendEvents, Actual: n}
	}
	if len(conds) > limits.Conditions {
		return &LimitError{What: "append", Unit: "conditions", Limit: limits.Conditions, Actual: len(conds)}
	}
	size := 0
	var ids map[idKey]bool
	for i := range events {
		e := &events[i]
		if err := checkEvent(place{thing: "event", index: i}, e, limits, system); err != nil {
			return err
		}
		size += eventBytes(e)
		if e.ID.IsZero() || len(events) == 1 {
			continue
		}
		if ids == nil {
			ids = make(map[idKey]bool, len(events))
		}
		k := idKey{e.Stream, e.ID}
		if ids[k] {
			return invalid(place{thing: "event", index: i}.String(), fmt.Sprintf("the id %s is in this append already, in the same stream", e.ID))
		}
		ids[k] = true
	}
	if system {
		if err := checkTombstones(events); err != nil {
			return err
		}
	}
	if err := checkConditions(conds, limits); err != nil {
		return err
	}
	for _, e := range TrackedEvents(conds) {
		size += eventBytes(&e)
	}
	if size > limits.AppendBytes {
		return &LimitError{What: "append", Unit: "bytes", Limit: limits.AppendBytes, Actual: size}
	}
	return nil
}

// checkTombstones refuses events in a stream that an event before them ends.
func checkTombstones(events []Event) error {
	ended := map[string]int{}
	for i := range events {
		e := &events[i]
		stream := strings.TrimPrefix(e.Stream, retentionPrefix)
		if by, ok := ended[stream]; ok {
			return invalid(place{thing: "event", index: i}.String(), fmt.Sprintf("event %d ends the stream %s before it", by, stream))
		}
		if e.Type == TypeTombstoned {
			ended[stream] = i
		}
	}
	return nil
}

func trackings(conds []Condition) int {
	n := 0
	for i := range conds {
		if conds[i].kind == KindTracking {
			n++
		}
	}
	return n
}

type idKey struct {
	stream string
	id     ID
}

func checkConditions(conds []Condition, limits Limits) error {
	streams := map[string]bool{}
	var sources map[string]bool
	for i, c := range conds {
		at := place{thing: "condition", index: i}
		if err := c.check(at, limits); err != nil {
			return err
		}
		if c.kind == KindTracking {
			if sources[c.source] {
				return invalid(at.String(), fmt.Sprintf("a second position of source %s", c.source))
			}
			if sources == nil {
				sources = map[string]bool{}
			}
			sources[c.source] = true
		}
		if c.stream == "" {
			continue
		}
		if streams[c.stream] {
			return invalid(at.String(), fmt.Sprintf("a second revision condition on stream %s", c.stream))
		}
		streams[c.stream] = true
	}
	return nil
}

func eventBytes(e *Event) int {
	n := appendOverheadBytes + len(e.Type) + len(e.Stream) + len(e.ContentType) + len(e.Data) + len(e.Metadata)
	for _, t := range e.Tags {
		n += len(t) + 2
	}
	return n
}

// place is where in a call something is wrong. Its text is made only if something is.
type place struct {
	thing string // "event", "condition", "query item"
	index int    // noIndex if there is only one
	part  string // of the thing; may be empty
}

const noIndex = -1

func (p place) String() string {
	s := p.thing
	if p.index != noIndex {
		s += " " + strconv.Itoa(p.index)
	}
	if p.part != "" {
		s += ": " + p.part
	}
	return s
}

// of is a part of what stands at p.
func (p place) of(part string) place { return place{p.thing, p.index, part} }

func checkEvent(at place, e *Event, limits Limits, system bool) error {
	if err := checkName(at.of("type"), e.Type, limits.TypeBytes); err != nil {
		return err
	}
	if e.Stream != "" {
		if err := checkName(at.of("stream"), e.Stream, limits.streamBytes(e.Stream)); err != nil {
			return err
		}
	}
	if len(e.Tags) > limits.EventTags {
		return &LimitError{What: at.String(), Unit: "tags", Limit: limits.EventTags, Actual: len(e.Tags)}
	}
	for i, t := range e.Tags {
		if err := checkName(at.of("tag"), t, limits.TagBytes); err != nil {
			return err
		}
		if slices.Contains(e.Tags[:i], t) {
			return invalid(at.String(), fmt.Sprintf("the tag %q twice", t))
		}
	}
	if e.ContentType != "" {
		if err := checkName(at.of("content type"), e.ContentType, limits.TypeBytes); err != nil {
			return err
		}
	}
	if n := len(e.Data) + len(e.Metadata); n > limits.EventBytes {
		return &LimitError{What: at.String(), Unit: "bytes of data and metadata", Limit: limits.EventBytes, Actual: n}
	}
	if !system && e.IsSystem() {
		return &InvalidError{What: at.String(), Problem: "names beginning with \"$\" are the system's: see System", reserved: true}
	}
	if system {
		return checkSystemEvent(at, e, limits)
	}
	return nil
}

// checkSystemEvent refuses events that a store would act on, if it cannot or if they make no sense.
func checkSystemEvent(at place, e *Event, limits Limits) error {
	if isTracking(e) {
		return &InvalidError{What: at.String(), Problem: "positions of sources are written by TrackingAt alone", reserved: true}
	}
	switch e.Type {
	case TypeRetention, TypeDeleted, TypeTombstoned:
	default:
		return nil
	}
	if !limits.Retention {
		return fmt.Errorf("%s: %s: %w", at, e.Type, ErrUnsupported)
	}
	_, err := retentionChange(at.String(), e)
	return err
}

func checkName(at place, name string, limit int) error {
	switch {
	case name == "":
		return invalid(at.String(), "empty")
	case len(name) > limit:
		return &LimitError{What: at.String(), Unit: "bytes", Limit: limit, Actual: len(name)}
	case !utf8.ValidString(name):
		return invalid(at.String(), fmt.Sprintf("%q is not valid UTF-8", name))
	case strings.ContainsFunc(name, unicode.IsControl):
		return invalid(at.String(), fmt.Sprintf("%q has a control character", name))
	}
	return nil
}

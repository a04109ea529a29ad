package faultlane

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/annalsdb/annals"
)

// Kind is what an attempt is made of.
type Kind string

// The kinds of attempts.
const (
	// Plain is one event in the writer's own stream.
	Plain Kind = "plain"
	// Batch is several events, in streams that writers share and in none.
	Batch Kind = "batch"
	// Counter is one event in a stream that writers share, on condition of its revision.
	Counter Kind = "counter"
	// Claim is one event with a tag that writers share, on condition that none with it was appended since.
	Claim Kind = "claim"
)

// Attempt is one append that a writer tries. Its events follow from it, and say which attempt they are of, so that whoever
// reads a log can make them again and compare every byte.
type Attempt struct {
	// Life counts the processes that write to a store, Number the attempts of a writer in its life.
	Life, Writer, Number int
	Kind                 Kind
	// Arg is the number of events that a counter's stream has, or the head at which a claim was decided.
	Arg uint64
}

// String is the form that [ParseAttempt] reads.
func (a Attempt) String() string {
	return fmt.Sprintf("%d/%d/%d/%s/%d", a.Life, a.Writer, a.Number, a.Kind, a.Arg)
}

// ParseAttempt reads what [Attempt.String] wrote.
func ParseAttempt(s string) (Attempt, error) {
	var a Attempt
	if _, err := fmt.Sscanf(strings.ReplaceAll(s, "/", " "), "%d %d %d %s %d", &a.Life, &a.Writer, &a.Number, &a.Kind, &a.Arg); err != nil {
		return Attempt{}, fmt.Errorf("faultlane: attempt %q: %w", s, err)
	}
	return a, nil
}

const (
	counters = 2
	claims   = 3
	shared   = 5
)

// stream is the stream of a counter.
func (a Attempt) stream() string { return fmt.Sprint("counter-", a.Number%counters) }

// tag is the tag of a claim.
func (a Attempt) tag() string { return annals.Tag("claim", fmt.Sprint(a.Number%claims)) }

// Conditions are those of the append.
func (a Attempt) Conditions() []annals.Condition {
	switch {
	case a.Kind == Counter && a.Arg == 0:
		return []annals.Condition{annals.NoStream(a.stream())}
	case a.Kind == Counter:
		return []annals.Condition{annals.StreamAt(a.stream(), annals.Revision(a.Arg-1))}
	case a.Kind == Claim:
		return []annals.Condition{annals.NoneSince(annals.Position(a.Arg), annals.Tags(a.tag()))}
	}
	return nil
}

// Events are those of the append, in canonical form.
func (a Attempt) Events() []annals.Event {
	es := make([]annals.Event, 1)
	if a.Kind == Batch {
		es = make([]annals.Event, 2+a.Number%5)
	}
	for i := range es {
		es[i] = a.event(i)
	}
	return es
}

// made is the time in the ids. It says nothing.
var made = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (a Attempt) event(i int) annals.Event {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s#%d", a, i))
	e := annals.Event{
		ID:   annals.MakeID(made, [10]byte(sum[:10])),
		Type: "Tried", Version: 1,
		Tags: []string{annals.Tag("kind", string(a.Kind)), annals.Tag("writer", fmt.Sprint(a.Writer))},
	}
	switch a.Kind {
	case Plain:
		e.Type, e.Stream = "Said", fmt.Sprint("writer-", a.Writer)
	case Batch:
		e.Tags = append(e.Tags, annals.Tag("shared", fmt.Sprint((a.Number+i)%shared)))
		if i%3 < 2 {
			e.Stream = fmt.Sprint("shared-", (a.Number+i)%shared)
		}
	case Counter:
		e.Type, e.Stream = "Counted", a.stream()
	case Claim:
		e.Type = "Claimed"
		e.Tags = append(e.Tags, a.tag())
	}
	e.Data = a.data(i, sum)
	return e.Canonical()
}

// data says whose event it is, and goes on with bytes that follow from that: mostly a few hundred, now and then many.
func (a Attempt) data(i int, sum [32]byte) []byte {
	b := fmt.Appendf(nil, "%s#%d\n", a, i)
	size := int(binary.LittleEndian.Uint16(sum[:]) % 600)
	if sum[2] < 16 {
		size = 2000 + int(binary.LittleEndian.Uint16(sum[3:])%6000)
	}
	for n := range size {
		b = append(b, sum[n%32]+byte(n/32))
	}
	return b
}

// attemptOf tells which attempt a stored event says it is of, and which of its events it is.
func attemptOf(e annals.Event) (a Attempt, i int, err error) {
	line, _, found := strings.Cut(string(e.Data), "\n")
	name, index, both := strings.Cut(line, "#")
	if !found || !both {
		return Attempt{}, 0, fmt.Errorf("faultlane: event %s says not what it is", e.ID)
	}
	if a, err = ParseAttempt(name); err == nil {
		_, err = fmt.Sscan(index, &i)
	}
	return a, i, err
}

// Hash is of everything in the attempt's events.
func (a Attempt) Hash() string { return hashOf(a.Events()) }

func hashOf(es []annals.Event) string {
	h := sha256.New()
	for _, e := range es {
		for _, part := range []string{e.ID.String(), e.Type, fmt.Sprint(e.Version), e.Stream, strings.Join(e.Tags, " "), e.ContentType} {
			_, _ = fmt.Fprintf(h, "%d:%s", len(part), part) // a hash takes everything
		}
		_, _ = fmt.Fprintf(h, "%d:%s%d:%s", len(e.Data), e.Data, len(e.Metadata), e.Metadata)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

package index

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"github.com/dchest/siphash"

	"github.com/annalsdb/annals"
)

// Term is what the index knows of a name: a hash of its kind and its text under the store's secret seed. Two names may
// have the same term, by chance once in centuries; then a list holds the events of both, and whoever reads them finds out.
type Term = uint64

// kind is what a name is the name of.
type kind uint8

const (
	kindType kind = iota + 1
	kindTag
	kindCategory
	kindStream
	kindID
)

// Hasher makes terms. It is a value, and safe for concurrent use.
type Hasher struct {
	k0, k1 uint64
	blind  uint64 // the bits that are left out, for tests in which terms collide
}

// NewHasher makes the hasher of a store: its seed is secret, so that nobody who chooses names can make them collide.
func NewHasher(seed [16]byte) Hasher {
	return Hasher{k0: binary.LittleEndian.Uint64(seed[:]), k1: binary.LittleEndian.Uint64(seed[8:])}
}

// Stream is the term of a stream; "" stands for none.
func (h Hasher) Stream(name string) Term { return h.name(kindStream, name) }

// ID is the term of an event's id.
func (h Hasher) ID(id annals.ID) Term { return h.bytes(kindID, id[:]) }

// system is the term of the events that are hidden from most. No name has it: to hide too much would be to miss what is
// looked for.
const system Term = 0

func (h Hasher) name(k kind, name string) Term {
	return h.bytes(k, unsafe.Slice(unsafe.StringData(name), len(name))) //nolint:gosec // it is only read
}

func (h Hasher) bytes(k kind, b []byte) Term {
	return max(siphash.Hash(h.k0^uint64(k), h.k1, b)&^h.blind, system+1)
}

// Keys are the terms of one event, and what else the index holds of it.
type Keys struct {
	// Stream is the name of the event's stream, or "". The index copies what it keeps of it.
	Stream string
	// Revision is that in the stream.
	Revision annals.Revision
	// EventID is the event's id.
	EventID annals.ID

	id, stream Term // events without a stream share a term
	// rest are the terms of the type, the category and the tags, and that of events that are the system's.
	rest []Term
}

// Identity is a term of id and stream together, which make an append idempotent.
func (k *Keys) Identity() Term { return k.id ^ bits.RotateLeft64(k.stream, 31) }

// StreamTerm is the term of the event's stream.
func (k *Keys) StreamTerm() Term { return k.stream }

// Keys makes the keys of an event, whose revision may not be known yet. It appends terms to buf, which it gives back: what
// was appended belongs to the keys.
func (h Hasher) Keys(e *annals.Event, buf []Term) (Keys, []Term) {
	k := Keys{Stream: e.Stream, EventID: e.ID, id: h.ID(e.ID), stream: h.Stream(e.Stream)}
	start := len(buf)
	buf = append(buf, h.name(kindType, e.Type))
	if e.IsSystem() {
		buf = append(buf, system)
	}
	if e.Stream != "" {
		buf = append(buf, h.name(kindCategory, e.Category()))
	}
	for _, t := range e.Tags {
		buf = append(buf, h.name(kindTag, t))
	}
	k.rest = buf[start:len(buf):len(buf)]
	return k, buf
}

// KeysMost is how many terms [Hasher.Keys] appends at most for all of these.
func KeysMost(events []annals.Event) int {
	n := 0
	for i := range events {
		n += 3 + len(events[i].Tags)
	}
	return n
}

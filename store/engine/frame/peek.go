package frame

import (
	"encoding/binary"
	"fmt"

	"github.com/annalsdb/annals"
)

// Peek tells what a query looks at of the record that begins b: its position, and, in e, the id and the names of its
// event, which share memory with b and are good only as long as that does not change. Tags of e are written over, so that
// one event may serve for many records. Nothing is verified, so b must be a record that was, or that this program has
// just made. It fails with [ErrSkippable] for a record that holds no event.
func Peek(e *annals.Event, b []byte) (annals.Position, error) {
	tags := e.Tags[:0]
	*e = annals.Event{}
	size, err := RecordSize(b)
	if err != nil {
		return 0, err
	}
	if err := Kind(b[64]).known(); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	f := fields{b: b[RecordHeaderBytes:size]}
	e.ID = annals.ID(b[32:48])
	e.Type = frozen(f.take(int(le.Uint16(b[68:]))))
	e.Stream = frozen(f.take(int(le.Uint16(b[70:]))))
	names := fields{b: f.take(int(le.Uint32(b[72:])))}
	for range b[67] {
		tags = append(tags, frozen(names.takeSized()))
	}
	e.Tags = tags
	if f.short || names.short {
		return 0, fmt.Errorf("%w: the lengths of a record's fields do not add up", ErrMalformed)
	}
	return annals.Position(le.Uint64(b[8:])), nil
}

package peer

import (
	"encoding/binary"
	"errors"

	"github.com/annalsdb/annals"
)

var errRecord = errors.New("peer: a record is cut short")

// encode writes an event, for stores that keep bytes.
func encode(e *annals.Event) []byte {
	size := 64 + len(e.Type) + len(e.Stream) + len(e.Data) + len(e.Metadata)
	for _, t := range e.Tags {
		size += len(t) + binary.MaxVarintLen16
	}
	b := append(make([]byte, 0, size), e.ID[:]...)
	b = binary.AppendUvarint(b, uint64(e.Version))
	b = binary.AppendUvarint(b, uint64(len(e.Tags)))
	b = appendText(b, e.Type)
	b = appendText(b, e.Stream)
	b = appendText(b, e.ContentType)
	for _, t := range e.Tags {
		b = appendText(b, t)
	}
	b = appendText(b, e.Metadata)
	return append(b, e.Data...)
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// decode reads an event that shares no memory with b.
func decode(b []byte) (annals.Event, error) {
	var e annals.Event
	d := decoder{b: b}
	copy(e.ID[:], d.take(uint64(len(e.ID))))
	e.Version = uint16(d.number())
	tags := d.number()
	e.Type, e.Stream, e.ContentType = d.text(), d.text(), d.text()
	if tags > uint64(len(b)) {
		return annals.Event{}, errRecord
	}
	if tags > 0 {
		e.Tags = make([]string, tags)
	}
	for i := range e.Tags {
		e.Tags[i] = d.text()
	}
	if n := d.number(); n > 0 {
		e.Metadata = append([]byte(nil), d.take(n)...)
	}
	e.Data = append([]byte(nil), d.b...)
	if d.short {
		return annals.Event{}, errRecord
	}
	return e, nil
}

// decoder takes fields. Once it was too short it stays so.
type decoder struct {
	b     []byte
	short bool
}

func (d *decoder) number() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.short, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.short, d.b = true, nil
		return nil
	}
	taken := d.b[:n]
	d.b = d.b[n:]
	return taken
}

func (d *decoder) text() string { return string(d.take(d.number())) }

package annals

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// ID identifies an event: a UUID, by convention of version 7 (RFC 9562), whose first 48 bits are the
// milliseconds since 1970 at which it was made. Together with the stream it is the idempotency key of an append.
// The zero ID means "not chosen": the store makes one, and that append cannot be recognised when it is retried.
type ID [16]byte

// NewID makes a UUIDv7 from the clock and the system's randomness. It is safe for concurrent use.
func NewID() ID {
	var random [10]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read never fails: it ends the program instead
	return MakeID(time.Now(), random)
}

// MakeID makes a UUIDv7 from the given time, cut to milliseconds, and the given randomness, of which 74 bits are
// used. It is for those who inject both; everybody else calls [NewID].
func MakeID(t time.Time, random [10]byte) ID {
	var id ID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(t.UnixMilli()))
	copy(id[:6], ms[2:])
	copy(id[6:], random[:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseID reads the usual text form, 8-4-4-4-12 hexadecimal digits, of any UUID version.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return ID{}, fmt.Errorf("annals: event id %q is not of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", s)
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return ID{}, fmt.Errorf("annals: event id %q: %w", s, err)
	}
	return id, nil
}

// String gives the text form that [ParseID] reads.
func (id ID) String() string {
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// IsZero reports whether no id was chosen.
func (id ID) IsZero() bool { return id == ID{} }

// Time is when the id was made, to the millisecond, if it is a UUIDv7; else the zero time.
func (id ID) Time() time.Time {
	if id[6]>>4 != 7 {
		return time.Time{}
	}
	var ms [8]byte
	copy(ms[2:], id[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC()
}

// MarshalText writes the text form, so that ids are strings in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(b []byte) error {
	parsed, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

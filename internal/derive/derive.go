// Package derive makes ids out of what they stand for: the same each time, so that what is done again is known again.
package derive

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/annalsdb/annals"
)

// ID is a UUID of version 8 (RFC 9562), made of a hash of the parts.
func ID(parts ...string) annals.ID {
	sum := Digest(parts...)
	id := annals.ID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

// Digest hashes the parts with their lengths, so that no two lists of parts read alike.
func Digest(parts ...string) [sha256.Size]byte {
	var b []byte
	for _, p := range parts {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(p))), p...)
	}
	return sha256.Sum256(b)
}

package peer

import "encoding/binary"

// number is an integer that sorts as it counts.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// streamPrefix begins the keys of a stream's events. Names have no control characters, so that none is the prefix of another.
func streamPrefix(stream string) []byte { return append([]byte(stream), 0) }

func streamKey(stream string, revision uint64) []byte {
	return binary.BigEndian.AppendUint64(streamPrefix(stream), revision)
}

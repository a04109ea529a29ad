package workload

import (
	"encoding/hex"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/annalsdb/annals"
)

// source makes events from a seed. It is for one goroutine.
type source struct {
	random  *rand.PCG
	payload Payload
}

func newSource(seed, sequence uint64, payload Payload) *source {
	return &source{random: rand.NewPCG(seed, sequence), payload: payload}
}

// data is a fresh payload: one that repeats would compress too well.
func (s *source) data() []byte {
	b := make([]byte, PayloadBytes)
	if s.payload == PayloadJSON {
		return s.json(b[:0])
	}
	s.fill(b)
	return b
}

func (s *source) fill(b []byte) {
	for len(b) >= 8 {
		v := s.random.Uint64()
		b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56)
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(s.random.Uint64())
	}
}

// words are what the texts in a JSON payload consist of.
var words = [...]string{
	"oolong", "kettle", "porcelain", "spring", "harvest", "parcel", "evening", "counter", "window", "letter", "mountain", "sugar",
	"market", "delivery", "autumn", "blend",
}

// json is an order as applications write it, padded with a text to the size of a payload.
func (s *source) json(b []byte) []byte {
	v := s.random.Uint64()
	b = append(b, `{"orderId":"`...)
	var id [16]byte
	s.fill(id[:])
	b = hex.AppendEncode(b, id[:])
	b = append(b, `","quantity":`...)
	b = strconv.AppendUint(b, v%100, 10)
	b = append(b, `,"price":{"amount":`...)
	b = strconv.AppendUint(b, v>>8%100_000, 10)
	b = append(b, `,"currency":"EUR"},"express":`...)
	b = strconv.AppendBool(b, v>>40&1 == 1)
	b = append(b, `,"note":"`...)
	for len(b) < PayloadBytes-2 {
		v = s.random.Uint64()
		for range 8 {
			b = append(append(b, words[v%uint64(len(words))]...), ' ')
			v >>= 4
		}
	}
	return append(b[:PayloadBytes-2], `"}`...)
}

// id is a UUIDv7 of now, without the price of the system's randomness.
func (s *source) id() annals.ID {
	var random [10]byte
	s.fill(random[:])
	return annals.MakeID(time.Now(), random)
}

// id4 is a UUIDv4: of no order at all.
func (s *source) id4() annals.ID {
	var id annals.ID
	s.fill(id[:])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

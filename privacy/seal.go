package privacy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// Sentinels to branch on with errors.Is.
var (
	// ErrTampered: a sealed value is not what was sealed in this place: bytes were changed, or moved from elsewhere.
	ErrTampered = errors.New("privacy: a sealed value was tampered with")
	// ErrEnvelope: data has a personal value that cannot be sealed as it is written. See [EnvelopeError].
	ErrEnvelope = errors.New("privacy: malformed personal value")
	// ErrMasterKey: the master key is not the one that the keys are under.
	ErrMasterKey = errors.New("privacy: wrong master key")
)

// EnvelopeError says what is wrong with data that is to be stored. Nothing was stored. It matches [ErrEnvelope].
type EnvelopeError struct {
	// Event is the place of the event in the append, or -1.
	Event   int
	Problem string
}

// Error names the event and the problem, and nothing of what it says.
func (e *EnvelopeError) Error() string {
	return fmt.Sprintf("%v: event %d: %s", ErrEnvelope, e.Event, e.Problem)
}

// Is matches ErrEnvelope.
func (e *EnvelopeError) Is(target error) bool { return target == ErrEnvelope }

// Key is the data key of a subject.
type Key struct {
	// ID tells one key of a subject from one that was made after an erasure. It is no secret.
	ID [keyIDBytes]byte
	// Secret is drawn at random.
	Secret [secretBytes]byte
}

const (
	keyIDBytes  = 8
	secretBytes = 32
	nonceBytes  = 12
)

// sealer encrypts values of one subject.
type sealer struct {
	id    [keyIDBytes]byte
	aead  cipher.AEAD
	nonce []byte // the key that nonces are made under
}

func newSealer(k Key) (*sealer, error) {
	// Two keys of one, for two purposes (RFC 5869).
	enc, err := hkdf.Key(sha256.New, k.Secret[:], k.ID[:], "annals privacy encryption", secretBytes)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Key(sha256.New, k.Secret[:], k.ID[:], "annals privacy nonce", secretBytes)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(enc)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &sealer{id: k.ID, aead: aead, nonce: nonce}, nil
}

// bound is what a value is bound to: the event or snapshot, its number among the values there, and the subject.
func bound(context string, number int, subject string) []byte {
	var b []byte
	for _, part := range []string{context, subject} {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(part))), part...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(number))
}

// seal encrypts a value. The nonce is a keyed hash of all that goes in, as in the SIV construction (RFC 5297): equal values in equal places
// are equal bytes, and for two that differ nonces do not repeat.
func (s *sealer) seal(context string, number int, p *plain) *sealed {
	aad := bound(context, number, p.Subject)
	h := hmac.New(sha256.New, s.nonce)
	h.Write(aad)
	h.Write(p.Value)
	nonce := h.Sum(nil)[:nonceBytes]
	return &sealed{Subject: p.Subject, Key: s.id[:], Value: s.aead.Seal(nonce, nonce, p.Value, aad)}
}

func (s *sealer) open(context string, number int, c *sealed) (*plain, error) {
	if len(c.Value) < nonceBytes {
		return nil, ErrTampered
	}
	value, err := s.aead.Open(nil, c.Value[:nonceBytes], c.Value[nonceBytes:], bound(context, number, c.Subject))
	if err != nil {
		return nil, ErrTampered
	}
	return &plain{Subject: c.Subject, Value: value}, nil
}

// Beginnings of envelopes as encoding/json writes them. In JSON, a quotation mark within a string is escaped, so this is never text.
var (
	plainMark  = []byte(`{"$personal":`)
	sealedMark = []byte(`{"$sealed":`)
)

// hasMark reports whether b begins as an envelope that a store knows. Other ways to write the same JSON are not taken for one.
func hasMark(b []byte) bool {
	for _, mark := range []string{string(plainMark), string(sealedMark), erasedHead} {
		if bytes.HasPrefix(b, []byte(mark)) {
			return true
		}
	}
	return false
}

// names of members that have a meaning here.
var plainName, sealedName = []byte(`"$personal"`), []byte(`"$sealed"`)

// hasMember reports whether JSON has a member of a name, however it is spaced.
func hasMember(data, name []byte) bool {
	for {
		i := bytes.Index(data, name)
		if i < 0 {
			return false
		}
		data = data[i+len(name):]
		if rest := bytes.TrimLeft(data, " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
			return true
		}
	}
}

// replace puts other envelopes in the place of those that begin with a mark, in their order. f is given each with its number.
func replace(data, mark []byte, f func(number int, e envelope) (envelope, error)) ([]byte, error) {
	var out []byte
	for number := 0; ; number++ {
		i := bytes.Index(data, mark)
		if i < 0 {
			return append(out, data...), nil
		}
		e, length, err := parseEnvelope(data[i:])
		if err != nil {
			return nil, &EnvelopeError{Event: -1, Problem: "has a personal value that cannot be read"}
		}
		next, err := f(number, e)
		if err != nil {
			return nil, err
		}
		out = next.append(append(out, data[:i]...))
		data = data[i+length:]
	}
}

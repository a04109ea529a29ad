package annals

import (
	"encoding/json"
	"fmt"
	"reflect"
)

// Codec turns values of events into the bytes that are stored, and back. Implementations must be safe for concurrent use.
type Codec interface {
	// ContentType says what the bytes are, as a media type such as "application/cbor". It is stored with each event, and
	// finds the codec when the event is read: two codecs of a schema must not share one. "" is "application/json".
	ContentType() string
	// Encode makes the bytes of an event's value, a struct. The bytes belong to the caller.
	Encode(v any) ([]byte, error)
	// Decode fills what v points to, a zero struct, from bytes that it must neither change nor keep. It must not keep v either.
	Decode(data []byte, v any) error
}

// JSON is the codec that a schema uses unless [Encoding] says otherwise: encoding/json. See docs/adr/0007-codec.md for why.
func JSON() Codec { return jsonCodec{} }

type jsonCodec struct{}

func (jsonCodec) ContentType() string             { return "" }
func (jsonCodec) Encode(v any) ([]byte, error)    { return json.Marshal(v) }
func (jsonCodec) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }

// Encoding stores events by this codec, those of a type that has one of its own aside. What was stored as JSON before is read
// as JSON; for any other codec that the store has events of, say [Reading].
func Encoding(c Codec) SchemaOption {
	return func(b *schemaBuilder) {
		if b.addCodec("Encoding", c) {
			b.codecs.standard = c
		}
	}
}

// EncodingOf stores events of type T by this codec.
func EncodingOf[T any](c Codec) SchemaOption {
	return func(b *schemaBuilder) {
		if et := b.eventType("EncodingOf", reflect.TypeFor[T]()); et != nil && b.addCodec("EncodingOf", c) {
			et.codec = c
		}
	}
}

// Reading makes a codec known by which events were stored once, and are not any more.
func Reading(c Codec) SchemaOption { return func(b *schemaBuilder) { b.addCodec("Reading", c) } }

// codecs are those of a schema.
type codecs struct {
	standard Codec
	byType   map[string]Codec // content types as they are stored
}

func newCodecs() codecs {
	return codecs{standard: JSON(), byType: map[string]Codec{"": JSON()}}
}

func (b *schemaBuilder) addCodec(option string, c Codec) bool {
	if c == nil {
		b.mistake("%s: no codec", option)
		return false
	}
	name := storedContentType(c.ContentType())
	// Another codec for JSON is meant to take the place of the standard one.
	if old := b.codecs.byType[name]; old != nil && old != JSON() && !same(old, c) {
		b.mistake("%s: %T and %T have the content type %q", option, old, c, c.ContentType())
		return false
	}
	b.codecs.byType[name] = c
	return true
}

// same compares codecs, which need not be comparable.
func same(a, b Codec) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && (!reflect.TypeOf(a).Comparable() || a == b)
}

// of is the codec of what is stored with a content type.
func (c *codecs) of(contentType string) (Codec, error) {
	if codec := c.byType[storedContentType(contentType)]; codec != nil {
		return codec, nil
	}
	return nil, fmt.Errorf("no codec for the content type %q: give NewSchema one with Reading", contentType)
}

// storedContentType is the shortest way to say the same.
func storedContentType(t string) string {
	if t == "application/json" {
		return ""
	}
	return t
}

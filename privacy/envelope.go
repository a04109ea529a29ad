package privacy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// envelope is the JSON of a personal value: one of its members.
type envelope struct {
	Personal *plain  `json:"$personal,omitempty"`
	Sealed   *sealed `json:"$sealed,omitempty"`
	Erased   *erased `json:"$erased,omitempty"`
}

type plain struct {
	Subject string          `json:"subject"`
	Value   json.RawMessage `json:"value"`
}

type sealed struct {
	Subject string `json:"subject"`
	Key     []byte `json:"key"`
	Value   []byte `json:"value"`
}

type erased struct {
	Subject string `json:"subject"`
}

// append writes an envelope as encoding/json would, many times as fast.
func (e envelope) append(b []byte) []byte {
	switch {
	case e.Personal != nil:
		b = appendText(append(b, plainHead...), e.Personal.Subject)
		b = append(append(b, plainValue...), e.Personal.Value...)
	case e.Sealed != nil:
		b = appendText(append(b, sealedHead...), e.Sealed.Subject)
		b = base64.StdEncoding.AppendEncode(append(b, sealedKey...), e.Sealed.Key)
		b = base64.StdEncoding.AppendEncode(append(b, sealedValue...), e.Sealed.Value)
		b = append(b, '"')
	case e.Erased != nil:
		b = appendText(append(b, erasedHead...), e.Erased.Subject)
	}
	return append(b, "}}"...)
}

const (
	plainHead   = `{"$personal":{"subject":`
	plainValue  = `,"value":`
	sealedHead  = `{"$sealed":{"subject":`
	sealedKey   = `,"key":"`
	sealedValue = `","value":"`
	erasedHead  = `{"$erased":{"subject":`
)

// appendText writes a JSON string.
func appendText(b []byte, text string) []byte {
	if strings.IndexFunc(text, special) < 0 {
		return append(append(append(b, '"'), text...), '"')
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		panic("privacy: a string cannot fail to encode: " + err.Error())
	}
	return append(b, quoted...)
}

// special characters may have to be escaped.
func special(c rune) bool {
	return c < ' ' || c > '~' || strings.ContainsRune(`"\<>&`, c)
}

// parseEnvelope reads the envelope that b begins with, and tells how long it is.
func parseEnvelope(b []byte) (e envelope, n int, err error) {
	if e, n, ok := parseOwn(b); ok {
		return e, n, nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(&e)
	return e, int(d.InputOffset()), err
}

// parseOwn is parseEnvelope for what append writes, if nothing in it is escaped.
func parseOwn(b []byte) (e envelope, n int, ok bool) {
	r := reader{b}
	switch {
	case r.skip(plainHead):
		p := &plain{Subject: string(r.text())}
		ok = p.Subject != "" && r.skip(plainValue)
		p.Value = r.value()
		e.Personal, ok = p, ok && len(p.Value) > 0
	case r.skip(sealedHead):
		c := &sealed{Subject: string(r.text())}
		ok = c.Subject != "" && r.skip(sealedKey)
		c.Key, ok = r.base64(ok)
		ok = ok && r.skip(sealedValue[1:]) // the quotation mark is passed
		c.Value, ok = r.base64(ok)
		e.Sealed = c
	case r.skip(erasedHead):
		s := &erased{Subject: string(r.text())}
		e.Erased, ok = s, s.Subject != ""
	}
	ok = ok && r.skip("}}")
	return e, len(b) - len(r.rest), ok
}

// reader reads JSON that is known to be valid, or is looked at again if it turns out not to be what was expected.
type reader struct{ rest []byte }

func (r *reader) skip(text string) bool {
	rest, ok := bytes.CutPrefix(r.rest, []byte(text))
	if ok {
		r.rest = rest
	}
	return ok
}

// text is a string without escapes; nil if it is something else.
func (r *reader) text() []byte {
	if len(r.rest) == 0 || r.rest[0] != '"' {
		return nil
	}
	end := bytes.IndexByte(r.rest[1:], '"')
	if end < 0 || bytes.IndexByte(r.rest[1:end+1], '\\') >= 0 {
		return nil
	}
	text := r.rest[1 : end+1]
	r.rest = r.rest[end+2:]
	return text
}

// base64 is what stands up to the next quotation mark, which is passed.
func (r *reader) base64(ok bool) ([]byte, bool) {
	end := bytes.IndexByte(r.rest, '"')
	if !ok || end < 0 {
		return nil, false
	}
	b, err := base64.StdEncoding.AppendDecode(nil, r.rest[:end])
	r.rest = r.rest[end+1:]
	return b, err == nil
}

// value is what stands up to the brace that ends the object it is in.
func (r *reader) value() []byte {
	depth, text := 0, false
	for i := 0; i < len(r.rest); i++ {
		switch c := r.rest[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			depth++
		case (c == '}' || c == ']') && depth > 0:
			depth--
		case c == '}' || c == ',' && depth == 0:
			value := r.rest[:i]
			r.rest = r.rest[i:]
			return value
		}
	}
	return nil
}

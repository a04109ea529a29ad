package projection

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
)

// cursor is the written form of a place in one list, that of certain filters and a certain order.
type cursor struct {
	List uint64 `json:"l,string"`
	Key  string `json:"k"`
	// The value of the column that is ordered by, in one of two fields, so that JSON keeps every integer and every byte.
	Bytes  []byte `json:"b,omitempty"`
	Number *int64 `json:"n,string,omitempty"`
	IsText bool   `json:"t,omitempty"`
}

func cursorAt(of Shape, s Selection, last Document) string {
	c := cursor{List: s.fingerprint(of), Key: last.Key}
	switch v := last.Order.(type) {
	case string:
		c.Bytes, c.IsText = []byte(v), true
	case int64:
		c.Number = &v
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic("projection: a cursor cannot fail to encode: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// place is the one that the cursor names; false if it is not a cursor of the list s.
func (s Selection) place(of Shape, written string) (Place, bool) {
	b, err := base64.RawURLEncoding.DecodeString(written)
	var c cursor
	if err != nil || json.Unmarshal(b, &c) != nil || c.List != s.fingerprint(of) {
		return Place{}, false
	}
	p := Place{Key: c.Key}
	switch {
	case c.Number != nil:
		p.Value = *c.Number
	case c.IsText:
		p.Value = string(c.Bytes)
	}
	return p, (p.Value == nil) == (s.Order == "")
}

// fingerprint tells lists apart by whose they are, their filters and their order.
func (s Selection) fingerprint(of Shape) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s %q %t", of, s.Order, s.Descending) // a hash takes everything
	for _, f := range s.Filters {
		_, _ = fmt.Fprintf(h, " %q %d", f.Column, f.Op)
		for _, v := range f.Values {
			_, _ = fmt.Fprintf(h, " %#v", v) // quoted if it is a string, so that no two lists of values look alike
		}
	}
	return h.Sum64()
}

package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// locationPattern is a URL with names in braces: text, name, text, name, …, text.
type locationPattern struct{ parts []string }

func parseLocation(s string) (*locationPattern, error) {
	p := &locationPattern{}
	for {
		text, rest, found := strings.Cut(s, "{")
		if strings.Contains(text, "}") {
			return nil, errors.New("a brace is closed that was not opened")
		}
		p.parts = append(p.parts, text)
		if !found {
			return p, nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed || name == "" || strings.Contains(name, "{") {
			return nil, errors.New("want the name of a member in each pair of braces")
		}
		p.parts = append(p.parts, name)
		s = after
	}
}

// expand puts members of a JSON object in the places of the names.
func (p *locationPattern) expand(object []byte) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.UseNumber()
	var members map[string]any
	if err := dec.Decode(&members); err != nil {
		return "", fmt.Errorf("rest: location: %w", err)
	}
	var b strings.Builder
	for i, part := range p.parts {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		switch v := members[part].(type) {
		case string:
			b.WriteString(url.PathEscape(v))
		case json.Number:
			b.WriteString(v.String())
		default:
			return "", fmt.Errorf("rest: location: the first event has no string or number %q", part)
		}
	}
	return b.String(), nil
}

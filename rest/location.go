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
	location := p.parts[0]
	for i := 1; i < len(p.parts); i += 2 {
		var text string
		switch v := members[p.parts[i]].(type) {
		case string:
			text = v
		case json.Number:
			text = v.String()
		default:
			return "", fmt.Errorf("rest: location: the first event has no string or number %q", p.parts[i])
		}
		if text == "" {
			return "", fmt.Errorf("rest: location: %q is empty in the first event", p.parts[i])
		}
		at := len(location)
		location += escape(text) + p.parts[i+1]
		if dots(location, at) {
			return "", fmt.Errorf("rest: location: %q would lead elsewhere: %q", p.parts[i], text)
		}
	}
	return location, nil
}

// escape leaves nothing in a value that has a meaning in a URL, be it in the path or among the parameters.
func escape(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }

// dots reports whether the segment around a place is one of those that are not taken as they are, but lead back.
func dots(location string, at int) bool {
	segment := location[strings.LastIndexByte(location[:at], '/')+1:]
	if end := strings.IndexAny(segment, "/?#"); end >= 0 {
		segment = segment[:end]
	}
	return segment == "." || segment == ".."
}

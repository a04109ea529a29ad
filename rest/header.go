package rest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/annalsdb/annals/decider"
)

// Names of headers that net/http has no constants for.
const (
	headerAtLeast        = "Annals-At-Least"
	headerPosition       = "Annals-Position"
	headerIdempotencyKey = "Idempotency-Key"
	headerReplayed       = "Idempotency-Replayed"
)

const keyBytesMax = 255

// header is the one value of a header; ok tells whether it was sent.
func header(r *http.Request, name string) (value string, ok bool, err error) {
	values := r.Header.Values(name)
	switch len(values) {
	case 0:
		return "", false, nil
	case 1:
		return values[0], true, nil
	}
	return "", false, malformedHeader(name, "is there more than once")
}

func malformedHeader(name, problem string) error {
	return &MalformedError{Place: "header " + name, Problem: problem}
}

// conditions are what a command's headers ask of its execution.
func (o *commandOptions) conditions(r *http.Request) ([]decider.Option, error) {
	var opts []decider.Option
	if key, ok, err := sentKey(r); err != nil {
		return nil, err
	} else if ok {
		opts = append(opts, decider.IdempotencyKey(key))
	}
	if tag, ok, err := header(r, "If-Match"); err != nil {
		return nil, err
	} else if ok {
		if o.location != nil {
			return nil, malformedHeader("If-Match", "what this creates has no revision yet: leave it out")
		}
		revision, err := ifMatch(tag)
		if err != nil {
			return nil, err
		}
		opts = append(opts, decider.Expect(revision))
	}
	if _, ok, err := header(r, "If-None-Match"); ok || err != nil {
		return nil, malformedHeader("If-None-Match", "commands do not support it; send If-Match, or let the command's rules decide")
	}
	return opts, nil
}

// sentKey is the request's idempotency key: as it is, or as the quoted string that the IETF's draft asks for. Both are
// one key.
func sentKey(r *http.Request) (key string, ok bool, err error) {
	key, ok, err = header(r, headerIdempotencyKey)
	if err != nil || !ok {
		return "", false, err
	}
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	switch {
	case key == "":
		return "", false, malformedHeader(headerIdempotencyKey, "is empty")
	case len(key) > keyBytesMax:
		return "", false, malformedHeader(headerIdempotencyKey, fmt.Sprintf("has %d bytes, the limit is %d", len(key), keyBytesMax))
	case strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }):
		return "", false, malformedHeader(headerIdempotencyKey, "holds something else than printable ASCII")
	}
	return key, true, nil
}

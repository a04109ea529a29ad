package rest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
)

// Names of headers that net/http has no constants for.
const (
	headerAtLeast        = "Annals-At-Least"
	headerPosition       = "Annals-Position"
	headerIdempotencyKey = "Idempotency-Key"
	headerReplayed       = "Idempotency-Replayed"
)

const (
	keyBytesMax  = 255
	waitDefault  = 2 * time.Second
	waitShortest = 50 * time.Millisecond // what "wait=0" gets: enough to look, not to wait
)

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
func conditions(r *http.Request) ([]decider.Option, error) {
	var opts []decider.Option
	if key, ok, err := sentKey(r); err != nil {
		return nil, err
	} else if ok {
		opts = append(opts, decider.IdempotencyKey(key))
	}
	if tag, ok, err := header(r, "If-Match"); err != nil {
		return nil, err
	} else if ok {
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

// ifMatch reads one strong entity tag that is a revision, in the form in which it was given out.
func ifMatch(tag string) (annals.Revision, error) {
	const want = `want one ETag as it was given, such as "7"`
	if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return 0, malformedHeader("If-Match", want)
	}
	digits := tag[1 : len(tag)-1]
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != digits || annals.Revision(n) == annals.NoRevision {
		return 0, malformedHeader("If-Match", want)
	}
	return annals.Revision(n), nil
}

// fresh bounds ctx by how long the client waits for the position that it demands, if it demands one.
func fresh(w http.ResponseWriter, r *http.Request, maxWait time.Duration) (context.Context, context.CancelFunc, error) {
	ctx := r.Context()
	value, ok, err := header(r, headerAtLeast)
	if err != nil {
		return nil, nil, err
	}
	if !ok {
		return ctx, func() {}, nil
	}
	var p annals.Position
	if p.UnmarshalText([]byte(value)) != nil {
		return nil, nil, malformedHeader(headerAtLeast, "want a position, a decimal number")
	}
	wait, asked := preferredWait(r)
	wait = min(wait, maxWait)
	if asked {
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
	}
	ctx, cancel := context.WithTimeout(annals.WithAtLeast(ctx, p), max(wait, waitShortest))
	return ctx, cancel, nil
}

// preferredWait is the wait preference of RFC 7240. A preference that cannot be read is not applied, as that demands.
func preferredWait(r *http.Request) (wait time.Duration, asked bool) {
	for _, line := range r.Header.Values("Prefer") {
		for preference := range strings.SplitSeq(line, ",") {
			preference, _, _ = strings.Cut(preference, ";")
			name, value, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
			if err != nil {
				return waitDefault, false
			}
			return time.Duration(seconds) * time.Second, true
		}
	}
	return waitDefault, false
}

// etag is the entity tag of a revision, or of the position where nothing has a revision.
func etag(r annals.Revision, p annals.Position) string {
	if r == annals.NoRevision {
		return `"` + p.String() + `"`
	}
	return `"` + strconv.FormatUint(uint64(r), 10) + `"`
}

package rest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/annalsdb/annals"
)

// digestBytes of an answer's hash tell it from the others of one revision.
const digestBytes = 6

// revisionTag is a revision as a strong entity tag; what is after it tells answers of one revision apart.
var revisionTag = regexp.MustCompile(`^"(0|[1-9][0-9]*)(-[0-9a-f]{12})?"$`)

// ifMatch reads one strong entity tag that is a revision, in the form in which it was given out.
func ifMatch(tag string) (annals.Revision, error) {
	if m := revisionTag.FindStringSubmatch(tag); m != nil {
		n, err := strconv.ParseUint(m[1], 10, 64)
		if err == nil && annals.Revision(n) != annals.NoRevision {
			return annals.Revision(n), nil
		}
	}
	return 0, malformedHeader("If-Match", `want one ETag as it was given, such as "7"`)
}

// etag is the entity tag of a revision, or of the position where nothing has a revision.
func etag(r annals.Revision, p annals.Position) string {
	if r == annals.NoRevision {
		return `"` + p.String() + `"`
	}
	return `"` + strconv.FormatUint(uint64(r), 10) + `"`
}

// answerTag is the entity tag of an answer about an entity at revision r. What is joined into the answer changes
// without the revision, so that alone would not tell one answer from the next.
func answerTag(r annals.Revision, body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + strconv.FormatUint(uint64(r), 10) + "-" + hex.EncodeToString(sum[:digestBytes]) + `"`
}

// noneMatch reports whether the client has what it would be sent: its If-None-Match names the tag, compared weakly as
// RFC 9110 demands.
func noneMatch(r *http.Request, tag string) bool {
	for have := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		have = strings.TrimSpace(have)
		if have == "*" || strings.TrimPrefix(have, "W/") == tag {
			return true
		}
	}
	return false
}

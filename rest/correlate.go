package rest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/annalsdb/annals"
)

const (
	headerCorrelationID = "Annals-Correlation-Id"
	headerTraceparent   = "Traceparent"

	correlationBytesMax = 128
)

// Correlate is a middleware that puts what a request belongs to into the metadata of everything that it leads to: its
// Annals-Correlation-Id, printable ASCII of at most 128 bytes, or a new id, and its traceparent, as W3C Trace Context has it. The
// answer tells the correlation id. A traceparent that is none is as good as absent, which that standard asks for; a correlation
// id that is none is answered with 400.
//
// Clients choose the ids freely, so they prove nothing. Where strangers are not to put marks into the log, take the headers away
// before.
func Correlate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := correlationID(r)
		if err != nil {
			WriteProblem(w, r, err)
			return
		}
		md := annals.MetadataFrom(r.Context())
		md.CorrelationID = id
		if parents := r.Header.Values(headerTraceparent); len(parents) == 1 && isTraceparent(parents[0]) {
			md.Traceparent = parents[0]
		}
		w.Header().Set(headerCorrelationID, id)
		next.ServeHTTP(w, r.WithContext(annals.WithMetadata(r.Context(), md)))
	})
}

func correlationID(r *http.Request) (string, error) {
	id, ok, err := header(r, headerCorrelationID)
	switch {
	case err != nil:
		return "", err
	case !ok:
		return annals.NewID().String(), nil
	case id == "":
		return "", malformedHeader(headerCorrelationID, "is empty")
	case len(id) > correlationBytesMax:
		return "", malformedHeader(headerCorrelationID, fmt.Sprintf("has %d bytes, the limit is %d", len(id), correlationBytesMax))
	case strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c > '~' }):
		return "", malformedHeader(headerCorrelationID, "holds something else than printable ASCII")
	}
	return id, nil
}

// isTraceparent reports whether s is a traceparent with ids that are not all zeros, of version 00 or of a later one that begins likewise.
// https://www.w3.org/TR/trace-context/#traceparent-header
func isTraceparent(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) < 4 || parts[0] == "ff" || parts[0] == "00" && len(parts) != 4 || len(s) > correlationBytesMax {
		return false
	}
	for i, digits := range []int{2, 32, 16, 2} {
		if len(parts[i]) != digits || strings.Trim(parts[i], "0123456789abcdef") != "" {
			return false
		}
	}
	return strings.Trim(parts[1], "0") != "" && strings.Trim(parts[2], "0") != ""
}

package rest

import (
	"net/http"

	"github.com/annalsdb/annals"
)

// Authenticate is a middleware that finds out who asks and puts the principal into the request's context, where
// commands, queries and metadata find it.
//
// f returns [ErrUnauthenticated], possibly wrapped, for credentials that are missing and must not be, or are wrong: 401.
// Another error means that it could not find out, and is answered as [WriteProblem] does, with 500 if nothing else is
// known of it; so is a panic. The zero principal without an error is an anonymous request, which Authorize methods judge.
func Authenticate(f func(*http.Request) (annals.Principal, error)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var p annals.Principal
			err := unpanicked(r, func() (err error) { p, err = f(r); return err })
			if err != nil {
				WriteProblem(w, r, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(annals.WithPrincipal(r.Context(), p)))
		})
	}
}

package rest

import (
	"errors"
	"net/http"
)

var (
	errNoRoute = errors.New("rest: no route takes the path")
	errMethod  = errors.New("rest: no route of the path takes the method")
)

// Routes serves the routes of a mux. A request that none of them takes is answered with a problem, as all other errors
// are, and not with the mux's own line of text: 404 not-found, or 405 method-not-allowed with the methods in Allow.
func Routes(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r) // and not refuse: the mux fills in the wildcards
			return
		}
		answer := &unwritten{header: http.Header{}}
		refuse.ServeHTTP(answer, r)
		if answer.status != http.StatusMethodNotAllowed {
			WriteProblem(w, r, errNoRoute)
			return
		}
		w.Header()["Allow"] = answer.header["Allow"]
		WriteProblem(w, r, errMethod)
	})
}

// unwritten keeps what a handler would have answered, but for the body.
type unwritten struct {
	header http.Header
	status int
}

func (u *unwritten) Header() http.Header         { return u.header }
func (u *unwritten) Write(b []byte) (int, error) { return len(b), nil }
func (u *unwritten) WriteHeader(status int)      { u.status = status }

func routeProblem(_ *http.Request, err error) (Problem, bool) {
	switch {
	case errors.Is(err, errNoRoute):
		return newProblem("not-found", "Not found", http.StatusNotFound, "Nothing is at this path."), true
	case errors.Is(err, errMethod):
		return newProblem("method-not-allowed", "Method not allowed", http.StatusMethodNotAllowed, "What is at this path does not take the method: see Allow."), true
	}
	return Problem{}, false
}

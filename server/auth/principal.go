package auth

import (
	"slices"
	"strings"

	"github.com/annalsdb/annals"
)

// Principal is who asks: a key that is good.
type Principal struct {
	// ID and Name are the key's.
	ID, Name string

	grants []Grant
	ended  <-chan struct{}
}

// Ended is closed when the key is good no more: what was opened under it has to end.
func (p Principal) Ended() <-chan struct{} { return p.ended }

// Access is what somebody wants to do.
type Access struct {
	Store     string
	Operation Operation
	// Streams are the streams of the events of an append, "" for one that has none.
	Streams []string
	// Queries are what is read, or looked at by conditions.
	Queries []annals.Query
	// Whole says that it is about the store as such: its head, its limits.
	Whole bool
}

// May says whether the principal may do that. It fails with [ErrUnknownStore] if it has no right in the store at all, and else with
// [ErrForbidden].
func (p Principal) May(a Access) error {
	known := false
	for _, g := range p.grants {
		if g.Store != a.Store && g.Store != AnyStore {
			continue
		}
		known = true
		if g.allows(a) {
			return nil
		}
	}
	if !known {
		return ErrUnknownStore
	}
	return ErrForbidden
}

func (g Grant) allows(a Access) bool {
	admin := slices.Contains(g.Operations, Admin)
	if !admin && !slices.Contains(g.Operations, a.Operation) && !a.Whole {
		return false
	}
	for _, stream := range a.Streams {
		if !strings.HasPrefix(stream, g.Prefix) {
			return false
		}
	}
	for _, q := range a.Queries {
		if q.IncludesSystem() && !admin || !g.confines(q) {
			return false
		}
	}
	return true
}

// confines reports whether a query is about streams of the grant alone, as far as it says.
func (g Grant) confines(q annals.Query) bool {
	if g.Prefix == "" {
		return true
	}
	for it := range q.Each() {
		if !strings.HasPrefix(it.Stream, g.Prefix) && (it.Category == "" || !strings.HasPrefix(it.Category+"-", g.Prefix)) {
			return false
		}
	}
	return true
}

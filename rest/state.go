package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/projection"
)

// Anyone may read any S: the allow of a [State] or a [History] that is public.
func Anyone[S any](annals.Principal, S) error { return nil }

// State is a handler that writes a state, folded from its boundary, as JSON: as it is now, as it was at ?revision=, when the
// store stood at ?position=, or as it was at ?at= (RFC 3339). The ETag is as with [Revision], or the position where the boundary names no stream. It is
// the write side: what commands decide on, not what read models show.
//
// initial makes the state before any event, with its ids, from the request. allow says whether the principal may see
// the state that was found; its error is answered with 403. It is asked before it is told whether there is anything at
// all, with initial's state if there is not. Both are required, see [Anyone].
func State[S decider.State[S, E], E any](log *annals.Log[E], initial func(*http.Request) S, allow func(annals.Principal, S) error, opts ...ReadOption) http.Handler {
	if initial == nil || allow == nil {
		panic("rest: State: initial and allow are required")
	}
	o := newReadOptions("State", nil, opts)
	return o.handler(func(w http.ResponseWriter, r *http.Request) error {
		past, err := pastOf(r)
		if err != nil {
			return err
		}
		_, f, err := fresh(w, r, log.Store(), o.maxWait)
		if err != nil {
			return err
		}
		defer f.cancel()
		loaded, err := loadAllowed(r.Context(), log, f.late, func() S { return initial(r) }, allow, past...)
		if err != nil {
			return err
		}
		body, err := json.Marshal(loaded.State)
		if err != nil {
			return fmt.Errorf("rest: answer: %w", err)
		}
		tag := etag(loaded.Revision, loaded.Position)
		if loaded.Revision != annals.NoRevision { // what other streams hold may change without it
			tag = answerTag(loaded.Revision, body)
		}
		w.Header().Set(headerPosition, loaded.Position.String())
		writeTagged(w, r, tag, body)
		return nil
	})
}

// loadAllowed loads a state for those who may see it. Who may not is not to learn how far it has come either, nor
// whether the log is late.
func loadAllowed[S decider.State[S, E], E any](
	ctx context.Context, log *annals.Log[E], late *projection.LaggingError, initial func() S, allow func(annals.Principal, S) error, past ...annals.ReadOption,
) (decider.Loaded[S], error) {
	var untimely error // what is said only to who may see the state
	if late != nil {
		untimely, past = late, nil
	}
	loaded, err := decider.Load(ctx, log, initial(), past...)
	if errors.Is(err, annals.ErrAhead) {
		untimely = err
		loaded, err = decider.Load(ctx, log, initial())
	}
	if err != nil {
		return decider.Loaded[S]{}, err
	}
	if err := allow(annals.PrincipalFrom(ctx), loaded.State); err != nil {
		return decider.Loaded[S]{}, &decider.ForbiddenError{Command: decider.CommandName[S](), Err: err}
	}
	if untimely != nil {
		return decider.Loaded[S]{}, untimely
	}
	if !loaded.Found {
		return decider.Loaded[S]{}, projection.ErrNotFound
	}
	return loaded, nil
}

// pastOf reads ?revision=, ?position= or ?at=.
func pastOf(r *http.Request) ([]annals.ReadOption, error) {
	var p struct {
		Revision *uint64 `json:"revision"`
		Position *uint64 `json:"position"`
		At       *string `json:"at"`
	}
	if err := parameters(r, &p); err != nil {
		return nil, err
	}
	given := 0
	for _, is := range []bool{p.Revision != nil, p.Position != nil, p.At != nil} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return nil, &MalformedError{Place: "parameters", Problem: "give one of revision, position and at"}
	case p.Position != nil && annals.Position(*p.Position) == annals.NoPosition:
		return nil, &MalformedError{Place: parameterPlace("position"), Problem: strconv.Quote(r.FormValue("position")) + " is too large"}
	case p.Position != nil:
		return []annals.ReadOption{annals.AsOf(annals.Position(*p.Position))}, nil
	case p.Revision != nil:
		if annals.Revision(*p.Revision) == annals.NoRevision {
			return nil, &MalformedError{Place: parameterPlace("revision"), Problem: strconv.Quote(r.FormValue("revision")) + " is too large"}
		}
		return []annals.ReadOption{annals.AsOfRevision(annals.Revision(*p.Revision))}, nil
	case p.At != nil:
		at, err := time.Parse(time.RFC3339, *p.At)
		if err != nil || at.IsZero() {
			return nil, &MalformedError{Place: parameterPlace("at"), Problem: "want a time such as 2026-11-24T09:30:00Z (a + must be sent as %2B)"}
		}
		return []annals.ReadOption{annals.AsOfTime(at)}, nil
	}
	return nil, nil
}

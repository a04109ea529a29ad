package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/timetravel"
)

const historyPage = 1000

// errNoStream: the state of a History is not that of one stream; a mistake in the program.
var errNoStream = errors.New("rest: History: the state's boundary does not name one stream")

// historyEvent is an event as [History] shows it.
type historyEvent struct {
	Position annals.Position `json:"position"`
	Revision annals.Revision `json:"revision"`
	ID       annals.ID       `json:"id"`
	Type     string          `json:"type"`
	Version  uint16          `json:"version"`
	Time     time.Time       `json:"time"`
	// Data is as it was stored; null if that is not JSON.
	Data     json.RawMessage `json:"data"`
	Metadata historyMetadata `json:"metadata,omitzero"`
	// State is the state after the event, and Changes what the event has changed of it, if [ShowStates] was said.
	State   json.RawMessage     `json:"state,omitempty"`
	Changes []timetravel.Change `json:"changes,omitempty"`
}

// historyMetadata is what concerns those who may see an event: who did what. The rest is between the servers.
type historyMetadata struct {
	Actor         string `json:"actor,omitempty"`
	Command       string `json:"command,omitempty"`
	CorrelationID string `json:"correlationId,omitempty"`
	Reason        string `json:"reason,omitempty"`
}

// History is a handler that writes the events of the one stream in a state's boundary, as they are stored, as a JSON
// array: position, revision, id, type, version, time, data and, of the metadata, actor, command, correlationId and reason. ?from= is
// the first revision wanted and ?limit= the most events, 1,000 unless less is asked for; if there are more, a Link header
// with rel="next" leads on.
//
// With [ShowStates], each event has the state after it, as a member state, and what it changed, as changes: an array of path,
// before and after.
//
// initial and allow are as for [State]; allow sees the state of today.
func History[S decider.State[S, E], E any](log *annals.Log[E], initial func(*http.Request) S, allow func(annals.Principal, S) error, opts ...ReadOption) http.Handler {
	if initial == nil || allow == nil {
		panic("rest: History: initial and allow are required")
	}
	o := newReadOptions("History", nil, opts)
	return o.handler(func(w http.ResponseWriter, r *http.Request) error {
		from, limit, err := pageOf(r)
		if err != nil {
			return err
		}
		_, f, err := fresh(w, r, log.Store(), o.maxWait)
		if err != nil {
			return err
		}
		defer f.cancel()
		loaded, err := loadAllowed(r.Context(), log, f.late, func() S { return initial(r) }, allow)
		if err != nil {
			return err
		}
		stream := initial(r).Boundary().Stream()
		if stream == "" {
			return fmt.Errorf("%w: %T", errNoStream, loaded.State)
		}
		// What was allowed is what is shown: events that came since are left for the next request.
		events, err := historyOf(r.Context(), log.Store(), stream, from, limit+1, loaded.Position)
		if err != nil {
			return err
		}
		if o.showStates {
			if err := showStates(r.Context(), log, initial(r), loaded.Position, events[:min(limit, len(events))]); err != nil {
				return err
			}
		}
		if len(events) > limit {
			w.Header().Set("Link", nextPage(r, events[limit].Revision))
			events = events[:limit]
		}
		w.Header().Set(headerPosition, loaded.Position.String())
		writeJSON(w, r, http.StatusOK, events)
		return nil
	})
}

func historyOf(ctx context.Context, s annals.Store, stream string, from annals.Revision, limit int, asOf annals.Position) ([]historyEvent, error) {
	events := []historyEvent{}
	for e, err := range s.Read(ctx, annals.Stream(stream), annals.FromRevision(from), annals.AsOf(asOf), annals.Limit(limit)) {
		if err != nil {
			return nil, err
		}
		h := historyEvent{Position: e.Position, Revision: e.Revision, ID: e.ID, Type: e.Type, Version: e.Version, Time: e.Time}
		if e.ContentType == "" && json.Valid(e.Data) {
			h.Data = e.Data
		}
		m := e.Meta()
		h.Metadata = historyMetadata{Actor: m.Actor, Command: m.Command, CorrelationID: m.CorrelationID, Reason: m.Reason}
		events = append(events, h)
	}
	return events, nil
}

// showStates adds the states to a page. A state is folded from the first event on, so the last page costs as much as all.
func showStates[S decider.State[S, E], E any](ctx context.Context, log *annals.Log[E], initial S, asOf annals.Position, page []historyEvent) error {
	if len(page) == 0 {
		return nil
	}
	at := make(map[annals.Position]*historyEvent, len(page))
	for i := range page {
		at[page[i].Position] = &page[i]
	}
	for step, err := range timetravel.History(ctx, log, initial, annals.AsOf(asOf)) {
		if err != nil {
			return err
		}
		if h := at[step.Entry.Position]; h != nil {
			h.State, h.Changes = step.JSON, append(h.Changes, step.Changes...) // of each part, if the event is split
		}
		if step.Entry.Position > page[len(page)-1].Position {
			break
		}
	}
	return nil
}

// pageOf reads ?from= and ?limit=.
func pageOf(r *http.Request) (from annals.Revision, limit int, err error) {
	var p struct {
		From  uint64  `json:"from"`
		Limit *uint16 `json:"limit"`
	}
	if err := parameters(r, &p); err != nil {
		return 0, 0, err
	}
	if p.Limit == nil {
		return annals.Revision(p.From), historyPage, nil
	}
	if *p.Limit == 0 || *p.Limit > historyPage {
		return 0, 0, &MalformedError{Place: parameterPlace("limit"), Problem: "want 1 to " + strconv.Itoa(historyPage)}
	}
	return annals.Revision(p.From), int(*p.Limit), nil
}

// nextPage is relative to the request, so that it survives proxies that cut prefixes off.
func nextPage(r *http.Request, from annals.Revision) string {
	q := r.URL.Query()
	q.Set("from", strconv.FormatUint(uint64(from), 10))
	return fmt.Sprintf(`<%s>; rel="next"`, (&url.URL{RawQuery: q.Encode()}).String())
}

package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/cqrs"
	"github.com/annalsdb/annals/decider"
)

// Command is a handler that reads a C from path and body and gives it to the bus. See the package comment for headers
// and answers.
//
// What is wrong with the declaration is a mistake in the program, and panics when the route is made: a near miss of an
// optional method, a command without Authorize on a bus that has one with it (in whichever order their routes are
// made), an option that names a field which C does not have, a C that is a pointer. A wildcard of the pattern that
// fills no field of C is not known before the first request: all are answered with 500 then, and the logger is told,
// see [Wildcards].
func Command[C decider.Command[S, E], S decider.State[S, E], E any](b *cqrs.Bus[E], opts ...CommandOption) http.Handler {
	d := newDecoder[C]("Command")
	if err := cqrs.Register[C](b); err != nil {
		panic("rest: Command: " + err.Error())
	}
	o := commandOptions{name: decider.CommandName[C](), maxBody: maxBodyDefault, fill: map[string]fillFunc{}}
	for _, f := range opts {
		f.applyCommand(&o)
	}
	for name := range o.fill {
		if f, ok := d.fields[name]; !ok || f.typ.Kind() != reflect.String {
			panic(fmt.Sprintf("rest: Command: %s has no string field that JSON calls %q", d.typ, name))
		}
	}
	return o.handler(func(w http.ResponseWriter, r *http.Request) error {
		var cmd C
		if err := d.command(w, r, reflect.ValueOf(&cmd).Elem(), &o); err != nil {
			return err
		}
		asked, err := o.conditions(r)
		if err != nil {
			return err
		}
		result, err := cqrs.Do(r.Context(), b, cmd, append(asked, o.decider...)...)
		if err != nil && !stored(result) {
			return o.missing(err)
		}
		a := accepted{Revision: result.Revision, Position: result.Position, Duplicate: result.Duplicate, After: err}
		if len(result.Events) > 0 {
			if a.First, err = b.Log().Schema().Encode(result.Events[0]); err != nil {
				return err
			}
		}
		a.write(w, r, o.location)
		return nil
	})
}

// stored reports whether a result that came with an error tells of events that are stored. What failed came after, such
// as the wait for a view, and to answer with an error would make the client give the command again.
func stored[S, E any](result decider.Result[S, E]) bool {
	return len(result.Events) > 0 && result.Position > 0
}

// accepted is what there is to tell about a command that was.
type accepted struct {
	First     annals.Event // the zero Event if nothing was decided
	Revision  annals.Revision
	Position  annals.Position
	Duplicate bool
	After     error // what failed when the events were stored already
}

func (a accepted) write(w http.ResponseWriter, r *http.Request, location *locationPattern) {
	var body struct {
		ID       string           `json:"id,omitempty"`
		Revision *annals.Revision `json:"revision,omitempty"`
		Position annals.Position  `json:"position"`
	}
	_, body.ID, _ = strings.Cut(a.First.Stream, "-")
	body.Position = a.Position
	if a.Revision != annals.NoRevision {
		body.Revision = &a.Revision
	}
	h := w.Header()
	if a.Revision != annals.NoRevision || a.First.Type != "" && a.First.Stream == "" { // else it has one that is not known
		h.Set("ETag", etag(a.Revision, a.Position))
	}
	h.Set(headerPosition, a.Position.String())
	if a.Duplicate {
		h.Set(headerReplayed, "true")
	}
	status := http.StatusOK
	if location != nil && a.First.Type != "" {
		status = http.StatusCreated
		if url, err := location.expand(a.First.Data); err != nil {
			// The command is done; that its result has no address does not undo it.
			loggerFrom(r.Context()).ErrorContext(r.Context(), "no location", "event_type", a.First.Type, "error", err)
		} else {
			h.Set("Location", url)
		}
	}
	if a.After != nil {
		status = http.StatusAccepted
		loggerFrom(r.Context()).WarnContext(r.Context(), "command accepted, what follows failed", "position", a.Position.String(), "error", a.After)
	}
	writeJSON(w, r, status, body)
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		WriteProblem(w, r, fmt.Errorf("rest: answer: %w", err))
		return
	}
	writeBody(w, status, b)
}

// writeBody answers with JSON. Nothing may keep the answer: it is of this moment and of this principal.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

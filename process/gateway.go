package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/derive"
)

// Gateway is the way to another system: a payment provider, a mail server, a rate of exchange. What it answered is recorded in
// the store, and a request with the same id is answered from the record ever after, so that a replay neither disturbs the
// outside nor sees another answer than the first run did. Fowler calls the two kinds external updates and external queries.
type Gateway[Req, Resp any] struct {
	// Name is that of the gateway, for good: responses are recorded under it.
	Name string
	// Query says that the gateway asks and changes nothing outside. In a replay, a request without a record is an error
	// then, [ErrNotRecorded]; to a gateway that changes something it is suppressed, with the zero response.
	Query bool
	// Call asks the other system. It may be called again with the same id, if a crash came before the response was recorded:
	// hand the id on as what the other system calls an idempotency key. An error that no further try can help is wrapped in
	// [Permanent]. It must end when ctx does, and may be called concurrently.
	Call func(ctx context.Context, id string, req Req) (Resp, error)
}

// typeCalled is the type of the system event that records a response.
const typeCalled = "$called"

// gatewayStream begins the names of the system streams that hold them.
const gatewayStream = "$gateway-"

// called is its data.
type called struct {
	ID       string          `json:"id"`
	Request  string          `json:"request"` // a hash
	Response json.RawMessage `json:"response"`
}

// Ask answers from the record, or else calls and records. Processes do so through [Call].
func (g *Gateway[Req, Resp]) Ask(ctx context.Context, store annals.Store, id string, req Req) (Resp, error) {
	var none Resp
	if g.Name == "" || g.Call == nil || id == "" {
		return none, &annals.InvalidError{What: fmt.Sprintf("gateway %q", g.Name), Problem: "it needs a Name, a Call, and an id for each request"}
	}
	if limit := annals.LimitsOf(store).StreamBytes - len(gatewayStream); len(g.Name) > limit || !utf8.ValidString(g.Name) {
		return none, &annals.InvalidError{What: fmt.Sprintf("gateway %.40q…", g.Name), Problem: fmt.Sprintf("its Name must be UTF-8, of at most %d bytes", limit)}
	}
	system, err := annals.System(store)
	if err != nil {
		return none, fmt.Errorf("process: gateway %s: %w", g.Name, err)
	}
	request, err := json.Marshal(req)
	if err != nil {
		return none, fmt.Errorf("process: gateway %s: encode request: %w", g.Name, err)
	}
	eventID, request := derive.ID("annals gateway", g.Name, id), []byte(hash(string(request)))
	resp, found, err := g.recorded(ctx, store, eventID, string(request))
	if found || err != nil {
		return resp, err
	}
	if IsReplay(ctx) {
		if g.Query {
			return none, fmt.Errorf("gateway %s, id %s: %w", g.Name, id, ErrNotRecorded)
		}
		return none, nil
	}
	if resp, err = g.call(ctx, id, req); err != nil {
		return none, fmt.Errorf("process: gateway %s: %w", g.Name, err)
	}
	if resp, err = g.record(ctx, system, eventID, called{ID: id, Request: string(request)}, resp); err != nil {
		return none, &uncertainError{err}
	}
	return resp, nil
}

// call guards against panics.
func (g *Gateway[Req, Resp]) call(ctx context.Context, id string, req Req) (resp Resp, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked("gateway "+g.Name, v)
		}
	}()
	return g.Call(ctx, id, req)
}

// recorded is the response that was recorded, if there is one.
func (g *Gateway[Req, Resp]) recorded(ctx context.Context, store annals.Store, id annals.ID, request string) (resp Resp, found bool, err error) {
	for r, err := range store.Read(ctx, annals.ByID(id).WithSystem(), annals.Limit(1)) {
		if err != nil {
			return resp, false, fmt.Errorf("process: gateway %s: look for the response: %w", g.Name, err)
		}
		d, err := dataOf[called](r)
		if err != nil {
			return resp, false, err
		}
		if d.Request != request {
			return resp, false, fmt.Errorf("gateway %s, id %s, position %d: %w", g.Name, d.ID, r.Position, ErrOtherRequest)
		}
		if err := json.Unmarshal(d.Response, &resp); err != nil {
			return resp, false, fmt.Errorf("process: position %d: response of gateway %s: %w", r.Position, g.Name, err)
		}
		return resp, true, nil
	}
	return resp, false, nil
}

// record keeps a response. If somebody else was faster, the answer is theirs.
func (g *Gateway[Req, Resp]) record(ctx context.Context, system annals.Store, id annals.ID, d called, resp Resp) (Resp, error) {
	var none Resp
	response, err := json.Marshal(resp)
	if err != nil {
		return none, fmt.Errorf("process: gateway %s: encode response: %w", g.Name, err)
	}
	d.Response = response
	data, err := json.Marshal(d)
	if err != nil {
		return none, fmt.Errorf("process: gateway %s: %w", g.Name, err)
	}
	// What was answered must not be forgotten because the caller has no time left.
	_, err = system.Append(context.WithoutCancel(ctx), []annals.Event{{ID: id, Type: typeCalled, Stream: gatewayStream + g.Name, Data: data}})
	if errors.Is(err, annals.ErrIDReused) {
		resp, _, err := g.recorded(ctx, system, id, d.Request)
		return resp, err
	}
	if err != nil {
		return none, fmt.Errorf("process: gateway %s: record the response: %w", g.Name, err)
	}
	var kept Resp // as it will be read ever after
	if err := json.Unmarshal(response, &kept); err != nil {
		return none, fmt.Errorf("process: gateway %s: decode the response: %w", g.Name, err)
	}
	return kept, nil
}

type replayKey struct{}

// Replaying marks a context: what happens under it is a replay, and gateways answer from their records.
func Replaying(ctx context.Context) context.Context { return context.WithValue(ctx, replayKey{}, true) }

// IsReplay reports whether ctx was marked by [Replaying].
func IsReplay(ctx context.Context) bool {
	replay, _ := ctx.Value(replayKey{}).(bool)
	return replay
}

package annals

import (
	"context"
	"encoding/json"
	"slices"
)

// Metadata is the convention for [Event.Metadata]: who did it, by which command, and because of what. A [Log] writes
// it from the context of the append. Members that annals does not know are kept by stores and ignored here.
type Metadata struct {
	// Actor is the [Principal.ID] of who asked.
	Actor string `json:"actor,omitempty"`
	// Command is the name of the command that decided the event.
	Command string `json:"command,omitempty"`
	// CorrelationID is shared by everything that follows from one first cause.
	CorrelationID string `json:"correlationId,omitempty"`
	// CausationID is the id of the event, or of the request, that directly caused this one.
	CausationID string `json:"causationId,omitempty"`
	// Traceparent is the W3C trace context of the append.
	Traceparent string `json:"traceparent,omitempty"`
	// Fingerprint is a hash of the command that was sent under an idempotency key. Only the first event of an append
	// carries it.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Reason is why somebody did what the events before do not explain, such as a correction.
	Reason string `json:"reason,omitempty"`
	// Hops is how many reactions of process managers led to this event, one to the next.
	Hops int `json:"hops,omitempty"`
}

// encode gives the JSON object, or nothing if m is empty.
func (m Metadata) encode() []byte {
	if m == (Metadata{}) {
		return nil
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic("annals: metadata of strings cannot fail to encode: " + err.Error())
	}
	return b
}

// Principal is who asks: a user, a service, a process manager. The zero Principal is nobody.
type Principal struct {
	ID    string
	Roles []string
}

// Has reports whether the principal has the role.
func (p Principal) Has(role string) bool { return slices.Contains(p.Roles, role) }

// IsZero reports whether p is nobody.
func (p Principal) IsZero() bool { return p.ID == "" && len(p.Roles) == 0 }

type contextKey int

const (
	principalKey contextKey = iota
	metadataKey
	atLeastKey
)

// WithPrincipal says on whose behalf everything under the returned context is done.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey, p)
}

// PrincipalFrom is the principal that [WithPrincipal] put into ctx, or nobody.
func PrincipalFrom(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey).(Principal)
	return p
}

// WithMetadata says what is to be written beside every event that is appended under the returned context. An empty
// Actor is filled in from the principal.
func WithMetadata(ctx context.Context, m Metadata) context.Context {
	if m.Actor == PrincipalFrom(ctx).ID { // MetadataFrom filled it in, and will again, from whoever is the principal then
		m.Actor = ""
	}
	return context.WithValue(ctx, metadataKey, m)
}

// MetadataFrom is the metadata that [WithMetadata] put into ctx, with the principal of ctx as actor unless it names
// one.
func MetadataFrom(ctx context.Context) Metadata {
	m, _ := ctx.Value(metadataKey).(Metadata)
	if m.Actor == "" {
		m.Actor = PrincipalFrom(ctx).ID
	}
	return m
}

// WithAtLeast demands freshness of every read model that is asked under the returned context: it must have applied
// all events up to p, or say that it lags.
func WithAtLeast(ctx context.Context, p Position) context.Context {
	return context.WithValue(ctx, atLeastKey, p)
}

// AtLeastFrom is the position that [WithAtLeast] put into ctx, or 0.
func AtLeastFrom(ctx context.Context) Position {
	p, _ := ctx.Value(atLeastKey).(Position)
	return p
}

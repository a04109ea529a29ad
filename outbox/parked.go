package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/annalsdb/annals"
)

// The system events of a relay, in the stream of [Running.Stream].
const (
	typeParked    = "$outbox-parked"
	typePublished = "$outbox-published" // what was parked
)

// Parked is a message that its receiver has refused.
type Parked struct {
	// ID is that of the message.
	ID annals.ID `json:"id"`
	// Position is that of its event, EventType its type.
	Position  annals.Position `json:"position"`
	EventType string          `json:"eventType"`
	Topic     string          `json:"topic"`
	Key       string          `json:"key,omitempty"`
	// Reason is what the publisher said, which like the names is cut if it is long, and Since when.
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

// Stream is the system stream in which the relay keeps what it has parked.
func (r *Running[E]) Stream() string { return "$outbox-" + r.Name }

// park writes down that a message was refused.
func (r *Running[E]) park(ctx context.Context, m Message, cause error) error {
	p := Parked{
		ID: m.ID, Position: m.Event.Position, EventType: m.Event.Type, Topic: short(m.Topic), Key: short(m.Key),
		Reason: short(cause.Error()), Since: time.Now().UTC().Round(0),
	}
	if err := r.record(ctx, typeParked, p); err != nil {
		return err
	}
	r.mu.Lock()
	r.parked[m.ID] = p
	r.mu.Unlock()
	r.Logger.ErrorContext(ctx, "a message is refused, and parked", slog.String("topic", m.Topic), slog.String("id", m.ID.String()),
		slog.Uint64("position", uint64(p.Position)), slog.Any("error", cause))
	return nil
}

// short cuts a text to what fits into a record.
func short(text string) string {
	const most = 1000
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func (r *Running[E]) record(ctx context.Context, kind string, p Parked) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("outbox: %s: %w", r.Name, err)
	}
	e := annals.Event{Type: kind, Stream: r.Stream(), Data: data}
	if _, err := r.system.Append(ctx, []annals.Event{e}); err != nil {
		return fmt.Errorf("outbox: %s: record: %w", r.Name, err)
	}
	return nil
}

// loadParked reads what is parked.
func (r *Running[E]) loadParked(ctx context.Context) error {
	parked := map[annals.ID]Parked{}
	for e, err := range r.system.Read(ctx, annals.Stream(r.Stream()).WithSystem()) {
		if err != nil {
			return fmt.Errorf("outbox: %s: read what is parked: %w", r.Name, err)
		}
		var p Parked
		if err := json.Unmarshal(e.Data, &p); err != nil {
			return fmt.Errorf("outbox: %s: position %d is no record of a relay: %w", r.Name, e.Position, err)
		}
		if e.Type == typeParked {
			parked[p.ID] = p
		} else {
			delete(parked, p.ID)
		}
	}
	r.mu.Lock()
	r.parked = parked
	r.mu.Unlock()
	return nil
}

// Parked lists what was refused and not published since, in the order of the events. It reads the store.
func (r *Running[E]) Parked(ctx context.Context) ([]Parked, error) {
	if err := r.loadParked(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Parked, 0, len(r.parked))
	for _, p := range r.parked {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Parked) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), slices.Compare(a.ID[:], b.ID[:]))
	})
	return all, nil
}

// Retry publishes a parked message, made anew of its event: behind those of its key that have been published since. It fails with
// [ErrNotParked] if there is none with the id, and with what the publisher says.
func (r *Running[E]) Retry(ctx context.Context, id annals.ID) error {
	if err := r.loadParked(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	p, ok := r.parked[id]
	r.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: %s of %s", ErrNotParked, id, r.Name)
	}
	for e, err := range r.log.Store().Read(ctx, annals.All().WithSystem(), annals.After(p.Position-1), annals.AsOf(p.Position)) {
		if err != nil {
			return fmt.Errorf("outbox: %s: read the event: %w", r.Name, err)
		}
		messages, _, err := r.messages(e, nil)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(messages, func(m Message) bool { return m.ID == id })
		if i < 0 {
			break
		}
		if err := guard(func() error { return r.Publisher.Publish(ctx, messages[i]) }); err != nil {
			return fmt.Errorf("outbox: %s: retry %s: %w", r.Name, id, err)
		}
		return r.unpark(ctx, p)
	}
	return fmt.Errorf("%w: %s of %s: position %d does not lead to it any more: Discard it", ErrNotParked, id, r.Name, p.Position)
}

// Discard forgets a parked message: it will not be published. It fails with [ErrNotParked] if there is none with the id.
func (r *Running[E]) Discard(ctx context.Context, id annals.ID) error {
	if err := r.loadParked(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	p, ok := r.parked[id]
	r.mu.Unlock()
	if !ok {
		return fmt.Errorf("%w: %s of %s", ErrNotParked, id, r.Name)
	}
	return r.unpark(ctx, p)
}

func (r *Running[E]) unpark(ctx context.Context, p Parked) error {
	if err := r.record(ctx, typePublished, p); err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.parked, p.ID)
	r.mu.Unlock()
	return nil
}

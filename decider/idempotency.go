package decider

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/derive"
)

// key is an idempotency key in use: the ids that the events of a run under it have, and what was asked. The scope, the
// principal and the command's name, is hashed in, so nobody can fetch the answer to another's command.
type key struct {
	first       annals.ID
	fingerprint string
}

// keyOf is the key of r, or nil.
func (r *run[S, E]) keyOf(ctx context.Context) (*key, error) {
	if r.key == nil {
		return nil, nil
	}
	fingerprint, err := r.fingerprint()
	if err != nil {
		return nil, fmt.Errorf("decider: %s: fingerprint for the idempotency key: %w", r.name, err)
	}
	return &key{first: derive.ID("annals idempotency key", annals.PrincipalFrom(ctx).ID, r.name, *r.key), fingerprint: fingerprint}, nil
}

// id is that of the run's event with this index. It follows from the first, so that a run is recognised from its
// beginning to its end.
func (k *key) id(i int) annals.ID {
	if i == 0 {
		return k.first
	}
	return derive.ID(string(k.first[:]), string(binary.BigEndian.AppendUint64(nil, uint64(i))))
}

// mark gives events that are about to be appended the ids of the run, and the first its fingerprint.
func (k *key) mark(ctx context.Context, events []annals.Event) error {
	for i := range events {
		events[i].ID = k.id(i)
	}
	m := annals.MetadataFrom(ctx)
	m.Fingerprint = k.fingerprint
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("decider: metadata: %w", err)
	}
	events[0].Metadata = b
	return nil
}

// raced reports whether an append failed, or seemed to succeed, because another run under the key was faster.
func raced(receipt annals.Receipt, err error) bool {
	return receipt.Duplicate || errors.Is(err, annals.ErrConflict) ||
		errors.Is(err, annals.ErrIDReused) || errors.Is(err, annals.ErrPartialDuplicate)
}

// earlier is the answer of an earlier run under the key, if there was one.
func (r *run[S, E]) earlier(ctx context.Context, k *key) (res Result[S, E], found bool, err error) {
	if k == nil {
		return res, false, nil
	}
	return r.find(ctx, k)
}

// find looks for the first event of an earlier run.
func (r *run[S, E]) find(ctx context.Context, k *key) (res Result[S, E], found bool, err error) {
	for first, err := range r.log.Store().Read(ctx, annals.ByID(k.first), annals.Limit(1)) {
		if err != nil {
			return res, false, fmt.Errorf("decider: %s: look for idempotency key: %w", r.name, err)
		}
		if first.Meta().Fingerprint != k.fingerprint {
			return res, false, &KeyReusedError{Command: r.name, Key: *r.key, Position: first.Position}
		}
		res, err = r.again(ctx, k, first.Position)
		return res, err == nil, err
	}
	return res, false, nil
}

// again makes the first run's answer anew: the state that it decided on, and its events. Whether the principal may ask
// is decided again too, for permissions change.
func (r *run[S, E]) again(ctx context.Context, k *key, first annals.Position) (Result[S, E], error) {
	l, err := load(ctx, r.log, r.command, annals.AsOf(first-1))
	if err != nil {
		return Result[S, E]{}, err
	}
	if err := r.permit(l); err != nil {
		return Result[S, E]{}, err
	}
	bound, err := r.log.Schema().Bind(l.Boundary)
	if err != nil {
		return Result[S, E]{}, err
	}
	stream := l.about
	res := Result[S, E]{Revision: annals.NoRevision, Duplicate: true}
	var raw []annals.Event
	// Read from the store: what follows the run may be of types that the schema does not know.
	for e, err := range r.log.Store().Read(ctx, annals.All(), annals.After(first-1)) {
		if err != nil {
			return Result[S, E]{}, fmt.Errorf("decider: %s: read the earlier answer: %w", r.name, err)
		}
		if e.ID != k.id(int(e.Position-first)) {
			break
		}
		res.Position = e.Position
		if stream == "" && e.Position == first {
			stream = e.Stream
		}
		entries, err := r.log.Schema().Decode(nil, e)
		if err != nil && !r.log.Schema().Skips(err) {
			return Result[S, E]{}, fmt.Errorf("decider: %s: read the earlier answer: %w", r.name, err)
		}
		for _, entry := range entries {
			res.Events, raw = append(res.Events, entry.Value), append(raw, entry.Event)
		}
	}
	if stream != "" {
		res.Revision = r.readRevision(ctx, stream, res.Position)
	}
	res.State, err = r.evolve(bound, l, res.Events, raw)
	return res, err
}

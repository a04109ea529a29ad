package decider

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/annalsdb/annals"
)

// Snapshotted is implemented by states that may be kept in snapshots, if the log has [annals.KeepSnapshots]: they declare a
// version, and change it whenever Boundary or Evolve changes its mind about events that are stored already, or an upcaster
// does. Snapshots of another version are discarded.
//
// The state is kept as JSON, by its own MarshalJSON if it has one, and must come back from that as it was, unexported fields
// included: else no snapshot is made, and that is reported. A state from a snapshot is the one that all its events lead to;
// where retention has hidden events of a boundary, or may, no snapshot is used. A boundary may grow with what is folded in,
// but should not let go of anything: from the snapshot of such a state little can be saved.
type Snapshotted interface {
	// SnapshotVersion is the version, which must not depend on the state's values.
	SnapshotVersion() int
}

// ErrSnapshot matches what is reported when a snapshot cannot be made or used. The decision goes on without.
var ErrSnapshot = errors.New("decider: snapshot")

// keeper makes and uses the snapshots of one state; nil has none.
type keeper[S State[S, E], E any] struct {
	log         *annals.Log[E]
	policy      *annals.SnapshotPolicy
	key         string
	fingerprint string
	latest      bool            // the read is not of the past
	upTo        annals.Position // up to which it reads
}

// keeperOf is the keeper for a state that was begun, or nil if it is not to be kept.
func keeperOf[S State[S, E], E any](ctx context.Context, log *annals.Log[E], l *Loaded[S], o annals.ReadOptions) (*keeper[S, E], error) {
	policy := log.SnapshotPolicy()
	if policy == nil || !o.AsOfTime.IsZero() || o.AsOfRevision != nil {
		return nil, nil
	}
	s, ok := any(l.State).(Snapshotted)
	if !ok {
		return nil, nearlySnapshotted[S]()
	}
	t := reflect.TypeFor[S]()
	k := &keeper[S, E]{log: log, policy: policy, latest: o.AsOf == annals.NoPosition, upTo: o.AsOf}
	initial, err := marshal(l.State) // two states with one boundary may have different ids
	if err != nil {
		k.report(ctx, fmt.Errorf("the state before any event: %w", err))
		return nil, nil
	}
	var version int
	if err := guard(stateName[S](), ".SnapshotVersion", 0, func() { version = s.SnapshotVersion() }); err != nil {
		return nil, err
	}
	name := t.PkgPath() + "." + t.Name()
	k.key = shortened(stateName[S]()) + "-" + log.Schema().Fingerprint("snapshot", name, l.Boundary.String(), string(initial))
	k.fingerprint = strconv.Itoa(version) + " " + log.Schema().Digest()
	return k, nil
}

// unsnapshotted keeps what is known of the types of states that are not [Snapshotted].
var unsnapshotted sync.Map // of reflect.Type to *DeclarationError

// shortened leaves room for the hash in a key, whatever a type is called.
func shortened(name string) string { return name[:min(len(name), 100)] }

// marshal and unmarshal are json's, for which a panic of the state's own methods is an error.
func marshal[S any](state S) (b []byte, err error) {
	panicked := guard(stateName[S](), ".MarshalJSON", 0, func() { b, err = json.Marshal(state) })
	return b, errors.Join(err, panicked)
}

func unmarshal(b []byte, state any) (err error) {
	panicked := guard(fmt.Sprintf("%T", state), ".UnmarshalJSON", 0, func() { err = json.Unmarshal(b, state) })
	return errors.Join(err, panicked)
}

// nearlySnapshotted refuses a state whose method would be skipped in silence.
func nearlySnapshotted[S any]() error {
	t := reflect.TypeFor[S]()
	known, ok := unsnapshotted.Load(t)
	if !ok {
		known, _ = unsnapshotted.LoadOrStore(t, misnamedVersion(t))
	}
	if problem, ok := known.(*DeclarationError); ok && problem != nil {
		return problem
	}
	return nil
}

// misnamedVersion finds a method that looks like SnapshotVersion and is not.
func misnamedVersion(t reflect.Type) *DeclarationError {
	for m := range reflect.PointerTo(t).Methods() {
		if strings.EqualFold(m.Name, "SnapshotVersion") {
			return &DeclarationError{Command: typeName(t), Method: m.Name, Problem: "must be SnapshotVersion, func() int, with a value receiver"}
		}
	}
	return nil
}

// errForeign says that a snapshot is not of this store, or that the event is hidden now which it ends with.
var errForeign = errors.New("the snapshot's last event is not in the store")

// resume goes on from a snapshot, if there is one that is good.
func (k *keeper[S, E]) resume(ctx context.Context, l *Loaded[S], opts []annals.ReadOption) (bool, error) {
	if k == nil {
		return false, nil
	}
	s, found, err := k.policy.Snapshots.Load(ctx, k.key, k.upTo)
	if err != nil {
		k.report(ctx, fmt.Errorf("load: %w", err))
		return false, nil
	}
	if !found || s.Fingerprint != k.fingerprint || s.Position == 0 {
		return false, nil
	}
	from := *l
	var state S // not over the initial one: what JSON leaves out would stay as that has it
	if err := unmarshal(s.Data, &state); err != nil {
		k.report(ctx, fmt.Errorf("decode: %w", err))
		return false, nil
	}
	from.State = state
	if from.Boundary, err = boundaryOf(from.State, s.Position); err != nil {
		return false, err
	}
	from.Revision, from.Found, from.last = s.Revision, true, place{s.Position, s.ID}
	from.anchor = from.last
	// The last event that it holds is read again: it must be the first that the store has from there on.
	err = fold(ctx, k.log, &from, append(slices.Clone(opts), annals.After(s.Position-1)))
	if errors.Is(err, errForeign) || errors.Is(err, annals.ErrAhead) { // of another store, or of one that had more events
		if k.latest { // it would stand before those of this store for as long as it is further
			if err := k.policy.Snapshots.Delete(ctx, k.key); err != nil {
				k.report(ctx, fmt.Errorf("throw away: %w", err))
			}
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if hidden, err := hides(ctx, k.log.Store(), from.Boundary); hidden || err != nil {
		return false, err
	}
	*l = from
	return true, nil
}

// hides reports whether retention hides, or may hide, events that a query matches.
func hides(ctx context.Context, s annals.Store, q annals.Query) (bool, error) {
	r, ok := s.(annals.Retainer)
	if !ok {
		return false, nil
	}
	for item := range q.Each() {
		if item.Stream == "" { // events of any stream: of one that has retention, perhaps
			changes := annals.Types(annals.TypeRetention, annals.TypeDeleted, annals.TypeTombstoned).WithSystem()
			for _, err := range s.Read(ctx, changes, annals.Limit(1)) {
				return true, err
			}
			return false, nil
		}
	}
	for item := range q.Each() {
		kept, err := r.Retention(ctx, item.Stream)
		if err != nil {
			return false, err
		}
		if kept.Settings != annals.NoRevision {
			return true, nil
		}
	}
	return false, nil
}

// keep makes a snapshot of what was loaded, if enough was folded for it. The state is put into bytes now, for a decision may
// change it; to save them is left to [Loaded.settle], so that nobody waits for that between a load and an append.
func (k *keeper[S, E]) keep(ctx context.Context, l *Loaded[S], boundary annals.Query) {
	if k == nil || !k.latest || l.folded < k.policy.Every {
		return
	}
	if !boundary.Covers(l.Boundary) { // the state has let go of something that is guarded still
		return
	}
	data, err := k.encode(ctx, l)
	if err != nil || data == nil {
		k.report(ctx, err)
		return
	}
	s := annals.Snapshot{
		Key: k.key, Fingerprint: k.fingerprint, Position: l.last.position, ID: l.last.id, Revision: l.Revision, Data: data,
	}
	l.save = func(ctx context.Context) { // a panic here would hide that something was appended
		var err error
		if panicked := guard("Snapshots", ".Save", s.Position, func() { err = k.policy.Snapshots.Save(ctx, s) }); panicked != nil {
			err = panicked
		}
		k.report(ctx, err)
	}
}

// settle saves what was left to be saved.
func (l *Loaded[S]) settle(ctx context.Context) {
	if l.save != nil {
		l.save(ctx)
		l.save = nil
	}
}

// encode gives the bytes of a state that comes back from them as it was; none if there are to be none.
func (k *keeper[S, E]) encode(ctx context.Context, l *Loaded[S]) ([]byte, error) {
	if hidden, err := hides(ctx, k.log.Store(), l.Boundary); hidden || err != nil {
		return nil, err
	}
	data, err := marshal(l.State)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if p, ok := k.policy.Snapshots.(annals.Protector); bytes.Contains(data, personalMark) && (!ok || !p.ProtectsPersonal()) {
		return nil, fmt.Errorf("%w: give KeepSnapshots what privacy.Store.Snapshots makes of the snapshots", annals.ErrUnprotected)
	}
	back := reflect.New(reflect.TypeFor[S]())
	if err := unmarshal(data, back.Interface()); err != nil {
		return nil, fmt.Errorf("decode what was encoded: %w", err)
	}
	if !reflect.DeepEqual(back.Elem().Interface(), any(l.State)) {
		return nil, errors.New("the state does not come back from JSON as it was: export its fields, leave out no empty slices and maps, or give it MarshalJSON and UnmarshalJSON")
	}
	return data, nil
}

// personalMark begins a personal value in JSON, as package privacy writes it.
var personalMark = []byte(`{"$personal":`)

// report tells of an error, if there is one.
func (k *keeper[S, E]) report(ctx context.Context, err error) {
	if err == nil {
		return
	}
	err = fmt.Errorf("%w of %s: %w", ErrSnapshot, stateName[S](), err)
	if k.policy.Logger != nil {
		k.policy.Logger.WarnContext(ctx, "no snapshot", slog.Any("error", err))
	}
}

package privacy

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/annalsdb/annals"
)

// Snapshots seals the personal values of snapshots, as the store seals those of events: states may have fields of type [Personal], and are
// erased with the rest. Give it to annals.KeepSnapshots in the place of inner.
func (s *Store) Snapshots(inner annals.Snapshots) annals.Snapshots { return snapshots{inner, s} }

var errGone = errors.New("privacy: a subject of the snapshot has no key")

type snapshots struct {
	annals.Snapshots
	store *Store
}

// ProtectsPersonal implements annals.Protector.
func (snapshots) ProtectsPersonal() bool { return true }

func snapshotContext(key string) string { return "snapshot " + key }

// Load implements annals.Snapshots.
func (s snapshots) Load(ctx context.Context, key string, upTo annals.Position) (annals.Snapshot, bool, error) {
	got, found, err := s.Snapshots.Load(ctx, key, upTo)
	if err != nil || !found || !bytes.Contains(got.Data, sealedMark) {
		return got, found, err
	}
	if got.Data, err = s.store.openAll(ctx, snapshotContext(key), got.Data); err != nil {
		return annals.Snapshot{}, false, fmt.Errorf("privacy: snapshot %s: %w", key, err)
	}
	return got, true, nil
}

// Save implements annals.Snapshots. A state whose subject was erased is not kept: it was loaded before, and would bring a new key with it.
func (s snapshots) Save(ctx context.Context, n annals.Snapshot) error {
	if hasMember(n.Data, sealedName) {
		return errors.New("privacy: a snapshot has a sealed value")
	}
	if !hasMember(n.Data, plainName) {
		return s.Snapshots.Save(ctx, n)
	}
	later := map[string]bool{} // who was erased after the state was what it is
	for e, err := range s.store.Erasures(ctx, annals.After(n.Position)) {
		if err != nil {
			return fmt.Errorf("privacy: snapshot %s: %w", n.Key, err)
		}
		later[e.Subject] = true
	}
	data, err := sealAll(snapshotContext(n.Key), n.Data, func(subject string) (*sealer, error) {
		if later[subject] {
			return nil, errGone
		}
		s.store.forget(subject) // another process may have erased it this moment
		k, err := s.store.key(ctx, subject)
		if k == nil && err == nil {
			err = errGone
		}
		return k, err
	})
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	n.Data = data
	return s.Snapshots.Save(ctx, n)
}

package annals

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Snapshot is a folded state, kept so that its past need not be read again. It may be thrown away at any time.
type Snapshot struct {
	// Key is the state, with its ids: an opaque name of at most 256 bytes.
	Key string
	// Fingerprint is that of whatever made the state what it is besides its events: its version, and the schema. A snapshot
	// with another one is stale.
	Fingerprint string
	// Position and ID are those of the last event that was folded in. If the store has another event there, the snapshot is
	// of another store.
	Position Position
	ID       ID
	// Revision is that of the state, as decider.Loaded has it.
	Revision Revision
	// Data is the state, encoded.
	Data []byte
}

// Snapshots keeps snapshots. It is a cache: what it has lost is folded again. Implementations must be safe for concurrent use,
// and pass snapshottest.Run; package snapshot has one in memory and one in a directory.
type Snapshots interface {
	// Load is the snapshot of a key with the greatest position that is at most upTo; found is false if there is none. The
	// caller must not change its Data.
	Load(ctx context.Context, key string, upTo Position) (s Snapshot, found bool, err error)
	// Save keeps a snapshot, in place of one with the same key and position. It may throw older ones away. It must not keep
	// s.Data itself.
	Save(ctx context.Context, s Snapshot) error
	// Delete throws away all snapshots of a key.
	Delete(ctx context.Context, key string) error
}

// SnapshotPolicy says where a log keeps snapshots, and how often.
type SnapshotPolicy struct {
	// Snapshots is where. Required.
	Snapshots Snapshots
	// Every is after how many events that had to be folded a new snapshot is made; 0 is [SnapshotEveryDefault].
	Every int
	// Logger is told, by a warning, of what fails with snapshots, which never fails a decision. Nil is silence.
	Logger *slog.Logger
}

// SnapshotEveryDefault is [SnapshotPolicy.Every] unless it is given: what a load can fold in about a millisecond.
const SnapshotEveryDefault = 500

// KeepSnapshots makes package decider keep snapshots of the states that declare a version. See decider.Snapshotted.
func KeepSnapshots(p SnapshotPolicy) LogOption {
	return func(o *logOptions) {
		if p.Snapshots == nil || p.Every < 0 {
			panic(fmt.Sprintf("annals: KeepSnapshots: want Snapshots and a positive Every, not %v and %d", p.Snapshots, p.Every))
		}
		if p.Every == 0 {
			p.Every = SnapshotEveryDefault
		}
		o.snapshots = &p
	}
}

// SnapshotPolicy is what [KeepSnapshots] said, or nil.
func (l *Log[E]) SnapshotPolicy() *SnapshotPolicy { return l.snapshots }

// Digest is a hash of what the schema makes of stored events, apart from the functions that it was given: names, versions,
// and what is dropped, split, skipped or passed on. It changes when a type gets a new version.
func (s *Schema[E]) Digest() string { return s.digest }

func (s *Schema[E]) makeDigest() string {
	var parts []string
	for _, et := range s.EventTypes() {
		parts = append(parts, fmt.Sprintf("%q %d %q", et.Name, et.Version, et.Old))
	}
	for name, rt := range s.retired {
		var into []string
		for t := range rt.into {
			into = append(into, s.byType[t].name)
		}
		slices.Sort(into)
		parts = append(parts, fmt.Sprintf("split %q %d %q", name, len(rt.splits), into))
	}
	for name := range s.dropped {
		parts = append(parts, fmt.Sprintf("dropped %q", name))
	}
	slices.Sort(parts)
	parts = append(parts, fmt.Sprint(s.unknown, s.pass != nil))
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:16])
}

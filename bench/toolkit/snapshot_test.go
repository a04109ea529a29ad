package toolkit

import (
	"fmt"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/decider"
	"github.com/annalsdb/annals/snapshot"
	"github.com/annalsdb/annals/store/disk"
)

// SnapshotVersion says that accounts may be kept in snapshots.
func (a Account) SnapshotVersion() int { return 1 }

// BenchmarkSnapshot loads an account from a snapshot on disk, and the events that have come since. Must: the length of the
// history does not matter, at most 1.2 times as long for a million events as for a thousand.
func BenchmarkSnapshot(b *testing.B) {
	for _, events := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(events), func(b *testing.B) {
			store, err := disk.Open(b.Context(), b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer store.Close()
			snapshots, err := snapshot.Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			log := annals.NewLog(store, schema, annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: snapshots}))
			batch := make([]Event, 1000)
			for i := range batch {
				batch[i] = Deposited{"1", 5}
			}
			for range events / len(batch) {
				if _, err := log.Append(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
			}
			load := func() {
				if l, err := decider.Load(b.Context(), log, Account{ID: "1"}); err != nil || l.State.Count < events {
					b.Fatal(l.State, err)
				}
			}
			load()
			if _, err := log.Append(b.Context(), batch[:50]); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				load()
			}
		})
	}
}

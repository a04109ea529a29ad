// Package snapshot keeps snapshots of states, in memory or in a directory, for [annals.KeepSnapshots]:
//
//	snapshots, err := snapshot.Open(filepath.Join(dir, "snapshots"))
//	log := annals.NewLog(store, schema, annals.KeepSnapshots(annals.SnapshotPolicy{Snapshots: snapshots}))
//
// A snapshot is a cache. Whatever is lost, damaged or stale is folded again from the events; removing the directory is always
// safe. It holds whatever the states hold: treat it as the store.
package snapshot

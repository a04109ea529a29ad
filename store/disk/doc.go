// Package disk is the store that a program embeds: events in a directory of its own, which one process at a time writes.
//
//	store, err := disk.Open(ctx, "/var/lib/orders")
//	if err != nil { … }
//	defer store.Close()
//
// An append returns when its events are on the disk (fdatasync); appends that come at the same time share one sync.
// What a crash leaves half written was never acknowledged: it is cut off when the store is opened, kept in quarantine,
// and reported by [Store.Recovery]. Damage to what was acknowledged is never cut: it is located, the rest is served, and
// appends are refused.
//
// The index is kept in memory and is made anew when the store is opened, by reading the whole log: see
// [github.com/annalsdb/annals/store/engine] for what it takes.
package disk

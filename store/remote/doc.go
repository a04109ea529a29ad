// Package remote is an [annals.Store] on a server of Annals: the same promises, over a network.
//
//	store, err := remote.Open(ctx, "annals://events.internal:2113/shop")
//	if err != nil { … }
//	defer store.Close()
//
// Connections that break are made again. A read goes on where it was, pinned to the same head; a subscription goes on without gap or
// doubling; an append whose answer was lost is sent again with the same event ids, which the client gives to events that have none, and so
// takes effect once.
package remote

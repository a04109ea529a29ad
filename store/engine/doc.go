// Package engine makes an [annals.Store] of a journal: it decides which appends are accepted, packs them into frames,
// and answers reads and subscriptions from an index that it keeps in memory. It knows no files and no network; clock,
// randomness and journal come in through [Config].
//
// # How an append is decided
//
//	Append ─► phase 1, on the caller's goroutine: shape, ids and conditions up to the visible head, encoding, hashing
//	       ─► sequencer, stepped by one goroutine at a time: ids and conditions on what has come since, exactly, through
//	          the index and through the events of the same batch; positions, revisions, time; one frame
//	       ─► journal: made durable
//	       ─► published: index, visible head, acknowledgements, subscribers
//
// The sequencer only ever says yes. Whatever else an append would be told, a conflict or that it is a duplicate, is
// found in phase 1, which sees durable events only; an append that an event of its own batch affects waits until that frame's fate is
// known, and begins again. So no answer, positive or negative, ever rests on an event that is not durable.
//
// While one frame is being made durable, appends queue; the next frame takes what has queued. There is no timer. The
// goroutine that finds the sequencer idle steps it itself, and hands it to a waiting one when its own append is
// decided.
//
// # How subscriptions are served
//
// A subscription reads the log as a read does until it is near the head, and is then told of what is published: see the
// package live. It reads again, alone, whenever it was too slow.
//
// # The index
//
// Package index says at which positions a name occurs. It knows names by hashes, so that it may name a position too many; the
// record decides. The last events are indexed in memory, all others in files, which are made anew from the journal when they
// are missing.
//
// # Memory
//
// What the index, its caches and subscriptions take has ceilings in [Config]. A subscription that nothing waits for takes a few
// hundred bytes and the goroutine that ranges over it.
package engine

// Package live tells subscriptions of events as they are committed. It is the part of a subscription after its
// catching up: it keeps nothing that could not be read from the log instead, so that whatever is too much may be dropped,
// and whoever is too slow is sent back to reading.
//
//	appender ─► Publish: a copy of the frame is queued, if anybody is live     constant cost, never waits
//	         ─► one goroutine of the hub, per event: its own names look up     cost by matches, not by subscribers
//	            who is interested; the query decides; who matches is woken
//	         ─► the subscription's goroutine takes the event out of the ring
//
// # What it costs
//
// A query is registered under one name per alternative, that which the fewest events have: an id, else a stream, a tag,
// a category, a type. An event looks up its own names, and so finds a handful of candidates among any number of
// subscribers. An event that matches is decoded once and shared; what waits for a subscriber is numbers of places in the
// ring, as runs.
//
// # Without gap or doubling
//
// A subscriber reads the log up to the head. Then it joins: under the hub's lock it is registered, and only then is the
// head looked at again. Whatever that head covers it reads; whatever comes behind it the hub has yet to tell, since whoever makes
// an event visible looks for live subscribers afterwards. If places in the ring were used again before the subscriber came to
// them, if too much waits for it, or if frames came faster than the hub could look at them, it falls behind: it is
// registered no longer and costs nothing until it has read to the head and joins again.
//
// # Progress
//
// A subscriber that nothing matches is told how far the hub has looked: right behind an event of its own, and else on a
// tour over all who are live. It begins whenever something was committed, and visits 300 at once and then 10,000 in a
// second. So a few subscribers learn of every commit as it happens, and 10,000 each once in a second, at a cost that has a
// ceiling. Nobody whom something matches waits for it: a tour is made between frames, 50 visits at a time.
//
// # Memory
//
// The ring and the frames that wait are bounded in bytes, and the ring in events; what waits for subscribers is bounded for each
// and for all of them. All of it is let go when nobody is live. There is one goroutine while somebody is.
package live

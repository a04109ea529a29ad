// Package outbox tells other systems what has happened: it makes messages of events, and publishes them, each at least once and in
// order of their keys.
//
//	relay, err := outbox.New(log, outbox.Relay[Event]{
//		Name: "billing", Query: annals.Types("OrderPlaced"), Publisher: publisher,
//		Messages: func(e annals.Entry[Event]) ([]outbox.Message, error) {
//			placed := e.Value.(OrderPlaced)
//			return []outbox.Message{{Topic: "orders.placed", Key: placed.Order, Data: e.Data}}, nil
//		},
//	})
//	err = relay.Run(ctx)
//
// The log is the outbox: an event that is stored will be published, and one that is not never is, for there are no two places to
// write to. A relay keeps how far it has come in the store itself, so it needs an annals.SystemStore that is an annals.Tracker.
//
// # Promises
//
// Each message is published at least once, under an id that follows from its event: whoever receives it twice, after a crash, say, knows
// it by that. Messages of one key are published one after the other, in the order of their events; those of different keys
// side by side. A publisher that fails is asked again, with growing pauses, for as long as it takes, and only the keys of one
// lane wait. A message that it refuses for good ([Permanent]) is parked, with a record in the store: those behind it go on, and
// [Relay.Retry] publishes it when the reason is gone.
//
// One process runs a relay. If two do, both publish, until one of them notices and stops with [ErrElsewhere].
package outbox

// Package process runs process managers, which many call sagas: they watch events and answer with effects. A manager is a state,
// folded from events as every other, and one pure function:
//
//	var Deadlines = process.Manager[Order, Event]{
//		Name: "deadlines", By: "order",
//		Query:   annals.Types("OrderPlaced", "OrderPaid", "PaymentOverdue"),
//		Initial: func(key string) Order { return Order{ID: key} },
//		React: func(o Order, e annals.Entry[Event], do *process.Effects[Event]) {
//			switch v := e.Value.(type) {
//			case OrderPlaced:
//				do.Schedule("payment", e.Time.Add(24*time.Hour), PaymentOverdue{Order: v.Order})
//			case OrderPaid:
//				do.Cancel("payment")
//			case PaymentOverdue:
//				process.Send(do, CancelOrder{Order: v.Order}).Accept(ErrPaid)
//			}
//		},
//	}
//
// # What happens once
//
// Effects are data until React has returned. They follow from the event and from the state as of the event alone, so they
// are made again after a crash, with the same ids: a command is sent under an idempotency key, a gateway is asked under an id
// and its response recorded, and timers, events and the manager's place in the log are stored in one append. A crash at any
// point doubles no effect, and neither do two processes that run the same manager.
//
// # What goes wrong
//
// An effect that fails is tried again later, and meanwhile the event is parked: other keys go on, later events of the same key
// wait behind it, so that each key sees its events in order. What has failed too often stays parked until somebody calls
// [Process.Retry] or [Process.Skip]. A command that is refused is parked at once, unless React has said what that means, by
// [Step.Accept] or [Step.Else].
//
// Managers that answer each other for ever are stopped: an event remembers how many reactions led to it, and one that has more
// than [Options.HopsMax] is parked with [ErrCycle].
//
// # Where it is kept
//
// In the store, as system events of the stream that [Process.Stream] names: what was done about which event, timers, and what
// is parked. The store must be an annals.SystemStore and an annals.Tracker.
package process

// Package cqrs is the front door of an application: commands go in, answers come out, and the same middleware stands
// around both.
//
//	bus := cqrs.New(log, cqrs.Recover(), cqrs.Correlation(), cqrs.Logging(logger))
//	cqrs.Answer(bus, func(ctx context.Context, q GetOrder) (Details, error) { return orders.Get(ctx, q.Order) })
//
//	result, err := cqrs.Do(ctx, bus, PlaceOrder{Order: "42"})
//	details, err := cqrs.Ask[Details](ctx, bus, GetOrder{Order: "42"})
//
// Nothing needs to be registered for commands: a command knows how it is decided, see package decider. The bus only
// remembers which commands it has seen, to deny by default: as soon as one of them says who may give it, by a method
// Authorize, those that do not are refused with [ErrUnguarded]. [Register] finds that out when a program starts.
//
// A query may have the methods Validate and Authorize too. Authorize sees the answer, or the zero answer if there is
// none, for that is not for everybody either:
//
//	func (ListOrders) Validate() error
//	func (GetOrder) Authorize(p annals.Principal, d Details) error
//
// # Middleware
//
// A [Middleware] wraps a [Handler]; the first one given to [New] is the outermost. It sees a [Message] with the command
// or the query, and gets a decider.Result or the answer, or the error: rejections, refusals and conflicts that were
// not resolved are all errors here. A usual order is Recover, Correlation, Logging, Audit, Timeout.
package cqrs

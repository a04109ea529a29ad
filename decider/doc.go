// Package decider turns commands into events. A decision needs a state and a request; both are plain structs with
// methods:
//
//	func (o Order) Boundary() annals.Query       // state: which events matter
//	func (o Order) Evolve(e Event) Order         // state: fold one in
//	func (c PayOrder) Initial() Order            // command: the state before any event, with its ids
//	func (c PayOrder) Decide(o Order) ([]Event, error)
//
// [Execute] reads the events of the boundary, folds them into the state, lets the command decide, and appends what was
// decided on the condition that nothing in the boundary has changed since; if something has, it does so again. Nothing
// has to be registered. [Update] is the same machine without a command type, and [Load] its first half, for now or for
// any moment of the past.
//
// One entity is a boundary of one stream. A rule across entities is a boundary of tags, and works the same way. A
// boundary may depend on history: it is asked of the state again when the events have been folded in, and if it has
// grown, the larger one is read from its beginning.
//
// # What a command can refuse
//
// Decide is pure, so any error that it returns is a rejection: a [RejectedError], which matches [ErrRejected]. A
// [Rule] is a rejection with a stable name. Two more methods are optional: Validate() error, on the fields alone, see
// [Invalid]; and Authorize(annals.Principal, S) error, which sees the loaded state. Methods that look like these two
// but are not are refused, see [CheckCommand].
//
// # Errors
//
// What the store says comes back as it is: annals.ErrConflict after the last try, annals.ErrUnknownOutcome when an
// append was cut off. With an [IdempotencyKey] a command can be given again in either case without a second effect.
package decider

// Package annals is event sourcing and CQRS for Go: the vocabulary and the contracts. It imports only the standard
// library; the stores are under store/, the toolkit beside it.
//
// # The model
//
// An [Event] is an immutable fact. A [Store] keeps events in one order: each recorded event has a [Position], without
// gaps, in the order of commit; so "has applied position P" means every event up to P. An event may belong to a
// stream, where it has a [Revision], and may carry tags for whatever else it is about.
//
// A [Query] says which events: those of a stream, of a category of streams, with some tags, of some types, or any of
// several such. A [Condition] says what must hold for an append: [StreamAt], [NoStream], [StreamExists] speak of one
// stream; [NoneSince] says that nothing a query matches has happened since the caller looked. Read, decide, append on
// that condition: this is all there is to consistency, for one entity and across many.
//
//	var head annals.Position
//	for e, err := range store.Read(ctx, annals.Tags("course:c1"), annals.HeadInto(&head)) { … }
//	_, err := store.Append(ctx, events, annals.NoneSince(head, annals.Tags("course:c1")))
//	if errors.Is(err, annals.ErrConflict) { … read again … }
//
// A [Schema] lists the event types of one bounded context, as plain structs; a [Log] is a store that speaks a schema,
// so that programs read and append values:
//
//	type OrderPlaced struct {
//		Order string `json:"order" annals:"order,stream"` // stream order-42, tag order:42
//		Total int64  `json:"total"`
//	}
//	var schema = annals.NewSchema([]any{OrderPlaced{}})
//	log := annals.NewLog(store, schema)
//	_, err := log.Append(ctx, []any{OrderPlaced{Order: "42", Total: 1200}})
//
// [StreamName] and [Tag] write such names: StreamName("order", "42") is order-42, Tag("order", "42") is order:42.
//
// Past states are read options: [AsOf], [AsOfTime], [AsOfRevision]. What comes is followed with Subscribe.
//
// Events are immutable, but need not be kept for ever: [Retain], [DeleteStream] and [TombstoneStream] hide what a stream no
// longer needs, at once and for good. [TrackingAt] stores the position that a consumer has come to in one with what it
// appends. Both are powers that a store may lack.
//
// # Where to go on
//
// Package decider turns commands into events; projection keeps read models; cqrs and rest put both behind one bus and
// HTTP; annalstest tests them; store/memory and store/disk are stores.
package annals

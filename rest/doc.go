// Package rest maps commands, queries and past states to HTTP handlers, for any mux.
//
//	mux.Handle("POST /orders", rest.Command[CreateOrder](bus, rest.NewID("order", secret), rest.Created("/orders/{order}")))
//	mux.Handle("POST /orders/{order}/place", rest.Command[PlaceOrder](bus))
//	mux.Handle("GET /orders/{order}", rest.Query[GetOrder, Details](bus))
//	mux.Handle("GET /orders/{order}/state", rest.State(log, orderOf, mayRead))
//	mux.Handle("GET /orders/{order}/history", rest.History(log, orderOf, mayRead))
//	handler := rest.Correlate(rest.Authenticate(principalOf)(rest.Routes(mux)))
//
// Methods, HEAD and 405 are the business of http.ServeMux: give its patterns a method. [Routes] makes problems of what it
// refuses.
//
// # Requests
//
// Fields of commands and queries go by their names in JSON. A wildcard of the route's pattern fills the field of the
// same name. The rest of a command is its body, a JSON object, and may be absent; of a query, the URL's parameters.
// Whatever does not fit is refused, with the place: unknown members, parameters that are unknown or sent with a command,
// members given twice, wrong types, null for a field that cannot tell it, trailing bytes, what is not UTF-8 or escapes half
// of a character, values more than 100 levels deep, and a member that says another thing than the path. A wildcard that
// fills no field is a mistake in the program, unless [Wildcards] names it: 500.
//
//	Idempotency-Key: K      the command takes effect once, however often it is sent; printable ASCII, at most 255 bytes
//	If-Match: "7"           the command is decided only if the entity is at revision 7; no list, no *, no weak tag; not
//	                        where something is [Created]
//	Annals-At-Least: 1234   the answer has seen every event up to that position, or it is 503 projection-lagging
//	Prefer: wait=5          how many seconds to wait for that, 2 unless said
//	Annals-Correlation-Id   what it belongs to, and traceparent, the span that it is part of: see [Correlate]
//	If-None-Match: "7-…"    the answer of a query or of a [State] is 304 if it is still the same, see [Revision]
//
// # Responses
//
// A command answers 200, or 201 with Location if [Created] was said, and {"id", "revision", "position"}: the id in the
// stream of the first event, the revision, and the position as a string. The revision is the ETag, to be sent back as
// If-Match; where the event is of no stream, the position is, and where the revision could not be read, nothing is. The
// position is in Annals-Position too, to be sent back as
// Annals-At-Least: what the client wrote is then in what it reads. Idempotency-Replayed: true marks the answer of an
// earlier try. A command that was accepted while one of its views ([WaitFor]) still lags answers 202.
//
// # Problems
//
// Errors are answered as RFC 9457 problem details, by [WriteProblem], which applications may use for handlers of their
// own. [ProblemOf] has the table.
package rest

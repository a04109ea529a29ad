// Package annalstest tests decisions the way one speaks of them: given this past, when this command is given, then
// these events.
//
//	annalstest.When(t, Schema, PlaceOrder{Order: "1"}).As(clerk).
//		Given(StockReceived{"tea", 2}, OrderCreated{"1", "ann"}, ItemAdded{"1", teas(3)}).
//		ThenError(ErrSoldOut)
//
// The past is appended to a store in memory, and the real decider.Execute runs on it. So boundaries are tested, not
// assumed: an event that the boundary misses does not reach the state.
//
// [Project] does the same for the rows of a projection, and [NewSlice] for a whole slice of a service: a command on its
// bus, the events, the view. [Check] generates histories and finds what breaks the laws that the library rests on.
//
// Nothing here waits for real time. The past happens at [Epoch] or when a spec says At; what runs by itself, such as
// projection.Run, subscriptions of the store in memory, and timeouts, runs in a bubble of testing/synctest.
package annalstest

// Package annalstest tests decisions the way one speaks of them: given this past, when this command is given, then
// these events.
//
//	annalstest.When(t, Schema, PlaceOrder{Order: "1"}).As(clerk).
//		Given(StockReceived{"tea", 2}, OrderCreated{"1", "ann"}, ItemAdded{"1", teas(3)}).
//		ThenError(ErrSoldOut)
//
// The past is appended to a store in memory, and the real decider.Execute runs on it. So boundaries are tested, not
// assumed: an event that the boundary misses does not reach the state.
package annalstest

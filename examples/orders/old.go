package orders

import "github.com/annalsdb/annals"

// Events are never changed, so what was stored by programs of the past is read by this one as what it means today. The files in
// testdata/events say what was ever stored, and a test finds changes that they would not survive.

// stockReceived1 is [StockReceived] as it was when there was one currency.
type stockReceived1 struct {
	Product string `json:"product"`
	Count   int    `json:"count"`
	Cents   int64  `json:"cents"`
}

// today is the delivery with its currency.
func (e stockReceived1) today() StockReceived {
	return StockReceived{Product: e.Product, Count: e.Count, Price: Money{Amount: e.Cents, Currency: "EUR"}}
}

// oldEvents are the names and versions under which events were stored before.
func oldEvents() []annals.SchemaOption {
	return []annals.SchemaOption{
		annals.Upcast(1, stockReceived1.today),
		annals.Renamed[OrderCancelled]("OrderWithdrawn"),
	}
}

// Package projection keeps read models: rows made of events, each row a JSON document.
//
// A projection is declared as a value, [Rows], kept in [Views], brought up to date by [Run] and read through [Of]:
//
//	var Orders = projection.Rows[OrderRow, Event]{
//		Name: "orders", By: "order", // one row per value of the tag order:…
//		Query: annals.Category("order"),
//		Apply: func(key string, row *OrderRow, e annals.Entry[Event]) error {
//			switch ev := e.Value.(type) {
//			case OrderPlaced:
//				row.Customer, row.Total, row.Status = ev.Customer, ev.Total, "placed"
//			case OrderCancelled:
//				return projection.Delete
//			}
//			return nil
//		},
//		Columns: []projection.Column[OrderRow]{{Name: "status", Value: func(r OrderRow) any { return r.Status }}},
//	}
//
//	views, err := sqliteviews.Open(ctx, "views.db") // or projection.NewMemory()
//	go projection.Run(ctx, log, views, Orders)
//
//	orders := projection.Of(views, Orders)
//	row, err := orders.Get(annals.WithAtLeast(ctx, receipt.Last), "42")
//	page, err := orders.List(ctx, projection.Where("status", "placed"), projection.Limit(20))
//
// # Promises
//
// Rows and checkpoint are committed in one transaction: a crash at any moment leaves rows that are the fold of the
// events up to the checkpoint. A read under annals.WithAtLeast(ctx, p) has seen every event up to p, or fails with
// [ErrLagging]: it is never stale in silence. Rows depend on the events alone, not on how they were batched, so a
// rebuilt projection is equal to the live one, byte for byte, as long as Apply is a function of its arguments: it asks
// no clock, no random numbers and no other system.
//
// # Change
//
// A definition whose shape changed (tag, query, columns, fields of the row) is refused under the same Version, as
// [ErrShapeChanged]. A higher Version is a new projection, built from the beginning beside the old one. A change of
// what Apply does cannot be seen: raise Version too, or [Reset].
package projection

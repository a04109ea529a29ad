// Package pgviews keeps the rows of projections in PostgreSQL.
//
//	views, err := pgviews.Open(ctx, "postgres://shop@db/shop")
//	if err != nil { … }
//	defer views.Close()
//	go projection.Run(ctx, log, views, Orders, Customers)
//
// All is kept in one schema, "annals" unless [Schema] names another. Each projection's version has a table named as it,
// "orders@1", with the columns _key, _json and those that are declared, each indexed; rows that it joins are in
// "orders@1/customers". Any program may read them while they are in use; nothing else may write.
//
// Commits are as durable as the server's synchronous_commit says. Should the server lose its last commits, as after a failover to a standby
// that was behind, rows and checkpoint are lost together, and the events are applied again.
//
// Any number of processes may share a schema. Batches of different projections do not wait for one another; those of one are told apart by
// a lock on its row in the catalog, and by the checkpoint.
//
// Text in PostgreSQL cannot hold the character 0, and an index takes about 2,600 bytes of it: keys and declared columns that are more are
// projection.ErrUnstorable.
package pgviews

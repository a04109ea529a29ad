// Package sqliteviews keeps the rows of projections in one SQLite file.
//
//	views, err := sqliteviews.Open(ctx, "views.db")
//	if err != nil { … }
//	defer views.Close()
//	go projection.Run(ctx, log, views, Orders, Customers)
//
// Each projection's version has a table named as it, "orders@1", with the columns _key, _json and those that are
// declared, each indexed; rows that it joins are in "orders@1/customers". Any SQLite program may read them while the file
// is in use; nothing else may write.
//
// Several processes may open one file: one that runs the projections, others that read.
//
// What rows said once and do not say any more leaves the files with [Views.Scrub].
package sqliteviews

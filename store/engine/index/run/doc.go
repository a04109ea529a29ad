// Package run keeps one immutable piece of the engine's index in a file: for each term the positions at which it occurs,
// ascending, within one dense range of the log.
//
// A term is a number that was made from a kind and a name elsewhere. Two names may share one, so a list is a superset of
// the positions that a name has, and whoever uses it looks at the records. This package knows no names and no records.
//
// A [Writer] takes the lists in order of their terms and writes the file from front to back, in memory that does not grow
// with it. A [Reader] answers from it, and [Merge] joins runs that lie side by side into one:
//
//	w, err := run.NewWriter(file, run.Meta{Store: id, First: 1, Last: 1000})
//	err = w.Begin(run.List{Term: term, Filter: true})
//	err = w.Add([]uint32{0, 17, 999}) // counted from Meta.First
//	err = w.End()
//	size, err := w.Finish()
//
//	r, err := run.Open(file, size, run.ReadOptions{})
//	e, found, err := r.Find(term)
//	c := r.Cursor(e, after, upto, false)
//	for key := c.Seek(0); key != run.Done; key = c.Seek(key + 1) { ... }
//	err = c.Err()
//
// Everything in the file is derived from the log. What does not verify is [ErrDamaged]: the file is thrown away and made
// again. What cannot be read is the error of the file. No byte is believed before its block has verified.
//
// The file is a sequence of blocks of 4 KiB, which are of one shape and hold trees. The bytes are described in
// docs/format/run.md, and drawn where the code writes them.
package run

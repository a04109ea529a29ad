// Package toolkit measures what the toolkit adds to a store: decisions, loads, snapshots and codecs, each beside a bare loop
// over the same bytes in the same run. Run it by `make bench-toolkit`.
package toolkit

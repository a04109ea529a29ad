// Package index says where in the log events are: for each type, tag, stream, category and id the positions at which it
// occurs.
//
// It knows names by hashes only, so that its answers may name a position too many and never one too few: whoever uses
// it reads the record and decides. It lives in pieces. The last events are in memory, in an epoch; when that is full, a run is
// made of it, a file that never changes; runs that lie side by side are merged into larger ones, so that there are few. All of
// it is disposable: what is damaged or missing is made anew from the log, and until then every position of that piece is a
// candidate, which is slow and right.
package index

// Package peer puts other people's embedded stores behind the interface of the workloads. What makes an event store of them is
// ours: layouts and group commits are the best that we know for each, and what we did is said beside each.
//
// All of them sync before they answer. None of them recognises an append that is sent again, which the store of this
// repository does: their figures are the kinder for it.
package peer

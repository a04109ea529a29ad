// Package faultlane proves the durability promises of the embedded store from outside: writers that keep a ledger of
// what they tried and what they were told, an oracle that compares a store with a ledger, and, in its tests, the lanes:
// processes that are killed, power that is cut, disks that are full or fail, faults at every operation, and simulated
// lives of a whole engine. Each lane prints one line of figures; see docs/durability.md for what they mean.
package faultlane

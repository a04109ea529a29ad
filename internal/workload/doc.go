// Package workload measures stores: eight workloads that are the same for every store, and the floors that the machine
// puts under them, in one run. `annals bench` runs it over the embedded store; the module in bench/ adds peers.
//
// A figure means little without its neighbours, so every case is measured several times, in turn with the other
// stores, and with the floor before and after each: what else the machine does then hits all of them. Ratios are taken
// between neighbours, and the median of the ratios is what counts.
//
// All data come from a seed. What a store answers is checked while it is measured: a read that yields too few events
// is an error and no good figure, and after every case of appends the store must hold exactly what it acknowledged.
package workload

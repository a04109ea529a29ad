//go:build !race

package run_test

const (
	// flipStride is of how many bits one is flipped.
	flipStride = 1
	// allocsMost is how often memory may be allocated by what allocates none, but for a pool that is emptied.
	allocsMost = 0.1
	// share is by what large runs are divided.
	share = 1
)

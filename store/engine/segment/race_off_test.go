//go:build !race

package segment_test

const (
	// flipStride is of how many bits one is flipped.
	flipStride = 1
	// powerStride is of how many operations one is cut by power.
	powerStride = 1
	// histories is how many are simulated, if the flag does not say.
	histories = 4000
	// flipBytes is of how large a log every bit is flipped, and flipOpens how many of them the store is opened with, if flags do
	// not say.
	flipBytes = 1 << 20
	flipOpens = 50
)

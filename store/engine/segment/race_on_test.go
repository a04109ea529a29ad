//go:build race

package segment_test

// The race detector makes everything ten times as slow, and what these tests look for is not races.
const (
	flipStride  = 29
	powerStride = 3
	histories   = 150
	// flipBytes is of how large a log every bit is flipped, and flipOpens how many of them the store is opened with, if flags do
	// not say.
	flipBytes = 32 << 10
	flipOpens = 8
)

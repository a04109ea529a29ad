//go:build race

package segment_test

// The race detector makes everything ten times as slow, and what these tests look for is not races.
const (
	flipStride  = 29
	powerStride = 3
	histories   = 150
)

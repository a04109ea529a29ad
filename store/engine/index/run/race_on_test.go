//go:build race

package run_test

// The race detector makes everything ten times as slow, and what these tests look for is not races. It also empties pools at
// random.
const (
	flipStride = 401
	allocsMost = 4
	share      = 5
)

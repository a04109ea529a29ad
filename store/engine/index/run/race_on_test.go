//go:build race

package run_test

// flipStride is of how many bits one is flipped. The race detector makes everything ten times as slow, and what these tests
// look for is not races.
const flipStride = 41

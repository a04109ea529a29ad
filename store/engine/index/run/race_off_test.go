//go:build !race

package run_test

// flipStride is of how many bits one is flipped.
const flipStride = 1

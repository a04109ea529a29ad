//go:build !race

package faultlane_test

const underRace = false

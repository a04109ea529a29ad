//go:build !linux

package workload

func deviceBytesRead() (n int64, ok bool) { return 0, false }

func residentBytes() (n int64, ok bool) { return 0, false }

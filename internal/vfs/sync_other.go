//go:build !linux

package vfs

import "os"

func syncFile(f *os.File) error { return f.Sync() }

// dropCache has no portable form: reads after an unclean stop may come from the cache.
func dropCache(*os.File) error { return nil }

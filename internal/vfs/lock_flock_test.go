//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package vfs_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
)

// A child that is just being forked has all files open, for a moment, whoever closes them here.
func TestALockIsGivenUpAlthoughAChildStillHasItsFileOpen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "LOCK")
	lock, err := vfs.OS{}.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	f, ok := lock.(interface{ Fd() uintptr })
	if !ok {
		t.Fatalf("a lock is a %T, which has no descriptor", lock)
	}
	inherited, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if lock, err = (vfs.OS{}).Lock(path); err != nil {
		t.Fatalf("it is still held: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
}

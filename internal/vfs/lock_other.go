//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package vfs

import (
	"errors"
	"fmt"
	"os"
)

// lockFile refuses: a store without a lock could have two writers.
func lockFile(f *os.File) error {
	return fmt.Errorf("vfs: locking %s: %w on this system", f.Name(), errors.ErrUnsupported)
}

func unlockFile(*os.File) error { return nil }

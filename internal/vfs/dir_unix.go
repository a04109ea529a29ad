//go:build unix

package vfs

import (
	"errors"
	"os"
	"syscall"
)

func syncDir(d *os.File) error { return d.Sync() }

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncFile leaves the time stamps out, which saves a write to the journal of the file system. The connection keeps the
// descriptor from being closed, and used again by another file, in the middle.
func syncFile(f *os.File) error {
	return control(f, "fdatasync", func(fd int) error {
		for {
			if err := unix.Fdatasync(fd); !errors.Is(err, unix.EINTR) {
				return err
			}
		}
	})
}

func writeOut(f *os.File, off, size int64) error {
	return control(f, "sync_file_range", func(fd int) error {
		err := unix.SyncFileRange(fd, off, size, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.ESPIPE) {
			return nil
		}
		return err
	})
}

func dropCache(f *os.File) error {
	return control(f, "fadvise", func(fd int) error {
		err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		return err
	})
}

func control(f *os.File, op string, call func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: err}
	}
	var inner error
	if c.Control(func(fd uintptr) { inner = call(int(fd)) }) != nil { // it fails for no other reason
		return &os.PathError{Op: op, Path: f.Name(), Err: os.ErrClosed}
	}
	if inner != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: inner}
	}
	return nil
}

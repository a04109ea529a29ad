package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// OS is the file system of the machine.
type OS struct{}

var _ FS = OS{}

const (
	filePermissions = 0o600
	dirPermissions  = 0o700
)

// Open implements [FS].
func (OS) Open(name string) (File, error) { return open(name, os.O_RDONLY) }

// OpenReadWrite implements [FS].
func (OS) OpenReadWrite(name string) (File, error) { return open(name, os.O_RDWR) }

// Create implements [FS].
func (OS) Create(name string) (File, error) { return open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL) }

func open(name string, flags int) (File, error) {
	f, err := os.OpenFile(name, flags, filePermissions)
	if err != nil {
		return nil, translate(err)
	}
	return osFile{f}, nil
}

// Rename implements [FS].
func (OS) Rename(from, to string) error { return translate(os.Rename(from, to)) }

// Remove implements [FS].
func (OS) Remove(name string) error { return translate(os.Remove(name)) }

// MkdirAll implements [FS].
func (OS) MkdirAll(dir string) error { return translate(os.MkdirAll(dir, dirPermissions)) }

// List implements [FS].
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Stat implements [FS].
func (OS) Stat(name string) (Info, error) {
	i, err := os.Stat(name)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: i.Size(), Dir: i.IsDir()}, nil
}

// SyncDir implements [FS].
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return translate(errors.Join(syncDir(d), d.Close()))
}

// Lock implements [FS]. The process id is written into the file.
func (OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, filePermissions)
	if err != nil {
		return nil, translate(err)
	}
	if err := lockFile(f); err != nil {
		pid := 0
		if errors.Is(err, ErrLocked) {
			b, _ := io.ReadAll(io.LimitReader(f, 32))
			pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
			err = &LockedError{Name: name, PID: pid}
		}
		_ = f.Close()
		return nil, err
	}
	// The id is only for people: that it cannot be written, on a full disk, is no reason to fail.
	if f.Truncate(0) == nil {
		_, _ = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	return heldLock{f}, nil
}

// heldLock gives the lock up itself: a child that is just being forked still has the file open.
type heldLock struct{ *os.File }

func (l heldLock) Close() error { return errors.Join(unlockFile(l.File), l.File.Close()) }

// translate makes a full disk recognizable on every system.
func translate(err error) error {
	if err != nil && isFull(err) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

type osFile struct{ f *os.File }

func (f osFile) ReadAt(b []byte, off int64) (int, error) { return f.f.ReadAt(b, off) }

func (f osFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(b, off)
	return n, translate(err)
}

func (f osFile) Truncate(size int64) error { return translate(f.f.Truncate(size)) }

func (f osFile) Size() (int64, error) {
	i, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return i.Size(), nil
}

func (f osFile) Sync() error                    { return translate(syncFile(f.f)) }
func (f osFile) WriteOut(off, size int64) error { return translate(writeOut(f.f, off, size)) }

func (f osFile) DropCache() error { return dropCache(f.f) }
func (f osFile) Close() error     { return f.f.Close() }

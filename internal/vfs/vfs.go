// Package vfs is the file system as a log needs it: positioned reads and writes, explicit durability of files and of
// directory entries, and a lock. [OS] is the machine's; [Mem] lives in memory and can be crashed; [Faulty] makes any
// of them fail.
package vfs

import (
	"errors"
	"fmt"
	"io"
)

var (
	// ErrNoSpace says that the device, or the quota, is full.
	ErrNoSpace = errors.New("vfs: no space left")
	// ErrLocked says that somebody else holds the lock. See [LockedError].
	ErrLocked = errors.New("vfs: locked")
)

// LockedError says who holds a lock. It matches [ErrLocked].
type LockedError struct {
	Name string
	// PID is the process that holds the lock, 0 if it is not known.
	PID int
}

// Error names the file and the holder.
func (e *LockedError) Error() string {
	return fmt.Sprintf("vfs: %s is locked by process %d", e.Name, e.PID)
}

// Is matches ErrLocked.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// FS is a file system. It is safe for concurrent use. Names are paths as package filepath makes them. Errors match
// fs.ErrNotExist, fs.ErrExist and [ErrNoSpace] where they apply.
//
// Nothing is durable before it is synced: the bytes and the size of a file by [File.Sync], its name, and its absence, by
// SyncDir of the directory that it is in.
type FS interface {
	// Open opens an existing file to be read.
	Open(name string) (File, error)
	// OpenReadWrite opens an existing file to be read and written.
	OpenReadWrite(name string) (File, error)
	// Create makes a new, empty file to be read and written. That it exists already is an error.
	Create(name string) (File, error)
	// Rename moves a file within its directory, over another if there is one, atomically.
	Rename(from, to string) error
	// Remove removes a file.
	Remove(name string) error
	// MkdirAll makes a directory and those above it, if they do not exist.
	MkdirAll(dir string) error
	// List names the entries of a directory, sorted.
	List(dir string) ([]string, error)
	// Stat describes what has this name.
	Stat(name string) (Info, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
	// Lock makes the file if need be and holds it against every other process, and every other Lock in this one, until
	// the lock is closed or the process ends. Held already: [*LockedError].
	Lock(name string) (io.Closer, error)
}

// Info describes a file or directory.
type Info struct {
	Size int64
	Dir  bool
}

// File is an open file. It is safe for concurrent use. Once it is closed, its methods fail with fs.ErrClosed.
type File interface {
	io.ReaderAt
	// WriteAt may write a part before it fails.
	io.WriterAt
	// Truncate sets the size; what is added reads as zeros.
	Truncate(size int64) error
	// Size is the size now.
	Size() (int64, error)
	// Sync makes the bytes and the size durable, not necessarily the time stamps. Once it has failed nothing is known of
	// the bytes written before, and to call it again tells nothing about them.
	Sync() error
	// WriteOut has the system write a range to the device now, and waits for that; it does not make it durable, which Sync
	// does. It keeps Sync of this file, and of others on the device, from having much to do at once. Where the system has no
	// such call it does nothing. Once it has failed, nothing is known of the bytes written before, as with Sync.
	WriteOut(off, size int64) error
	// DropCache lets go of what is cached and durable, so that what is read next comes from the device. Where the system
	// has no such call it does nothing. An error means that what is read may still come from the cache.
	DropCache() error
	io.Closer
}

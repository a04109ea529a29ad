package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/annalsdb/annals/internal/vfs"
)

// What the data directory of dev holds.
const (
	storeName = "store"    // the events
	viewsName = "views.db" // the read models, which are made of the events
	keyName   = "hash.key" // the secret of the hashed tags
	// snapshotsName is the directory of folded states, which are made of the events.
	snapshotsName = "snapshots"
)

const hashKeyBytes = 32

// loadKey is the secret of the hashed tags, made for a store that has no events. Without it the e-mail addresses in the
// store cannot be found again, and one could be registered twice.
func loadKey(path string, empty bool) ([]byte, error) {
	key, err := os.ReadFile(path)
	switch {
	case err == nil && len(key) == hashKeyBytes:
		return key, nil
	case err == nil:
		return nil, fmt.Errorf("%s holds %d bytes, and not a key of %d: restore it, or begin anew with another --data", path, len(key), hashKeyBytes)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case !empty:
		return nil, fmt.Errorf("%s is missing, and the store has tags that were made with it: restore it, or begin anew with another --data", path)
	}
	key = make([]byte, hashKeyBytes)
	_, _ = rand.Read(key) // never fails
	return key, writeDurably(path, key)
}

// writeDurably puts a small file in place, whole or not at all.
func writeDurably(path string, content []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return vfs.OS{}.SyncDir(filepath.Dir(path))
}

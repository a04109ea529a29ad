package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// secretBytes make a key that cannot be guessed, so that a plain hash of it is enough: slow hashes are for passwords.
	secretBytes = 32
	secretBegin = "annals_"
	idBytes     = 6
	// LookEvery is how soon a change of the file is noticed.
	LookEvery = time.Second
)

// Sentinels to branch on with errors.Is.
var (
	// ErrUnauthenticated says that there is no key, or none that is good: unknown, expired or revoked.
	ErrUnauthenticated = errors.New("auth: no key that is good")
	// ErrUnknownStore says that the key has no right in the store, which may as well not be there.
	ErrUnknownStore = errors.New("auth: no such store")
	// ErrForbidden says that the key may do something in the store, and not this.
	ErrForbidden = errors.New("auth: the key may not do that")
	// ErrKeys says that the file of keys is wrong.
	ErrKeys = errors.New("auth: wrong file of keys")
	// ErrNoKey says that no key has this id.
	ErrNoKey = errors.New("auth: no such key")
)

// Operation is what a key may do.
type Operation string

// The operations. Whoever may do one may not do another by that, save that an admin may do all.
const (
	// Read is to read events, to subscribe, and to ask for heads and retention.
	Read Operation = "read"
	// Append is to append events.
	Append Operation = "append"
	// Admin is all that, system events, and what concerns the server.
	Admin Operation = "admin"
)

// Operations are all of them.
func Operations() []Operation { return []Operation{Read, Append, Admin} }

// AnyStore is the name of all stores in a [Grant].
const AnyStore = "*"

// Grant is a right.
type Grant struct {
	// Store is the name of a store, "" the default one, or [AnyStore].
	Store string `json:"store"`
	// Prefix is how the names of the streams begin that it is about; "" is all, and events without a stream.
	Prefix     string      `json:"prefix,omitempty"`
	Operations []Operation `json:"operations"`
}

// Key is an API key, without its secret.
type Key struct {
	ID string `json:"id"`
	// Name is for people.
	Name   string    `json:"name"`
	Hash   string    `json:"hash"` // SHA-256 of the secret, in hex
	Grants []Grant   `json:"grants"`
	Made   time.Time `json:"made"`
	// Expires is when it ends; the zero time is never.
	Expires time.Time `json:"expires,omitzero"`
	// Revoked is when it was revoked; the zero time if it was not.
	Revoked time.Time `json:"revoked,omitzero"`
}

// good reports whether the key can be used now.
func (k *Key) good(now time.Time) bool {
	return k.Revoked.IsZero() && (k.Expires.IsZero() || now.Before(k.Expires))
}

func (k *Key) check() error {
	var problems []string
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			problems = append(problems, fmt.Sprintf(format, args...))
		}
	}
	add(k.ID == "" || strings.ContainsAny(k.ID, " _\t\n"), "id %q", k.ID)
	sum, err := hex.DecodeString(k.Hash)
	add(err != nil || len(sum) != sha256.Size, "hash is no SHA-256 in hex")
	add(len(k.Grants) == 0, "no grants")
	for _, g := range k.Grants {
		add(len(g.Operations) == 0, "a grant without operations")
		for _, o := range g.Operations {
			add(!slices.Contains(Operations(), o), "operation %q: there are read, append and admin", o)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: key %q: %s", ErrKeys, k.ID, strings.Join(problems, "; "))
}

// Keys are those of a file. It may be used concurrently. Call Close at the end.
type Keys struct {
	path string
	stop chan struct{}
	done chan struct{}
	once sync.Once

	mu    sync.Mutex
	keys  map[string]*Key          // by id; guarded by mu
	read  fs.FileInfo              // of the file as it was read; guarded by mu
	err   error                    // of the last try to read it; guarded by mu
	ended map[string]chan struct{} // by id of a key that is in use: closed when it is good no more; guarded by mu
}

// file is what is in a file of keys.
type file struct {
	Keys []*Key `json:"keys"`
}

// Open reads a file of keys. If there is none it makes one, with a key that may do everything, whose secret it gives: that is the only time
// that it can be seen.
func Open(path string) (keys *Keys, bootstrap string, err error) {
	k := &Keys{path: path, stop: make(chan struct{}), done: make(chan struct{}), ended: map[string]chan struct{}{}}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		var first *Key
		if first, bootstrap, err = newKey("bootstrap", []Grant{{Store: AnyStore, Operations: []Operation{Admin}}}, time.Time{}); err != nil {
			return nil, "", err
		}
		if err := writeFile(path, file{[]*Key{first}}); err != nil {
			return nil, "", err
		}
	}
	if err := k.load(); err != nil {
		return nil, "", err
	}
	go k.watch()
	return k, bootstrap, nil
}

// Close ends looking for changes.
func (k *Keys) Close() error {
	k.once.Do(func() { close(k.stop) })
	<-k.done
	return nil
}

// watch reads the file when it has changed, and ends what keys have open that are good no more.
func (k *Keys) watch() {
	defer close(k.done)
	tick := time.NewTicker(LookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-k.stop:
			return
		}
		k.mu.Lock()
		read := k.read
		k.mu.Unlock()
		if info, err := os.Stat(k.path); err != nil || read == nil || !os.SameFile(info, read) || info.ModTime() != read.ModTime() || info.Size() != read.Size() {
			_ = k.load() // what could not be read is told by Err, and by every key
		}
		k.mu.Lock()
		k.endLocked(time.Now())
		k.mu.Unlock()
	}
}

// load reads the file. If it cannot be read, or is wrong, no key is good: a file that is being repaired opens no door.
func (k *Keys) load() error {
	keys, info, err := readFile(k.path)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys, k.read, k.err = keys, info, err
	return err
}

// Err is why the file cannot be read now; nil if it can.
func (k *Keys) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// endLocked tells those whose key is good no more. The mutex is held.
func (k *Keys) endLocked(now time.Time) {
	for id, ended := range k.ended {
		if key := k.keys[id]; key == nil || !key.good(now) {
			close(ended)
			delete(k.ended, id)
		}
	}
}

// Authenticate finds out whose secret it is. It fails with [ErrUnauthenticated], in the same way for whatever reason.
func (k *Keys) Authenticate(secret string) (Principal, error) {
	rest, ours := strings.CutPrefix(secret, secretBegin)
	id, _, whole := strings.Cut(rest, "_")
	sum := sha256.Sum256([]byte(secret))
	k.mu.Lock()
	defer k.mu.Unlock()
	key := k.keys[id]
	if !ours || !whole || key == nil || subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(key.Hash)) != 1 || !key.good(time.Now()) {
		return Principal{}, ErrUnauthenticated
	}
	ended := k.ended[id]
	if ended == nil {
		ended = make(chan struct{})
		k.ended[id] = ended
	}
	return Principal{ID: key.ID, Name: key.Name, grants: key.Grants, ended: ended}, nil
}

// List is all keys, in the order in which they were made.
func List(path string) ([]Key, error) {
	keys, _, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var list []Key
	for _, k := range keys {
		list = append(list, *k)
	}
	slices.SortFunc(list, func(a, b Key) int { return a.Made.Compare(b.Made) })
	return list, nil
}

// Add makes a key, and gives its secret, which cannot be seen again. A server that runs knows it within [LookEvery].
func Add(path, name string, grants []Grant, expires time.Time) (key Key, secret string, err error) {
	made, secret, err := newKey(name, grants, expires)
	if err != nil {
		return Key{}, "", err
	}
	err = changeFile(path, func(f *file) error {
		f.Keys = append(f.Keys, made)
		return nil
	})
	return *made, secret, err
}

// Revoke ends a key. A server that runs ends what it has open within [LookEvery]. It fails with [ErrNoKey].
func Revoke(path, id string) error {
	return changeFile(path, func(f *file) error {
		for _, k := range f.Keys {
			if k.ID == id {
				if k.Revoked.IsZero() {
					k.Revoked = time.Now().UTC()
				}
				return nil
			}
		}
		return fmt.Errorf("%w: %q", ErrNoKey, id)
	})
}

func newKey(name string, grants []Grant, expires time.Time) (*Key, string, error) {
	id, random := make([]byte, idBytes), make([]byte, secretBytes)
	_, _ = rand.Read(id) // never fails
	_, _ = rand.Read(random)
	k := &Key{ID: hex.EncodeToString(id), Name: name, Grants: grants, Made: time.Now().UTC(), Expires: expires}
	secret := secretBegin + k.ID + "_" + base64.RawURLEncoding.EncodeToString(random)
	sum := sha256.Sum256([]byte(secret))
	k.Hash = hex.EncodeToString(sum[:])
	return k, secret, k.check()
}

func readFile(path string) (map[string]*Key, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, info, fmt.Errorf("%w: %w", ErrKeys, err)
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, info, fmt.Errorf("%w: %s: %w", ErrKeys, path, err)
	}
	keys := map[string]*Key{}
	for _, k := range f.Keys {
		if k == nil {
			return nil, info, fmt.Errorf("%w: %s: null is no key", ErrKeys, path)
		}
		if err := k.check(); err != nil {
			return nil, info, err
		}
		if keys[k.ID] != nil {
			return nil, info, fmt.Errorf("%w: %s: the id %q is there twice", ErrKeys, path, k.ID)
		}
		keys[k.ID] = k
	}
	return keys, info, nil
}

// changeFile changes a file of keys, whole or not at all. Two programs that do so at once may lose one of the changes.
func changeFile(path string, change func(*file) error) error {
	keys, _, err := readFile(path)
	if err != nil {
		return err
	}
	var f file
	for _, k := range keys {
		f.Keys = append(f.Keys, k)
	}
	if err := change(&f); err != nil {
		return err
	}
	return writeFile(path, f)
}

func writeFile(path string, f file) error {
	slices.SortFunc(f.Keys, func(a, b *Key) int { return a.Made.Compare(b.Made) })
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // readable by its owner only
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, err)
	}
	_, err = temporary.Write(append(b, '\n'))
	err = errors.Join(err, temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKeys, errors.Join(err, os.Remove(temporary.Name())))
	}
	return nil
}

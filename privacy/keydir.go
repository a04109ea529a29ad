package privacy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

// Keys is a [Keystore] in a directory, a file for each key. Make one with [CreateKeys], and open it with [OpenKeys]. Several processes may use one.
//
// A file is named by a hash of its subject, and holds the key wrapped under the master key. It is synced before a value is encrypted
// under the key, and overwritten before it is removed; what a file system or a disk keeps of overwritten blocks is worth nothing
// without the master key.
type Keys struct {
	dir    string
	master Master
	alone  chan struct{} // held, as a place in it, with the lock file
}

var (
	_ Keystore = (*Keys)(nil)

	disk vfs.OS
)

const (
	keyMagic     = "annals key 1\n"
	keyExtension = ".key"
	checkFile    = "check"
	lockFile     = "lock"
	// The last byte of a file says whether its name is known to be durable.
	stateNew, stateDurable = 'n', 'd'
	newPattern             = "new-*"
	// lockPause is how often a lock that somebody else holds is tried.
	lockPause = 10 * time.Millisecond
)

// CreateKeys makes a directory for keys under a master key. It fails if there is one with keys already.
func CreateKeys(ctx context.Context, dir string, master Master) (*Keys, error) {
	k, err := newKeys(dir, master)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("privacy: keys: %w", err)
	}
	for _, name := range []string{checkFile, "*" + keyExtension} {
		if there, err := filepath.Glob(filepath.Join(dir, name)); err != nil || len(there) > 0 {
			return nil, errors.Join(fmt.Errorf("privacy: create keys in %s: there are some: %w", dir, fs.ErrExist), err)
		}
	}
	_, err = k.make(ctx, checkFile)
	return k, err
}

// OpenKeys opens the directory of keys that [CreateKeys] has made. It makes none, for without the keys that were there everything would
// look erased. It fails with fs.ErrNotExist if there is none, and with [ErrMasterKey] if the keys in it are under another master key.
func OpenKeys(ctx context.Context, dir string, master Master) (*Keys, error) {
	k, err := newKeys(dir, master)
	if err != nil {
		return nil, err
	}
	// A key of nobody tells whether the master key is the right one before anything else depends on it.
	_, found, err := k.read(ctx, checkFile)
	if err == nil && !found {
		err = fmt.Errorf("the file %s is missing: it is no directory of keys, or was not copied whole: %w", checkFile, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("privacy: keys in %s: %w", dir, err)
	}
	return k, nil
}

func newKeys(dir string, master Master) (*Keys, error) {
	if dir == "" || master == nil {
		return nil, &annals.InvalidError{What: "keys", Problem: "a directory and a master key are required"}
	}
	return &Keys{dir: dir, master: master, alone: make(chan struct{}, 1)}, nil
}

func keyFile(subject string) string {
	sum := sha256.Sum256([]byte("annals subject " + subject))
	return hex.EncodeToString(sum[:16]) + keyExtension
}

// Key implements [Keystore].
func (k *Keys) Key(ctx context.Context, subject string) (Key, bool, error) {
	return k.read(ctx, keyFile(subject))
}

func (k *Keys) read(ctx context.Context, name string) (key Key, found bool, err error) {
	b, err := os.ReadFile(filepath.Join(k.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return Key{}, false, nil
	}
	if err != nil {
		return Key{}, false, fmt.Errorf("privacy: read a key: %w", err)
	}
	wrapped, ok := bytes.CutPrefix(b, []byte(keyMagic))
	if !ok || len(wrapped) < keyIDBytes+1 || wrapped[len(wrapped)-1] != stateNew && wrapped[len(wrapped)-1] != stateDurable {
		if len(bytes.Trim(b, "\x00")) == 0 { // an erasure that was cut off behind the overwriting
			return Key{}, false, nil
		}
		return Key{}, false, fmt.Errorf("privacy: %s is no key", name)
	}
	if wrapped[len(wrapped)-1] == stateNew { // its name may not survive a power cut: nothing may be sealed under it yet
		return Key{}, false, nil
	}
	wrapped = wrapped[:len(wrapped)-1]
	copy(key.ID[:], wrapped)
	secret, err := k.master.Unwrap(ctx, wrapped[keyIDBytes:], keyBound(key.ID, name))
	if err != nil {
		return Key{}, false, fmt.Errorf("privacy: key %s: %w", name, err)
	}
	if copy(key.Secret[:], secret); len(secret) != secretBytes {
		return Key{}, false, fmt.Errorf("privacy: key %s has %d bytes", name, len(secret))
	}
	return key, true, nil
}

// keyBound binds a wrapped key to its file, and so to its subject.
func keyBound(id [keyIDBytes]byte, name string) []byte { return append(id[:], name...) }

// Make implements [Keystore].
func (k *Keys) Make(ctx context.Context, subject string) (Key, error) {
	return k.make(ctx, keyFile(subject))
}

func (k *Keys) make(ctx context.Context, name string) (Key, error) {
	key, found, err := k.read(ctx, name)
	if err != nil || found {
		return key, err
	}
	unlock, err := k.lock(ctx)
	if err != nil {
		return Key{}, err
	}
	defer unlock()
	if key, found, err = k.read(ctx, name); err != nil || found { // somebody was faster
		return key, err
	}
	return k.write(ctx, name, newKey())
}

// write makes a key durable, in place of whatever has the name.
func (k *Keys) write(ctx context.Context, name string, key Key) (made Key, err error) {
	wrapped, err := k.master.Wrap(ctx, key.Secret[:], keyBound(key.ID, name))
	if err != nil {
		return Key{}, fmt.Errorf("privacy: wrap a key: %w", err)
	}
	if err := k.put(name, content(key.ID, wrapped, stateNew)); err != nil {
		return Key{}, err
	}
	return key, k.settle(name)
}

// content is that of a file.
func content(id [keyIDBytes]byte, wrapped []byte, state byte) []byte {
	return append(append(append([]byte(keyMagic), id[:]...), wrapped...), state)
}

// settle says of a file that its name is durable.
func (k *Keys) settle(name string) error {
	f, err := os.OpenFile(filepath.Join(k.dir, name), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("privacy: write a key: %w", err)
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.WriteAt([]byte{stateDurable}, info.Size()-1)
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("privacy: write a key: %w", err)
	}
	return nil
}

// put writes a file beside, syncs it, and gives it its name.
func (k *Keys) put(name string, content []byte) (err error) {
	f, err := os.CreateTemp(k.dir, newPattern)
	if err != nil {
		return fmt.Errorf("privacy: write a key: %w", err)
	}
	defer func() {
		_ = f.Close() // it was synced, or there is an error
		if err != nil {
			_ = os.Remove(f.Name()) // nobody looks at it
		}
	}()
	if _, err := f.Write(content); err != nil {
		return fmt.Errorf("privacy: write a key: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("privacy: write a key: %w", err)
	}
	if err := os.Rename(f.Name(), filepath.Join(k.dir, name)); err != nil {
		return fmt.Errorf("privacy: write a key: %w", err)
	}
	return k.syncDir()
}

func (k *Keys) syncDir() error {
	if err := disk.SyncDir(k.dir); err != nil {
		return fmt.Errorf("privacy: sync the keys: %w", err)
	}
	return nil
}

// Erase implements [Keystore].
func (k *Keys) Erase(ctx context.Context, subject string, id [8]byte) error {
	unlock, err := k.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := k.sweep(); err != nil {
		return err
	}
	path := filepath.Join(k.dir, keyFile(subject))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("privacy: erase a key: %w", err)
	}
	made, err := overwrite(f, id)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("privacy: erase a key: %w", err)
	}
	if made { // since
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("privacy: erase a key: %w", err)
	}
	return k.syncDir()
}

// sweep removes what writing that was cut off has left: a copy of the key that is to be erased may be among it. Nobody writes meanwhile.
func (k *Keys) sweep() error {
	left, err := filepath.Glob(filepath.Join(k.dir, newPattern))
	for _, name := range left {
		if err == nil {
			err = os.Truncate(name, 0)
		}
		if err == nil {
			err = os.Remove(name)
		}
	}
	if err != nil {
		return fmt.Errorf("privacy: erase a key: what a cut-off has left: %w", err)
	}
	return nil
}

// overwrite makes zeros of a key with an id, or of what is left of an erasure; other is true if it is another key.
func overwrite(f *os.File, id [keyIDBytes]byte) (other bool, err error) {
	head := make([]byte, len(keyMagic)+keyIDBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	if zeros := len(bytes.Trim(head[:n], "\x00")) == 0; !zeros {
		if n < len(head) || !bytes.HasPrefix(head, []byte(keyMagic)) {
			return false, errors.New("the file is damaged: remove it, for nobody can open what was sealed under it")
		}
		if !bytes.Equal(head[len(keyMagic):], id[:]) {
			return true, nil
		}
	}
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if _, err := f.WriteAt(make([]byte, info.Size()), 0); err != nil {
		return false, err
	}
	return false, f.Sync()
}

// Rewrap puts all keys under the current master key, so that older ones can be thrown away. It may be run while the keys are in use, by
// processes that know the current master key, and again if it was cut off; one that knows only an older key would go on to make keys
// under that. It tells how many keys there were.
func (k *Keys) Rewrap(ctx context.Context) (n int, err error) {
	files, err := filepath.Glob(filepath.Join(k.dir, "*"+keyExtension))
	if err != nil {
		return 0, fmt.Errorf("privacy: rewrap: %w", err)
	}
	for _, file := range append(files, checkFile) {
		found, err := k.rewrap(ctx, filepath.Base(file))
		if err != nil {
			return n, err
		}
		if found {
			n++
		}
	}
	return n - 1, nil // the key of nobody does not count
}

func (k *Keys) rewrap(ctx context.Context, name string) (found bool, err error) {
	unlock, err := k.lock(ctx) // a key that is erased meanwhile must not come back
	if err != nil {
		return false, err
	}
	defer unlock()
	key, found, err := k.read(ctx, name)
	if err != nil || !found {
		return false, err
	}
	wrapped, err := k.master.Wrap(ctx, key.Secret[:], keyBound(key.ID, name))
	if err != nil {
		return false, fmt.Errorf("privacy: wrap a key: %w", err)
	}
	return true, k.put(name, content(key.ID, wrapped, stateDurable))
}

// lock keeps erasing and rewrapping apart, in all processes.
func (k *Keys) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case k.alone <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("privacy: lock the keys: %w", context.Cause(ctx))
	}
	for {
		held, err := disk.Lock(filepath.Join(k.dir, lockFile))
		if err == nil {
			return func() {
				_ = held.Close() // which cannot fail to unlock
				<-k.alone
			}, nil
		}
		if !errors.Is(err, vfs.ErrLocked) {
			<-k.alone
			return nil, fmt.Errorf("privacy: lock the keys: %w", err)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			<-k.alone
			return nil, fmt.Errorf("privacy: lock the keys: %w", context.Cause(ctx))
		}
	}
}

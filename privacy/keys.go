package privacy

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// Keystore keeps the data keys of subjects. It may be used concurrently, and by several processes.
type Keystore interface {
	// Key is a subject's; found is false if there is none: it was never made, or it was erased.
	Key(ctx context.Context, subject string) (k Key, found bool, err error)
	// Make is Key, but makes one that is durable when it returns if there is none. All who race for it get the same.
	Make(ctx context.Context, subject string) (Key, error)
	// Erase destroys a subject's key if it has this id. When it returns, the key is gone for good. It is no error if it was gone.
	Erase(ctx context.Context, subject string, id [8]byte) error
}

// newKey draws a key.
func newKey() (k Key) {
	_, _ = rand.Read(k.ID[:]) // never fails
	_, _ = rand.Read(k.Secret[:])
	return k
}

// Memory is a [Keystore] that forgets everything when the process ends, for tests. Make one with [NewMemory].
type Memory struct {
	mu   sync.Mutex
	keys map[string]Key
}

var _ Keystore = (*Memory)(nil)

// NewMemory makes an empty one.
func NewMemory() *Memory { return &Memory{keys: map[string]Key{}} }

// Key implements [Keystore].
func (m *Memory) Key(_ context.Context, subject string) (Key, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[subject]
	return k, ok, nil
}

// Make implements [Keystore].
func (m *Memory) Make(_ context.Context, subject string) (Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.keys[subject]; !ok {
		m.keys[subject] = newKey()
	}
	return m.keys[subject], nil
}

// Erase implements [Keystore].
func (m *Memory) Erase(_ context.Context, subject string, id [8]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys[subject].ID == id {
		delete(m.keys, subject)
	}
	return nil
}

// Master envelopes data keys: they are kept encrypted under it, so that whoever copies the keystore has nothing without it. A service
// for keys (a KMS) implements it; [NewMaster] is one in the process. It may be used concurrently.
type Master interface {
	// Wrap encrypts a data key, bound to a context.
	Wrap(ctx context.Context, key, bound []byte) (wrapped []byte, err error)
	// Unwrap decrypts what Wrap made. It fails with [ErrMasterKey] if that was made under a key which it has not.
	Unwrap(ctx context.Context, wrapped, bound []byte) (key []byte, err error)
}

// local is a [Master] in the process.
type local struct {
	ids   [][]byte // of the keys: hashes of them
	aeads []cipher.AEAD
}

const masterIDBytes = 8

// NewMaster makes a [Master] of keys of 32 bytes. The first wraps; the others unwrap what was wrapped before, until [Keys.Rewrap] has
// been run.
func NewMaster(current []byte, older ...[]byte) (Master, error) {
	var m local
	for i, key := range append([][]byte{current}, older...) {
		if len(key) != secretBytes {
			return nil, fmt.Errorf("privacy: master key %d has %d bytes, want %d", i, len(key), secretBytes)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append([]byte("annals master key id"), key...))
		m.ids, m.aeads = append(m.ids, sum[:masterIDBytes]), append(m.aeads, aead)
	}
	return &m, nil
}

// MasterFromEnv reads a master key, 32 bytes in hexadecimal or base64, from an environment variable.
func MasterFromEnv(name string) (Master, error) {
	m, err := parseMaster(os.Getenv(name))
	if err != nil {
		return nil, fmt.Errorf("privacy: the environment variable %s: %w", name, err)
	}
	return m, nil
}

// MasterFromFile reads a master key, 32 bytes in hexadecimal or base64, from a file.
func MasterFromFile(name string) (Master, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("privacy: master key: %w", err)
	}
	m, err := parseMaster(string(text))
	if err != nil {
		return nil, fmt.Errorf("privacy: the file %s: %w", name, err)
	}
	return m, nil
}

func parseMaster(text string) (Master, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, errors.New("has no master key: want 32 bytes in hexadecimal or base64")
	}
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString} {
		if key, err := decode(text); err == nil && len(key) == secretBytes {
			return NewMaster(key)
		}
	}
	return nil, errors.New("is no master key: want 32 bytes in hexadecimal or base64")
}

// Wrap implements [Master].
func (m *local) Wrap(_ context.Context, key, bound []byte) ([]byte, error) {
	nonce := make([]byte, nonceBytes)
	_, _ = rand.Read(nonce) // never fails
	return m.aeads[0].Seal(slices.Concat(m.ids[0], nonce), nonce, key, bound), nil
}

// Unwrap implements [Master].
func (m *local) Unwrap(_ context.Context, wrapped, bound []byte) ([]byte, error) {
	const head = masterIDBytes + nonceBytes
	if len(wrapped) < head {
		return nil, errors.New("privacy: a wrapped key is cut short")
	}
	i := slices.IndexFunc(m.ids, func(id []byte) bool { return slices.Equal(id, wrapped[:masterIDBytes]) })
	if i < 0 {
		return nil, ErrMasterKey
	}
	key, err := m.aeads[i].Open(nil, wrapped[masterIDBytes:head], wrapped[head:], bound)
	if err != nil {
		return nil, errors.New("privacy: a wrapped key is damaged, or is another subject's")
	}
	return key, nil
}

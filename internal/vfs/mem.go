package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Mem is a file system in memory that knows, of every byte and every directory entry, whether it is durable, so that
// [Mem.Crash] can tell what a power cut leaves. The process's root directory exists from the start.
type Mem struct {
	mu    sync.Mutex
	root  *memNode
	locks map[string]bool
}

var _ FS = (*Mem)(nil)

// NewMem is an empty file system.
func NewMem() *Mem { return &Mem{root: newMemDir(), locks: map[string]bool{}} }

// memNode is a file or a directory.
type memNode struct {
	file *memFile
	// Of a directory: the entries as they are, as they were last synced, and what was done in between.
	live, durable map[string]*memNode
	ops           []dirOp
}

// dirOp is an atomic change of a directory: names and what they stand for afterwards, nil for nothing.
type dirOp []dirSet

type dirSet struct {
	name string
	node *memNode
}

func newMemDir() *memNode {
	return &memNode{live: map[string]*memNode{}, durable: map[string]*memNode{}}
}

func (d *memNode) change(op dirOp) {
	d.ops = append(d.ops, op)
	applyDir(d.live, op)
}

func applyDir(entries map[string]*memNode, op dirOp) {
	for _, s := range op {
		if s.node == nil {
			delete(entries, s.name)
		} else {
			entries[s.name] = s.node
		}
	}
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

func split(name string) []string {
	clean := strings.Trim(path.Clean("/"+filepath.ToSlash(name)), "/")
	if clean == "" {
		return nil
	}
	return strings.Split(clean, "/")
}

// find walks to a node; nil if there is none.
func (m *Mem) find(name string) *memNode {
	n := m.root
	for _, part := range split(name) {
		if n == nil || n.live == nil {
			return nil
		}
		n = n.live[part]
	}
	return n
}

// parent finds the directory that name is, or would be, in.
func (m *Mem) parent(op, name string) (*memNode, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", pathError(op, name, fs.ErrInvalid)
	}
	d := m.find(path.Join(parts[:len(parts)-1]...))
	if d == nil || d.live == nil {
		return nil, "", pathError(op, name, fs.ErrNotExist)
	}
	return d, parts[len(parts)-1], nil
}

// Open implements [FS].
func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

// OpenReadWrite implements [FS].
func (m *Mem) OpenReadWrite(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, write bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(name)
	switch {
	case n == nil:
		return nil, pathError("open", name, fs.ErrNotExist)
	case n.file == nil:
		return nil, pathError("open", name, fs.ErrInvalid)
	}
	return &memHandle{fs: m, file: n.file, name: name, write: write}, nil
}

// Create implements [FS].
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parent("create", name)
	if err != nil {
		return nil, err
	}
	if d.live[base] != nil {
		return nil, pathError("create", name, fs.ErrExist)
	}
	n := &memNode{file: &memFile{}}
	d.change(dirOp{{base, n}})
	return &memHandle{fs: m, file: n.file, name: name, write: true}, nil
}

// Rename implements [FS].
func (m *Mem) Rename(from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parent("rename", from)
	if err != nil {
		return err
	}
	o, target, err := m.parent("rename", to)
	switch {
	case err != nil:
		return err
	case d.live[base] == nil:
		return pathError("rename", from, fs.ErrNotExist)
	case d != o:
		return pathError("rename", from, fmt.Errorf("to another directory: %w", fs.ErrInvalid))
	}
	d.change(dirOp{{target, d.live[base]}, {base, nil}})
	return nil
}

// Remove implements [FS].
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parent("remove", name)
	switch {
	case err != nil:
		return err
	case d.live[base] == nil:
		return pathError("remove", name, fs.ErrNotExist)
	case len(d.live[base].live) > 0:
		return pathError("remove", name, fmt.Errorf("directory not empty: %w", fs.ErrInvalid))
	}
	d.change(dirOp{{base, nil}})
	return nil
}

// MkdirAll implements [FS].
func (m *Mem) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.root
	for _, part := range split(dir) {
		if d.live[part] == nil {
			d.change(dirOp{{part, newMemDir()}})
		}
		if d = d.live[part]; d.live == nil {
			return pathError("mkdir", dir, fs.ErrExist)
		}
	}
	return nil
}

// List implements [FS].
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.find(dir)
	if d == nil || d.live == nil {
		return nil, pathError("list", dir, fs.ErrNotExist)
	}
	return slices.Sorted(maps.Keys(d.live)), nil
}

// Stat implements [FS].
func (m *Mem) Stat(name string) (Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.find(name)
	if n == nil {
		return Info{}, pathError("stat", name, fs.ErrNotExist)
	}
	if n.file == nil {
		return Info{Dir: true}, nil
	}
	return Info{Size: int64(len(n.file.data))}, nil
}

// SyncDir implements [FS].
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.find(dir)
	if d == nil || d.live == nil {
		return pathError("sync", dir, fs.ErrNotExist)
	}
	d.durable, d.ops = maps.Clone(d.live), nil
	return nil
}

// Lock implements [FS].
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.parent("lock", name)
	if err != nil {
		return nil, err
	}
	key := path.Join(split(name)...)
	if m.locks[key] {
		return nil, &LockedError{Name: name, PID: os.Getpid()}
	}
	if d.live[base] == nil {
		d.change(dirOp{{base, &memNode{file: &memFile{}}}})
	}
	m.locks[key] = true
	return &memLock{fs: m, key: key}, nil
}

type memLock struct {
	fs   *Mem
	key  string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.fs.mu.Lock()
		defer l.fs.mu.Unlock()
		delete(l.fs.locks, l.key)
	})
	return nil
}

package vfs

import (
	"io"
	"slices"
	"sync"
)

// Kind names an operation of a file system or of a file.
type Kind string

// The operations that can fail.
const (
	OpOpen     Kind = "open"
	OpCreate   Kind = "create"
	OpRename   Kind = "rename"
	OpRemove   Kind = "remove"
	OpMkdir    Kind = "mkdir"
	OpList     Kind = "list"
	OpStat     Kind = "stat"
	OpSyncDir  Kind = "sync directory"
	OpLock     Kind = "lock"
	OpRead     Kind = "read"
	OpWrite    Kind = "write"
	OpTruncate Kind = "truncate"
	OpSync     Kind = "sync"
	OpDrop     Kind = "drop cache"
)

// Op is one operation.
type Op struct {
	// N counts the operations, from 1.
	N    int
	Kind Kind
	Name string
	// Offset and Bytes are those of a read or write; Offset is the size of a truncation.
	Offset int64
	Bytes  int
}

// Fault is how an operation fails. The zero Fault is none.
type Fault struct {
	Err error
	// Written is how many bytes of a write get through before it fails.
	Written int
	// Read is how many bytes of a read get through before it fails, as those before a bad sector do.
	Read int
	// Kept lets a Sync or a SyncDir do its work although it reports failure. Otherwise what was to be synced by a Sync is lost, over
	// [Mem]: it reads back while it stays in the cache, a Sync that follows succeeds, and a crash takes it.
	Kept bool
}

// Faulty makes operations of another file system fail. It is safe for concurrent use.
type Faulty struct {
	fs     FS
	decide func(Op) Fault

	mu     sync.Mutex
	n      int
	record bool
	trace  []Op
	// How many files are open, and how many were at most.
	files, filesMost int
}

var _ FS = (*Faulty)(nil)

// NewFaulty makes the operations of fs fail as decide says, which is asked before each of them, one at a time.
func NewFaulty(fs FS, decide func(Op) Fault) *Faulty { return &Faulty{fs: fs, decide: decide} }

// NthFails is a decision: the operation with this number fails, and no other.
func NthFails(n int, f Fault) func(Op) Fault {
	return func(o Op) Fault {
		if o.N == n {
			return f
		}
		return Fault{}
	}
}

// Count is how many operations there were.
func (f *Faulty) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// Record begins to keep a trace.
func (f *Faulty) Record() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.record = true
}

// Trace is the operations since [Faulty.Record].
func (f *Faulty) Trace() []Op {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.trace)
}

// OpenFiles is how many files are open now, and how many were at most.
func (f *Faulty) OpenFiles() (now, most int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.files, f.filesMost
}

func (f *Faulty) counted(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files += n
	f.filesMost = max(f.filesMost, f.files)
}

func (f *Faulty) ask(o Op) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
	o.N = f.n
	if f.record {
		f.trace = append(f.trace, o)
	}
	return f.decide(o)
}

func (f *Faulty) open(kind Kind, name string, do func(string) (File, error)) (File, error) {
	if fault := f.ask(Op{Kind: kind, Name: name}); fault.Err != nil {
		return nil, pathError(string(kind), name, fault.Err)
	}
	inner, err := do(name)
	if err != nil {
		return nil, err
	}
	f.counted(1)
	return &faultyFile{fs: f, inner: inner, name: name}, nil
}

func (f *Faulty) do(kind Kind, name string, do func() error) error {
	if fault := f.ask(Op{Kind: kind, Name: name}); fault.Err != nil {
		if fault.Kept {
			_ = do()
		}
		return pathError(string(kind), name, fault.Err)
	}
	return do()
}

// Open implements [FS].
func (f *Faulty) Open(name string) (File, error) { return f.open(OpOpen, name, f.fs.Open) }

// OpenReadWrite implements [FS].
func (f *Faulty) OpenReadWrite(name string) (File, error) {
	return f.open(OpOpen, name, f.fs.OpenReadWrite)
}

// Create implements [FS].
func (f *Faulty) Create(name string) (File, error) { return f.open(OpCreate, name, f.fs.Create) }

// Rename implements [FS].
func (f *Faulty) Rename(from, to string) error {
	return f.do(OpRename, to, func() error { return f.fs.Rename(from, to) })
}

// Remove implements [FS].
func (f *Faulty) Remove(name string) error {
	return f.do(OpRemove, name, func() error { return f.fs.Remove(name) })
}

// MkdirAll implements [FS].
func (f *Faulty) MkdirAll(dir string) error {
	return f.do(OpMkdir, dir, func() error { return f.fs.MkdirAll(dir) })
}

// List implements [FS].
func (f *Faulty) List(dir string) (names []string, err error) {
	err = f.do(OpList, dir, func() error {
		names, err = f.fs.List(dir)
		return err
	})
	return names, err
}

// Stat implements [FS].
func (f *Faulty) Stat(name string) (i Info, err error) {
	err = f.do(OpStat, name, func() error {
		i, err = f.fs.Stat(name)
		return err
	})
	return i, err
}

// SyncDir implements [FS].
func (f *Faulty) SyncDir(dir string) error {
	return f.do(OpSyncDir, dir, func() error { return f.fs.SyncDir(dir) })
}

// Lock implements [FS].
func (f *Faulty) Lock(name string) (l io.Closer, err error) {
	err = f.do(OpLock, name, func() error {
		l, err = f.fs.Lock(name)
		return err
	})
	return l, err
}

type faultyFile struct {
	fs    *Faulty
	inner File
	name  string
}

func (f *faultyFile) ReadAt(b []byte, off int64) (int, error) {
	fault := f.fs.ask(Op{Kind: OpRead, Name: f.name, Offset: off, Bytes: len(b)})
	if fault.Err == nil {
		return f.inner.ReadAt(b, off)
	}
	n := 0
	if fault.Read > 0 {
		n, _ = f.inner.ReadAt(b[:min(fault.Read, len(b))], off)
	}
	return n, pathError("read", f.name, fault.Err)
}

func (f *faultyFile) WriteAt(b []byte, off int64) (int, error) {
	fault := f.fs.ask(Op{Kind: OpWrite, Name: f.name, Offset: off, Bytes: len(b)})
	if fault.Err == nil {
		return f.inner.WriteAt(b, off)
	}
	n := 0
	if fault.Written > 0 {
		n, _ = f.inner.WriteAt(b[:min(fault.Written, len(b))], off)
	}
	return n, pathError("write", f.name, fault.Err)
}

func (f *faultyFile) Truncate(size int64) error {
	if fault := f.fs.ask(Op{Kind: OpTruncate, Name: f.name, Offset: size}); fault.Err != nil {
		return pathError("truncate", f.name, fault.Err)
	}
	return f.inner.Truncate(size)
}

func (f *faultyFile) Sync() error {
	fault := f.fs.ask(Op{Kind: OpSync, Name: f.name})
	if fault.Err == nil {
		return f.inner.Sync()
	}
	if fault.Kept {
		_ = f.inner.Sync()
	} else if m, ok := f.inner.(interface{ failSync() }); ok {
		m.failSync()
	}
	return pathError("sync", f.name, fault.Err)
}

// WriteOut is not counted as an operation: it changes nothing that could be lost.
func (f *faultyFile) WriteOut(off, size int64) error { return f.inner.WriteOut(off, size) }

func (f *faultyFile) DropCache() error {
	if fault := f.fs.ask(Op{Kind: OpDrop, Name: f.name}); fault.Err != nil {
		return pathError("drop cache", f.name, fault.Err)
	}
	return f.inner.DropCache()
}

func (f *faultyFile) Size() (int64, error) { return f.inner.Size() }

func (f *faultyFile) Close() error {
	err := f.inner.Close()
	if err == nil {
		f.fs.counted(-1)
	}
	return err
}

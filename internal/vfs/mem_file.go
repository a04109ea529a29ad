package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// memFile is the content of a file: as it reads, as it was last made durable, and what was written in between, in
// order.
type memFile struct {
	data, durable []byte
	ops           []fileOp
	// shared says that data and durable belong to a clone too and are copied before they are written.
	shared bool
}

// fileOp is a write, or a change of the size.
type fileOp struct {
	off  int64 // of a truncation: the new size
	data []byte
	size bool
}

func (o fileOp) apply(b []byte) []byte {
	if o.size {
		return resize(b, o.off)
	}
	if end := o.off + int64(len(o.data)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[o.off:], o.data)
	return b
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		clear(b[size:])
		return b[:size]
	}
	if int(size) > cap(b) {
		b = slices.Grow(b, max(int(size)-len(b), len(b))) // files grow by small steps
	}
	old := len(b)
	b = b[:size]
	clear(b[old:])
	return b
}

func (f *memFile) own() {
	if f.shared {
		f.data, f.durable, f.shared = slices.Clone(f.data), slices.Clone(f.durable), false
	}
}

func (f *memFile) do(o fileOp) {
	f.own()
	f.data = o.apply(f.data)
	f.ops = append(f.ops, o)
}

func (f *memFile) sync() {
	if len(f.ops) == 0 {
		return
	}
	f.own()
	for _, o := range f.ops {
		f.durable = o.apply(f.durable)
	}
	f.ops = nil
}

// dropCache reads anew from what is durable; what waits to be written stays in the cache.
func (f *memFile) dropCache() {
	f.data, f.durable, f.shared = slices.Clone(f.durable), slices.Clone(f.durable), false
	for _, o := range f.ops {
		f.data = o.apply(f.data)
	}
}

// memHandle is an open file.
type memHandle struct {
	fs     *Mem
	file   *memFile
	name   string
	write  bool
	closed bool
}

var _ File = (*memHandle)(nil)

func (h *memHandle) begin(op string, write bool) error {
	if h.closed {
		return pathError(op, h.name, fs.ErrClosed)
	}
	if write && !h.write {
		return pathError(op, h.name, fs.ErrPermission)
	}
	return nil
}

func (h *memHandle) ReadAt(b []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.begin("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", h.name, fs.ErrInvalid)
	}
	if off >= int64(len(h.file.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.file.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(b []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.begin("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("write", h.name, fs.ErrInvalid)
	}
	h.file.do(fileOp{off: off, data: slices.Clone(b)})
	return len(b), nil
}

func (h *memHandle) Truncate(size int64) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.begin("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", h.name, fmt.Errorf("to %d: %w", size, fs.ErrInvalid))
	}
	h.file.do(fileOp{off: size, size: true})
	return nil
}

func (h *memHandle) Size() (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return int64(len(h.file.data)), h.begin("stat", false)
}

func (h *memHandle) Sync() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.begin("sync", false); err != nil {
		return err
	}
	h.file.sync()
	return nil
}

// failSync is a Sync that fails as Linux lets it fail: the pages count as clean, read back as they were written for as
// long as they stay in the cache, and never reach the device.
func (h *memHandle) failSync() {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	h.file.ops = nil
}

// WriteOut does nothing: what is written may or may not be on the device anyway, before it is synced.
func (h *memHandle) WriteOut(int64, int64) error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return h.begin("write out", false)
}

func (h *memHandle) DropCache() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.begin("drop cache", false); err != nil {
		return err
	}
	h.file.dropCache()
	return nil
}

func (h *memHandle) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.begin("close", false); err != nil {
		return err
	}
	h.closed = true
	return nil
}

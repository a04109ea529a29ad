package vfs_test

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"

	"github.com/annalsdb/annals/internal/vfs"
)

// systems are the file systems that promise the same, each with a directory in it.
func systems(t *testing.T) map[string]struct {
	fs  vfs.FS
	dir string
} {
	t.Helper()
	systems := map[string]struct {
		fs  vfs.FS
		dir string
	}{
		"the machine's": {vfs.OS{}, t.TempDir()},
		"memory":        {vfs.NewMem(), "data"},
		"faulty, with no fault": {vfs.NewFaulty(vfs.NewMem(), func(vfs.Op) vfs.Fault {
			return vfs.Fault{}
		}), "data"},
	}
	for _, s := range systems {
		if err := s.fs.MkdirAll(s.dir); err != nil {
			t.Fatal(err)
		}
	}
	return systems
}

// makeFile writes a file, and makes it and its name durable.
func makeFile(t *testing.T, fs vfs.FS, name, content string) {
	t.Helper()
	f, err := fs.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte(content), 0)
	if err := errors.Join(err, f.Sync(), f.Close(), fs.SyncDir(filepath.Dir(name))); err != nil {
		t.Fatal(err)
	}
}

// content is what a file reads as; "" if there is none.
func content(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		t.Fatal(err)
	}
	return string(b)
}

func TestFilesReadAsTheyWereWrittenAndSized(t *testing.T) {
	t.Parallel()
	for name, s := range systems(t) {
		path := filepath.Join(s.dir, "f")
		f, err := s.fs.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err1 := f.WriteAt([]byte("abc"), 2)
		_, err2 := f.WriteAt([]byte("Z"), 3)
		if err := errors.Join(err1, err2, f.Truncate(7), f.Sync(), f.DropCache()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := content(t, s.fs, path); got != "\x00\x00aZc\x00\x00" {
			t.Errorf("%s: it reads as %q", name, got)
		}
		if err := errors.Join(f.Truncate(4), f.Truncate(6)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := content(t, s.fs, path); got != "\x00\x00aZ\x00\x00" {
			t.Errorf("%s: cut and grown again it reads as %q", name, got)
		}
		b := make([]byte, 4)
		if n, err := f.ReadAt(b, 3); n != 3 || !errors.Is(err, io.EOF) || string(b[:n]) != "Z\x00\x00" {
			t.Errorf("%s: reading beyond the end: %q, %v, want three bytes and EOF", name, b[:n], err)
		}
		if n, err := f.ReadAt(b, 6); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: reading at the end: %d, %v, want EOF", name, n, err)
		}
		if _, err := f.ReadAt(b, -1); err == nil {
			t.Errorf("%s: it reads before the start", name)
		}
		if i, err := s.fs.Stat(path); err != nil || i.Size != 6 || i.Dir {
			t.Errorf("%s: it is described as %+v, %v", name, i, err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAClosedFileRefusesEverything(t *testing.T) {
	t.Parallel()
	for name, s := range systems(t) {
		f, err := s.fs.Create(filepath.Join(s.dir, "f"))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		_, read := f.ReadAt(make([]byte, 1), 0)
		_, wrote := f.WriteAt(make([]byte, 1), 0)
		_, size := f.Size()
		for what, err := range map[string]error{
			"read": read, "write": wrote, "size": size, "truncate": f.Truncate(0), "close": f.Close(),
			"sync": f.Sync(), "drop cache": f.DropCache(),
		} {
			if !errors.Is(err, fs.ErrClosed) {
				t.Errorf("%s, %s: got %v, want fs.ErrClosed", name, what, err)
			}
		}
	}
}

func TestNamesAreMadeMovedAndRemoved(t *testing.T) {
	t.Parallel()
	for name, s := range systems(t) {
		at := func(n string) string { return filepath.Join(s.dir, n) }
		makeFile(t, s.fs, at("b"), "b")
		makeFile(t, s.fs, at("a"), "a")
		if _, err := s.fs.Create(at("a")); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: making it twice: got %v, want fs.ErrExist", name, err)
		}
		if list, err := s.fs.List(s.dir); err != nil || !slices.Equal(list, []string{"a", "b"}) {
			t.Errorf("%s: %q, %v, want a and b", name, list, err)
		}
		if err := s.fs.Rename(at("a"), at("b")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if content(t, s.fs, at("b")) != "a" || content(t, s.fs, at("a")) != "" {
			t.Errorf("%s: it was not moved over the other", name)
		}
		if err := errors.Join(s.fs.MkdirAll(at("d/e")), s.fs.MkdirAll(at("d/e")), s.fs.SyncDir(at("d"))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if i, err := s.fs.Stat(at("d/e")); err != nil || !i.Dir {
			t.Errorf("%s: the directory is %+v, %v", name, i, err)
		}
		if err := s.fs.Remove(at("b")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_, opened := s.fs.Open(at("b"))
		_, written := s.fs.OpenReadWrite(at("b"))
		_, made := s.fs.Create(at("x/y"))
		_, listed := s.fs.List(at("x"))
		_, stat := s.fs.Stat(at("b"))
		_, locked := s.fs.Lock(at("x/LOCK"))
		for what, err := range map[string]error{
			"open": opened, "open to write": written, "create": made, "list": listed, "stat": stat, "lock": locked,
			"remove": s.fs.Remove(at("b")), "rename": s.fs.Rename(at("b"), at("c")), "sync": s.fs.SyncDir(at("x")),
		} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, %s: got %v, want fs.ErrNotExist", name, what, err)
			}
		}
	}
}

func TestAFileThatIsOpenToBeReadIsNotWritten(t *testing.T) {
	t.Parallel()
	for name, s := range systems(t) {
		path := filepath.Join(s.dir, "f")
		makeFile(t, s.fs, path, "abc")
		f, err := s.fs.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Errorf("%s: it was written", name)
		}
		if err := f.Truncate(0); err == nil {
			t.Errorf("%s: it was truncated", name)
		}
		if content(t, s.fs, path) != "abc" {
			t.Errorf("%s: it changed", name)
		}
		if err := f.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAFileThatIsRemovedOrMovedStaysOpen(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	makeFile(t, fs, "f", "abc")
	f, err := fs.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove("f"); err != nil {
		t.Fatal(err)
	}
	makeFile(t, fs, "f", "another")
	b := make([]byte, 3)
	if n, err := f.ReadAt(b, 0); n != 3 || err != nil || string(b) != "abc" {
		t.Errorf("got %q, %v, want what the file held", b[:n], err)
	}
}

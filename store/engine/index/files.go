package index

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/annalsdb/annals/internal/vfs"
)

// files are the runs in a directory. Nothing lists them: a name says which positions a run covers, and the rest is in the run.
// A run that is not whole has another name.
type files struct {
	fs  vfs.FS
	dir string
	c   *Config
}

const (
	runSuffix  = ".run"
	partSuffix = ".part"
)

func runName(first, last uint64) string { return fmt.Sprintf("%020d-%020d%s", first, last, runSuffix) }

// parseRunName is the reverse of runName.
func parseRunName(name string) (first, last uint64, ok bool) {
	stem, ok := strings.CutSuffix(name, runSuffix)
	if !ok || len(stem) != 41 {
		return 0, 0, false
	}
	if _, err := fmt.Sscanf(stem, "%020d-%020d", &first, &last); err != nil {
		return 0, 0, false
	}
	return first, last, runName(first, last) == name && first > 0 && first <= last
}

func (f *files) join(name string) string { return filepath.Join(f.dir, name) }

// names are those of the directory, none if it does not exist.
func (f *files) names() ([]string, error) {
	names, err := f.fs.List(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// create writes a run, durably, under its name.
func (f *files) create(name string, write func(io.Writer) (int64, error)) error {
	part := f.join(strings.TrimSuffix(name, runSuffix) + partSuffix)
	if err := f.fs.MkdirAll(f.dir); err != nil {
		return err
	}
	if err := f.fs.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := f.fs.Create(part)
	if err != nil {
		return err
	}
	to := &appender{file: file}
	if _, err = write(to); err != nil && to.err == nil {
		err = &sourceError{err}
	}
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = f.fs.Rename(part, f.join(name))
	}
	if err == nil {
		err = f.fs.SyncDir(f.dir)
	}
	if err != nil {
		_ = f.fs.Remove(part) // the reason is more telling
	}
	return err
}

// spill is a run that lies in a file until something has been made of it.
type spill struct {
	f    *files
	name string
	file vfs.File
	size int64
}

// spill writes a run to a file that nobody would open, and that is not durable.
func (f *files) spill(name string, write func(io.Writer) (int64, error)) (*spill, error) {
	s := &spill{f: f, name: "of-" + strings.TrimSuffix(name, runSuffix) + partSuffix}
	if err := f.fs.MkdirAll(f.dir); err != nil {
		return nil, err
	}
	f.remove(s.name) // of a process that was killed
	var err error
	if s.file, err = f.fs.Create(f.join(s.name)); err != nil {
		return nil, err
	}
	if s.size, err = write(&appender{file: s.file}); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *spill) close() {
	_ = s.file.Close() // it is not needed any more
	s.f.remove(s.name)
}

// remove removes a file that nobody needs. If that fails it is tried when the index is opened.
func (f *files) remove(name string) {
	if err := f.fs.Remove(f.join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.c.Logger.Warn("a part of the index that is not needed any more cannot be removed", "file", name, "error", err)
	}
}

// appender writes one piece behind the other.
type appender struct {
	file vfs.File
	at   int64
	err  error
}

func (a *appender) Write(b []byte) (int, error) {
	n, err := a.file.WriteAt(b, a.at)
	a.at += int64(n)
	if err != nil {
		a.err = err
	}
	return n, err
}

// sourceError says that it is not the file that keeps a run from being written, but what it is made of.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

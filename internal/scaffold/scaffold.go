// Package scaffold writes the files of a new service.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/mod/module"
)

//go:embed template
var files embed.FS

// Service says what is to be written.
type Service struct {
	// Dir is where. It must not exist, or be empty.
	Dir string
	// Module is the path of the new module.
	Module string
	// Go and Annals are the versions of Go, such as 1.26, and of Annals, such as v1.2.3.
	Go, Annals string
	// Replace is a directory of Annals to use in place of the published version; "" uses that.
	Replace string
}

// ErrNotEmpty says that there is something already where the service is to be written.
var ErrNotEmpty = errors.New("is not empty")

// ErrModule says that a module cannot be called so.
var ErrModule = errors.New("is no module path")

// Name is the last part of the module's path: the name of the program.
func (s Service) Name() string {
	prefix, _, ok := module.SplitPathVersion(s.Module)
	if !ok {
		prefix = s.Module
	}
	return path.Base(prefix)
}

// Write writes the files, all or none, and gives their names.
func (s Service) Write() (names []string, err error) {
	if err := module.CheckPath(s.Module); err != nil {
		// Such as "shop": it will never be fetched, and works.
		if err := module.CheckImportPath(s.Module); err != nil {
			return nil, fmt.Errorf("%q %w: give one such as example.com/shop: %w", s.Module, ErrModule, err)
		}
	}
	switch entries, err := os.ReadDir(s.Dir); {
	case err == nil && len(entries) > 0:
		return nil, fmt.Errorf("%s %w: it has %s; give another directory", s.Dir, ErrNotEmpty, entries[0].Name())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	parent := filepath.Dir(filepath.Clean(s.Dir))
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // sources are for everybody who may read the directory
		return nil, err
	}
	temp, err := os.MkdirTemp(parent, ".annals-new-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(temp))
		}
	}()
	if names, err = s.fill(temp); err != nil {
		return nil, err
	}
	if err := os.Chmod(temp, 0o755); err != nil { //nolint:gosec // as above
		return nil, err
	}
	if err := os.Remove(s.Dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // it is empty
		return nil, err
	}
	return names, os.Rename(temp, s.Dir)
}

// fill writes the files below dir.
func (s Service) fill(dir string) (names []string, err error) {
	const root, extension = "template", ".tmpl"
	err = fs.WalkDir(files, root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		t, err := template.New(path.Base(name)).ParseFS(files, name)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, s); err != nil {
			return err
		}
		target := strings.TrimSuffix(strings.TrimPrefix(name, root+"/"), extension)
		names = append(names, target)
		file := filepath.Join(dir, filepath.FromSlash(target))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // as above
			return err
		}
		return os.WriteFile(file, b.Bytes(), 0o644) //nolint:gosec // as above
	})
	return names, err
}

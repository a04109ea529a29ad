package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

// loaded is a store that holds the dataset, and is used by several workloads.
type loaded struct {
	target Target
	dir    string
	store  Store
	events int64 // that it holds
	filled bool  // its last file is, see fillTail
}

func (b *bench) data() *dataset {
	return &dataset{seed: b.Seed, payload: b.Payload, events: b.Events}
}

// loadedStore is the target's, which is filled when it is asked for first. It is annals.ErrUnsupported for those that cannot be read.
func (b *bench) loadedStore(ctx context.Context, t Target) (*loaded, error) {
	for _, l := range b.stores {
		if l.target.Name() == t.Name() {
			return l, nil
		}
	}
	if err := b.canRead(ctx, t); err != nil {
		return nil, err
	}
	b.progress(fmt.Sprintf("%s, load %d events", t.Name(), b.Events))
	dir, err := os.MkdirTemp(b.Dir, t.Name()+"-loaded-")
	if err != nil {
		return nil, fmt.Errorf("workload: %w", err)
	}
	l := &loaded{target: t, dir: dir}
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	b.stores = append(b.stores, l)
	if err := b.data().load(ctx, l.store); err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name(), err)
	}
	l.events = int64(b.Events)
	return l, nil
}

func (b *bench) canRead(ctx context.Context, t Target) error {
	_, err := b.inFreshStore(ctx, t, func(s Store) (Sample, error) {
		return Sample{}, s.Read(ctx, annals.Stream("none"), func(*annals.Event) {})
	})
	return err
}

// overLoaded measures over the loaded stores.
func (b *bench) overLoaded(with func(ctx context.Context, l *loaded) (Sample, error)) []rival {
	return b.rivals(func(t Target) measure {
		return func(ctx context.Context) (Sample, error) {
			l, err := b.loadedStore(ctx, t)
			if err != nil {
				return Sample{}, err
			}
			runtime.GC() // nobody pays for the one before
			return with(ctx, l)
		}
	})
}

func (l *loaded) open(ctx context.Context) error {
	s, err := l.target.Open(ctx, l.dir)
	if err != nil {
		return err
	}
	l.store = s
	return nil
}

// reopenCold closes the store and opens it again, with nothing of its files in the page cache.
func (l *loaded) reopenCold(ctx context.Context) error {
	if err := l.close(); err != nil {
		return err
	}
	if err := dropCaches(l.dir); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	return dropCaches(l.dir) // of what opening has read
}

func (l *loaded) close() error {
	if l.store == nil {
		return nil
	}
	s := l.store
	l.store = nil
	return s.Close()
}

// dropCaches lets the system forget what it has in memory of the files below dir. What a process has mapped stays.
func dropCaches(dir string) error {
	return eachFile(dir, func(path string, _ fs.FileInfo) error {
		f, err := vfs.OS{}.OpenReadWrite(path)
		if err != nil {
			return fmt.Errorf("workload: drop what is cached: %w", err)
		}
		err = f.Sync()
		if err == nil {
			err = f.DropCache()
		}
		return errors.Join(err, f.Close())
	})
}

// warm reads the files once, so that they are in the page cache if there is room for them.
func (l *loaded) warm() error {
	return eachFile(l.dir, func(path string, _ fs.FileInfo) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		return errors.Join(err, f.Close())
	})
}

// driveWarm is drive for a store whose files are in the page cache.
func (b *bench) driveWarm(ctx context.Context, l *loaded, workers int, worker func(w int) step) (Sample, error) {
	if err := l.warm(); err != nil {
		return Sample{}, err
	}
	return b.drive(ctx, workers, worker)
}

// eachFile visits the files below dir. Those that vanish meanwhile are passed over.
func eachFile(dir string, visit func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				err = visit(path, info)
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// fileBytes is the size of all files below dir.
func fileBytes(dir string) (n int64, err error) {
	err = eachFile(dir, func(_ string, info fs.FileInfo) error {
		n += info.Size()
		return nil
	})
	return n, err
}

// cold measures something after the caches were dropped, and believes it only if the device was read: else the store
// holds everything in memory, or the system does not tell, and there is no cold figure.
func cold(use func() (Sample, error)) (Sample, error) {
	before, ok := deviceBytesRead()
	if !ok {
		return Sample{}, annals.ErrUnsupported
	}
	s, err := use()
	if err != nil {
		return Sample{}, err
	}
	if after, ok := deviceBytesRead(); !ok || after == before {
		return Sample{}, annals.ErrUnsupported
	}
	return s, nil
}

package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/annalsdb/annals"
)

// w7 opens the loaded store. The first read belongs to it: a store that opens lazily pays there.
func (b *bench) w7(ctx context.Context) error {
	for _, c := range []struct {
		name   string
		killed bool
		cold   bool
	}{
		{"open, closed before, warm", false, false},
		{"open, closed before, cold", false, true},
		{"open, killed with a full tail, warm", true, false},
		{"open, killed with a full tail, cold", true, true},
	} {
		err := b.contest(ctx, testCase{name: c.name, unit: "ms", less: true}, nil, b.overLoaded(func(ctx context.Context, l *loaded) (Sample, error) {
			if c.killed {
				return b.openKilled(ctx, l, c.cold)
			}
			return b.openClosed(ctx, l, c.cold)
		}))
		if err != nil {
			return err
		}
	}
	for _, c := range []struct {
		name, unit string
		of         func(context.Context, *loaded) (Sample, error)
	}{
		{"on disk, closed", "bytes/event", b.sizeOnDisk},
		{"heap after opening", "MB", b.heapAfterOpen},
		{"resident memory after opening", "MB", b.residentAfterOpen},
	} {
		if err := b.contest(ctx, testCase{name: c.name, unit: c.unit, less: true}, nil, b.overLoaded(c.of)); err != nil {
			return err
		}
	}
	return nil
}

// openClosed times opening after Close.
func (b *bench) openClosed(ctx context.Context, l *loaded, isCold bool) (Sample, error) {
	if err := l.close(); err != nil {
		return Sample{}, err
	}
	return b.timeOpen(ctx, l, isCold)
}

func (b *bench) timeOpen(ctx context.Context, l *loaded, isCold bool) (Sample, error) {
	runtime.GC()
	open := func() (Sample, error) {
		s, err := timed(ctx, func(ctx context.Context) (int, error) { return 1, b.openAndRead(ctx, l) })
		s.Value = 1000 / s.Value
		s.Latency = nil
		return s, err
	}
	if !isCold {
		return open()
	}
	if err := dropCaches(l.dir); err != nil {
		return Sample{}, err
	}
	return cold(open)
}

func (b *bench) openAndRead(ctx context.Context, l *loaded) error {
	if err := l.open(ctx); err != nil {
		return err
	}
	d := b.data()
	return mustRead(ctx, l.store, annals.Stream(streamName(0, 0)), d.streamEvents(0, 0))
}

// openKilled times opening what a process leaves behind that is killed: a copy of the files of the open store, which has
// no more to write. The last file of the log is nearly full.
func (b *bench) openKilled(ctx context.Context, l *loaded, isCold bool) (s Sample, err error) {
	if err := l.fillTail(ctx, b); err != nil {
		return Sample{}, err
	}
	return b.inFreshDir(l.target.Name()+"-killed", func(dir string) (s Sample, err error) {
		if err := copyMoment(dir, l.dir); err != nil {
			return Sample{}, err
		}
		left := &loaded{target: l.target, dir: dir, events: l.events}
		defer func() { err = errors.Join(err, left.close()) }()
		if s, err = b.timeOpen(ctx, left, isCold); err != nil {
			return Sample{}, err
		}
		return s, mustHold(ctx, left.store, l.events)
	})
}

// tailPart is how much of the last file of the log is filled, in tenths.
const tailPart = 9

// fillTail appends until the log goes on in a new file, and then until that is nearly full. It changes nothing that
// other workloads ask for but the number of events, and is done once.
func (l *loaded) fillTail(ctx context.Context, b *bench) error {
	segmented, ok := l.target.(Segmented)
	if !ok || l.filled {
		return nil
	}
	l.filled = true
	size, err := fileBytes(l.dir)
	if err != nil || l.events == 0 {
		return err
	}
	fitting := max(1, segmented.SegmentBytes()/max(1, size/l.events)) // events, roughly
	files := l.files()
	src := b.source(0)
	for left, found := 2*fitting, false; left > 0; left -= loadBatch {
		batch := make([]annals.Event, loadBatch)
		for i := range batch {
			batch[i] = annals.Event{ID: src.id(), Type: "Filler", Stream: "filler-1", Tags: []string{"filler:1"}, Data: src.data()}
		}
		if err := l.store.Append(ctx, batch); err != nil {
			return fmt.Errorf("fill the tail: %w", err)
		}
		l.events += loadBatch
		if !found && l.files() > files {
			found, left = true, fitting*tailPart/10
		}
	}
	return nil
}

// files is the number of files of the store.
func (l *loaded) files() (n int) {
	// What cannot be listed has not become more.
	_ = eachFile(l.dir, func(string, fs.FileInfo) error {
		n++
		return nil
	})
	return n
}

// copyMoment copies a directory as it was at one moment: what the store does in the background, such as sealing a file, must not
// come in between.
func copyMoment(to, from string) error {
	for {
		before, err := listing(from)
		if err != nil {
			return err
		}
		copied := copyFiles(to, from)
		after, err := listing(from)
		if err != nil {
			return err
		}
		if maps.Equal(before, after) {
			return copied
		}
		if err := clearDir(to); err != nil {
			return err
		}
	}
}

// version tells one state of a file from another.
type version struct {
	bytes, changed int64
}

// listing is the files of a directory, by their paths.
func listing(dir string) (map[string]version, error) {
	all := map[string]version{}
	err := eachFile(dir, func(path string, info fs.FileInfo) error {
		all[path] = version{info.Size(), info.ModTime().UnixNano()}
		return nil
	})
	return all, err
}

func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// copyFiles makes a durable copy of a directory.
func copyFiles(to, from string) error {
	return eachFile(from, func(path string, _ fs.FileInfo) error {
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
			return err
		}
		return copyFile(filepath.Join(to, name), path)
	})
}

func copyFile(to, from string) (err error) {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close() // it was only read
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = io.Copy(dst, src); err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// sizeOnDisk tells what the files of the closed store have for each event.
func (b *bench) sizeOnDisk(ctx context.Context, l *loaded) (Sample, error) {
	if err := l.close(); err != nil {
		return Sample{}, err
	}
	size, err := fileBytes(l.dir)
	if err != nil {
		return Sample{}, err
	}
	return Sample{Value: float64(size) / float64(l.events)}, l.open(ctx)
}

// heapAfterOpen tells what the opened store has on the heap of Go.
func (b *bench) heapAfterOpen(ctx context.Context, l *loaded) (Sample, error) {
	return b.growth(ctx, l, func() (int64, bool) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc), true
	})
}

// residentAfterOpen tells by how much the process has grown by the opened store, after what opening left unused was
// given back. What is mapped and was touched counts.
func (b *bench) residentAfterOpen(ctx context.Context, l *loaded) (Sample, error) {
	return b.growth(ctx, l, residentBytes)
}

func (b *bench) growth(ctx context.Context, l *loaded, size func() (int64, bool)) (Sample, error) {
	if err := l.close(); err != nil {
		return Sample{}, err
	}
	settled := func() (int64, bool) {
		runtime.GC() // twice, for what the first leaves to finalizers
		debug.FreeOSMemory()
		return size()
	}
	before, ok := settled()
	if err := b.openAndRead(ctx, l); err != nil {
		return Sample{}, err
	}
	after, _ := settled()
	if !ok {
		return Sample{}, annals.ErrUnsupported
	}
	const megabyte = 1e6
	return Sample{Value: max(0, float64(after-before)/megabyte)}, nil
}

package segment

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

// source reads a segment's file, which is opened when it is needed and may be closed in between.
type source struct {
	d *Dir
	s *segment
}

// errUnopened says nothing of what is in a file: it is there, and can perhaps be opened the next time.
var errUnopened = errors.New("segment: a file cannot be opened")

func (f source) ReadAt(b []byte, off int64) (int, error) {
	file, err := f.d.borrow(f.s)
	if err != nil {
		return 0, err
	}
	defer f.s.giveBack()
	return file.ReadAt(b, off)
}

// borrow gives the file of s, which stays open until it is given back. One that frames are written to is open since
// recovery; others are opened to be read.
func (d *Dir) borrow(s *segment) (vfs.File, error) {
	s.touched.Store(true)
	s.mu.Lock()
	f, opened := s.file, false
	if f == nil {
		if d.shut.Load() {
			s.mu.Unlock()
			return nil, annals.ErrClosed
		}
		var err error
		if f, err = d.fs.Open(d.join(s.name())); err != nil {
			s.mu.Unlock()
			if errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", errUnopened, err)
		}
		s.file, opened = f, true
	}
	s.borrowed.Add(1)
	s.mu.Unlock()
	if opened {
		d.files.keep(s, d.o.FilesMax)
	}
	return f, nil
}

func (s *segment) giveBack() { s.borrowed.Add(-1) }

// letGo gives up what withPosition or withFrame gave. The last to do so removes the file of a segment that is retired.
func (d *Dir) letGo(s *segment) {
	if s.readers.Add(-1) > 0 || !s.retired.Load() {
		return
	}
	d.files.forget(s)
	d.tables.forget(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.file != nil {
		err = s.file.Close()
		s.file = nil
	}
	if removed := d.fs.Remove(d.join(s.name())); !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	if err != nil {
		d.log.Warn("a segment that was replaced stays until the log is opened again", "file", s.name(), "error", err)
	}
}

// fileCache is which segments have a file that may be closed and opened again. Those that were used get a second chance.
type fileCache struct {
	mu   sync.Mutex
	open []*segment
}

// keep notes that the file of s is open to be read only, and closes the oldest that nobody uses.
func (c *fileCache) keep(s *segment, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.open, s) {
		c.open = append(c.open, s)
	}
	for tries := 2 * len(c.open); tries > 0 && len(c.open) > most; tries-- {
		oldest := c.open[0]
		c.open = slices.Delete(c.open, 0, 1)
		if oldest != s && oldest.touched.Swap(false) || !oldest.closeUnused() {
			c.open = append(c.open, oldest)
		}
	}
}

func (c *fileCache) forget(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = slices.DeleteFunc(c.open, func(o *segment) bool { return o == s })
}

// closeUnused closes the file unless it is in use. It tells whether it is closed now.
func (s *segment) closeUnused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.borrowed.Load() > 0 {
		return false
	}
	if s.file != nil {
		_ = s.file.Close() // it was only read, or is durable
		s.file = nil
	}
	return true
}

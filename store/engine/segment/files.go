package segment

import (
	"slices"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

// filesMax is how many sealed segments are kept open.
const filesMax = 64

// source reads a segment's file, which is opened when it is needed and may be closed in between.
type source struct {
	d *Dir
	s *segment
}

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
			return nil, err
		}
		s.file, opened = f, true
	}
	s.borrowed++
	s.mu.Unlock()
	if opened {
		d.files.keep(s)
	}
	return f, nil
}

func (s *segment) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.borrowed--
}

// fileCache is which segments have a file that may be closed and opened again, oldest first.
type fileCache struct {
	mu   sync.Mutex
	open []*segment
}

// keep notes that the file of s is open to be read only, and closes the oldest that nobody uses.
func (c *fileCache) keep(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.open, s) {
		c.open = append(c.open, s)
	}
	for i := 0; i < len(c.open) && len(c.open) > filesMax; {
		if !c.open[i].closeUnused() {
			i++
			continue
		}
		c.open = slices.Delete(c.open, i, i+1)
	}
}

// closeUnused closes the file unless it is in use. It tells whether it is closed now.
func (s *segment) closeUnused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.borrowed > 0 {
		return false
	}
	if s.file != nil {
		_ = s.file.Close() // it was only read, or is durable
		s.file = nil
	}
	return true
}

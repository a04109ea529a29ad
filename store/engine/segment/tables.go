package segment

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
)

// tablesMax is how many tables of sealed segments are kept in memory: some megabytes each.
const tablesMax = 64

// tableCache is which segments have a table that can be loaded again, oldest first.
type tableCache struct {
	mu     sync.Mutex
	loaded []*segment
}

// keep notes that s has a table, and lets go of the oldest.
func (c *tableCache) keep(s *segment) {
	c.mu.Lock()
	var oldest *segment
	if c.loaded = append(c.loaded, s); len(c.loaded) > tablesMax {
		oldest = c.loaded[0]
		c.loaded = slices.Delete(c.loaded, 0, 1)
	}
	c.mu.Unlock()
	if oldest == nil {
		return
	}
	oldest.mu.Lock()
	defer oldest.mu.Unlock()
	if !oldest.pinned {
		oldest.table = nil
	}
}

// view is a segment as it is now, to be read without a lock.
type view struct {
	entry
	table
	file     vfs.File
	end      int64
	unlinked bool
}

// view opens the segment and loads its table, if need be.
func (d *Dir) view(ctx context.Context, s *segment) (*view, error) {
	d.mu.RLock()
	v := &view{entry: s.entry, end: s.end, unlinked: s.unlinked}
	if s.state != stateSealed && s.table != nil {
		v.table = *s.table
	}
	d.mu.RUnlock()
	loaded, err := d.complete(ctx, s, v)
	if loaded {
		d.tables.keep(s)
	}
	return v, err
}

func (d *Dir) complete(ctx context.Context, s *segment, v *view) (loaded bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.absent {
		if v.file, err = d.openedLocked(s); err != nil {
			return false, err
		}
	}
	if v.state != stateSealed {
		return false, nil
	}
	v.end = v.bodyEnd
	if s.table == nil {
		if err := d.load(ctx, s, v.entry); err != nil {
			return false, err
		}
		loaded = !s.pinned
	}
	v.table = *s.table
	return loaded, nil
}

// load reads the footer of a sealed segment; if it is damaged the frames tell.
func (d *Dir) load(ctx context.Context, s *segment, e entry) error {
	t, err := readFooter(s.file, e)
	if err == nil {
		s.table = t
		return nil
	}
	if !errors.Is(err, errDamaged) {
		return err
	}
	d.log.WarnContext(ctx, "the footer of a segment is damaged; its frames are read instead", "file", s.name(), "error", err)
	copied := &segment{entry: e, file: s.file, unlinked: s.unlinked}
	damage, err := d.survey(copied)
	if err != nil {
		return err
	}
	for _, loss := range damage {
		d.log.ErrorContext(ctx, "events are lost", "error", loss)
	}
	s.table, s.pinned = copied.table, true
	return nil
}

// readFooter reads the table of a sealed segment and compares it with what the manifest says.
func readFooter(f io.ReaderAt, e entry) (*table, error) {
	size := e.size - trailerBytes - e.bodyEnd
	if size < 0 || e.size < headerBytes+trailerBytes {
		return nil, damaged("size of the footer")
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, e.bodyEnd); n < len(b) {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, damaged("the file ends before its footer does")
		}
		return nil, err
	}
	t, err := decodeFooter(b, e.bodyEnd)
	if err != nil {
		return nil, err
	}
	if t.firstSeq != e.firstSeq || t.firstPos != e.firstPos || uint64(len(t.frames)) != e.lastSeq+1-e.firstSeq ||
		annals.Position(len(t.records)) != e.lastPos+1-e.firstPos {
		return nil, damaged("the footer is not that of the manifest's segment")
	}
	return t, nil
}

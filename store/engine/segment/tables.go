package segment

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/annalsdb/annals"
)

// tableCache is which segments have a table that can be loaded again, and what the tables take. Those that were used get a
// second chance.
type tableCache struct {
	mu     sync.Mutex
	loaded []tabled
	bytes  int64
}

// tabled is a segment with the size of its table.
type tabled struct {
	*segment
	bytes int64
}

// keep notes that s has the table t, and lets go of the oldest. The table that was needed last stays, however large it is.
func (c *tableCache) keep(s *segment, t *table, most int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.ContainsFunc(c.loaded, func(l tabled) bool { return l.segment == s }) {
		return
	}
	c.loaded = append(c.loaded, tabled{s, t.bytes()})
	c.bytes += t.bytes()
	for tries := 2 * len(c.loaded); tries > 0 && c.bytes > most && len(c.loaded) > 1; tries-- {
		oldest := c.loaded[0]
		c.loaded = slices.Delete(c.loaded, 0, 1)
		if oldest.segment == s || oldest.touched.Swap(false) {
			c.loaded = append(c.loaded, oldest)
			continue
		}
		c.bytes -= oldest.bytes
		oldest.dropTable()
	}
}

func (c *tableCache) forget(s *segment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loaded = slices.DeleteFunc(c.loaded, func(l tabled) bool {
		if l.segment == s {
			c.bytes -= l.bytes
		}
		return l.segment == s
	})
}

// dropTable lets go of a table that can be loaded again.
func (s *segment) dropTable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pinned {
		s.table = nil
		s.peeks.Store(0)
	}
}

// view is a segment as it is now, to be read without a lock.
type view struct {
	entry
	table
	file     source
	end      int64
	unlinked bool
}

// view is the segment with its table, which is loaded if need be. The caller holds the segment, or is the one who changes which
// files there are.
func (d *Dir) view(ctx context.Context, s *segment) (*view, error) {
	d.mu.RLock()
	v := &view{entry: s.entry, end: s.end, unlinked: s.unlinked, file: source{d, s}}
	if s.state != stateSealed && s.table != nil {
		v.table = *s.table
	}
	d.mu.RUnlock()
	if v.state != stateSealed {
		return v, nil
	}
	v.end = v.bodyEnd
	t := s.loaded()
	if t == nil {
		var err error
		if t, err = d.load(ctx, s, v.entry); err != nil {
			return nil, err
		}
	}
	v.table = *t
	return v, nil
}

// loaded is the table of a sealed segment, nil if it is not in memory.
func (s *segment) loaded() *table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table
}

// load reads the footer of a sealed segment; if it is damaged the frames tell. A file that cannot be opened just now, for want of
// handles for instance, says nothing of what is in it.
func (d *Dir) load(ctx context.Context, s *segment, e entry) (*table, error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	if t := s.loaded(); t != nil {
		return t, nil
	}
	f, err := d.borrow(s)
	if err != nil {
		return nil, err
	}
	defer s.giveBack()
	t, err := readFooter(f, e)
	pinned := false
	if errors.Is(err, fs.ErrClosed) {
		return nil, err
	}
	if err != nil {
		d.log.WarnContext(ctx, "the footer of a segment is damaged; its frames are read instead", "file", s.name(), "error", err)
		copied := &segment{entry: e, unlinked: s.unlinked, file: f}
		damage, err := d.survey(copied)
		if err != nil {
			return nil, err
		}
		for _, loss := range damage {
			d.log.ErrorContext(ctx, "events are lost", "error", loss)
		}
		t, pinned = copied.table, true
	}
	s.mu.Lock()
	s.table, s.pinned = t, s.pinned || pinned
	pinned = s.pinned
	s.mu.Unlock()
	if !pinned {
		d.tables.keep(s, t, d.o.TableBytesMax)
	}
	return t, nil
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

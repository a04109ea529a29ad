package segment

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
)

const (
	// aheadMost is how many positions a lookup asks for before it yields the first of them. It begins with one.
	aheadMost = 64
	// lookupReaders is how many reads it has going at once where the device is slow.
	lookupReaders = 16
	// Records this close to each other are read together: where the device is slow a read costs as much as this many bytes, and
	// where the bytes are in memory already hardly more than a few.
	gapCold = 64 << 10
	gapWarm = 1 << 10
	// extentBytesMost is how much is read together at most. A record that is larger is read when its turn comes.
	extentBytesMost = 256 << 10
	// slowRead is what tells a device from the cache of the system: a device takes longer for any read.
	slowRead = 30 * time.Microsecond
	// slowReads is how many slow reads it takes to believe it. One may be a coincidence.
	slowReads = 2
)

// Lookup implements [journal.Records].
func (d *Dir) Lookup(ctx context.Context, positions iter.Seq[annals.Position]) iter.Seq2[frame.Record, error] {
	return func(yield func(frame.Record, error) bool) {
		l := lookup{d: d, decoder: frame.NewDecoder(d.identity.Store, true), yield: yield}
		ahead := 1
		for p := range positions {
			if l.wanted = append(l.wanted, p); len(l.wanted) < ahead {
				continue
			}
			if !l.flush(ctx) {
				return
			}
			ahead = min(2*ahead, aheadMost)
		}
		l.flush(ctx)
	}
}

// lookup reads records that are anywhere, some at a time.
type lookup struct {
	d       *Dir
	decoder *frame.Decoder
	yield   func(frame.Record, error) bool
	// wanted are the positions asked for and not yielded yet; found says where they are, or why that is not known.
	wanted  []annals.Position
	found   []found
	extents []extent
	buf     []byte // of all extents
	// slow counts slow reads up, and quick ones down.
	slow int
	// last is the segment of the last record, only to be compared.
	last *segment
}

// found is a place in a segment that is held.
type found struct {
	place
	s      *segment
	err    error
	extent int // -1: it is read alone
}

// extent is a part of a segment that is read at once.
type extent struct {
	s        *segment
	off, end int64
	bytes    []byte
	slow     bool
}

// flush yields what is wanted. It tells whether the sequence goes on.
func (l *lookup) flush(ctx context.Context) bool {
	defer l.letGo()
	if err := ended(ctx); err != nil {
		l.yield(frame.Record{}, err)
		return false
	}
	l.find(ctx)
	l.plan()
	l.read()
	for i := range l.found {
		r, err := l.record(ctx, &l.found[i])
		if cause := ended(ctx); cause != nil {
			err = cause
		}
		ends := err != nil && (errors.Is(err, annals.ErrClosed) || ctx.Err() != nil)
		if err != nil {
			r = frame.Record{}
		}
		if !l.yield(r, err) || ends {
			return false
		}
	}
	return true
}

// find finds out where the records are: one after the other, or, where that is slow, several at once.
func (l *lookup) find(ctx context.Context) {
	l.found = slices.Grow(l.found[:0], len(l.wanted))[:len(l.wanted)]
	find := func(i int, last *segment) {
		s, at, err := l.d.place(ctx, l.wanted[i], last)
		l.found[i] = found{place: at, s: s, err: err, extent: -1}
	}
	if l.parallel(len(l.wanted)) {
		atOnce(len(l.wanted), func(i int) { find(i, nil) })
		return
	}
	for i := range l.wanted {
		find(i, l.last)
		l.last = l.found[i].s
	}
}

// parallel tells whether so many reads are better made at once.
func (l *lookup) parallel(n int) bool { return l.slow >= slowReads && !l.d.o.Foreground && n > 1 }

// atOnce does so many things with a few goroutines, which have ended when it returns.
func atOnce(n int, do func(i int)) {
	var next atomic.Int64
	var doing sync.WaitGroup
	for range min(lookupReaders, n) {
		doing.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	doing.Wait()
}

func (l *lookup) letGo() {
	for i := range l.found {
		if s := l.found[i].s; s != nil {
			l.d.letGo(s)
		}
	}
	l.wanted, l.found = l.wanted[:0], l.found[:0]
}

// plan joins neighbours into extents, whichever way they are ordered.
func (l *lookup) plan() {
	l.extents = l.extents[:0]
	gap := int64(gapWarm)
	if l.slow >= slowReads {
		gap = gapCold
	}
	for i := range l.found {
		f := &l.found[i]
		if f.err != nil || f.off == 0 || f.next <= f.off || f.next-f.off > extentBytesMost {
			continue
		}
		if n := len(l.extents); n > 0 && l.extents[n-1].takes(f, gap) {
			e := &l.extents[n-1]
			e.off, e.end = min(e.off, f.off), max(e.end, f.next)
		} else {
			l.extents = append(l.extents, extent{s: f.s, off: f.off, end: f.next})
		}
		f.extent = len(l.extents) - 1
	}
}

// takes tells whether f is near enough to be read together with what is in e.
func (e *extent) takes(f *found, gap int64) bool {
	return e.s == f.s && f.off-e.end <= gap && e.off-f.next <= gap && max(e.end, f.next)-min(e.off, f.off) <= extentBytesMost
}

// read reads the extents: one after the other, or, where that is slow, several at once.
func (l *lookup) read() {
	total := int64(0)
	for _, e := range l.extents {
		total += e.end - e.off
	}
	l.buf = slices.Grow(l.buf[:0], int(total))[:total]
	rest := l.buf
	for i := range l.extents {
		e := &l.extents[i]
		e.bytes, rest = rest[:e.end-e.off], rest[e.end-e.off:]
	}
	start := time.Now()
	for i := range l.extents {
		if rest := l.extents[i:]; l.parallel(len(rest)) {
			atOnce(len(rest), func(i int) { l.readOne(&rest[i], time.Now()) })
			for i := range rest {
				l.note(&rest[i])
			}
			return
		}
		start = l.readOne(&l.extents[i], start)
		l.note(&l.extents[i])
	}
}

// note lets the time that a read took decide how the next ones are made, which changes nothing of what they give.
func (l *lookup) note(e *extent) {
	if e.slow {
		l.slow = min(l.slow+1, 2*slowReads)
	} else if l.slow > 0 {
		l.slow--
	}
}

// readOne reads an extent. What cannot be read is left out: each of its records is then read alone, which tells why.
func (l *lookup) readOne(e *extent, start time.Time) (now time.Time) {
	n, _ := source{l.d, e.s}.ReadAt(e.bytes, e.off)
	e.bytes = e.bytes[:n]
	now = time.Now()
	e.slow = now.Sub(start) > slowRead
	return now
}

// record gives one from its extent, or reads it alone.
func (l *lookup) record(ctx context.Context, f *found) (frame.Record, error) {
	if f.err != nil {
		return frame.Record{}, closedError(f.err)
	}
	if f.extent >= 0 {
		e := &l.extents[f.extent]
		if i := f.off - e.off; i < int64(len(e.bytes)) {
			r, _, err := l.decoder.Decode(e.bytes[i:])
			if err == nil && r.Position == f.p {
				return r, nil
			}
		}
	}
	return l.d.recordAt(ctx, l.decoder, f.s, f.place, nil)
}

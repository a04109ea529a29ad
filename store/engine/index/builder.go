package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sync"

	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index/run"
)

// builder writes runs in the background: in one lane of the epochs that are full, so that memory is given back though the other is
// busy for long; in the other in place of runs that are damaged, and of several that lie side by side. It is one goroutine a lane,
// while there is something to do.
type builder struct {
	x    *Index
	ctx  func() context.Context
	stop context.CancelFunc

	mu         sync.Mutex
	idle       *sync.Cond // signalled when a step of a lane is done
	closed     bool
	seal, mend lane
}

// lane is a kind of work, of which one thing is done at a time.
type lane struct {
	step            func() bool // does one thing, and tells whether there may be another
	working, wanted bool
}

// mergeRuns is how many runs of one size are merged into one of the next.
const mergeRuns = 8

func (b *builder) init(ctx context.Context, x *Index) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	b.x, b.ctx, b.stop = x, func() context.Context { return ctx }, stop
	b.idle = sync.NewCond(&b.mu)
	b.seal.step, b.mend.step = b.sealOne, b.mendOne
}

// kick sees to it that what there is to do in a lane is done, though the lane may just be about to stop.
func (b *builder) kick(l *lane) {
	b.mu.Lock()
	l.wanted = true
	begin := !l.working && !b.closed
	l.working = l.working || begin
	b.mu.Unlock()
	switch {
	case !begin:
	case b.x.config.Foreground:
		b.work(l)
	default:
		go b.work(l)
	}
}

// work does all there is to do.
func (b *builder) work(l *lane) {
	for b.goesOn(l) {
		for again := true; again && b.ctx().Err() == nil; {
			again = l.step()
			b.mu.Lock()
			b.idle.Broadcast() // who waits for room in memory looks again
			b.mu.Unlock()
		}
	}
}

// goesOn reports whether a lane was kicked since it looked last.
func (b *builder) goesOn(l *lane) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.working = l.wanted && !b.closed
	l.wanted = false
	b.idle.Broadcast()
	return l.working
}

// close waits for what is being done, and lets nothing be begun.
func (b *builder) close() {
	b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for b.seal.working || b.mend.working {
		b.idle.Wait()
	}
}

// hold keeps the runs that there are open until they are released.
func (x *Index) hold() *set {
	x.mu.RLock()
	defer x.mu.RUnlock()
	x.set.users.Add(1)
	return x.set
}

// sealOne makes a run of the first epoch, if it is full.
func (b *builder) sealOne() bool {
	s := b.x.hold()
	defer s.release()
	if len(s.epochs) < 2 {
		return false
	}
	e := s.epochs[0]
	var p *piece
	if !e.empty() {
		var err error
		p, err = b.x.store(e.first, e.last, true, func(w io.Writer) (int64, error) { return e.write(w, &b.x.config) })
		if err != nil { // it stays in memory as it is, and whoever reads it sees no difference
			b.x.config.Logger.Error("a part of the index cannot be made", "error", err)
			return false
		}
	}
	b.install(e, p)
	b.kick(&b.mend)
	return true
}

// mendOne makes a damaged run anew, or merges runs.
func (b *builder) mendOne() bool {
	s := b.x.hold()
	defer s.release()
	for i, p := range s.runs {
		if p.damaged.Load() && b.x.config.Events != nil && p.attempt() {
			_ = b.replace(s.runs[i:i+1], p.events() <= b.x.config.inMemory, func(w io.Writer) (int64, error) { return b.x.rebuild(b.ctx(), w, p) })
			return true // if it failed: to what else there is to do
		}
	}
	return b.merge(s.runs)
}

// merge merges runs, if there are enough of a size.
func (b *builder) merge(runs []*piece) bool {
	from, to := mergeable(runs)
	if from == to || b.x.config.ReadOnly {
		return false
	}
	runs = runs[from:to]
	readers := make([]*run.Reader, len(runs))
	for i, p := range runs {
		readers[i] = p.reader
	}
	err := b.replace(runs, b.x.config.FS == nil, func(w io.Writer) (int64, error) { return run.Merge(b.ctx(), w, readers...) })
	if unread, _ := errors.AsType[*sourceError](err); unread != nil {
		b.blame(runs)
	}
	return err == nil
}

// mergeable finds runs that lie side by side and are of about one size, or smaller. None of them is damaged.
func mergeable(runs []*piece) (from, to int) {
	level := func(p *piece) int { return bits.Len64(p.events()) / 3 } // each of eight times the size
	for to = len(runs); to > 0; to = from {
		if from = to - 1; runs[from].damaged.Load() {
			continue
		}
		for from > 0 && !runs[from-1].damaged.Load() && level(runs[from-1]) <= level(runs[to-1]) {
			from--
		}
		if to-from >= mergeRuns && runs[to-1].last-runs[from].first < run.EventsMax {
			return from, to
		}
	}
	return 0, 0
}

// install puts a run in the place of the first epoch.
func (b *builder) install(e *epoch, p *piece) {
	x := b.x
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.set.epochs) < 2 || x.set.epochs[0] != e {
		return
	}
	runs := slices.Clone(x.set.runs)
	if p != nil {
		runs = append(runs, p)
	}
	x.changeLocked(runs, slices.Clone(x.set.epochs[1:]))
}

// replace puts one run in the place of several.
func (b *builder) replace(old []*piece, inMemory bool, write func(io.Writer) (int64, error)) error {
	x := b.x
	first, last := old[0].first, old[len(old)-1].last
	p, err := x.store(first, last, inMemory, write)
	if err != nil {
		if b.ctx().Err() == nil {
			x.config.Logger.Warn("a part of the index cannot be made anew", "first", first, "last", last, "error", err)
		}
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	at := slices.Index(x.set.runs, old[0]) // others may have come behind it
	for _, o := range old {
		o.gone.Store(o.name != p.name && !x.config.ReadOnly)
	}
	x.changeLocked(slices.Replace(slices.Clone(x.set.runs), at, at+len(old), p), x.set.epochs)
	return nil
}

// blame finds out which run keeps others from being merged.
func (b *builder) blame(runs []*piece) {
	for _, p := range runs {
		if err := p.reader.Check(b.ctx()); err != nil && b.ctx().Err() == nil {
			p.broken(err)
		}
	}
}

// store writes a run to a file, or, where that may not or cannot be, to memory, if the run is small enough for that. Then it is
// made anew when the index is opened again.
func (x *Index) store(first, last uint64, inMemory bool, write func(io.Writer) (int64, error)) (*piece, error) {
	if x.persists(last) {
		name := runName(first, last)
		err := x.files.create(name, write)
		if err == nil {
			var p *piece
			if p, err = x.openFile(name, first, last); err == nil {
				return p, nil
			}
		}
		if !inMemory || x.builder.ctx().Err() != nil {
			return nil, err
		}
		x.config.Logger.Warn("a part of the index cannot be written, and stays in memory", "file", name, "error", err)
	} else if !inMemory {
		return nil, errNotPersisted
	}
	var buf bytes.Buffer
	if _, err := write(&buf); err != nil {
		return nil, &sourceError{err}
	}
	return x.openRun(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
}

var errNotPersisted = errors.New("index: it may not be written to a file, and is too large for memory")

// persists reports whether what goes up to a position is written to files: not behind lost positions, since a log that is
// mended is to be indexed anew.
func (x *Index) persists(last uint64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.config.FS != nil && !x.config.ReadOnly && (len(x.lost) == 0 || last < uint64(x.lost[0].First))
}

// rebuild makes a run anew from the log: it is merged of parts that are as large as an epoch. Those of a large run lie in files of their
// own meanwhile.
func (x *Index) rebuild(ctx context.Context, w io.Writer, p *piece) (int64, error) {
	var parts []*run.Reader
	var spilled []*spill
	defer func() {
		for _, s := range spilled {
			s.close()
		}
	}()
	e := newEpoch(p.first)
	flush := func() error {
		write := func(w io.Writer) (int64, error) { return e.write(w, &x.config) }
		var f io.ReaderAt
		var size int64
		if p.events() > x.config.inMemory && x.persists(p.last) {
			s, err := x.files.spill(runName(e.first, e.last), write)
			if err != nil {
				return err
			}
			spilled = append(spilled, s)
			f, size = s.file, s.size
		} else {
			var buf bytes.Buffer
			if _, err := write(&buf); err != nil {
				return err
			}
			f, size = bytes.NewReader(buf.Bytes()), int64(buf.Len())
		}
		r, err := run.Open(f, size, run.ReadOptions{})
		parts = append(parts, r)
		e = newEpoch(e.last + 1)
		return err
	}
	for d, err := range x.config.Events(ctx, p.first, p.last) {
		if err != nil {
			return 0, err
		}
		if e.events() == x.config.EpochEvents {
			if err := flush(); err != nil {
				return 0, err
			}
		}
		e.add(d.Keys)
		e.endAt(p.meta, d.Time)
	}
	if !e.empty() {
		if err := flush(); err != nil {
			return 0, err
		}
	}
	if n := len(parts); n == 0 || parts[n-1].Meta().Last != p.last {
		return 0, fmt.Errorf("index: the log ends before position %d", p.last)
	}
	return run.Merge(ctx, w, parts...)
}

// endAt is endFrame for an event of which only the time is known. The run as a whole ends with the frame that is known.
func (e *epoch) endAt(m run.Meta, nanos int64) {
	e.endFrame(&frame.Header{Seq: m.LastSeq, Hash: m.LastHash, Epoch: m.LastEpoch, Time: timeAt(nanos)})
	e.firstSeq = m.FirstSeq
}

// Wait waits until so few epochs are in memory that more can be added, or ctx ends.
func (x *Index) Wait(ctx context.Context) error {
	if x.waiting() <= epochsWaiting {
		return nil
	}
	b := &x.builder
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.idle.Broadcast()
	})
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.seal.working && x.waiting() > epochsWaiting {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.idle.Wait()
	}
	return nil
}

// epochsWaiting is how many full epochs may wait to be written while the log is read.
const epochsWaiting = 2

func (x *Index) waiting() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.set.epochs) - 1
}

// Close writes what is in memory to runs, so that it need not be made of the log again, and closes the files, as soon as no view is
// used any more. Nothing may be added from now on; views that are held stay good.
func (x *Index) Close() {
	x.builder.close()
	s := x.hold()
	defer s.release()
	if err := x.persist(s); err != nil {
		x.config.Logger.Warn("a part of the index could not be written; it is made anew when the log is opened", "error", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	// For a view that comes late every position is a candidate: its reader finds the log closed, and not empty.
	rest := &piece{x: x, first: 1, last: x.head.Load()}
	rest.damaged.Store(true)
	x.changeLocked([]*piece{rest}, []*epoch{newEpoch(rest.last + 1)})
}

// persist writes what is in memory alone. Where it fails it stops, since nothing is read from files behind a gap.
func (x *Index) persist(s *set) error {
	for _, p := range s.runs {
		if p.name != "" || p.damaged.Load() || !x.persists(p.last) {
			continue
		}
		err := x.files.create(runName(p.first, p.last), func(w io.Writer) (int64, error) { return run.Merge(context.Background(), w, p.reader) })
		if err != nil {
			return err
		}
	}
	for _, e := range s.epochs {
		if e.empty() || !x.persists(e.last) {
			continue
		}
		err := x.files.create(runName(e.first, e.last), func(w io.Writer) (int64, error) { return e.write(w, &x.config) })
		if err != nil {
			return err
		}
	}
	return nil
}

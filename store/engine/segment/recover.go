package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"github.com/annalsdb/annals"
)

// recovery finds out what the files hold. It writes nothing.
type recovery struct {
	d       *Dir
	catalog *catalog
	upto    uint64 // no frame after this one counts

	headers    map[string]header
	unreadable map[string]error // headers
	clean      *cleanMark
	// rebuilt says that the manifest was made from the files. Nothing is cut then: the log may have been closed cleanly.
	rebuilt bool

	met      []*segment // all
	segments []*segment
	next     *segment
	open     []*segment // those that may have an end
	unused   []string   // files that no manifest needs
	tip      tip
	cuts     []cut
	damage   []*annals.DataLossError
	// doubt says that the end of the log is not certain; doubts is the part of the damage that could have any positions after it.
	doubt  bool
	doubts []*annals.DataLossError
}

// cut is what is to be removed from the end of the log.
type cut struct {
	s        *segment
	from, to int64
}

func (r *recovery) strict() bool { return r.clean != nil || r.rebuilt }

func (r *recovery) lost(s *segment, off int64, first, last annals.Position, reason error) {
	r.damage = append(r.damage, r.d.loss(s, off, first, last, reason))
}

func (r *recovery) doubtful(s *segment, off int64, reason error) {
	r.lost(s, off, 0, 0, reason)
	r.doubt, r.doubts = true, append(r.doubts, r.damage[len(r.damage)-1])
}

func (r *recovery) run(ctx context.Context) error {
	d := r.d
	var err error
	if r.headers, r.unreadable, err = d.headers(r.catalog.segments); err != nil {
		return err
	}
	m := r.catalog.manifest
	if err := d.identify(m, r.headers); err != nil {
		return err
	}
	for name, reason := range r.catalog.invalid {
		r.damage = append(r.damage, &annals.DataLossError{File: name, Reason: reason.Error()})
	}
	if r.rebuilt, err = r.outdated(m); err != nil {
		return err
	}
	entries := []entry(nil)
	if m != nil {
		entries = m.segments
		r.clean = m.clean
	}
	if r.rebuilt {
		d.log.WarnContext(ctx, "the manifest is made anew from the segments")
		r.clean = nil
		if entries, err = r.fromFiles(entries); err != nil {
			return err
		}
	}
	if len(entries) == 0 {
		return &annals.DataLossError{File: ".", Reason: "no segment verifies"}
	}
	return r.walk(ctx, entries)
}

// walk goes through the segments in order.
func (r *recovery) walk(ctx context.Context, entries []entry) error {
	r.tip = tip{linked: true}
	for _, e := range entries {
		s := &segment{entry: e, recorded: e.state == stateFull, end: headerBytes}
		r.met = append(r.met, s)
		if e.generation == 0 {
			s.absent, s.unlinked, s.pinned = true, true, true
		}
		if e.state <= stateActive {
			r.open = append(r.open, s)
			continue
		}
		if len(r.open) > 0 {
			return fmt.Errorf("segment %s is full before the one that precedes it", s.name())
		}
		if r.upto < s.firstSeq {
			break
		}
		if err := r.closedSegment(s); err != nil {
			return err
		}
		r.segments = append(r.segments, s)
		r.tip = s.last()
		r.tip.linked, r.tip.durable = !s.unlinked, s.lastSeq
	}
	if err := r.openSegments(); err != nil {
		return err
	}
	if err := r.tail(); err != nil {
		return err
	}
	r.needActive()
	r.checkClean()
	if r.rebuilt {
		return r.findEpoch(ctx)
	}
	return nil
}

// closedSegment checks the structure of a segment to which no frame is added any more; if it is not what the manifest
// says, every frame is looked for.
func (r *recovery) closedSegment(s *segment) error {
	s.end = s.bodyEnd
	if s.absent {
		return r.surveyed(s, errors.New("the file is missing"))
	}
	if s.state == stateFull && !r.d.o.ReadOnly {
		if err := r.reopen(s); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	problem, err := r.structure(s)
	if err != nil {
		return err
	}
	if problem == nil && s.state == stateSealed {
		return nil
	}
	return r.surveyed(s, problem)
}

// surveyed looks for every frame.
func (r *recovery) surveyed(s *segment, problem error) error {
	damage, err := r.d.survey(s)
	if err != nil {
		return err
	}
	s.pinned = s.pinned || problem != nil || len(damage) > 0
	for _, loss := range damage {
		if problem != nil {
			loss.Reason = problem.Error() + "; " + loss.Reason
		}
	}
	if problem != nil && len(damage) == 0 {
		damage = append(damage, r.d.loss(s, 0, 0, 0, problem))
	}
	r.damage = append(r.damage, damage...)
	return nil
}

// structure compares header, size and trailer with the manifest. A full segment whose footer turns out to be finished is
// sealed from now on.
func (r *recovery) structure(s *segment) (problem, err error) {
	f, err := r.d.borrow(s)
	if errors.Is(err, fs.ErrNotExist) {
		s.absent, s.pinned = true, true
		return errors.New("the file is missing"), nil
	}
	if err != nil {
		return nil, err
	}
	defer s.giveBack()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if problem := r.header(s); problem != nil {
		return problem, nil
	}
	t, err := readTrailer(f, size)
	if s.state == stateFull {
		return r.finished(s, f, size, t, err == nil)
	}
	switch {
	case size != s.size:
		return damaged("the file has %d bytes, the manifest says %d", size, s.size), nil
	case err != nil:
		return err, nil
	case !t.seals(s.entry) || t.sum != s.sum:
		return damaged("the trailer is not that of the segment in the manifest"), nil
	}
	return nil, nil
}

// finished tells whether the footer of a full segment is there, whole, and if so makes it sealed. The trailer alone does
// not tell: a power cut may keep it and take what precedes it. That the trailer cannot be read tells as little.
func (r *recovery) finished(s *segment, f io.ReaderAt, size int64, t trailer, found bool) (problem, err error) {
	if size < s.bodyEnd {
		return damaged("the file has %d bytes, its frames end at %d", size, s.bodyEnd), nil
	}
	if !found || !t.seals(s.entry) || size != s.bodyEnd+t.footerSize+trailerBytes {
		return nil, nil
	}
	// What cannot be read is found when the frames are looked for.
	if sum, err := sumOf(f, size-trailerBytes, nil); err == nil && sum == t.sum {
		s.state, s.size, s.sum, s.recorded = stateSealed, size, sum, false
	}
	return nil, nil
}

// header compares the header of a segment with the manifest.
func (r *recovery) header(s *segment) error {
	h, ok := r.headers[s.name()]
	switch {
	case r.unreadable[s.name()] != nil:
		return r.unreadable[s.name()]
	case !ok:
		return damaged("the segment's header")
	case h.no != s.no || h.generation != s.generation || h.salt != s.salt || h.store != r.d.identity.Store ||
		h.incarnation != r.d.identity.Incarnation:
		return damaged("this is another segment than the manifest's")
	}
	return nil
}

func readTrailer(f io.ReaderAt, size int64) (trailer, error) {
	if size < headerBytes+trailerBytes {
		return trailer{}, damaged("no trailer")
	}
	b := make([]byte, trailerBytes)
	if _, err := f.ReadAt(b, size-trailerBytes); err != nil && !errors.Is(err, io.EOF) {
		return trailer{}, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return decodeTrailer(b)
}

// seals tells whether t is the trailer of the segment that e describes.
func (t *trailer) seals(e entry) bool {
	return t.generation == e.generation && t.salt == e.salt && t.last == e.last()
}

// reopen opens the file of a segment that will be written to.
func (r *recovery) reopen(s *segment) error {
	f, err := r.d.fs.OpenReadWrite(r.d.join(s.name()))
	if err != nil {
		return err
	}
	s.file = f
	return r.distrustFile(s)
}

// distrust makes durable what was written, and drops what is cached, so that what is read next is what the device has.
func (r *recovery) distrust() error {
	for _, s := range r.met {
		if s.state != stateSealed && s.file != nil {
			if err := r.distrustFile(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *recovery) distrustFile(s *segment) error {
	if r.clean != nil {
		return nil
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	// A sync that failed in an earlier process may have left frames in the cache that are not on the device, and this sync
	// does not tell. Were they believed, more would be built on them, and a power cut would take them from beneath it.
	return s.file.DropCache()
}

// close closes all files, also those of segments that are in no list yet.
func (r *recovery) close() error {
	var errs []error
	for _, s := range r.met {
		if s.file != nil {
			errs = append(errs, s.file.Close())
			s.file = nil
		}
	}
	return errors.Join(errs...)
}

// openSegments opens those that may have an end, and checks that they are what they were.
func (r *recovery) openSegments() error {
	if !r.strict() && !r.d.o.ReadOnly {
		if err := r.d.fs.SyncDir(r.d.dir); err != nil {
			return err
		}
	}
	kept := r.open[:0]
	for _, s := range r.open {
		problem, err := r.openSegment(s)
		if err != nil {
			return err
		}
		spare := r.clean != nil && s.state == stateNext && r.clean.segment != s.no
		switch {
		case problem == nil:
		case spare:
			// It never held anything, so another will do.
			r.lost(s, 0, 0, 0, fmt.Errorf("nothing was in it: %w", problem))
			r.discard(s)
			continue
		default:
			r.doubtful(s, 0, problem)
		}
		kept = append(kept, s)
	}
	r.open = kept
	return nil
}

// discard gives up a segment that nothing was written to.
func (r *recovery) discard(s *segment) {
	r.unused = append(r.unused, s.name())
	if s.file != nil {
		_ = s.file.Close() // it is removed
		s.file = nil
	}
}

func (r *recovery) openSegment(s *segment) (problem, err error) {
	if r.d.o.ReadOnly {
		s.file, err = r.d.fs.Open(r.d.join(s.name()))
	} else {
		err = r.reopen(s)
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.absent = true
		return errors.New("the file is missing"), nil
	}
	if err != nil {
		return nil, err
	}
	if err := r.unreadable[s.name()]; err != nil && !r.d.o.ReadOnly {
		return nil, err // perhaps it can be read the next time, and then the log goes on
	}
	size, err := s.file.Size()
	if err != nil {
		return nil, err
	}
	if size != s.size { // nor does a writer change it before its manifest says full
		problem = damaged("the file has %d bytes, the manifest says %d", size, s.size)
	}
	return errors.Join(r.header(s), problem), nil
}

// needActive notices that there is no segment for the frames to come, which there always is.
func (r *recovery) needActive() {
	if n := len(r.segments); n == 0 || r.segments[n-1].state != stateActive {
		s := &segment{entry: entry{
			no: 1, generation: 1, state: stateActive, size: headerBytes, firstSeq: r.tip.seq + 1, firstPos: r.tip.pos + 1,
		}, end: headerBytes, absent: true}
		if n > 0 {
			s.no = r.segments[n-1].no + 1
		}
		s.table = newTable(s.firstSeq, s.firstPos)
		r.segments = append(r.segments, s)
		r.doubtful(s, 0, errors.New("the file is missing"))
	}
}

// findEpoch reads the epoch of the last frame, which a manifest that is lost knew.
func (r *recovery) findEpoch(ctx context.Context) error {
	if r.tip.epoch != 0 || r.tip.seq == 0 || len(r.segments) == 0 {
		return nil
	}
	for _, s := range slices.Backward(r.segments) {
		if s.absent || s.lastSeq < s.firstSeq {
			continue
		}
		v, err := r.d.view(ctx, s)
		if err != nil {
			return err
		}
		w := &window{f: v.file, limit: v.end, patient: true}
		_, h, _, err := r.d.frameAt(w, s.salt, v.frame(s.lastSeq).off)
		if err == nil {
			r.tip.epoch = h.Epoch
			return nil
		}
		if !errors.Is(err, errDamaged) {
			return err
		}
	}
	r.tip.epoch = math.MaxUint32 // higher than any that was counted
	return nil
}

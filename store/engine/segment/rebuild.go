package segment

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/annalsdb/annals"
)

// unfinished tells whether a directory without a manifest is one whose making was interrupted: no segment holds a frame.
func (r *recovery) unfinished() (bool, error) {
	for _, name := range r.catalog.segments {
		used, err := r.holdsFrames(name)
		if used || err != nil {
			return false, err
		}
	}
	return true, nil
}

// holdsFrames looks for anything that resembles a frame in a file.
func (r *recovery) holdsFrames(name string) (bool, error) {
	f, err := r.d.fs.Open(r.d.join(name))
	if err != nil {
		return false, err
	}
	size, err := f.Size()
	if err != nil {
		return false, errors.Join(err, f.Close())
	}
	at, err := (&window{f: f, limit: size}).find(0) // impatient: what cannot be read is not known to be unused
	return at >= 0, errors.Join(err, f.Close())
}

// outdated tells whether the manifest is not the last one that was written: a newer one is damaged, a segment has frames
// that it does not name, or one that it calls active is sealed. Files that it does not name and that hold nothing are unused.
func (r *recovery) outdated(m *manifest) (bool, error) {
	if m == nil {
		return true, nil
	}
	outdated := len(r.catalog.invalid) > 0
	known := byName(m.segments)
	for _, name := range r.catalog.segments {
		e, ok := known[name]
		if ok && e.state > stateActive {
			continue
		}
		if replaced, err := r.replaced(name, m.segments); err != nil {
			return false, err
		} else if replaced {
			r.unused = append(r.unused, name)
			continue
		}
		found, err := r.contradicts(name, e, ok)
		if err != nil {
			return false, err
		}
		outdated = outdated || found
	}
	return outdated, nil
}

// replaced tells whether a file that the manifest does not name is another generation of a sealed segment that it does name, and
// that is there: what a replacement left that was interrupted, before the manifest or after it. Both hold the same.
func (r *recovery) replaced(name string, entries []entry) (bool, error) {
	no, generation, _ := parseSegmentName(name)
	i := slices.IndexFunc(entries, func(e entry) bool { return e.no == no })
	if i < 0 || entries[i].state != stateSealed || entries[i].generation == generation {
		return false, nil
	}
	e := entries[i]
	t, sealed, err := r.trailerOf(e.name(), e.salt)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return sealed && t.sum == e.sum && t.size == e.size && t.last() == e.last(), err
}

func byName(entries []entry) map[string]entry {
	m := make(map[string]entry, len(entries))
	for _, e := range entries {
		m[e.name()] = e
	}
	return m
}

// contradicts tells whether a file shows that the manifest, which says e of it if it knows it, is not the last one.
func (r *recovery) contradicts(name string, e entry, known bool) (bool, error) {
	if known {
		_, sealed, err := r.trailerOf(name, e.salt)
		return sealed, err
	}
	used, err := r.holdsFrames(name)
	if err == nil && !used {
		r.unused = append(r.unused, name)
	}
	return used, err
}

// trailerOf reads the trailer of a file, if it has one that belongs to it.
func (r *recovery) trailerOf(name string, salt [16]byte) (entry, bool, error) {
	f, err := r.d.fs.Open(r.d.join(name))
	if err != nil {
		return entry{}, false, err
	}
	size, err := f.Size()
	if err != nil {
		return entry{}, false, errors.Join(err, f.Close())
	}
	t, err := readTrailer(f, size)
	if errors.Is(err, errDamaged) || err == nil && t.salt != salt {
		return entry{}, false, f.Close()
	}
	if err != nil {
		return entry{}, false, errors.Join(err, f.Close())
	}
	e := entry{
		generation: t.generation, state: stateSealed, salt: salt, size: size, bodyEnd: size - trailerBytes - t.footerSize,
		lastSeq: t.last.seq, lastPos: t.last.pos, lastHash: t.last.hash, sum: t.sum,
	}
	return e, e.bodyEnd >= headerBytes, f.Close()
}

// fromFiles lists the segments by their headers and trailers, with the help of what an older manifest says.
func (r *recovery) fromFiles(known []entry) ([]entry, error) {
	newest := map[uint64]entry{}
	named := byName(known)
	for _, name := range r.catalog.segments {
		e, ok, err := r.fromFile(name, named)
		if err != nil {
			return nil, err
		}
		if ok && e.supersedes(newest[e.no]) && !slices.Contains(r.unused, name) {
			newest[e.no] = e
		}
	}
	for _, e := range known {
		if _, ok := newest[e.no]; !ok {
			newest[e.no] = e // and its absence will be noticed
		}
	}
	entries := make([]entry, 0, len(newest))
	for _, e := range newest {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int { return int(int64(a.no - b.no)) })
	return joined(entries), nil
}

// supersedes tells which of two files of a segment counts: the newer one, unless only the other is sealed, since then it was to be
// replaced, and that was not finished.
func (e *entry) supersedes(other entry) bool {
	switch sealed := e.state == stateSealed; {
	case other.no == 0:
		return true
	case sealed != (other.state == stateSealed):
		return sealed
	}
	return e.generation > other.generation
}

func (r *recovery) fromFile(name string, named map[string]entry) (entry, bool, error) {
	known, isKnown := named[name]
	h, ok := r.headers[name]
	if !ok || h.store != r.d.identity.Store || h.incarnation != r.d.identity.Incarnation || segmentName(h.no, h.generation) != name {
		if isKnown {
			return known, true, nil
		}
		r.damage = append(r.damage, &annals.DataLossError{File: name, Reason: "the header of the segment does not verify, or belongs to another"})
		return entry{}, false, nil
	}
	e, sealed, err := r.trailerOf(name, h.salt)
	if err != nil {
		return entry{}, false, err
	}
	if !sealed {
		if isKnown && known.salt == h.salt {
			return known, true, nil
		}
		return entry{no: h.no, generation: h.generation, state: stateActive, salt: h.salt, size: h.capacity}, true, nil
	}
	e.no = h.no
	e.firstSeq, e.firstPos, err = r.firstOf(e, name)
	return e, true, err
}

// firstOf finds where a sealed segment begins: its footer says so, or its first frame. 0 if neither does.
func (r *recovery) firstOf(e entry, name string) (uint64, annals.Position, error) {
	f, err := r.d.fs.Open(r.d.join(name))
	if err != nil {
		return 0, 0, err
	}
	b := make([]byte, e.size-trailerBytes-e.bodyEnd)
	if _, err = f.ReadAt(b, e.bodyEnd); err == nil {
		var t *table
		if t, err = decodeFooter(b, e.bodyEnd); err == nil {
			return t.firstSeq, t.firstPos, f.Close()
		}
	}
	_, h, _, err := r.d.frameAt(&window{f: f, limit: e.bodyEnd, patient: true}, e.salt, headerBytes)
	if errors.Is(err, errDamaged) {
		return 0, 0, f.Close()
	}
	return h.Seq, h.FirstPosition, errors.Join(err, f.Close())
}

// joined makes a chain of the segments: what is missing in between gets an entry without a generation. One that is not
// sealed and precedes one that is, is full.
func joined(entries []entry) []entry {
	var chain []entry
	last := tip{}
	lastClosed := 0
	for i, e := range entries {
		if e.state > stateActive {
			lastClosed = i
		}
	}
	for i, e := range entries {
		if e.state <= stateActive && i < lastClosed {
			e = closedBy(e, entries[i+1], last)
		}
		if e.state <= stateActive {
			chain = append(chain, e)
			continue
		}
		if e.firstSeq == 0 {
			e.firstSeq, e.firstPos = last.seq+1, last.pos+1
		}
		if e.firstSeq > last.seq+1 {
			chain = append(chain, entry{
				no: e.no - 1, state: stateSealed, size: headerBytes, firstSeq: last.seq + 1, firstPos: last.pos + 1,
				lastSeq: e.firstSeq - 1, lastPos: e.firstPos - 1,
			})
		}
		chain = append(chain, e)
		last = e.last()
	}
	return chain
}

// closedBy is e as a full segment, given the sealed one that follows it.
func closedBy(e, next entry, last tip) entry {
	e.state, e.bodyEnd = stateFull, e.size
	e.firstSeq, e.firstPos = last.seq+1, last.pos+1
	e.lastSeq, e.lastPos = max(next.firstSeq, last.seq+1)-1, max(next.firstPos, last.pos+1)-1
	return e
}

package index

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/index/run"
)

// piece is a run and what the index knows of it.
type piece struct {
	x           *Index
	first, last uint64
	meta        run.Meta
	ids         idRange
	reader      *run.Reader
	file        io.Closer
	name        string // of the file; "" if the run is in memory
	sets        atomic.Int64
	// damaged says that it does not answer any more; gone that its file is to be removed when nobody uses it.
	damaged, gone atomic.Bool
	// How often it could not be made anew, and how often that is not tried again. For who mends it.
	failures, pause int
}

// errDamaged is the answer of a piece that has been found to be damaged.
var errDamaged = errors.New("index: the run is damaged")

// release ends the use of a run by a set.
func (p *piece) release() {
	if p.sets.Add(-1) > 0 {
		return
	}
	if p.reader != nil {
		p.reader.Drop()
	}
	if p.file != nil {
		_ = p.file.Close() // it was only read
	}
	if p.gone.Load() && p.name != "" {
		p.x.files.remove(p.name)
	}
}

// events is how many positions it covers.
func (p *piece) events() uint64 { return p.last - p.first + 1 }

func (p *piece) tail() Tail {
	return Tail{Position: p.last, Seq: p.meta.LastSeq, Hash: p.meta.LastHash, Epoch: p.meta.LastEpoch, Time: timeAt(p.meta.LastTime)}
}

// broken notes that the run does not answer: every position of it is a candidate until it has been made anew.
func (p *piece) broken(err error) {
	if p.damaged.Swap(true) {
		return
	}
	p.x.config.Logger.Warn("a part of the index is damaged; it is made anew from the log", "file", p.name, "first", p.first, "last", p.last, "error", err)
	p.x.noted.add(&DamageError{File: p.name, First: p.first, Last: p.last, Reason: err})
	p.x.builder.kick(&p.x.builder.mend)
}

// attempt reports whether to make it anew. Should that fail, for what the log has lost for instance, it is tried less and less often.
func (p *piece) attempt() bool {
	if p.pause > 0 {
		p.pause--
		return false
	}
	p.failures = min(p.failures+1, attemptsRarest)
	p.pause = 1<<p.failures - 1
	return true
}

// attemptsRarest bounds how rarely a run that could not be made anew is tried again: about once for so many powers of 2 of steps.
const attemptsRarest = 10

func (p *piece) excludes(it *item) bool {
	if p.damaged.Load() {
		return false
	}
	for i, t := range it.all {
		if i == 0 && isTimed(it.id) {
			if !p.ids.has(it.id) {
				return true
			}
			continue // such ids are not in the filter
		}
		if has, err := p.reader.MayHave(t); err == nil && !has {
			return true
		}
	}
	return false
}

// lacks reports whether it is certain, and cheap to know, that the run has no event with an id.
func (p *piece) lacks(k *Keys) bool {
	if p.damaged.Load() {
		return false
	}
	if isTimed(k.EventID) {
		return !p.ids.has(k.EventID)
	}
	has, err := p.reader.MayHave(k.id)
	return err == nil && !has
}

func (p *piece) list(t Term, r Range) (Cursor, error) {
	e, found, err := p.find(t)
	if err != nil || !found || e.Last <= r.After || e.First > r.Upto {
		return nil, err
	}
	return p.reader.Cursor(e, r.After, r.Upto, r.Backwards), nil
}

func (p *piece) find(t Term) (run.Entry, bool, error) {
	if p.damaged.Load() {
		return run.Entry{}, false, errDamaged
	}
	return p.reader.Find(t)
}

// stream is what the run says of a stream's term in r; without a cursor, nothing.
func (p *piece) stream(t Term, r Range) (Cursor, numbered, error) {
	if !p.damaged.Load() {
		if has, err := p.reader.MayHave(t); err == nil && !has {
			return nil, numbered{}, nil
		}
	}
	e, found, err := p.find(t)
	if err != nil || !found {
		return nil, numbered{}, err
	}
	n := numbered{first: annals.Revision(e.FirstRevision), last: annals.Revision(e.LastRevision), regular: e.Regular}
	return p.reader.Cursor(e, r.After, r.Upto, r.Backwards), n, nil
}

func (p *piece) nth(t Term, i int) (uint64, error) {
	e, found, err := p.find(t)
	if err == nil && !found {
		err = errDamaged
	}
	if err != nil {
		return 0, err
	}
	return p.reader.At(e, uint32(i))
}

// uptoTimeInRuns is [View.UptoTime] for what is not in memory.
func (v View) uptoTimeInRuns(nanos int64) Range {
	for _, p := range slices.Backward(v.set.runs) {
		if p.damaged.Load() {
			return Range{Upto: p.last}
		}
		low, high, err := p.reader.Until(nanos)
		if err != nil {
			p.broken(err)
			return Range{Upto: p.last}
		}
		if low >= p.first {
			return Range{After: low, Upto: high}
		}
	}
	return Range{}
}

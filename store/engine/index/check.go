package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/index/run"
)

// DamageError says that a part of the index is not that of the log. Nothing is lost: it is made anew from the log.
type DamageError struct {
	// File is the name of the run in the directory of the index, "" if it is in memory.
	File string
	// First and Last are the positions of the part.
	First, Last uint64
	// Reason is what is wrong with it. It matches the error of reading it, if there was one.
	Reason error
}

// Error names the part and the reason.
func (e *DamageError) Error() string {
	where := "in memory"
	if e.File != "" {
		where = e.File
	}
	return fmt.Sprintf("index: the part for positions %d to %d (%s) is damaged; nothing is lost, it is made anew from the log: %v", e.First, e.Last, where, e.Reason)
}

func (e *DamageError) Unwrap() error { return e.Reason }

// noted are parts that were found to be damaged while they were used. They may have been made anew since, and are listed by the
// next Check all the same: somebody should know that files decay.
type noted struct {
	mu   sync.Mutex
	list []*DamageError
}

// notedMax bounds how many are remembered.
const notedMax = 1000

func (n *noted) add(e *DamageError) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.list) < notedMax {
		n.list = append(n.list, e)
	}
}

// with adds those that are not among the parts that were found, and forgets them.
func (n *noted) with(found []*DamageError) []*DamageError {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.list {
		if !slices.ContainsFunc(found, func(f *DamageError) bool { return f.First == e.First && f.Last == e.Last }) {
			found = append(found, e)
		}
	}
	n.list = nil
	slices.SortFunc(found, func(a, b *DamageError) int { return cmp.Compare(a.First, b.First) })
	return found
}

// Check reads all of the index, up to the head, and compares it with the events of the log. Each part that differs is listed, and is
// made anew; so is each that was found to be damaged since the last Check. Events that the log has lost are not compared, nor is the part that they lie in. The error is that of ctx, or of
// reading the log.
//
// Of each part and of the events in it a sum is made over all pairs of a term and a position, and over the revisions of numbered
// streams: each is mixed to 64 bits and added, so that their order does not matter. Two sets of pairs that differ have
// the same count and the same sum by chance once in 2⁶⁴ times. That is enough against decay and mistakes; who knows the
// seed and forges a run can make the sums fit.
func (x *Index) Check(ctx context.Context, events Events) ([]*DamageError, error) {
	v := x.View()
	defer v.Release()
	var found []*DamageError
	for _, p := range v.set.runs {
		reason, err := p.check(ctx, events)
		if err != nil {
			return found, err
		}
		if reason != nil {
			found = append(found, &DamageError{File: p.name, First: p.first, Last: p.last, Reason: reason})
			p.broken(reason)
		}
	}
	for _, e := range v.set.epochs {
		last := v.lastOf(e)
		if last < e.first {
			continue
		}
		reason, err := v.checkEpoch(ctx, e, last, events)
		if err != nil {
			return found, err
		}
		if reason != nil { // there is no other: to open the store makes it anew
			found = append(found, &DamageError{First: e.first, Last: last, Reason: reason})
		}
	}
	return x.noted.with(found), nil
}

var (
	errPostings = errors.New("its positions are not those of the events")
	errNumbers  = errors.New("its revisions are not those of the events")
	errFilter   = errors.New("its filter leaves out what there is")
	errTimes    = errors.New("its times are not those of the events")
)

// sums are a fingerprint of a part of the index.
type sums struct {
	postings, postingsSum uint64
	numbers, numbersSum   uint64
}

func (s *sums) post(t Term, p uint64) {
	s.postings++
	s.postingsSum += mix(t, p, 0)
}

func (s *sums) number(t Term, p uint64, r annals.Revision) {
	s.numbers++
	s.numbersSum += mix(t, p, uint64(r)+1)
}

// mix spreads three numbers over 64 bits.
func mix(a, b, c uint64) uint64 {
	high, low := bits.Mul64(a^0x9e3779b97f4a7c15, b*0xd6e8feb86659fd93^c*0xa0761d6478bd642f^0xe7037ed1a0b428db)
	z := high ^ low ^ a
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *sums) compare(want *sums) error {
	switch {
	case s.postings != want.postings || s.postingsSum != want.postingsSum:
		return fmt.Errorf("%w: %d, of which there should be %d", errPostings, s.postings, want.postings)
	case s.numbers != want.numbers || s.numbersSum != want.numbersSum:
		return errNumbers
	}
	return nil
}

// ofLog adds what the log says of positions. Regular are the terms of streams whose revisions count; each may tell of an event what
// is wrong with it.
func ofLog(ctx context.Context, first, last uint64, events Events, regular func(Term) bool, each func(p uint64, d *Dated) error) (s sums, reason, err error) {
	p := first
	var terms []Term
	for d, err := range events(ctx, first, last) {
		if err != nil {
			return s, nil, err
		}
		terms = append(terms[:0], d.Keys.rest...)
		terms = append(terms, d.Keys.id, d.Keys.stream)
		for i, t := range terms {
			if !slices.Contains(terms[:i], t) { // two names of an event may have the same term
				s.post(t, p)
			}
		}
		if d.Keys.Stream != "" && regular(d.Keys.stream) {
			s.number(d.Keys.stream, p, d.Keys.Revision)
		}
		if reason == nil {
			reason = each(p, &d)
		}
		p++
	}
	if p != last+1 {
		return s, nil, fmt.Errorf("index: the log has events up to %d, and there should be some up to %d", p-1, last)
	}
	return s, reason, nil
}

// check compares a run with the log. The first error is what is wrong with the run.
func (p *piece) check(ctx context.Context, events Events) (reason, err error) {
	if p.damaged.Load() {
		return errDamaged, nil
	}
	if err := p.reader.Check(ctx); err != nil {
		return err, ctxErr(ctx)
	}
	got, irregular, err := p.sums(ctx)
	if err != nil {
		return err, ctxErr(ctx)
	}
	want, reason, err := ofLog(ctx, p.first, p.last, events, func(t Term) bool { return !irregular[t] }, p.checkEvent)
	if _, lost := errors.AsType[*annals.DataLossError](err); lost {
		return nil, nil // nobody can tell
	}
	if err != nil {
		return nil, err
	}
	if differs := got.compare(&want); differs != nil {
		reason = differs
	}
	return reason, nil
}

func ctxErr(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// sums are those of the run, and the numbered terms in it that say nothing of revisions.
func (p *piece) sums(ctx context.Context) (s sums, irregular map[Term]bool, err error) {
	irregular = map[Term]bool{}
	for e, err := range p.reader.Terms() {
		if err != nil {
			return s, nil, err
		}
		if err := ctxErr(ctx); err != nil {
			return s, nil, err
		}
		if !e.Regular {
			irregular[e.Term] = e.Numbered
		}
		c := p.reader.Cursor(e, p.first-1, p.last, false)
		revision := annals.Revision(e.FirstRevision)
		for at := c.Seek(0); at != run.Done; at = c.Seek(at + 1) {
			s.post(e.Term, at)
			if e.Regular {
				s.number(e.Term, at, revision)
				revision++
			}
		}
		if err := c.Err(); err != nil {
			return s, nil, err
		}
		if !irregular[e.Term] {
			delete(irregular, e.Term) // most are of no stream
		}
	}
	return s, irregular, nil
}

// checkEvent asks what would let a look-up pass the run by.
func (p *piece) checkEvent(at uint64, d *Dated) error {
	k := d.Keys
	for _, t := range k.rest {
		if has, err := p.reader.MayHave(t); err == nil && !has {
			return errFilter
		}
	}
	if has, err := p.reader.MayHave(k.stream); err == nil && !has {
		return errFilter
	}
	if isTimed(k.EventID) {
		if !p.ids.has(k.EventID) {
			return errFilter
		}
	} else if has, err := p.reader.MayHave(k.id); err == nil && !has {
		return errFilter
	}
	if low, _, err := p.reader.Until(d.Time - 1); err == nil && low > at {
		return errTimes
	}
	if _, high, err := p.reader.Until(d.Time); err == nil && high < at {
		return errTimes
	}
	return nil
}

// checkEpoch compares an epoch with the log.
func (v View) checkEpoch(ctx context.Context, e *epoch, last uint64, events Events) (reason, err error) {
	got, irregular := v.epochSums(e, last)
	want, reason, err := ofLog(ctx, e.first, last, events, func(t Term) bool { return !irregular[t] }, func(uint64, *Dated) error { return nil })
	if _, lost := errors.AsType[*annals.DataLossError](err); lost {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if differs := got.compare(&want); differs != nil {
		reason = differs
	}
	return reason, nil
}

// epochSums are those of an epoch up to a position. Nothing is added while they are made.
func (v View) epochSums(e *epoch, last uint64) (s sums, irregular map[Term]bool) {
	v.x.mu.RLock()
	defer v.x.mu.RUnlock()
	irregular = map[Term]bool{}
	for l := range e.sorted {
		d := e.describe(l)
		if d.Numbered && !d.Regular {
			irregular[l.term] = true
		}
		for n, o := range within(e.first, l.offsets, 0, last) {
			s.post(l.term, e.first+uint64(o))
			if d.Regular {
				s.number(l.term, e.first+uint64(o), annals.Revision(d.FirstRevision)+annals.Revision(n))
			}
		}
	}
	return s, irregular
}

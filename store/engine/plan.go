package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/frame"
	"github.com/annalsdb/annals/store/engine/index"
)

// How a walk is read is decided for a handful of candidates at a time. Where they lie so close that every few positions
// are one, the log is read from end to end, which takes a fraction of a microsecond for each record; else record by record,
// which takes about one. Both give the same events.
const (
	// scanFrom is how dense candidates must be, one in so many.
	scanFrom = 4
	// The first handful is small, for those who want few events.
	handfulFirst, handfulMost = 16, 4096
	// A scan backwards reads forwards, window by window, and keeps each in memory.
	windowMost = 1024
)

// candidates yields the records in part that may match q, in its direction: all that do, and some that do not. Limit is how many
// are wanted, 0 for all. The pointer is lent. An error comes last, with nil.
func (s *Store) candidates(ctx context.Context, q annals.Query, part cut, limit int, to lease, yield func(*frame.Record, error) bool) {
	view := s.index.View()
	defer view.Release()
	plan := s.index.Hasher().Plan(q)
	w := walker{store: s, ctx: ctx, to: to, yield: yield, size: handfulFirst, bounded: limit > 0 && limit <= handfulFirst}
	if limit > 0 {
		w.size = min(w.size, limit)
	}
	for p := range view.Walk(&plan, part.asRange()) {
		if !w.part(p) {
			return
		}
	}
	w.read(part.backwards)
}

// walker reads the candidates of a walk.
type walker struct {
	store   *Store
	ctx     context.Context //nolint:containedctx // it lives for one call
	to      lease
	yield   func(*frame.Record, error) bool
	record  frame.Record // what is lent of it is the place, not the content
	handful []uint64     // positions, in the direction of the walk
	size    int          // of the next handful
	bounded bool         // few are wanted
}

// give yields a record that belongs to the reader.
func (w *walker) give(r frame.Record, err error) bool {
	if err != nil {
		w.yield(nil, err)
		return false
	}
	w.record = r
	return w.yield(&w.record, nil)
}

// part reads one part, and tells whether to go on.
func (w *walker) part(p index.Part) bool {
	if p.Everything && !w.bounded {
		return w.read(p.Backwards) && w.scan(p.After, p.Upto, p.Backwards)
	}
	for key := p.Seek(0); key != index.Done; key = p.Seek(key + 1) {
		w.handful = append(w.handful, index.Position(key, p.Backwards))
		if len(w.handful) < w.size {
			continue
		}
		w.size = min(4*w.size, handfulMost)
		if !w.read(p.Backwards) {
			return false
		}
	}
	return true // what is left is read with what the next part has
}

// read reads the handful, and tells whether to go on.
func (w *walker) read(backwards bool) bool {
	n := len(w.handful)
	if n == 0 {
		return true
	}
	defer func() { w.handful = w.handful[:0] }()
	low, high := w.handful[0], w.handful[n-1]
	if backwards {
		low, high = high, low
	}
	if n > 1 && (high-low+1)/uint64(n) < scanFrom && w.store.config.plan != lookUpAlways || w.store.config.plan == scanAlways {
		return w.scan(low-1, high, backwards)
	}
	for r, err := range w.store.records.Lookup(w.ctx, w.positions) {
		if !w.give(r, err) {
			return false
		}
	}
	return true
}

// positions yields the handful.
func (w *walker) positions(yield func(annals.Position) bool) {
	for _, p := range w.handful {
		if !yield(annals.Position(p)) {
			return
		}
	}
}

// scan reads all records in (after, upto].
func (w *walker) scan(after, upto uint64, backwards bool) bool {
	if backwards {
		return w.scanBackwards(after, upto)
	}
	if w.to == lent {
		for r, err := range w.store.records.ScanLent(w.ctx, annals.Position(after), annals.Position(upto)) {
			if !w.yield(r, err) || err != nil {
				return false
			}
		}
		return true
	}
	for r, err := range w.store.records.Scan(w.ctx, annals.Position(after), annals.Position(upto)) {
		if !w.give(r, err) {
			return false
		}
	}
	return true
}

// scanBackwards reads all records, in windows that grow.
func (w *walker) scanBackwards(after, upto uint64) bool {
	var window []frame.Record
	for size := uint64(handfulFirst); upto > after; size = min(2*size, windowMost) {
		from := upto - min(size, upto-after)
		window = window[:0]
		var failed error
		for r, err := range w.store.records.Scan(w.ctx, annals.Position(from), annals.Position(upto)) {
			if failed = err; err != nil {
				break
			}
			window = append(window, r)
		}
		if failed != nil {
			w.behind(from, upto, failed)
			return false
		}
		for _, r := range slices.Backward(window) {
			if !w.give(r, nil) {
				return false
			}
		}
		upto = from
	}
	return true
}

// behind reads the records of a window in which a scan failed one by one, backwards, down to the one that fails.
func (w *walker) behind(from, upto uint64, failed error) {
	var loss *annals.DataLossError
	for p := upto; p > from && errors.As(failed, &loss); p-- {
		if r, err := w.store.records.Record(w.ctx, annals.Position(p)); !w.give(r, err) {
			return
		}
	}
	w.yield(nil, failed)
}

// planChoice forces a way to read, for tests: it may change speed only.
type planChoice uint8

const (
	planFree planChoice = iota
	lookUpAlways
	scanAlways
)

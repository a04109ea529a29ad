package run

import "io"

// Writer writes a run, front to back. It holds less than 3 MiB, however large the run is, and 8 bytes for each
// 4,096 positions of it. Once a method has failed the file is worthless, and all that follow fail with the same error. It is not
// safe for concurrent use.
type Writer struct {
	meta     Meta
	out      *output
	terms    termsBuilder
	postings postingsBuilder
	filter   filterBuilder
	times    []int64

	list  List
	open  bool
	any   bool // a list was begun
	count uint32
	first uint32
	last  uint32
	kept  []uint32 // the positions of the open list, while they are few
	long  bool     // they are not, and are with postings
	inner []byte
	body  []byte
	lists uint64
	total uint64
	err   error
	ended bool
}

// NewWriter begins a run. It writes to w only by Write, in pieces of 64 KiB.
func NewWriter(w io.Writer, m Meta) (*Writer, error) {
	if p := m.problem(); p != "" {
		return nil, misuse("%s", p)
	}
	out := &output{w: w, seed: m.seed(), buf: make([]byte, 0, outputBytes)}
	return &Writer{
		meta: m, out: out, kept: make([]uint32, 0, inlineMax),
		terms: termsBuilder{
			out: out, tree: builder{out: out, kind: kindTermTree, fanout: nodeItems}, valueBytes: m.valueBytes(),
		},
		postings: postingsBuilder{out: out, tree: builder{out: out, kind: kindListTree, fanout: nodeItems}},
		filter:   filterBuilder{out: out, tree: builder{out: out, kind: kindFilters, fanout: nodeItems}, each: filterTerms},
	}, nil
}

// fail remembers the first error.
func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = err
	}
	return w.err
}

// Begin begins a list. Its term has to be above that of the list before.
func (w *Writer) Begin(l List) error {
	switch {
	case w.err != nil:
		return w.err
	case w.open || w.ended:
		return w.fail(misuse("a list begins within another, or behind the end"))
	case w.any && l.Term <= w.list.Term:
		return w.fail(misuse("terms do not ascend"))
	case !l.Numbered && (l.Regular || l.FirstRevision != 0 || l.LastRevision != 0):
		return w.fail(misuse("revisions of a list that is not numbered"))
	case l.Regular && l.LastRevision < l.FirstRevision:
		return w.fail(misuse("revisions do not ascend"))
	}
	w.list, w.open, w.any, w.count, w.long, w.kept = l, true, true, 0, false, w.kept[:0]
	return nil
}

// Add adds positions to the list, counted from Meta.First. They ascend, also from call to call.
func (w *Writer) Add(positions []uint32) error {
	if w.err != nil {
		return w.err
	}
	if len(positions) == 0 {
		return nil
	}
	if !w.open {
		return w.fail(misuse("positions without a list"))
	}
	if !ascends(positions, w.last, w.count > 0) || uint64(positions[len(positions)-1]) >= w.meta.Events() {
		return w.fail(misuse("positions do not ascend, or lie outside of the run"))
	}
	if w.count == 0 {
		w.first = positions[0]
	}
	w.count += uint32(len(positions))
	w.last = positions[len(positions)-1]
	if w.long {
		return w.failing(w.postings.add(positions))
	}
	if len(w.kept)+len(positions) <= inlineMax {
		w.kept = append(w.kept, positions...)
		return nil
	}
	return w.failing(w.lengthen(positions))
}

func (w *Writer) failing(err error) error {
	if err != nil {
		return w.fail(err)
	}
	return nil
}

func ascends(positions []uint32, last uint32, follows bool) bool {
	if follows && positions[0] <= last {
		return false
	}
	for i := 1; i < len(positions); i++ {
		if positions[i] <= positions[i-1] {
			return false
		}
	}
	return true
}

// lengthen moves the list to blocks of its own, and adds to it.
func (w *Writer) lengthen(positions []uint32) error {
	w.long = true
	w.postings.begin()
	if err := w.postings.add(w.kept); err != nil {
		return err
	}
	return w.postings.add(positions)
}

// End ends the list. It must not be empty.
func (w *Writer) End() error {
	switch {
	case w.err != nil:
		return w.err
	case !w.open || w.count == 0:
		return w.fail(misuse("the end of a list that is empty or was not begun"))
	case w.list.Regular && w.list.LastRevision-w.list.FirstRevision != uint64(w.count-1):
		return w.fail(misuse("%d positions from revision %d to %d", w.count, w.list.FirstRevision, w.list.LastRevision))
	}
	w.open = false
	w.lists++
	w.total += uint64(w.count)
	return w.failing(w.end())
}

func (w *Writer) end() error {
	if w.list.Filter {
		if err := w.filter.add(w.list.Term); err != nil {
			return err
		}
	}
	if w.count == 1 && !w.list.Numbered {
		return w.terms.add(w.list.Term, w.list.Filter, w.first, nil)
	}
	if !w.long && w.count > 2 {
		if w.inner = appendInner(w.inner[:0], w.kept); len(w.inner) > inlineBytesMax {
			if err := w.lengthen(nil); err != nil {
				return err
			}
		}
	}
	w.body = appendBody(w.body[:0], &w.list, w.count, w.first, w.last, w.long)
	switch {
	case w.long:
		r, err := w.postings.finish()
		if err != nil {
			return err
		}
		w.body = append(le.AppendUint32(w.body, r.block), byte(r.levels))
	case w.count > 2:
		w.body = append(w.body, w.inner...)
	}
	return w.terms.add(w.list.Term, w.list.Filter, 0, w.body)
}

// Times adds when positions were written, in nanoseconds since 1970: those in the run that are multiples of [TimesEvery],
// in order. They do not descend. It can be called several times, at any time before [Writer.Finish].
func (w *Writer) Times(nanos ...int64) error {
	if w.err != nil {
		return w.err
	}
	last := w.meta.FirstTime
	if n := len(w.times); n > 0 {
		last = w.times[n-1]
	}
	for _, t := range nanos {
		if t < last || t > w.meta.LastTime {
			return w.fail(misuse("times descend, or lie outside of the run's"))
		}
		last = t
	}
	w.times = append(w.times, nanos...)
	return nil
}

// Finish writes what is left, and gives the size of the file. It is not synced.
func (w *Writer) Finish() (size int64, err error) {
	switch {
	case w.err != nil:
		return 0, w.err
	case w.open || w.ended:
		return 0, w.fail(misuse("the end of a run within a list, or behind the end"))
	case uint64(len(w.times)) != w.meta.timeCount():
		return 0, w.fail(misuse("%d times, there have to be %d", len(w.times), w.meta.timeCount()))
	}
	w.ended = true
	if err := w.finish(); err != nil {
		return 0, w.fail(err)
	}
	return int64(w.out.next) * blockBytes, nil
}

func (w *Writer) finish() error {
	t := trailer{meta: w.meta, terms: w.lists, positions: w.total, filtered: w.filter.total}
	var err error
	if t.dictionary, err = w.terms.finish(); err != nil {
		return err
	}
	if t.filters, err = w.filter.finish(); err != nil {
		return err
	}
	if t.times, err = emitTimes(w.out, w.times); err != nil {
		return err
	}
	t.dictionaryBlocks, t.filterCount, t.timeCount = w.terms.blocks, w.filter.count, uint32(len(w.times))
	t.sums, t.blocks = w.out.sums, w.out.next+1
	var b block
	t.encode(&b)
	if _, err := w.out.emitSeeded(&b, 0); err != nil {
		return err
	}
	return w.out.flush()
}

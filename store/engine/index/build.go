package index

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"sort"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/store/engine/index/run"
)

// write writes a whole epoch, which does not change any more, as a run.
func (e *epoch) write(w io.Writer, c *Config) (size int64, err error) {
	m := e.meta(c)
	out, err := run.NewWriter(w, m)
	if err != nil {
		return 0, err
	}
	for l := range e.sorted {
		if err := out.Begin(e.describe(l)); err != nil {
			return 0, err
		}
		if err := out.Add(l.offsets); err != nil {
			return 0, err
		}
		if err := out.End(); err != nil {
			return 0, err
		}
	}
	for p := e.first + (run.TimesEvery-e.first%run.TimesEvery)%run.TimesEvery; p <= e.last; p += run.TimesEvery {
		if err := out.Times(e.timeOf(p)); err != nil {
			return 0, err
		}
	}
	return out.Finish()
}

func (e *epoch) meta(c *Config) run.Meta {
	m := run.Meta{
		Store: c.owner(), Incarnation: c.Identity.Incarnation, First: e.first, Last: e.last,
		FirstSeq: e.firstSeq, LastSeq: e.tail.Seq, LastHash: e.tail.Hash, LastEpoch: e.tail.Epoch,
		FirstTime: e.frames[0].nanos, LastTime: e.frames[len(e.frames)-1].nanos,
	}
	m.IDLow, m.IDHigh = e.ids.bounds()
	return m
}

// describe is what a run says of a list beside its positions.
func (e *epoch) describe(l *list) run.List {
	d := run.List{Term: l.term, Filter: l.named}
	if l.stream == 0 {
		return d
	}
	s := &e.shard(l.term).streams[l.stream-1]
	d.Numbered, d.FirstRevision, d.LastRevision = true, uint64(s.first), uint64(s.last)
	d.Regular = s.regular && s.more == 0
	return d
}

// timeOf is when a position was written.
func (e *epoch) timeOf(p uint64) int64 {
	i := sort.Search(len(e.frames), func(i int) bool { return e.frames[i].last >= p })
	return e.frames[i].nanos
}

// sorted yields the lists by term. The shards are in that order.
func (e *epoch) sorted(yield func(*list) bool) {
	var order []slot
	for i := range e.shards {
		s := &e.shards[i]
		order = order[:0]
		for n := range s.lists {
			order = append(order, slot{term: s.lists[n].term, list: uint32(n)})
		}
		slices.SortFunc(order, func(a, b slot) int { return cmp.Compare(a.term, b.term) })
		for _, o := range order {
			if !yield(&s.lists[o.list]) {
				return
			}
		}
	}
}

// bounds are those of a run's ids: the first is above the second if there is none.
func (r *idRange) bounds() (low, high [16]byte) {
	if r.any {
		return r.low, r.high
	}
	for i := range low {
		low[i] = 0xff
	}
	return low, high
}

func boundsOf(m *run.Meta) idRange {
	low, high := annals.ID(m.IDLow), annals.ID(m.IDHigh)
	return idRange{low: low, high: high, any: bytes.Compare(low[:], high[:]) <= 0}
}

func (r *idRange) has(id annals.ID) bool {
	return r.any && !lessID(id, r.low) && !lessID(r.high, id)
}

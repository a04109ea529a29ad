package run

import (
	"context"
	"hash/crc32"
	"sync"

	"github.com/FastFilter/xorfilter"
)

// Check reads the whole file and verifies every byte of it, and that what it says fits together: that trees lead to all
// that there is, in order, that counts are right, and that the filter has what it should. It returns [ErrDamaged] if
// something is not as it should be, the file's error if it cannot be read, and the cause when ctx is cancelled. It takes as
// much memory as [Merge] of one run.
func (r *Reader) Check(ctx context.Context) error {
	t, err := readTrailer(r.f, r.size)
	if err != nil {
		return err
	}
	if *t != *r.trailer {
		return damaged(r.trailer.blocks-1, "the trailer changed")
	}
	c := check{r: r}
	if err := c.blocks(ctx); err != nil {
		return err
	}
	if err := c.lists(ctx); err != nil {
		return err
	}
	return c.times()
}

type check struct {
	r      *Reader
	kinds  [kindTrailer + 1]uint32 // how many blocks there are of each
	filter checkFilter
}

var spareBuffers = sync.Pool{New: func() any { return new([outputBytes]byte) }}

// blocks verifies each block by itself.
func (c *check) blocks(ctx context.Context) error {
	buf, _ := spareBuffers.Get().(*[outputBytes]byte)
	defer spareBuffers.Put(buf)
	sums, end := uint32(0), c.r.trailer.blocks-1
	for number := uint32(0); number < end; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		part := buf[:min(outputBytes, uint64(end-number)*blockBytes)]
		if err := readFull(c.r.f, part, number); err != nil {
			return err
		}
		for ; len(part) > 0; part = part[blockBytes:] {
			b := (*block)(part)
			if b.crc() != b.sum(c.r.seed, number) {
				return damaged(number, "checksum")
			}
			if b.kind() == 0 || b.kind() >= kindTrailer {
				return damaged(number, "kind %d", b.kind())
			}
			c.kinds[b.kind()]++
			sums = crc32.Update(sums, castagnoli, b[payloadBytes+4:])
			number++
		}
	}
	if sums != c.r.trailer.sums {
		return damaged(end, "checksum of all blocks")
	}
	return nil
}

// lists verifies the trees, and what the trailer says of them.
func (c *check) lists(ctx context.Context) error {
	s := c.r.scan()
	defer s.close()
	if err := c.filter.begin(c.r); err != nil {
		return err
	}
	t := c.r.trailer
	var got trailer
	for {
		if got.terms%checkEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		ok, err := s.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		got.terms++
		got.positions += uint64(s.entry.Count)
		if s.entry.Filter {
			got.filtered++
			if err := c.filter.has(s.entry.Term); err != nil {
				return err
			}
		}
		err = s.positions(func([]uint32) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if got.terms != t.terms || got.positions != t.positions || got.filtered != t.filtered {
		return damaged(t.blocks-1, "%d terms, %d positions and %d terms in filters, which the trailer does not say",
			got.terms, got.positions, got.filtered)
	}
	if c.kinds[kindTerms] != s.termBlocks || s.termBlocks != t.dictionaryBlocks || c.kinds[kindPostings] != s.listBlocks {
		return damaged(t.blocks-1, "blocks to which no tree leads")
	}
	return c.filter.end()
}

// checkFilter goes over the filters beside the terms.
type checkFilter struct {
	r      *Reader
	first  []uint64
	blocks []uint32
	now    *xorfilter.BinaryFuse[uint8]
	number uint32 // the block of the one that is looked at
	left   uint32 // how many terms it should still have
}

func (c *checkFilter) begin(r *Reader) (err error) {
	c.r = r
	if r.trailer.filterCount == 0 {
		return nil
	}
	c.first, c.blocks, err = r.leaves(r.trailer.filters, kindFilters, int(r.trailer.filterCount))
	return err
}

// has verifies that the next term is in its filter.
func (c *checkFilter) has(term uint64) (err error) {
	if c.left == 0 {
		if len(c.blocks) == 0 || c.r.trailer.filters.levels > 0 && c.first[0] != term {
			return damaged(c.r.trailer.blocks-1, "no filter has term %016x", term)
		}
		c.number = c.blocks[0]
		if c.now, c.left, err = c.r.readFilter(c.number, nil); err != nil {
			return err
		}
		c.first, c.blocks = c.first[1:], c.blocks[1:]
	}
	if c.left == 0 || !c.now.Contains(term) {
		return damaged(c.number, "the filter does not have term %016x", term)
	}
	c.left--
	return nil
}

func (c *checkFilter) end() error {
	if c.left > 0 || len(c.blocks) > 0 {
		return damaged(c.r.trailer.blocks-1, "filters of terms that there are not")
	}
	return nil
}

// times verifies that the times do not descend.
func (c *check) times() error {
	m := &c.r.trailer.meta
	last := m.FirstTime
	return c.r.eachTime(func(t int64) error {
		if t < last || t > m.LastTime {
			return damaged(c.r.trailer.times, "times descend")
		}
		last = t
		return nil
	})
}

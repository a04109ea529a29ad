package run

// TimesEvery is the distance of the positions whose time the file says: those that are multiples of it.
const TimesEvery = 4096

const timesPerBlock = payloadBytes / 8

// firstTimed is the first position whose time the file says, if there is one.
func (m *Meta) firstTimed() uint64 { return (m.First-1)/TimesEvery*TimesEvery + TimesEvery }

func (m *Meta) timeCount() uint64 {
	if first := m.firstTimed(); first >= m.First && first <= m.Last {
		return (m.Last-first)/TimesEvery + 1
	}
	return 0
}

// emitTimes writes the times.
//
//	times   count times of 8 bytes, in nanoseconds since 1970: of the positions that are multiples of 4096
func emitTimes(out *output, times []int64) (first uint32, err error) {
	first = none
	for len(times) > 0 {
		var b block
		n := min(len(times), timesPerBlock)
		for i, t := range times[:n] {
			le.PutUint64(b[i*8:], uint64(t))
		}
		times = times[n:]
		b.setKind(kindTimes)
		b.setCount(n)
		number, err := out.emit(&b)
		if err != nil {
			return 0, err
		}
		if first == none {
			first = number
		}
	}
	return first, nil
}

// Until says where the log stood at a time: the last position that was written at t or before is not below low and not
// above high. Both are First-1 if all of the run is later, and Last if none is. In between it takes records to tell.
func (r *Reader) Until(t int64) (low, high uint64, err error) {
	m := &r.trailer.meta
	switch {
	case t < m.FirstTime:
		return m.First - 1, m.First - 1, nil
	case t >= m.LastTime:
		return m.Last, m.Last, nil
	}
	n, err := r.timesUntil(t)
	if err != nil {
		return 0, 0, err
	}
	low, high = m.First, m.Last
	if n > 0 {
		low = m.firstTimed() + uint64(n-1)*TimesEvery
	}
	if n < r.trailer.timeCount {
		high = m.firstTimed() + uint64(n)*TimesEvery - 1
	}
	return low, high, nil
}

// timesUntil is how many of the times are not after t.
func (r *Reader) timesUntil(t int64) (uint32, error) {
	low, high := uint32(0), r.trailer.timeCount
	for low < high {
		middle := low + (high-low)/2
		at := middle / timesPerBlock
		b, err := r.load(r.trailer.times+at, kindTimes)
		if err != nil {
			return 0, err
		}
		// All of the block at once: the search goes on in it, or leaves it.
		from, to := max(low, at*timesPerBlock), min(high, (at+1)*timesPerBlock)
		n := from + uint32(search(int(to-from), func(i int) bool {
			return int64(le.Uint64(b[(from-at*timesPerBlock+uint32(i))*8:])) > t
		}))
		r.free(b)
		if n > from {
			low = n
		}
		if n < to {
			high = n
		}
	}
	return low, nil
}

// eachTime gives the times of the positions that are multiples of [TimesEvery], in order.
func (r *Reader) eachTime(yield func(int64) error) error {
	b := new(block)
	for i := uint32(0); i < r.trailer.timeCount; i += timesPerBlock {
		number := r.trailer.times + i/timesPerBlock
		if err := r.read(b, number, kindTimes); err != nil {
			return err
		}
		n := int(min(r.trailer.timeCount-i, timesPerBlock))
		if b.count() != n {
			return damaged(number, "the number of times")
		}
		for j := range n {
			if err := yield(int64(le.Uint64(b[j*8:]))); err != nil {
				return err
			}
		}
	}
	return nil
}

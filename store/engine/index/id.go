package index

// FindID is the position, up to the view's head, of the event that has the id and the stream of these keys; 0 if there is
// none. Same reads a candidate and says whether it is that event.
func (v View) FindID(k *Keys, same func(position uint64) (bool, error)) (uint64, error) {
	for i := len(v.set.epochs) - 1; i >= 0; i-- { //nolint:modernize // an iterator would be allocated, once for each append
		e := v.set.epochs[i]
		offsets, base := v.list(e, k.id)
		for _, o := range within(base, offsets, 0, v.head) {
			if !v.has(e, k.stream, base+uint64(o)) {
				continue
			}
			if found, err := same(base + uint64(o)); found || err != nil {
				return base + uint64(o), err
			}
		}
	}
	for i := len(v.set.runs) - 1; i >= 0; i-- { //nolint:modernize // the same
		run := v.set.runs[i]
		if run.lacks(k) { // most often
			continue
		}
		plan := Plan{items: []item{{id: k.EventID, all: []Term{k.id, k.stream}}}}
		part, some := makePart(run, &plan, Range{After: run.first - 1, Upto: min(run.last, v.head)})
		if !some {
			continue
		}
		for p := part.Seek(0); p != Done; p = part.Seek(p + 1) {
			if found, err := same(p); found || err != nil {
				return p, err
			}
		}
	}
	return 0, nil
}

// has reports whether a position is in the list of a term.
func (v View) has(e *epoch, t Term, p uint64) bool {
	offsets, base := v.list(e, t)
	return len(within(base, offsets, p-1, p)) == 1
}

package run_test

import (
	"bytes"
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/annalsdb/annals/store/engine/index/run"
)

func TestAWriterRefusesWhatItCannotWrite(t *testing.T) {
	t.Parallel()
	begin := func(w *run.Writer, l run.List) error { return w.Begin(l) }
	add := func(w *run.Writer, p ...uint32) error { return errors.Join(begin(w, run.List{Term: 1}), w.Add(p)) }
	for name, do := range map[string]func(w *run.Writer) error{
		"the same term twice": func(w *run.Writer) error {
			return errors.Join(add(w, 1), w.End(), begin(w, run.List{Term: 1}))
		},
		"a term below the last": func(w *run.Writer) error {
			return errors.Join(add(w, 1), w.End(), begin(w, run.List{Term: 0}))
		},
		"a list within another":             func(w *run.Writer) error { return errors.Join(add(w, 1), begin(w, run.List{Term: 2})) },
		"the end of nothing":                func(w *run.Writer) error { return w.End() },
		"an empty list":                     func(w *run.Writer) error { return errors.Join(begin(w, run.List{Term: 1}), w.End()) },
		"positions of nothing":              func(w *run.Writer) error { return w.Add([]uint32{1}) },
		"positions that descend":            func(w *run.Writer) error { return add(w, 2, 1) },
		"the same position twice":           func(w *run.Writer) error { return add(w, 2, 2) },
		"the same position in another call": func(w *run.Writer) error { return errors.Join(add(w, 2), w.Add([]uint32{2})) },
		"a position behind the last":        func(w *run.Writer) error { return add(w, 8192) },
		"revisions without a stream":        func(w *run.Writer) error { return begin(w, run.List{Term: 1, LastRevision: 1}) },
		"a regular list that is no stream":  func(w *run.Writer) error { return begin(w, run.List{Term: 1, Regular: true}) },
		"revisions that descend":            func(w *run.Writer) error { return begin(w, run.List{Numbered: true, Regular: true, FirstRevision: 1}) },
		"another number of revisions": func(w *run.Writer) error {
			return errors.Join(w.Begin(run.List{Numbered: true, Regular: true, LastRevision: 1}), w.Add([]uint32{1}), w.End())
		},
		"the end of the run within a list": func(w *run.Writer) error {
			return errors.Join(w.Times(timeOf(4096), timeOf(8192)), add(w, 2), finish(w))
		},
		"the end of the run without times": finish,
		"too many times": func(w *run.Writer) error {
			return errors.Join(w.Times(timeOf(4096), timeOf(8192), timeOf(8192)), finish(w))
		},
		"a time before the first":      func(w *run.Writer) error { return w.Times(-1) },
		"a time before the one before": func(w *run.Writer) error { return w.Times(timeOf(4096), timeOf(4092)) },
		"a time behind the last":       func(w *run.Writer) error { return w.Times(timeOf(9000)) },
		"a list after the end": func(w *run.Writer) error {
			return errors.Join(w.Times(timeOf(4096), timeOf(8192)), mustFinish(w), add(w, 1))
		},
		"the end after the end": func(w *run.Writer) error {
			return errors.Join(w.Times(timeOf(4096), timeOf(8192)), mustFinish(w), finish(w))
		},
	} {
		w, err := run.NewWriter(&bytes.Buffer{}, meta(1, 8192))
		must(t, err)
		if err := do(w); !errors.Is(err, run.ErrMisuse) {
			t.Errorf("%s: got %v, want ErrMisuse", name, err)
		}
		if err := finish(w); !errors.Is(err, run.ErrMisuse) {
			t.Errorf("%s: the run was finished after it, with %v", name, err)
		}
	}
	for name, change := range map[string]func(*run.Meta){
		"no first position":       func(m *run.Meta) { m.First = 0 },
		"a last before the first": func(m *run.Meta) { m.Last = 0 },
		"too many positions":      func(m *run.Meta) { m.Last = m.First + run.EventsMax },
		"times that descend":      func(m *run.Meta) { m.LastTime = m.FirstTime - 1 },
	} {
		m := meta(1, 8192)
		change(&m)
		if _, err := run.NewWriter(&bytes.Buffer{}, m); !errors.Is(err, run.ErrMisuse) {
			t.Errorf("%s: got %v, want ErrMisuse", name, err)
		}
	}
}

func finish(w *run.Writer) error {
	_, err := w.Finish()
	return err
}

// mustFinish is not the error that is waited for.
func mustFinish(w *run.Writer) error {
	if err := finish(w); err != nil {
		panic(err)
	}
	return nil
}

// full is a device with room for so many bytes.
type full struct{ left int }

func (f *full) Write(b []byte) (int, error) {
	if n := min(f.left, len(b)); n < len(b) {
		f.left = 0
		return n, syscall.ENOSPC
	}
	f.left -= len(b)
	return len(b), nil
}

func TestAWriterTellsThatTheDeviceIsFull(t *testing.T) {
	t.Parallel()
	x := &index{meta: meta(1, 100_000)}
	x.times = timesOf(x.meta)
	all := make([]uint32, 100_000)
	for i := range all {
		all[i] = uint32(i)
	}
	sparse := slices.Collect(func(yield func(uint32) bool) {
		for p := uint32(0); p < 100_000 && yield(p); p += 3 + p%7 {
		}
	})
	for i := range uint64(2000) {
		l := list{List: run.List{Term: i << 32, Filter: true}, positions: all[i : i+1]}
		if i%20 == 0 {
			l.positions = sparse
		}
		x.lists = append(x.lists, l)
	}
	size := len(x.build(t, true))
	for room := 0; room < size; room += size/20 + 1 {
		w, err := run.NewWriter(&full{left: room}, x.meta)
		must(t, err)
		w.Small(3, 100)
		for _, l := range x.lists {
			err = errors.Join(w.Begin(l.List), w.Add(l.positions), w.End())
			if err != nil {
				break
			}
		}
		if err == nil {
			err = errors.Join(w.Times(x.times...), finish(w))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("with room for %d of %d: got %v", room, size, err)
		}
		if err := finish(w); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("then finished with %v", err)
		}
	}
}

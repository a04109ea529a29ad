package index_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/annalsdb/annals"
	"github.com/annalsdb/annals/internal/vfs"
	"github.com/annalsdb/annals/store/engine/index"
	"github.com/annalsdb/annals/store/engine/index/run"
)

func (r *rig) verify() []*index.DamageError {
	r.Helper()
	found, err := r.x.Check(r.Context(), r.events)
	if err != nil {
		r.Fatal(err)
	}
	return found
}

func TestAnIndexThatIsRightIsFoundToBe(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		r := onFiles(t, seed, vfs.NewMem(), 7)
		r.names = 1 + int(seed)*3
		for range 40 {
			r.frame(1 + r.IntN(9))
		}
		if found := r.verify(); len(found) > 0 {
			t.Error(found)
		}
		r.x.Close()
		r.open()
		if found := r.verify(); len(found) > 0 {
			t.Error(found)
		}
		r.x.Close()
	}
}

// forge writes a run like another, but for what is changed of its lists.
func forge(t *testing.T, b []byte, change func(l *run.List, positions []uint32) []uint32) []byte {
	t.Helper()
	r, err := run.Open(bytes.NewReader(b), int64(len(b)), run.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := run.NewWriter(&out, r.Meta())
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range r.Terms() {
		if err != nil {
			t.Fatal(err)
		}
		var positions []uint32
		c := r.Cursor(e, 0, r.Meta().Last, false)
		for p := c.Seek(0); p != run.Done; p = c.Seek(p + 1) {
			positions = append(positions, uint32(p-r.Meta().First))
		}
		l := e.List
		if positions = change(&l, positions); len(positions) == 0 {
			continue
		}
		if err := errors.Join(w.Begin(l), w.Add(positions), w.End()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestARunThatLiesIsFoundAndMadeAnew(t *testing.T) {
	t.Parallel()
	changed := false
	once := func(do bool) bool {
		if changed || !do {
			return false
		}
		changed = true
		return true
	}
	for name, change := range map[string]func(*run.List, []uint32) []uint32{
		"a posting is missing": func(l *run.List, p []uint32) []uint32 {
			if once(len(p) > 3 && !l.Numbered) {
				return slices.Delete(p, 2, 3)
			}
			return p
		},
		"a list is missing": func(_ *run.List, p []uint32) []uint32 {
			if once(len(p) == 1) {
				return nil
			}
			return p
		},
		"a posting lies elsewhere": func(l *run.List, p []uint32) []uint32 {
			if once(len(p) > 3 && !l.Numbered && p[1] > p[0]+1) {
				p[1]--
			}
			return p
		},
		"revisions are others": func(l *run.List, p []uint32) []uint32 {
			if once(l.Regular) {
				l.FirstRevision++
				l.LastRevision++
			}
			return p
		},
		"a stream is none": func(l *run.List, p []uint32) []uint32 {
			if once(l.Regular) {
				*l = run.List{Term: l.Term, Filter: true}
			}
			return p
		},
		"a term is not in the filter": func(l *run.List, p []uint32) []uint32 {
			if once(l.Filter && len(p) > 1) {
				l.Filter = false
			}
			return p
		},
	} {
		changed = false
		fs := vfs.NewMem()
		r := onFiles(t, 21, fs, 40)
		for range 60 {
			r.frame(2)
		}
		r.x.Close()
		files := content(t, fs)
		victim := slices.Min(slices.Collect(keys(files)))
		b := forge(t, []byte(files[victim]), change)
		if !changed {
			t.Fatalf("%s: nothing was changed", name)
		}
		if err := fs.Remove(dir + "/" + victim); err != nil {
			t.Fatal(err)
		}
		f, err := fs.Create(dir + "/" + victim)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		r.open()
		found := r.verify()
		if len(found) != 1 || found[0].File != victim || found[0].First != 1 || !strings.Contains(found[0].Error(), "nothing is lost") {
			t.Errorf("%s: %v", name, found)
		}
		if found := r.verify(); len(found) > 0 {
			t.Errorf("%s: after it was made anew: %v", name, found)
		}
		r.answers()
		r.x.Close()
		if got := content(t, fs); got[victim] != files[victim] {
			t.Errorf("%s: the run is not what it was", name)
		}
	}
}

func keys[K comparable, V any](m map[K]V) iter.Seq[K] {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestAFlippedByteIsFound(t *testing.T) {
	t.Parallel()
	r, whole := written(t, 4500)
	for range 12 {
		fs := whole.Kill()
		names, _ := fs.List(dir)
		name := names[r.IntN(len(names))]
		b := bytesOf(t, fs, name)
		at := r.IntN(len(b))
		r.reopen(fs)
		overwrite(t, fs, name, int64(at), b[at]^1)
		found := r.verify()
		if len(found) != 1 || found[0].File != name || !errors.Is(found[0], run.ErrDamaged) {
			t.Errorf("byte %d of %s: %v", at, name, found)
		}
		r.x.Close()
	}
}

func TestACheckCanBeCutOff(t *testing.T) {
	t.Parallel()
	r := onFiles(t, 22, vfs.NewMem(), 4)
	r.script()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if found, err := r.x.Check(ctx, r.events); !errors.Is(err, context.Canceled) || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
	lost := func(context.Context, uint64, uint64) iter.Seq2[index.Dated, error] {
		return func(yield func(index.Dated, error) bool) {
			yield(index.Dated{}, &annals.DataLossError{First: 1, Last: 1})
		}
	}
	if found, err := r.x.Check(t.Context(), lost); err != nil || len(found) > 0 {
		t.Errorf("of a log that is lost: %v, %v", found, err)
	}
	r.x.Close()
}

// stub is a cursor that fails.
type stub struct {
	keys []uint64
	err  error
}

func (s *stub) Seek(key uint64) uint64 {
	for len(s.keys) > 0 && s.keys[0] < key {
		s.keys = s.keys[1:]
	}
	if len(s.keys) == 0 {
		return index.Done
	}
	return s.keys[0]
}

func (s *stub) AtMost() int { return len(s.keys) }

func (s *stub) Err() error {
	if len(s.keys) == 0 {
		return s.err
	}
	return nil
}

func TestWhereACursorFailsEveryPositionIsACandidate(t *testing.T) {
	t.Parallel()
	c := index.Safe(index.Unite(&stub{keys: []uint64{3, 10}, err: run.ErrDamaged}, &stub{keys: []uint64{1, 20, 30}}), index.Range{Upto: 40})
	var got []uint64
	for key := c.Seek(0); key != index.Done; key = c.Seek(key + 1) {
		got = append(got, key)
	}
	if len(got) != 3+30 || got[3] != 11 || got[32] != 40 {
		t.Errorf("got %v, want 1, 3, 10, and all from 11 to 40", got)
	}
}
